"""Pages whose text names other letters than they show."""

from __future__ import annotations

import json
from typing import Any

import pytest

from renderers.pdf.letter_shapes import known, likeness
from renderers.pdf.mupdf import pymupdf
from renderers.pdf.render import PdfSettings, render

ENGLISH = "the quick brown fox jumps over the lazy dog and finds its way through six wide valleys"
SHIFTED = b"""/CIDInit /ProcSet findresource begin 12 dict begin begincmap /CMapName /X def /CMapType 2 def
1 begincodespacerange <00> <ff> endcodespacerange
3 beginbfrange <20> <20> <0020> <61> <79> <0062> <7a> <7a> <0061> endbfrange
endcmap end end"""


def unlike(pdf: Any) -> float:
    (page,) = (row for batch in render(pdf.tobytes(), PdfSettings()) for row in batch.to_pylist())
    return float(json.loads(page["extra"])["unlike"])


def written(text: str = ENGLISH, font: str = "helv", **how: Any) -> Any:
    pdf = pymupdf.open()
    page = pdf.new_page(width=500, height=200)
    for y in range(40, 180, 16):
        page.insert_text((20, y), text, fontname=font, fontsize=11, **how)
    return pdf


def misname(pdf: Any, font: int = 0) -> None:
    """Let a font of the first page call each letter by the next one's name."""
    names = pdf.get_new_xref()
    pdf.update_object(names, "<<>>")
    pdf.update_stream(names, SHIFTED)
    pdf.xref_set_key(pdf[0].get_fonts()[font][0], "ToUnicode", f"{names} 0 R")


@pytest.mark.parametrize("font", ["helv", "tibo", "coit"])
def test_a_font_that_calls_its_letters_by_other_names_is_found(font: str) -> None:
    pdf = written(font=font)
    assert unlike(pdf) == 0.0
    misname(pdf)
    assert "uif rvjdl cspxo" in pdf[0].get_text()
    assert unlike(pdf) == 1.0


@pytest.mark.parametrize("turn", [90, 180, 270])
def test_turned_pages_are_looked_at_the_way_they_are_read(turn: int) -> None:
    pdf = written()
    pdf[0].set_rotation(turn)
    assert unlike(pdf) == 0.0
    misname(pdf)
    assert unlike(pdf) == 1.0


def test_white_letters_on_black_are_letters() -> None:
    pdf = pymupdf.open()
    page = pdf.new_page(width=500, height=200)
    page.draw_rect(page.rect, fill=(0, 0, 0))
    for y in range(40, 180, 16):
        page.insert_text((20, y), ENGLISH, fontsize=11, color=(1, 1, 1))
    assert unlike(pdf) == 0.0


def test_chinese_is_looked_at_too() -> None:
    assert unlike(written("学而时习之不亦说乎有朋自远方来不亦乐乎人不知而不愠不亦君子乎", "china-s")) == 0.0


@pytest.mark.parametrize("flip", [(1, -1), (-1, 1)])
def test_mirrored_letters_are_not_what_the_text_says(flip: tuple[int, int]) -> None:
    pdf = written()
    page = pdf[0]
    page.clean_contents()
    content, (across, down) = page.read_contents(), flip
    moved = b"%d 0 0 %d %d %d cm\n" % (across, down, 500 if across < 0 else 0, 200 if down < 0 else 0)
    pdf.update_stream(page.get_contents()[0], moved + content)
    assert unlike(pdf) == 1.0


def test_a_font_of_few_letters_is_not_judged() -> None:
    pdf = written("abcde " * 8)
    misname(pdf)
    assert unlike(pdf) == 0.0


def test_a_letter_is_most_like_itself() -> None:
    names = [*"abcdefghijkmnopqrstuvwxyz"]
    shapes = [known(name)[0] for name in names]
    assert likeness(names, shapes) == 1.0
    assert likeness([*names[1:], "a"], shapes) < 0.7


def test_a_script_that_no_known_face_has_has_no_known_letters() -> None:
    assert len(known("\N{THAI CHARACTER KO KAI}")) == 0
