"""Plan an image before it is painted: sizes, lines, geometry, strengths of effects, pictures."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from synthdog import geometry
from synthdog.draws import Sampler, Strengths
from synthdog.errors import ItemError
from synthdog.pictures import Crop, cut
from synthdog.resources import Resources
from synthdog.settings import LANGUAGES, DocumentSection, TemplateSettings
from synthdog.text_lines import PlacedLine
from synthdog.writing import Writer

Size = tuple[int, int]  # width, height (px)


@dataclass(frozen=True)
class PagePlan:
    """One image, unpainted. `matrix` (3, 3) takes px of the document to px of the picture."""

    seed: tuple[int, ...]
    size: Size
    quality: int
    document: Size
    matrix: np.ndarray
    lines: tuple[PlacedLine, ...]
    faces: tuple[str, ...]
    background: Crop
    paper: Crop
    strengths: Strengths
    fade: float  # of the motion blur, 0 to 1: towards which end it is stronger

    def record(self) -> dict[str, Any]:
        """What is recorded of the plan in `extra`."""
        return {
            "fonts": list(self.faces),
            "background": self.background.label,
            "paper": self.paper.label,
            "quality": self.quality,
            "effects": self.strengths.record(),
        }


class Planner:
    """Plans images from settings and resources."""

    def __init__(self, settings: TemplateSettings, resources: Resources, language: str):
        self._settings, self._resources = settings, resources
        self._language = LANGUAGES.index(language)
        self._sampler = Sampler(settings)
        self._writer = Writer(settings.document.content, resources, self._sampler)

    def plan(self, seed: int, index: int) -> PagePlan:
        """Plan image number `index` of `seed`; the plan depends only on these, the language, settings and resources.

        Raises:
            ItemError: no line fitted in `max_attempts` (`layout_failed`), or a picture cannot be read.
        """
        attempt = 0
        while True:
            words = np.random.SeedSequence([seed, index, self._language, attempt]).generate_state(4)
            try:
                return self._attempt(tuple(int(word) for word in words))
            except ItemError as failure:
                attempt += 1
                if failure.reason != "layout_failed" or attempt >= self._settings.max_attempts:
                    raise

    def _attempt(self, seed: tuple[int, ...]) -> PagePlan:
        s, rng = self._settings, np.random.default_rng([*seed, 0])
        size = _size(rng, s.landscape, s.short_size, s.aspect_ratio)
        document = _document_size(rng, size, s.document)
        strengths = self._sampler.strengths([*seed, 0])
        matrix = _placed(_matrix(document, strengths), document, size, rng)
        written, faces = self._writer.write(document, seed, rng)
        reach = 0.0 if strengths.elastic is None else float(strengths.elastic["alpha"])
        lines = tuple(part for line in written for part in _inside(line, matrix, document, size, reach))
        if not lines:
            raise ItemError("layout_failed", f"no text fits on a document of {document[0]}x{document[1]} px")
        return PagePlan(
            seed=seed,
            size=size,
            quality=int(rng.integers(s.quality[0], s.quality[1] + 1)),
            document=document,
            matrix=matrix,
            lines=lines,
            faces=tuple(faces),
            background=cut(self._resources.backgrounds, s.background.image, rng),
            paper=cut(self._resources.papers, s.document.paper, rng),
            strengths=strengths,
            fade=float(rng.random()),
        )


def _size(
    rng: np.random.Generator, landscape: float, short_size: tuple[int, int], ratio: tuple[float, float]
) -> Size:
    wide = rng.random() < landscape
    short = int(rng.integers(short_size[0], short_size[1] + 1))
    long = int(short * rng.uniform(*ratio))
    return (long, short) if wide else (short, long)


def _document_size(rng: np.random.Generator, size: Size, settings: DocumentSection) -> Size:
    """The document's size: the picture's, or one that fits into it."""
    if rng.random() < settings.fullscreen:
        return size
    wide = rng.random() < settings.landscape
    longest, least = size[0] if wide else size[1], min(size)
    low, high = (min(least, side) for side in settings.short_size)
    short = int(rng.integers(low, high + 1))
    narrow, broad = (min(longest / short, ratio) for ratio in settings.aspect_ratio)
    long = int(short * rng.uniform(narrow, broad))
    return (long, short) if wide else (short, long)


def _matrix(document: Size, strengths: Strengths) -> np.ndarray:
    """The document's perspective and rotation (3, 3)."""
    matrix = np.eye(3)
    if strengths.perspective is not None:
        matrix = geometry.perspective(*document, strengths.perspective["meta"])
    if strengths.rotation is not None:
        middle = geometry.through(matrix, geometry.rectangle(*document)).mean(axis=0)
        matrix = geometry.rotation(middle, strengths.rotation["angle"]) @ matrix
    return matrix


def _placed(matrix: np.ndarray, document: Size, size: Size, rng: np.random.Generator) -> np.ndarray:
    """Move the document to a random position in the picture, or to its top left where it does not fit."""
    corners = geometry.through(matrix, geometry.rectangle(*document))
    low, high = corners.min(axis=0), corners.max(axis=0)
    space = np.maximum(np.array(size) - (high - low), 0)
    at = [int(rng.integers(int(room) + 1)) for room in space]
    return np.asarray(geometry.translation(*(at - low)) @ matrix)


def _inside(
    line: PlacedLine, matrix: np.ndarray, document: Size, size: Size, reach: float
) -> list[PlacedLine]:
    """The line's longest run of words that lie wholly in the document and the picture; nothing if none does.

    `reach` (px) is how far an elastic distortion may carry ink.
    """
    boxes = line.boxes() + np.array([-reach, -reach, reach, reach])
    quads = geometry.quads(boxes)
    fine = geometry.inside(quads, *document) & geometry.inside(geometry.through(matrix, quads), *size)
    if fine.all():
        return [line]
    lost = {index for index, good in zip(line.inked(), fine, strict=True) if not good}
    best, run = (0, 0), None
    for start, end in line.words():
        run = None if lost & set(range(start, end)) else (start, end) if run is None else (run[0], end)
        best = max(best, run or best, key=lambda span: span[1] - span[0])
    return [line.part(*best)] if best[1] else []
