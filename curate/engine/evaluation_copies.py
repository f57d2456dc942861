"""Drop copies of evaluation images after decoding, and keep some of them for the report.

A few copies of each unit are written to `_evaluation/`, each with the picture of the evaluation image that the
fingerprint file holds, so that a person can see whether the rule is right.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cached_property
from typing import Any

import msgspec
import pyarrow as pa
import pyarrow.compute as pc

from curate.images.evaluation import IMAGE_RULE, EvaluationImages
from curate.manifest.settings import Manifest
from curate.marking import alive, drop, scatter
from curate.storage.store import Store
from filters.copies import KIND, stored

STAGE = "copies"
SHOWN = 4  # copies that are kept for each unit
LARGEST = 2**20  # bytes of a copy; the image of a larger one is left out
FOLDER = "_evaluation"


class EvaluationCopy(msgspec.Struct, frozen=True):
    """A dropped image, and the evaluation image that it is a copy of."""

    key: str  # of the dropped row
    set: str  # the evaluation set
    name: str  # of the evaluation image
    distance: int  # how many of 256 bits of the fingerprints differ
    image: bytes  # the dropped image, encoded; empty if it is larger than LARGEST
    picture: bytes  # of the evaluation image; empty if the fingerprint file has none


class EvaluationCopies:
    """The rule `image_in_evaluation_set` of one run, with the evaluation images in memory."""

    def __init__(self, manifest: Manifest) -> None:
        self._settings: dict[str, Any] | None = manifest.active_rules().get(IMAGE_RULE)

    @property
    def is_on(self) -> bool:
        """Whether the manifest has the rule."""
        return self._settings is not None

    def drop(self, table: pa.Table) -> pa.Table:
        """Drop the copies in a table of decoded images (N rows of SAMPLE)."""
        return self._drop(table)[0]

    def drop_and_show(
        self, table: pa.Table, image: Callable[[int], bytes], store: Store, unit: int
    ) -> pa.Table:
        """Drop the copies, and write some of them to `_evaluation/`.

        Args:
            table: decoded images (N rows of SAMPLE).
            image: returns the encoded image of a row number of the table.
            store: the run's folder.
            unit: the unit's number.
        """
        table, found = self._drop(table)
        shown = []
        for row in sorted(found)[: SHOWN if found else 0]:
            (of, number, bits), body = found[row], image(row)
            shown.append(
                EvaluationCopy(
                    key=table["key"][row].as_py(),
                    set=of.name,
                    name=of.image_name(number),
                    distance=bits,
                    image=body if len(body) <= LARGEST else b"",
                    picture=of.picture(number),
                )
            )
        if shown:
            store.write_bytes(f"{FOLDER}/unit-{unit:06d}.json", msgspec.json.encode(shown))
        return table

    def _drop(self, table: pa.Table) -> tuple[pa.Table, dict[int, Any]]:
        if self._settings is None:
            return table, {}
        there = pc.and_(alive(table), pc.is_valid(table["fingerprint"]))
        places = pc.indices_nonzero(there)
        prints = stored(table["fingerprint"].take(places).combine_chunks().cast(KIND))
        nearest = self._images.nearest(prints, self._settings["max_distance"]) if len(places) else []
        found = {row: one for row, one in zip(places.to_pylist(), nearest, strict=True) if one is not None}
        rows = pa.array(list(found), pa.int64())
        said = [
            f"distance={bits} to {of.name}: {of.image_name(number)}" for of, number, bits in found.values()
        ]
        detail = scatter(pa.array(said, pa.string()), rows, table.num_rows)
        return drop(table, pc.if_else(pc.is_valid(detail), IMAGE_RULE, None), STAGE, detail), found

    @cached_property
    def _images(self) -> EvaluationImages:
        assert self._settings is not None
        return EvaluationImages.of(tuple(self._settings["against"]))
