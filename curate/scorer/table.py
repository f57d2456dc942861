"""One table of pairs under way: its different images and texts, their batches, and the scores in the end."""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Sequence
from hashlib import blake2b
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import pyarrow as pa

if TYPE_CHECKING:
    from curate.scorer.batch import Room
    from curate.scorer.encoder import Encoder, Waiter

NOWHERE = -1  # the place of an image or text that is not there
BLOCK_ROWS = 4096


class Scored(NamedTuple):
    """What became of a table's pairs (N rows)."""

    scores: pa.FloatArray  # cosine of image and text; null where one is missing or the image gave no feature
    features: pa.ListArray  # the image's, float16, of length 1; null likewise
    failed: dict[str, int]  # rows whose image gave no feature, by reason


class TableScoring:
    """The state of one table.

    `is_new` is asked for each row's image in turn; each new one is then, in the same order, given as it was
    framed (`add`) or given up (`fail`). `flights` are the batches under way, also those of tables before.
    """

    def __init__(self, encoder: Encoder, texts: Sequence[str | None], flights: Flights) -> None:
        self._encoder, self._texts, self._flights = encoder, texts, flights
        known = {text: None for text in texts if text and not text.isspace()}
        self._places = {text: number for number, text in enumerate(known)}
        self._embedded = encoder.texts(list(known))
        self._known: dict[str | bytes, int] = {}  # name or fingerprint of an image to its number
        self._numbers: list[int] = []  # of each row's image
        self._rows: list[int] = []  # of each image's feature
        self._reasons: dict[int, str] = {}  # why an image has none
        self._added = 0
        self._room: Room | None = None
        self._features = [np.empty((0, encoder.identity.dimension), np.float32)]

    def is_new(self, image: bytes | None, name: str | None = None) -> bool:
        """Count a row in; whether its image is there, and the first of its kind.

        Images with the same `name` are the same; without one its bytes decide.
        """
        if image is None:
            self._numbers.append(NOWHERE)
            return False
        new = len(self._known)
        number = self._known.setdefault(name or blake2b(image, digest_size=16).digest(), new)
        self._numbers.append(number)
        return number == new

    def add(self, framed: bytes) -> None:
        """The next new image; see `curate.scorer.framing.framed`."""
        if self._room is not None and not self._room.takes(framed):
            self._launch(self._room)
        if self._room is None:
            self._room = self._encoder.room(self._encoder.batch)
        self._room.add(framed)
        self._rows.append(self._added)
        self._added += 1

    def fail(self, reason: str) -> None:
        """The next new image gives no feature."""
        self._reasons[len(self._rows)] = reason
        self._rows.append(NOWHERE)

    def end(self) -> None:
        """Every image is added or failed: send the last batch off."""
        if self._room is not None:
            self._launch(self._room)

    def features(self) -> np.ndarray:
        """The features of all images that were added (float32), once there are no more."""
        self.end()
        while any(work is self for work, _ in self._flights):
            self._land()
        return np.concatenate(self._features)

    def finish(self) -> Scored:
        """All rows' scores and features, once there are no more."""
        features = self.features()
        row_of = np.array([*self._rows, NOWHERE])  # the last one is NOWHERE's own
        numbers = np.array(self._numbers, np.int64)
        rows = row_of[numbers]
        useless = ~np.isfinite(features).all(axis=1)
        useless = np.append(useless, False)[rows]  # NOWHERE takes the last one
        failed = Counter(self._reasons[n] for n in numbers[(rows == NOWHERE) & (numbers != NOWHERE)].tolist())
        if useless.any():
            failed["not_a_number"] = int(useless.sum())
            rows = np.where(useless, NOWHERE, rows)
        return Scored(self._scores(features, rows), feature_column(features, rows), dict(failed))

    def _launch(self, room: Room) -> None:
        """Send the batch off; wait for an earlier one if too many are under way."""
        if len(self._flights) == self._encoder.in_flight:
            self._land()
        self._flights.append((self, self._encoder.images(room)))
        self._room = None

    def _land(self) -> None:
        """Wait for the first batch under way, whosever it is."""
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
    """Each row's feature as float16; null where its place is NOWHERE (N rows)."""
    there = rows != NOWHERE
    values = features[rows[there]].astype(np.float16).reshape(-1)
    lengths = np.where(there, features.shape[1], 0)
    offsets = np.concatenate([[0], np.cumsum(lengths)]).astype(np.int32)
    return pa.ListArray.from_arrays(pa.array(offsets), pa.array(values, pa.float16()), mask=pa.array(~there))
