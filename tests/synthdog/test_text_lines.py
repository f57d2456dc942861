from __future__ import annotations

import numpy as np
import pytest

from synthdog import fonts, layout, settings, text_lines
from synthdog.corpus import CorpusReader, Text

PROSE = "The quick brown fox, it is said, jumps over a lazy dog of no particular breed. "


@pytest.fixture(scope="module")
def sized():
    found = next((found for found in fonts.report() if found.path and found.language == "en"), None)
    if found is None:
        pytest.skip("none of the English typefaces is installed")
    return fonts.Face(found.path, found.index).at(40, bold=False)


def box(width, align="left"):
    return layout.Box(100, 50, width, 40, align)


def composed(sized, width, limit, text=PROSE, align="left"):
    return text_lines.compose(box(limit, align), width, sized, CorpusReader(Text(text), 0, sized.lacks))


def test_lines_break_at_the_word_nearest_to_the_width(sized):
    widths = [lines_width(composed(sized, width, 900)) - width for width in range(200, 800, 7)]
    assert abs(np.mean(widths)) < 25
    assert max(widths) > 0 > min(widths)


def cut_by_synthdog(sized, text, at, width):
    """How many characters SynthDoG writes: as many as fit, less the spaces at either end."""
    count = length = 0
    while length + sized.advance(text[at + count]) <= width:
        length += sized.advance(text[at + count])
        count += 1
    return len(text[at : at + count].strip())


@pytest.mark.parametrize("text", [PROSE * 20, "子曰：“學而時習之，不亦說乎？有朋自遠方來，不亦樂乎？” " * 40])
def test_lines_hold_as_many_characters_as_synthdogs_on_average(sized, text):
    whole = Text(text.strip() + " " + text.strip())
    ours = theirs = 0
    for at in range(0, len(text) // 2, 3):
        width = 150 + at * 7 % 450
        ours += len(text_lines.compose(box(700), width, sized, CorpusReader(whole, at, lambda word: ())).text)
        theirs += cut_by_synthdog(sized, whole.window(0, len(whole)), at, width)
    assert abs(ours / theirs - 1) < 0.03


def lines_width(line):
    boxes = line.boxes()
    return boxes[:, 2].max() - boxes[:, 0].min()


@pytest.mark.parametrize("align", ["left", "center", "right"])
def test_no_line_is_wider_than_its_box(sized, align):
    for limit in range(60, 900, 31):
        line = composed(sized, limit, limit, align=align)
        if line is not None:
            boxes = line.boxes()
            assert boxes[:, 0].min() >= 100 - 3  # a glyph may lean out of its advance
            assert boxes[:, 2].max() <= 100 + limit + 3


def column(sized, width, text, count):
    """The texts of so many lines of a column, one after the other."""
    reader = CorpusReader(Text(text), 0, sized.lacks)
    found = (text_lines.compose(box(width), width, sized, reader) for _ in range(count))
    return [None if line is None else line.text for line in found]


def test_a_word_wider_than_its_column_is_parted_and_nothing_is_left_out(sized):
    prose = "Understanding hyphenation needs extraordinarily long vocabulary, of course. "
    found = column(sized, 150, prose, 14)
    read = " ".join(found).replace("- ", "")
    assert (prose * 3).startswith(read[: len(prose)])
    assert any(line.endswith("-") for line in found)
    assert all(len(line.rstrip("-")) >= 2 for line in found)


def test_a_narrow_column_does_not_fill_with_the_shortest_words(sized):
    found = column(sized, 75, PROSE * 5, 40)
    short = sum(line in {"a", "is", "it", "of", "no"} for line in found if line)
    assert short < 0.3 * len(found)


def test_a_box_too_narrow_for_a_part_of_a_word_stays_empty_and_its_word_comes_next(sized):
    reader = CorpusReader(Text(PROSE), 0, sized.lacks)
    assert text_lines.compose(box(12), 12, sized, reader) is None
    assert text_lines.compose(box(300), 300, sized, reader).text.startswith("The quick")


def test_what_no_column_has_room_for_is_left_out(sized):
    found = column(sized, 90, "3.14159265358979 12 13 " * 9, 4)
    assert [line for line in found if line] == ["12", "13", "12"][: len([line for line in found if line])]


def test_dots_and_dashes_alone_are_no_line(sized):
    assert composed(sized, 300, 300, text="— . … ' — ") is None


def test_elastic_distortion_keeps_the_ink(sized):
    line = composed(sized, 400, 400)
    plain = text_lines.strip(line, None, np.random.default_rng(0))
    bent = text_lines.strip(line, {"alpha": 30.0, "sigma": 4.0}, np.random.default_rng(0))
    total, after = plain.coverage.astype(float).sum(), bent.coverage.astype(float).sum()
    assert abs(after - total) / total < 0.1
    assert not np.array_equal(plain.box, bent.box)
    assert np.abs(plain.box - bent.box).max() <= 30
    assert bent.carried(line.boxes()).shape == line.boxes().shape


def test_grids_lie_in_their_area_and_in_reading_order():
    known = settings.load(None, "en").document.content.layout
    area = layout.Area(30, 40, 600, 800)
    for seed in range(50):
        grids = layout.stack(area, known, np.random.default_rng(seed))
        below = area.y - 1e-6
        for grid in grids:
            assert min(cell.y for cell in grid) >= below
            below = max(cell.y + cell.height for cell in grid)
            assert all(cell.x >= area.x - 1e-6 and cell.width > 0 for cell in grid)
            assert max(cell.x + cell.width for cell in grid) <= area.x + area.width + 1e-6
            columns = [cell.x for cell in grid]
            assert columns == sorted(columns)
        assert below <= area.y + area.height + 1e-6
