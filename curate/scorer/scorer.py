"""The scorer: pairs of encoded images and texts in, scores and features out.

Child processes decode images ahead while the device computes, including images of the next table. Within a table each
distinct image and text is embedded once. A batch never holds images of two tables: the result for a table depends only
on that table, so a run that was killed and resumed writes the same bytes.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import Future
from itertools import repeat
from types import TracebackType
from typing import TYPE_CHECKING, NamedTuple, TypeVar

import numpy as np
from PIL import Image

from curate.children.pool import Children, Limits, Outcome
from curate.scorer.batch import is_part, most_bytes
from curate.scorer.framing import TARGET, child_settings, framed
from curate.scorer.identity import Identity
from curate.scorer.table import Flights, Scored, TableScoring

if TYPE_CHECKING:
    from curate.scorer.encoder import Encoder

IN_CHILD = 8  # images that are submitted ahead for each child process; see `curate.children.pool`
AHEAD_BYTES = 2**29  # limit on decoded images that wait for a batch

T = TypeVar("T")


class Pairs(NamedTuple):
    """A table's images and texts (N each); None for one that is missing."""

    images: Iterable[bytes | None]
    texts: Sequence[str | None]
    names: Sequence[str | None] | None = None  # of the images (N), such as hashes; equal names: equal images


class Scorer:
    """A model, and the child processes that decode for it. `curate.scorer.open_scorer` makes one."""

    def __init__(self, encoder: Encoder, children: int) -> None:
        self.encoder, self.framing = encoder, encoder.framing
        limits = Limits(max_answer_bytes=most_bytes(self.framing))
        self._children = Children(TARGET, children, limits, child_settings(self.framing))
        decoded = min(2 * encoder.batch, AHEAD_BYTES // most_bytes(self.framing))
        self._ahead = decoded + IN_CHILD * children

    @property
    def identity(self) -> Identity:
        """The scorer's identity, as shards name it."""
        return self.encoder.identity

    def score(self, images: Iterable[bytes | None], texts: Iterable[str | None]) -> Scored:
        """Score one table of pairs (N encoded images and N texts; None where missing). Raises: see `Encoder.images`."""
        return next(self.score_all([Pairs(images, list(texts))]))

    def score_all(self, tables: Iterable[Pairs]) -> Iterator[Scored]:
        """Yield the result of each table, in order; the next tables are read and decoded in the meantime."""
        ended: TableScoring | None = None
        for work, future in ahead(self._submitted(tables), self._ahead):
            if future is not None:
                self._take(work, self._checked(future.result()))
                continue
            work.end()
            if ended is not None:
                yield ended.finish()
            ended = work
        if ended is not None:
            yield ended.finish()

    def embed_images(self, images: Iterable[bytes | Image.Image]) -> np.ndarray:
        """The unit-length features (N x dimension, float32) of images, given encoded or as Pillow images.

        Raises:
            ValueError: one cannot be decoded.
        """
        work = TableScoring(self.encoder, (), deque())
        for number, image in enumerate(images):
            outcome = self._framed(image)
            if outcome.value is None:
                raise ValueError(f"image {number} is {outcome.reason}: {outcome.detail}")
            work.add(outcome.value)
        return work.features()

    def embed_texts(self, texts: Iterable[str]) -> np.ndarray:
        """The unit-length features (N x dimension, float32) of texts."""
        return self.encoder.texts(list(texts))()

    def close(self) -> None:
        """End the child processes and release the device."""
        self._children.close()
        self.encoder.close()

    def __enter__(self) -> Scorer:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _submitted(self, tables: Iterable[Pairs]) -> Iterator[tuple[TableScoring, Future[Outcome] | None]]:
        """Submit each distinct image to a child and yield its future; None marks the end of a table."""
        flights: Flights = deque()
        for images, texts, names in tables:
            work = TableScoring(self.encoder, texts, flights)
            for image, name in zip(images, names or repeat(None)):  # noqa: B905 - `repeat` is endless
                if work.is_new(image, name):
                    assert image is not None
                    yield work, self._children.submit(image)
            yield work, None

    def _take(self, work: TableScoring, outcome: Outcome) -> None:
        if outcome.value is None:
            work.fail(outcome.reason or "crashed")
        else:
            work.add(outcome.value)

    def _checked(self, outcome: Outcome) -> Outcome:
        """A child's outcome; a malformed answer counts as a crash: a hostile image may control the child."""
        if outcome.value is None or is_part(outcome.value, self.framing):
            return outcome
        return Outcome(reason="crashed", detail="its answer is not a framed image")

    def _framed(self, image: bytes | Image.Image) -> Outcome:
        if isinstance(image, Image.Image):
            return Outcome(framed(image, self.framing))
        return self._checked(self._children.submit(image).result())


def ahead(items: Iterable[T], count: int) -> Iterator[T]:
    """Yield the items with a delay: each once `count` more have been taken from `items`."""
    taken: deque[T] = deque()
    for item in items:
        taken.append(item)
        if len(taken) > count:
            yield taken.popleft()
    yield from taken
