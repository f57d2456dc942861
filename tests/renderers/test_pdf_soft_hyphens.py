from __future__ import annotations

import pytest

pytest.importorskip("pymupdf")

from renderers.pdf.mupdf import pymupdf
from renderers.pdf.render import PdfSettings, render


@pytest.mark.parametrize("granularity", ["lines", "words"])
def test_a_space_without_room_is_a_soft_hyphen(granularity: str) -> None:
    document = pymupdf.open()
    page = document.new_page()
    at, end = 72.0, pymupdf.get_text_length("so soft", fontsize=11)
    page.insert_text((at, 100), "so soft")
    page.insert_text((at + end, 100), " ")
    page.insert_text((at + end, 100), "hyphen it is")
    settings = PdfSettings(granularity=granularity)
    regions = next(render(document.tobytes(), settings)).to_pylist()[0]["regions"]
    assert " ".join(region["text"] for region in regions) == "so softhyphen it is"
