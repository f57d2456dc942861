"""Whether a page's fonts draw the letters that its text names, judged on the pixels.

A font's letters are compared with the same letters of known typefaces, and with the font's other letters. Whatever
the typeface, a letter looks more like itself than like most others; where a font's tables name other letters than
it draws, or say wrongly where they stand, a letter is like any of them. That asks for no language and no dictionary.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Sequence
from functools import lru_cache, reduce
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from renderers.pdf.frames import Box, turned
from renderers.pdf.line import Glyph, Line
from renderers.pdf.mupdf import mupdf, pymupdf
from renderers.pdf.pixels import Picture, sample
from renderers.pdf.plain import raw_near

SIDE = 12  # points each way in a letter's box
FACES = (
    "helv",
    "tiro",
    "cour",
    "tiit",
    "heit",
    "cjk",
)  # MuPDF's own: Latin, Greek, Cyrillic; Chinese, its neighbours
FACE_PX = 32  # the em of a known letter
LEAST_PX = 7.0  # of a letter's height: of smaller ones the shape is lost
LEAST_SHARE = 0.05  # of the page's text: of fonts with less nothing is asked
LEAST_LETTERS = 12  # different ones: with fewer chance decides
UNLIKE = 0.7  # a font whose letters are less like what they are named is wrong; 0.5 is chance
BESIDE_PX = 1.5  # from a letter's box, above and below: there is its ground

Inks = npt.NDArray[np.float32]  # N × SIDE²: how far each point of a letter's box is from its ground
Shapes = npt.NDArray[np.float32]  # N × SIDE²: the same, a little blurred, of mean 0 and length 1


class Look(NamedTuple):
    """How closely fonts are looked at."""

    lines: int  # the longest ones of a font, at the most
    each: int  # times that a letter is looked at
    names: int  # different letters that are enough
    clears: float  # the likeness with which a font is good


LOOKS = (
    Look(8, 1, 18, 0.85),
    Look(24, 3, 20_000, UNLIKE),
)  # the second one at fonts that the first does not clear


class DrawnLetter(NamedTuple):
    """A letter as the text names it, its box in the frame of its line, and its line."""

    name: str
    box: Box
    line: Line


def unlike_share(lines: Sequence[Line], text: pymupdf.TextPage, picture: Picture) -> float:
    """The share of the page's text, by characters, in fonts whose letters look like other ones; from 0 to 1.

    Fonts in doubt count as good: those of few letters, small ones, and of scripts that no known face has.
    """
    fonts: defaultdict[str, list[Line]] = defaultdict(list)
    counts: Counter[str] = Counter()
    for line in lines:
        fonts[line.font].append(line)
        counts[line.font] += len(line.text)
    least = max(LEAST_LETTERS, LEAST_SHARE * counts.total())
    asked = [font for font, count in counts.items() if count >= least]
    for look in LOOKS:
        found = [letter for font in asked for letter in drawn_letters(fonts[font], look, text)]
        likenesses = by_font(found, picture)
        asked = [font for font in asked if likenesses.get(font, 0.0) < look.clears]
    return sum(counts[font] for font in asked if font in likenesses) / max(1, counts.total())


def drawn_letters(lines: Iterable[Line], look: Look, text: pymupdf.TextPage) -> Iterator[DrawnLetter]:
    """Letters and digits of some lines of one font."""
    longest = sorted((line for line in lines if not line.stacked), key=lambda line: -len(line.text))
    seen: Counter[str] = Counter()
    for line in longest[: look.lines]:
        u0, v0, u1, v1 = line.box
        for glyph in line.glyphs or glyphs_near(line, text):
            name = glyph["c"]
            if seen[name] < look.each and name.isalnum() and len(known(name)):
                box = a0, b0, a1, b1 = turned(glyph["bbox"], line.axis)
                if u0 <= (a0 + a1) / 2 <= u1 and v0 <= (b0 + b1) / 2 <= v1:
                    seen[name] += 1
                    yield DrawnLetter(name, box, line)
        if len(seen) >= look.names:
            return


def glyphs_near(line: Line, text: pymupdf.TextPage) -> Iterator[Glyph]:
    """The glyphs of the line's font on its height."""
    for raw in raw_near(text, turned(line.box, (line.axis[0], -line.axis[1]))):
        for span in raw["spans"]:
            if span["font"] == line.font:
                yield from span["chars"]


def by_font(letters: Sequence[DrawnLetter], picture: Picture) -> dict[str, float]:
    """The likeness of each font of which enough letters are large enough."""
    letters = [one for one in letters if (one.box[3] - one.box[1]) * picture.view.scale >= LEAST_PX]
    if not letters:
        return {}
    shapes = units(inks(letters, picture))
    fonts: defaultdict[str, list[int]] = defaultdict(list)
    for i, letter in enumerate(letters):
        fonts[letter.line.font].append(i)
    found = {}
    for font, some in fonts.items():
        names, at = np.unique([letters[i].name for i in some], return_inverse=True)
        if len(names) >= LEAST_LETTERS:
            means = np.zeros((len(names), SIDE * SIDE), np.float32)
            np.add.at(means, at, shapes[some])
            found[font] = upright_likeness(names.tolist(), means)
    return found


def upright_likeness(names: Sequence[str], shapes: Shapes) -> float:
    """The likeness of the shapes; 0 where they are more like what they are named once they are mirrored."""
    own = likeness(names, shapes)
    if own >= LOOKS[0].clears:
        return own
    square = shapes.reshape(-1, SIDE, SIDE)
    mirrored = (square[:, ::-1].reshape(shapes.shape), square[:, :, ::-1].reshape(shapes.shape))
    return own if all(likeness(names, one) <= own for one in mirrored) else 0.0


def inks(letters: Sequence[DrawnLetter], picture: Picture) -> Inks:
    """The ink of letters on the page."""
    boxes, turns = [letter.box for letter in letters], [letter.line.turn for letter in letters]
    beside = BESIDE_PX / picture.view.scale
    above = [(u0, v0 - beside, u1, v0) for u0, v0, u1, _ in boxes]
    below = [(u0, v1, u1, v1 + beside) for u0, _, u1, v1 in boxes]
    points = sample(picture.pixels, picture.view.quads(boxes, turns), SIDE, SIDE)
    edges = [sample(picture.pixels, picture.view.quads(side, turns), SIDE // 2, 1) for side in (above, below)]
    ground = np.median(np.concatenate(edges), axis=0).astype(np.uint8)
    far = np.maximum(points, ground) - np.minimum(points, ground)
    return np.asarray(reduce(np.maximum, np.moveaxis(far, 2, 0)).T, np.float32)


def units(ink: Inks) -> Shapes:
    """The shapes of letters, by their ink."""
    flat = ink @ blur()
    return np.asarray(flat / np.maximum(np.linalg.norm(flat, axis=1, keepdims=True), 1e-6), np.float32)


@lru_cache(maxsize=1)
def blur() -> npt.NDArray[np.float32]:
    """What ink is multiplied with: each point with a little of those around it, less the mean (SIDE² × SIDE²)."""
    one = np.eye(SIDE) / 2 + (np.eye(SIDE, k=1) + np.eye(SIDE, k=-1)) / 4
    both = np.kron(one, one)
    return np.asarray(both - both.mean(axis=1, keepdims=True), np.float32)


def likeness(names: Sequence[str], shapes: Shapes) -> float:
    """The mean share of a font's other letters that a letter's shape is less like than the one it is named (N).

    About 1 where a font draws what it names, 0.5 where it draws anything else.
    """
    forms = [known(name) for name in names]
    starts = np.cumsum([0, *(len(some) for some in forms[:-1])])
    like = np.maximum.reduceat(shapes @ np.concatenate(forms).T, starts, axis=1)
    own = like.diagonal()[:, None]
    below = (like < own).sum(axis=1) + ((like == own).sum(axis=1) - 1) / 2
    return float(below.mean() / max(1, len(names) - 1))


@lru_cache(maxsize=20_000)
def known(name: str) -> Shapes:
    """The shapes of a letter in the known faces, small and large (K × SIDE²); none where none has it."""
    forms = sorted({form for form in (name, name.lower(), name.upper()) if len(form) == 1})
    drawn = [draw(face, ord(form)) for face in faces() for form in forms]
    found = [ink for ink in drawn if ink is not None]
    return units(np.stack(found)) if found else np.zeros((0, SIDE * SIDE), np.float32)


@lru_cache(maxsize=1)
def faces() -> list[Any]:
    """The known faces."""
    return [pymupdf.Font(name).this for name in FACES]


def draw(face: Any, character: int) -> Inks | None:
    """A character of a face in its box, as wide as its advance (SIDE²); None where the face lacks it."""
    glyph = mupdf.fz_encode_character(face, character)
    wide = FACE_PX * mupdf.fz_advance_glyph(face, glyph, 0)
    if not glyph or wide <= 0:
        return None
    matrix = mupdf.FzMatrix(FACE_PX, 0, 0, -FACE_PX, 0, 0)
    around = mupdf.fz_make_irect(-FACE_PX, -2 * FACE_PX, 4 * FACE_PX, 2 * FACE_PX)
    pixmap = mupdf.fz_render_glyph_pixmap(face, glyph, matrix, around, 8)
    if not pixmap.m_internal or not pixmap.w() or not pixmap.h():
        return None
    size = pixmap.h(), pixmap.w()
    ink = np.frombuffer(mupdf.fz_pixmap_samples_memoryview(pixmap), np.uint8).reshape(size)
    spots = (np.arange(SIDE) + 0.5) / SIDE
    rows, columns = (spots * size[0]).astype(int), np.floor(spots * wide).astype(int) - pixmap.x()
    inside = (columns >= 0) & (columns < size[1])
    return np.where(inside, ink[rows][:, columns.clip(0, size[1] - 1)], 0).astype(np.float32).ravel()
