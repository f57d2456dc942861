"""Numbers of renderers' settings that would hang a browser, or draw nothing."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import pytest

from renderers.html.settings import HtmlSettings
from renderers.pdf.settings import PdfSettings


@pytest.mark.parametrize(
    ("settings", "wrong"),
    [
        (HtmlSettings, {"tabs": 0}),
        (HtmlSettings, {"widths": ()}),
        (HtmlSettings, {"widths": (1280, 0)}),
        (HtmlSettings, {"widths": (1_000_000,)}),
        (HtmlSettings, {"timeout_s": -1.0}),
        (HtmlSettings, {"timeout_s": math.nan}),
        (HtmlSettings, {"page_height": 10**9}),
        (PdfSettings, {"long_side": 0}),
        (PdfSettings, {"max_dpi": 0.0}),
        (PdfSettings, {"quality": 500}),
        (PdfSettings, {"min_text_px": -5.0}),
    ],
)
def test_a_number_beyond_its_range_is_refused(settings: Callable[..., Any], wrong: dict[str, Any]) -> None:
    (name,) = wrong
    with pytest.raises(ValueError, match=f"{name} = .* is not from "):
        settings(**wrong)
    settings()
