"""Read what a source publishes about an image besides its size: the hash of its bytes, and boxes to blur."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

import msgspec
import pyarrow as pa

from curate.engine.acquire import RawImage
from curate.manifest.settings import Manifest

CHANGED = "image_changed"
MAX_BOXES = 1000  # an image with more boxes is blurred as a whole
WHOLE = (0.0, 0.0, 1.0, 1.0)  # a box around the whole image

Box = tuple[float, float, float, float]  # x0, y0, x1, y1 as shares of the image's sides

decode = msgspec.json.Decoder(dict[str, Any]).decode


@dataclass(frozen=True)
class PublishedImage:
    """What a source publishes about one image."""

    sha256: str = ""  # hex; empty if none is published
    boxes: tuple[Box, ...] = ()  # to blur

    def hold(self, image: RawImage) -> RawImage:
        """Return the image with its boxes, or a failure if its bytes do not have the published hash."""
        if image.data is None:
            return image
        if self.sha256 and (found := hashlib.sha256(image.data).hexdigest()) != self.sha256:
            return RawImage(None, "decode", CHANGED, f"published={self.sha256[:16]} found={found[:16]}")
        return replace(image, boxes=self.boxes) if self.boxes else image


class PublishedImages:
    """Reads what a manifest's source publishes about images, from the column `extra` of the samples."""

    def __init__(self, manifest: Manifest) -> None:
        rule: Mapping[str, Any] = manifest.active_rules().get(CHANGED, {})
        self._sha256, self._boxes = str(rule.get("sha256", "")), manifest.image.blur_boxes
        self._rows: dict[int, PublishedImage] = {}

    def note(self, table: pa.Table, places: pa.Array, first: int) -> None:
        """Remember what is published about some rows of a table.

        Args:
            table: samples.
            places: the rows' numbers in the table.
            first: the number of the table's first row in the unit.
        """
        if not self._sha256 and not self._boxes:
            return
        for place, extra in zip(places.to_pylist(), table["extra"].take(places).to_pylist(), strict=True):
            found = self._read(extra or "{}")
            if found != PublishedImage():
                self._rows[first + place] = found

    def held(self, images: Iterable[tuple[int, RawImage]]) -> Iterator[tuple[int, RawImage]]:
        """Yield each row's image (row number, image) after `PublishedImage.hold` with what was noted about it."""
        for row, image in images:
            noted = self._rows.pop(row, None)
            yield row, image if noted is None else noted.hold(image)

    def _read(self, extra: str) -> PublishedImage:
        others = decode(extra)
        sha256 = others.get(self._sha256) if self._sha256 else None
        boxes = others.get(self._boxes) if self._boxes else None
        return PublishedImage(
            sha256.strip().lower() if isinstance(sha256, str) else "", tuple(_boxes(boxes)) if boxes else ()
        )


def _boxes(found: Any) -> Iterator[Box]:
    """Yield the boxes in a published value; the whole image if the value or a box is not valid, or has too many."""
    if isinstance(found, str):
        try:
            found = msgspec.json.decode(found)
        except msgspec.DecodeError:
            found = None
    if not isinstance(found, list) or len(found) > MAX_BOXES:
        yield WHOLE
        return
    for one in found:
        sides = one if isinstance(one, list) and len(one) == 4 else ()
        if not sides or not all(isinstance(side, int | float) and math.isfinite(side) for side in sides):
            yield WHOLE
            return
        x0, y0, x1, y1 = (min(1.0, max(0.0, float(side))) for side in sides)
        if x0 < x1 and y0 < y1:
            yield x0, y0, x1, y1
