"""Letter-spaced text: its letters are words, though MuPDF puts spaces between them, or takes each for a line.

The room between two characters is what lies between where one has advanced to and where the next begins, so it does not
hang on their shapes: in letter-spaced words it is even. Where there is clearly more, a word ends.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from itertools import groupby, pairwise
from typing import NamedTuple

from renderers.pdf.frames import Box, turned, union
from renderers.pdf.line import SPACE, Glyph, Line, spelt
from renderers.pdf.rules import Rules

TIGHT_EM = 0.04  # less room is between letters that are not letter-spaced
LEAST_EM, MOST_EM = 0.1, 1.5  # of the usual room between letters that are
MOST_WIDE_EM = 1.05  # and between Chinese ones, all equally wide: columns of them are as even
EVEN_EM, EVEN = 0.06, 0.7  # so near the usual room it is even; that of so many letters is, at least
WORD_EM, WORD = 0.15, 0.1  # in ems, and of the usual room: with so much more a word ends
LETTERS = 4  # of a letter-spaced word, at least, unless others are in its line
LINE_EM, LINE = 1.0, 3.0  # in ems, and times the usual room: more parts lines
SINGLE = 3  # single letters in a row make it worth to look


WIDE = "\u2e80"  # Chinese and what is as wide begins here


class Gap(NamedTuple):
    """What lies before a character."""

    em: float  # room; 0 before the first one
    is_set: bool  # a space of the document's own


class Word(NamedTuple):
    """Characters, by their places in a line, and the usual room between them."""

    start: int
    end: int
    room: float


def may_be_tracked(text: str) -> bool:
    """True where many words of a text are single letters."""
    words = text.split(" ")
    single = sum(len(word) == 1 and word.isalpha() for word in words)
    return single >= SINGLE or 3 * single >= len(words) > 1


def may_be_broken(lines: Sequence[Line]) -> bool:
    """True where lines that follow each other are single letters."""
    runs = groupby(lines, lambda line: len(line.text) == 1 and line.text.isalpha())
    return any(single and sum(1 for _ in run) >= SINGLE for single, run in runs)


def closed_up(lines: Sequence[Line], rules: Rules) -> Iterator[Line]:
    """The lines, all of which have glyphs, with the letters of letter-spaced words together.

    A rule between letters, such as a form's comb, parts them.
    """
    held: list[Line] = []
    for line in lines:
        if held and not may_go_on(held[-1], line, rules):
            yield from one_row(held)
            held = []
        held.append(line)
    yield from one_row(held)


def may_go_on(last: Line, line: Line, rules: Rules) -> bool:
    """True where a line stands on the base line of the one before it, not too far behind."""
    room = (line.box[0] - last.box[2]) / (line.size or 1.0)
    level = last.turn == line.turn and abs(last.base - line.base) < 0.1 * line.size
    return (
        level
        and abs(last.size - line.size) < 0.1 * line.size
        and TIGHT_EM <= room <= LINE_EM + LINE * MOST_EM
        and not rules.part(line.turn, last.box, line.box, line.size)
    )


def one_row(parts: Sequence[Line]) -> Iterator[Line]:
    """The parts of a row; those between which letter-spaced text goes on, as one."""
    if not may_be_broken(parts) and not any(may_be_tracked(part.text) for part in parts):
        yield from parts
        return
    gaps = gaps_of(parts)
    words = tracked_words([glyph["c"] for part in parts for glyph in inked(part)], gaps)
    numbers = [0] * len(gaps)
    for number, word in enumerate(words, 1):
        numbers[word.start : word.end] = [number] * (word.end - word.start)
    most = LINE_EM + LINE * max((word.room for word in words), default=0.0)
    out: list[Line] = []
    at = 0
    for part in parts:
        count = len(inked(part))
        one = without_spaces(part, numbers[at : at + count])
        before, here = (numbers[at - 1], numbers[at]) if at else (0, 0)
        if before and here and gaps[at].em <= most:
            out[-1] = together(out[-1], one, apart=before != here)
        else:
            out.append(one)
        at += count
    yield from out


def inked(line: Line) -> list[Glyph]:
    """The line's glyphs but for white space."""
    return [glyph for glyph in line.glyphs if not glyph["c"].isspace()]


def gaps_of(parts: Sequence[Line]) -> list[Gap]:
    """What lies before each character of a row but for white space."""
    gaps: list[Gap] = []
    end: float | None = None
    for part in parts:
        is_set = False
        for glyph in part.glyphs:
            if glyph["c"].isspace():
                is_set |= not glyph.get("synthetic", False)
                continue
            box: Box = turned(glyph["bbox"], part.axis)
            gaps.append(Gap(0.0 if end is None else (box[0] - end) / (part.size or 1.0), is_set))
            end, is_set = box[2], False
    return gaps


def tracked_words(characters: Sequence[str], gaps: Sequence[Gap]) -> list[Word]:
    """The letter-spaced words of a row: sure ones, and with such shorter ones of as much room, and single letters."""
    found = list(candidates(gaps))
    sure = [word for word in found if is_sure(word, characters, gaps)]
    rooms = {round(word.room, 2) for word in sure}
    return [
        word
        for word in found
        if rooms and (word.end - word.start == 1 or min(abs(word.room - room) for room in rooms) <= EVEN_EM)
    ]


def candidates(gaps: Sequence[Gap]) -> Iterator[Word]:
    """The characters with room around them, parted at spaces and where there is much more of it than usual."""
    close = [k > 0 and gap.em < TIGHT_EM and not gap.is_set for k, gap in enumerate(gaps)] + [False]
    starts = [k for k, gap in enumerate(gaps) if k == 0 or gap.is_set or close[k]]
    for start, end in pairwise([*starts, len(gaps)]):
        start, end = start + close[start], end - close[end]  # a letter that stands close is of another word
        room = usual_room(gaps[start + 1 : end])
        if end - start == 1 or LEAST_EM <= room <= MOST_EM:
            wide = [k for k in range(start + 1, end) if gaps[k].em > room + WORD_EM + WORD * room]
            for first, last in pairwise([start, *wide, end]):
                yield Word(first, last, usual_room(gaps[first + 1 : last]))


def usual_room(gaps: Sequence[Gap]) -> float:
    """That of the narrower half of the gaps, in ems: the others may part words; 0 where there are none."""
    return sorted(gap.em for gap in gaps)[len(gaps) // 4] if gaps else 0.0


def is_sure(word: Word, characters: Sequence[str], gaps: Sequence[Gap]) -> bool:
    """True for enough letters with even room between, cased as a word's; not for A B C D, nor for one repeated."""
    inside = characters[word.start : word.end]
    rest = "".join(filter(str.isalpha, inside))[1:]
    steps = {ord(after) - ord(char) for char, after in pairwise(inside)}
    if len(inside) < LETTERS or 3 * len(rest) < 2 * len(inside) - 3 or len(steps) < 2:
        return False
    if rest not in (rest.lower(), rest.upper()):
        return False
    if word.room > MOST_WIDE_EM and any(char >= WIDE for char in inside):
        return False
    even = sum(abs(gap.em - word.room) <= EVEN_EM for gap in gaps[word.start + 1 : word.end])
    return even >= EVEN * (len(inside) - 1)


def without_spaces(line: Line, numbers: Sequence[int]) -> Line:
    """The line without spaces within words but for the document's own; `numbers` are its characters' words."""
    kept: list[Glyph] = []
    at = 0
    for glyph in line.glyphs:
        if not glyph["c"].isspace():
            at += 1
        elif glyph.get("synthetic") and 0 < at < len(numbers) and numbers[at - 1] == numbers[at] > 0:
            continue
        kept.append(glyph)
    return line if len(kept) == len(line.glyphs) else replace(line, text=spelt(kept), glyphs=kept)


def together(last: Line, line: Line, *, apart: bool) -> Line:
    """Two lines as one, with a space between them where they are `apart`."""
    glyphs = [*last.glyphs, *[SPACE] * apart, *line.glyphs]
    return replace(
        last,
        text=spelt(glyphs),
        glyphs=glyphs,
        box=union(last.box, line.box),
        painted=min(last.painted, line.painted),
        doubtful=last.doubtful or line.doubtful,
    )
