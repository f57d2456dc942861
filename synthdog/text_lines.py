"""Compose one line of text: its words, the positions of its glyphs, and its ink.

Coordinates are px of the document. A line's ink is an 8 bit coverage strip with its own top left corner.
"""

from __future__ import annotations

import math
import unicodedata
from collections.abc import Iterator
from dataclasses import dataclass, replace
from itertools import accumulate
from typing import Any

import cv2
import numpy as np

from synthdog.corpus import CorpusReader, CorpusWord
from synthdog.fonts import SizedFace
from synthdog.hyphenation import divisible
from synthdog.layout import Box

MAX_WORDS = 500  # limit on the words that are taken or left out for a line
LEAST_INK = 0.25  # of the line height: ink that is less high, such as a single dash or dot, is no line
SPACE = " "
HYPHEN = "-"
FAINT = 16  # coverage (0 to 255) below this is not visible


@dataclass(frozen=True)
class Placed:
    """A character, its ink (8 bit coverage) and the ink's box (px); a space, without ink, parts words."""

    char: str
    ink: np.ndarray
    box: tuple[int, int, int, int]  # left, top, right, bottom


@dataclass(frozen=True)
class PlacedLine:
    """Characters in reading order, and the colour of their ink (blue, green, red)."""

    placed: tuple[Placed, ...]
    bgr: tuple[int, int, int] = (0, 0, 0)

    @property
    def text(self) -> str:
        """What is written."""
        return "".join(placed.char for placed in self.placed)

    def inked(self) -> list[int]:
        """Indices of the characters that leave ink."""
        return [index for index, placed in enumerate(self.placed) if placed.char != SPACE]

    def boxes(self) -> np.ndarray:
        """The boxes of the characters that leave ink (N, 4), before any distortion."""
        return np.array([self.placed[index].box for index in self.inked()], np.float64)

    def words(self) -> list[tuple[int, int]]:
        """Start and end of each word in the text."""
        spans, start = [], 0
        for index, char in enumerate(self.text + SPACE):
            if char == SPACE:
                spans.append((start, index))
                start = index + 1
        return spans

    def part(self, start: int, end: int) -> PlacedLine:
        """The line with only the characters from `start` to before `end`, at the same positions."""
        return replace(self, placed=self.placed[start:end])


@dataclass(frozen=True)
class Strip:
    """A line's ink: its coverage, the position of its top left, and the box of its visible part."""

    coverage: np.ndarray
    left: int
    top: int
    shift: (
        np.ndarray | None
    )  # where each of its pixels was fetched from, relative to itself (2, height, width)

    @property
    def box(self) -> np.ndarray:
        """Left, top, right, bottom of the ink (4 numbers, px)."""
        seen = self.coverage >= FAINT
        columns, rows = np.flatnonzero(seen.any(axis=0)), np.flatnonzero(seen.any(axis=1))
        near, far = (columns[0], rows[0]), (columns[-1] + 1, rows[-1] + 1)
        return np.array([near, far], np.float64).ravel() + [self.left, self.top] * 2

    def carried(self, boxes: np.ndarray) -> np.ndarray:
        """Boxes of undistorted ink (N, 4), each moved by the mean shift of the pixels in it."""
        if self.shift is None:
            return boxes
        moved = boxes.copy()
        places = (boxes - [self.left, self.top] * 2).astype(int)
        for box, (x0, y0, x1, y1) in zip(moved, places, strict=True):
            box -= np.tile(self.shift[:, y0:y1, x0:x1].mean(axis=(1, 2)), 2)
        return moved


def compose(box: Box, width: float, face: SizedFace, reader: CorpusReader) -> PlacedLine | None:
    """Compose a line of about `width` px in `box` from the next words; None where no line fits.

    SynthDoG fills a line character by character, and cuts words. Here the line ends at the word boundary nearest to
    where SynthDoG would cut, before or after it, so that lines have the same mean length. A word that is wider than the
    box is hyphenated.
    """
    taken, length = _fill(reader, width, box.width, face)
    if not any(_readable(word.text) for word in taken):
        return None
    text = "".join(_following(word, taken[:at]) for at, word in enumerate(taken))
    slack = box.width - length
    pen = box.x + {"left": 0.0, "center": slack / 2, "right": slack}[box.align]
    line = PlacedLine(tuple(_place(text, pen, box.y + face.ascent, face)))
    tops, bottoms = line.boxes()[:, 1], line.boxes()[:, 3]
    return line if bottoms.max() - tops.min() >= LEAST_INK * box.height else None


def strip(line: PlacedLine, draw: dict[str, Any] | None, rng: np.random.Generator) -> Strip:
    """The line's ink, distorted as drawn (synthtiger's ElasticDistortion) with a field of its own."""
    boxes = line.boxes()
    margin = 1 + (0 if draw is None else math.ceil(draw["alpha"]))
    left, top = (boxes[:, :2].min(axis=0) - margin).astype(int)
    right, bottom = (boxes[:, 2:].max(axis=0) + margin).astype(int)
    coverage = np.zeros((bottom - top, right - left), np.uint8)
    for index in line.inked():
        placed = line.placed[index]
        x0, y0, x1, y1 = placed.box
        view = coverage[y0 - top : y1 - top, x0 - left : x1 - left]
        np.maximum(view, placed.ink, out=view)
    if draw is None:
        return Strip(coverage, left, top, None)
    shift = _shifts(coverage.shape, draw["alpha"], draw["sigma"], rng)
    return Strip(_remap(coverage, shift), left, top, shift)


def _fill(
    reader: CorpusReader, width: float, limit: float, face: SizedFace
) -> tuple[list[CorpusWord], float]:
    """Take words up to the boundary nearest to SynthDoG's cut, within `limit` px; returns words and length (px)."""
    taken: list[CorpusWord] = []
    length = 0.0
    for _ in range(MAX_WORDS):
        word = reader.peek()
        advances = [face.advance(char) for char in _following(word, taken)]
        end = length + sum(advances)
        # the mean end of SynthDoG's text: it cuts within a character, and a space at either end of a line (as frequent
        # as spaces are among the characters) takes room but is no text
        lost = sum(advances) / 2 + (2 * face.advance(SPACE) if word.spaced else 0.0)
        cut = width - lost / len(advances)
        fits = end <= limit and (end - cut <= cut - length or not taken)
        if not fits and not taken:
            taken, length = _parted(reader, word, advances, limit - face.advance(HYPHEN), face)
        if not fits:
            break
        reader.take()
        taken.append(word)
        length = end
    return taken, length


def _parted(
    reader: CorpusReader, word: CorpusWord, advances: list[float], room: float, face: SizedFace
) -> tuple[list[CorpusWord], float]:
    """Hyphenate a word that is wider than its box: take what fits into `room` px; the rest becomes the next word.

    Takes nothing where the word cannot be divided so far to the left.
    Without hyphenation, narrow columns would hold only the shortest words of the language.
    """
    count = sum(end <= room for end in accumulate(advances))
    while count > 0 and not divisible(word.text, count):
        count -= 1
    if count == 0 or face.lacks(HYPHEN):
        if not word.text.isalpha():
            reader.take()  # skip an address or a long number, which fits into no column of this width
        return [], 0.0
    reader.take(count)
    return [CorpusWord(word.text[:count] + HYPHEN, word.spaced)], sum(advances[:count]) + face.advance(HYPHEN)


def _following(word: CorpusWord, taken: list[CorpusWord]) -> str:
    """The word, with a space before it if it has one and is not the first of the line."""
    return SPACE + word.text if word.spaced and taken else word.text


def _readable(text: str) -> bool:
    return any(unicodedata.category(char)[0] in "LN" for char in text)


def _place(text: str, pen: float, baseline: float, face: SizedFace) -> Iterator[Placed]:
    for char in text:
        glyph = face.glyph(char)
        left, top = round(pen) + glyph.left, round(baseline) + glyph.top
        height, width = glyph.ink.shape
        yield Placed(char, glyph.ink, (left, top, left + width, top + height))
        pen += face.advance(char)


def _shifts(shape: tuple[int, ...], alpha: float, sigma: float, rng: np.random.Generator) -> np.ndarray:
    """Where each pixel fetches from, relative to itself (2, height, width): x, then y."""
    field = rng.random((2, *shape), np.float32) * 2 - 1
    size = kernel_size(sigma)
    for axis in field if sigma > 1e-3 else ():
        cv2.GaussianBlur(axis, (size, size), sigma, dst=axis, borderType=cv2.BORDER_REFLECT_101)
    return np.asarray(field * np.float32(alpha))


def kernel_size(sigma: float) -> int:
    """The width of the Gaussian kernel that imgaug takes for `sigma`: odd, at least 5."""
    share = 3.3 if sigma < 3 else 2.9 if sigma < 5 else 2.6
    return int(max(share * sigma, 5)) | 1


def _remap(coverage: np.ndarray, shift: np.ndarray) -> np.ndarray:
    height, width = coverage.shape
    x = shift[0] + np.arange(width, dtype=np.float32)
    y = shift[1] + np.arange(height, dtype=np.float32)[:, None]
    return np.asarray(cv2.remap(coverage, x, y, cv2.INTER_CUBIC, borderMode=cv2.BORDER_CONSTANT))
