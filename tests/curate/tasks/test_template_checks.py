"""Templates of a dialect of one's own that nothing could be written with."""

from __future__ import annotations

from typing import Any

import pytest

from curate.errors import ManifestError
from curate.tasks import load_dialect


@pytest.mark.parametrize(
    ("setting", "value", "said"),
    [
        ("tasks.caption.prompt", "{img}{nosuch}", "may have no field but img, language"),
        ("tasks.caption.prompt", "{img", "a brace by itself is written twice"),
        ("tasks.caption.prompt", "{img!r:>99999999}", "may have no field but"),
        ("tasks.caption.prompt", "Describe:", "must have {img} once"),
        ("tasks.caption.prompt", "{img}{img}", "must have {img} once"),
        ("tasks.caption.target", "{img}", "may have no field but language"),
        ("tasks.text.prompt", "{img}", "must have no {img}"),
        ("tasks.nosuch.prompt", "x", "tasks has no task 'nosuch'"),
        ("places.box", "{x9}", "may have no field but x1, y1, x2, y2"),
        ("image.numbered", "{k}", "may have no field but n"),
        ("chat.user", "USER:", "chat.user = 'USER:' must have {content} once"),
        ("name", "\ud800", "name is no UTF-8"),
    ],
)
def test_a_template_that_cannot_be_filled_in_is_refused(setting: str, value: Any, said: str) -> None:
    with pytest.raises(ManifestError) as refused:
        load_dialect("qwen2.5-vl", {setting: value})
    assert said in str(refused.value)


def test_a_task_without_its_target_is_refused() -> None:
    with pytest.raises(ManifestError, match=r"tasks.ocr has no 'target'"):
        load_dialect("gemma3", {"tasks.ocr.prompt": "{img}read"})


def test_braces_that_are_written_twice_are_text() -> None:
    written = load_dialect("qwen2.5-vl", {"tasks.caption.prompt": "{img}{{x}}"})
    assert written.tasks["caption"].prompt == "{img}{{x}}"
