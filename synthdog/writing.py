"""Fill a document with grids of lines; each grid has a face and a position in the corpus that the face can write."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from synthdog.corpus import CorpusReader
from synthdog.draws import Sampler, colour
from synthdog.fonts import Face
from synthdog.layout import Area, Box, stack
from synthdog.resources import Resources
from synthdog.settings import Content
from synthdog.text_lines import SPACE, PlacedLine, compose

WINDOW = 200  # characters that are examined to see whether a face can write the text
MAX_MOVES = 8  # attempts to find a position in the corpus that the face can write
LEAST_HEIGHT = 6.0  # px: smaller lines are not written, nobody could read them
BLACK = (0, 0, 0)


class Writer:
    """Fills documents with lines."""

    def __init__(self, content: Content, resources: Resources, sampler: Sampler):
        self._content, self._resources, self._sampler = content, resources, sampler

    def write(
        self, document: tuple[int, int], seed: Sequence[int], rng: np.random.Generator
    ) -> tuple[list[PlacedLine], list[str]]:
        """The lines of a document (width, height in px) in reading order, inked, and their faces' names."""
        across, down = rng.uniform(*self._content.margin, 2) * document
        area = Area(across, down, document[0] - 2 * across, document[1] - 2 * down)
        at = int(rng.integers(len(self._resources.text)))
        lines: list[PlacedLine] = []
        names: dict[str, None] = {}
        for grid in stack(area, self._content.layout, rng):
            if grid[0].height < LEAST_HEIGHT:
                continue
            face = self._resources.faces[int(rng.integers(len(self._resources.faces)))]
            written, at = self._grid(grid, face, at, rng)
            lines += written
            names |= {face.name: None} if written else {}
        return self._inked(lines, seed, rng), list(names)

    def _grid(
        self, grid: Sequence[Box], face: Face, at: int, rng: np.random.Generator
    ) -> tuple[list[PlacedLine], int]:
        """A grid's lines, and the position in the text where the next grid continues."""
        text = self._resources.text
        for _ in range(MAX_MOVES):
            if not face.lacks(text.window(at, WINDOW).replace(SPACE, "")):
                break
            at = int(rng.integers(len(text)))
        sized = face.at(grid[0].height, bool(rng.random() < self._content.font.bold))
        reader = CorpusReader(text, at, sized.lacks)
        lines = []
        for box in grid:
            width = max(box.width * rng.uniform(*self._content.textbox.fill), min(box.height, box.width))
            line = compose(box, width, sized, reader)
            lines += [line] if line is not None else []
        return lines, reader.at

    def _inked(
        self, lines: list[PlacedLine], seed: Sequence[int], rng: np.random.Generator
    ) -> list[PlacedLine]:
        """The lines in the colours that were drawn: one colour for all lines, or else one for each line."""
        whole = self._sampler.grays("content", 1, [*seed, 1])[0]
        own = self._sampler.grays("line", len(lines), [*seed, 2])
        if whole is not None:
            inks = [_ink(whole, self._content.content_color.colorize, rng)] * len(lines)
        else:
            inks = [_ink(gray, self._content.textbox_color.colorize, rng) for gray in own]
        return [replace(line, bgr=bgr) for line, bgr in zip(lines, inks, strict=True)]


def _ink(gray: int | None, colorize: float, rng: np.random.Generator) -> tuple[int, int, int]:
    if gray is None:
        return BLACK
    return colour(gray, rng) if rng.random() < colorize else (gray, gray, gray)
