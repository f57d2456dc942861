"""Scoring one table of pairs: collect its distinct images and texts, send batches, compute the scores."""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Sequence
from hashlib import blake2b
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import numpy.typing as npt
import pyarrow as pa

if TYPE_CHECKING:
    from curate.scorer.batch import Room
    from curate.scorer.encoder import Encoder, Waiter

NOWHERE = -1  # stands for the index of a missing image or text
BLOCK_ROWS = 4096


class EachImage(NamedTuple):
    """The M images of N rows that the scorer was given, row by row."""

    counts: npt.NDArray[np.int64]  # N; a row without an image counts as one
    features: pa.ListArray  # M, as in `Scored`

    def rows(self, first: int, count: int) -> EachImage:
        """The images of `count` rows from row `first` on."""
        start, size = int(self.counts[:first].sum()), int(self.counts[first : first + count].sum())
        return EachImage(self.counts[first : first + count], self.features.slice(start, size))


class Scored(NamedTuple):
    """The result for a table's pairs (N rows)."""

    scores: pa.FloatArray  # cosine of image and text; null where one is missing or the image gave no feature
    features: pa.ListArray  # of the image, float16, of length 1; null where there is no image or it gave none
    failed: dict[str, int]  # rows whose image gave no feature, by reason
    each: EachImage | None = None  # where rows show several images


class TableScoring:
    """The scoring of one table.

    Call `is_new` for each row's image in turn, then, in the same order, for each new image either `add` (its
    framed pixels) or `fail`. `flights` holds the batches in flight, those of earlier tables included.
    """

    def __init__(self, encoder: Encoder, texts: Sequence[str | None], flights: Flights) -> None:
        self._encoder, self._texts, self._flights = encoder, texts, flights
        known = {text: None for text in texts if text and not text.isspace()}
        self._places = {text: number for number, text in enumerate(known)}
        self._embedded = encoder.texts(list(known))
        self._known: dict[str | bytes, int] = {}  # number of each distinct image, by its name or hash
        self._numbers: list[int] = []  # for each row: the number of its image
        self._rows: list[int] = []  # for each distinct image: the index of its feature
        self._reasons: dict[int, str] = {}  # for each distinct image without a feature: why
        self._added = 0
        self._room: Room | None = None
        self._features = [np.empty((0, encoder.identity.dimension), np.float32)]

    def is_new(self, image: bytes | None, name: str | None = None) -> bool:
        """Register the next row; True where it has an image that no earlier row of this table has.

        Images with the same `name` are the same; without a name the bytes decide.
        """
        if image is None:
            self._numbers.append(NOWHERE)
            return False
        new = len(self._known)
        number = self._known.setdefault(name or blake2b(image, digest_size=16).digest(), new)
        self._numbers.append(number)
        return number == new

    def add(self, framed: bytes) -> None:
        """Add the next new image, as `curate.scorer.framing.framed` returned it."""
        if self._room is not None and not self._room.takes(framed):
            self._launch(self._room)
        if self._room is None:
            self._room = self._encoder.room(self._encoder.batch)
        self._room.add(framed)
        self._rows.append(self._added)
        self._added += 1

    def fail(self, reason: str) -> None:
        """Record that the next new image gives no feature, for this reason."""
        self._reasons[len(self._rows)] = reason
        self._rows.append(NOWHERE)

    def end(self) -> None:
        """Send the last batch, once every image was added or failed."""
        if self._room is not None:
            self._launch(self._room)

    def features(self) -> np.ndarray:
        """Wait for the features of all images added (images x dimension, float32); nothing can be added afterwards."""
        self.end()
        while any(work is self for work, _ in self._flights):
            self._land()
        return np.concatenate(self._features)

    def finish(self) -> Scored:
        """Wait for the scores and features of all rows; nothing can be added afterwards."""
        features = self.features()
        row_of = np.array([*self._rows, NOWHERE])  # index -1, NOWHERE, finds NOWHERE
        numbers = np.array(self._numbers, np.int64)
        rows = row_of[numbers]
        useless = ~np.isfinite(features).all(axis=1)
        useless = np.append(useless, False)[rows]  # index -1, NOWHERE, finds False
        failed = Counter(self._reasons[n] for n in numbers[(rows == NOWHERE) & (numbers != NOWHERE)].tolist())
        if useless.any():
            failed["not_a_number"] = int(useless.sum())
            rows = np.where(useless, NOWHERE, rows)
        return Scored(self._scores(features, rows), feature_column(features, rows), dict(failed))

    def _launch(self, room: Room) -> None:
        """Send the batch; first wait for an earlier one if too many are in flight."""
        if len(self._flights) == self._encoder.in_flight:
            self._land()
        self._flights.append((self, self._encoder.images(room)))
        self._room = None

    def _land(self) -> None:
        """Wait for the oldest batch in flight, whichever table it belongs to."""
        work, waiter = self._flights.popleft()
        work._features.append(waiter())

    def _scores(self, features: np.ndarray, rows: np.ndarray) -> pa.FloatArray:
        embedded = self._embedded()
        text_rows = np.array([self._places.get(text or "", NOWHERE) for text in self._texts], np.int64)
        scores = np.zeros(len(rows), np.float32)
        known = np.flatnonzero((rows != NOWHERE) & (text_rows != NOWHERE))
        for first in range(0, len(known), BLOCK_ROWS):
            some = known[first : first + BLOCK_ROWS]
            scores[some] = np.einsum("nd,nd->n", features[rows[some]], embedded[text_rows[some]])
        missing = np.ones(len(rows), bool)
        missing[known] = ~np.isfinite(scores[known])
        return pa.array(scores, mask=missing)


Flights = deque[tuple[TableScoring, "Waiter"]]


def feature_column(features: np.ndarray, rows: np.ndarray) -> pa.ListArray:
    """Each row's feature as float16 (N rows); null where its index is NOWHERE.

    `features` are F x dimension; `rows` (N) holds each row's index in them.
    """
    there = rows != NOWHERE
    values = features[rows[there]].astype(np.float16).reshape(-1)
    lengths = np.where(there, features.shape[1], 0)
    offsets = np.concatenate([[0], np.cumsum(lengths)]).astype(np.int32)
    return pa.ListArray.from_arrays(pa.array(offsets), pa.array(values, pa.float16()), mask=pa.array(~there))
