"""Finds rows of finished shards that hold an image or a text of evaluation sets, as the rules of a run do."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from curate.engine.tombstones import Tombstone, sha256_of
from curate.images.decoded_prints import DecodedPrints
from curate.images.evaluation import IMAGE_RULE, EvaluationImages, check_sets
from curate.images.fingerprint import VIEW_BYTES, VIEWS
from curate.manifest.pinning import RULES, pin, place
from curate.storage.shard_images import images_of_group
from curate.tasks.turns import without_marks
from filters.copies import MAX_DISTANCE
from filters.evaluation_texts import unlike_evaluation_texts

MESSAGES = "messages.list.element.content"
_, TEXT_RULE = RULES


class Overlap(NamedTuple):
    """A row that is in an evaluation set."""

    row: int  # its number in the shard
    rule: str  # the rule that found it
    mark: Tombstone  # keeps it out of the run from now on
    # For an image: `key`, `image` (its name in the evaluation set), `distance` (bits of 256)
    copy: dict[str, Any] | None = None


class EvaluationOverlap:
    """The evaluation sets of some fingerprint files, given by their pinned names."""

    def __init__(self, pinned: Sequence[str]) -> None:
        self._pinned = tuple(pinned)
        self._images = EvaluationImages.of(self._pinned)
        self.by_image = any(len(one.prints) for one in self._images.sets)
        self._by_text = any(one.header["texts"] for one in self._images.sets)

    @classmethod
    def of(cls, paths: Sequence[str]) -> EvaluationOverlap:
        """Open the fingerprint files at `paths`.

        Raises:
            ManifestError: one cannot be read, or was made by another method.
        """
        rules: dict[str, Any] = {IMAGE_RULE: {"against": list(paths)}}
        pin({"rules": rules}, Path())
        check_sets(rules)
        return cls(rules[IMAGE_RULE]["against"])

    @property
    def sha256s(self) -> tuple[str, ...]:
        """The SHA-256 of each file (hex)."""
        return tuple(place(one)[1] for one in self._pinned)

    @property
    def names(self) -> list[str]:
        """The names of the sets."""
        return [one.name for one in self._images.sets]

    def of_shard(self, reader: pq.ParquetFile, decoded: DecodedPrints | None) -> Iterator[Overlap]:
        """Yield the rows of a shard that are in one of the sets.

        If a set has images, every image of the shard is decoded by `decoded`.
        """
        first, columns = 0, ["key", "text", MESSAGES] if self._by_text else ["key"]
        for group in range(reader.num_row_groups) if self.by_image or self._by_text else ():
            table = reader.read_row_group(group, columns, use_threads=False)
            keys = dict(enumerate(table["key"].to_pylist(), first))
            if self._by_text:
                yield from self._by_words(keys, table)
            if self.by_image and decoded is not None:
                rows, bodies = images_of_group(reader, group)
                yield from self._by_look(keys, [first + row for row in rows], bodies, decoded)
            first += table.num_rows

    def _by_words(self, keys: dict[int, str], table: pa.Table) -> Iterator[Overlap]:
        """Yield the rows whose text, or a turn of whose dialogue, is in an evaluation set."""
        messages = table["messages"].combine_chunks()
        rows = [*keys, *(min(keys, default=0) + row for row in pc.list_parent_indices(messages).to_pylist())]
        turns = without_marks(pc.struct_field(pc.list_flatten(messages), "content"))
        texts = pa.concat_arrays([table["text"].combine_chunks(), turns])
        kept = unlike_evaluation_texts(texts, against=self._pinned).to_pylist()
        for row in sorted({row for row, keep in zip(rows, kept, strict=True) if keep is False}):
            yield Overlap(row, TEXT_RULE, Tombstone("key", sha256_of(keys[row])))

    def _by_look(
        self, keys: dict[int, str], rows: list[int], bodies: list[bytes], decoded: DecodedPrints
    ) -> Iterator[Overlap]:
        found = [
            (row, body, views)
            for row, body, views in zip(rows, bodies, decoded.of(bodies), strict=True)
            if views is not None
        ]
        prints = np.frombuffer(b"".join(views for *_, views in found), np.uint8).reshape(
            -1, VIEWS, VIEW_BYTES
        )
        nearest = self._images.nearest(prints, MAX_DISTANCE) if found else []
        for (row, body, _), near in zip(found, nearest, strict=True):
            if near is not None:
                of, number, bits = near
                copy = {"key": keys[row], "image": f"{of.name}: {of.image_name(number)}", "distance": bits}
                yield Overlap(row, IMAGE_RULE, Tombstone("sha256", hashlib.sha256(body).digest()), copy)
