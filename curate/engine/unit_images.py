"""Fetch and decode the images of one unit.

Rows are read table by table. Each has what its source gives of the image: a rendered page, bytes, a path or a URL.
Images are decoded while further rows are read. An image that several rows need is fetched once. Good images are written
to the spool on disk, so that only the images in flight are in memory.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from curate.engine import dialogue_images
from curate.engine.acquire import AcquiredImage, Acquirer, RawImage
from curate.engine.listed_images import ListedImages
from curate.engine.published_images import PublishedImages
from curate.engine.record import Meter
from curate.engine.score import Windows
from curate.engine.spool import Spool
from curate.manifest.settings import Manifest
from curate.marking import alive
from curate.schema import SAMPLE, set_column
from curate.tasks.formats import CONVERSATION

Outcomes = dict[
    int, AcquiredImage
]  # row of the unit, or slot of a dialogue's image → result, without the image's bytes


class UnitImages:
    """Fetches and decodes the images of one unit.

    `beside` is the folder in which paths of dialogues' images are looked up if the manifest has no image folder.
    """

    def __init__(
        self,
        manifest: Manifest,
        acquirer: Acquirer,
        listed: ListedImages,
        spool: Spool,
        windows: Windows,
        beside: Path | None,
    ) -> None:
        self._manifest, self._acquirer, self._spool, self._windows = manifest, acquirer, spool, windows
        self._beside, self._published, self._listed = beside, PublishedImages(manifest), listed
        self._first: dict[str, int] = {}  # path or URL → the first row that needs it
        self._others: dict[int, list[int]] = {}  # that first row → other rows that need the same image
        self._remote: dict[int, str] = {}  # row → URL, which is fetched after all rows are read
        self._row_of: list[int] = []  # slot → the dialogue that shows the image

    def get(self, tables: Iterable[pa.Table], meter: Meter) -> tuple[pa.Table, Outcomes]:
        """Get the images of the unit's alive rows.

        Args:
            tables: the unit's rows.
            meter: gets the counts of rows and images.

        Returns:
            All rows in one table, without images, and the result for each image.
        """
        bare: list[pa.Table] = [SAMPLE.empty_table()]
        found: Outcomes = {}
        images = self._listed.held(self._published.held(self._raw(tables, bare, meter)))
        for row, prepared in self._acquirer.prepare(images):
            if prepared.image is not None:
                self._spool.put(row, prepared.image)
                prepared = prepared.without_image()
            meter.add(images=1)
            found[row] = prepared
            self._settle(row)
            found |= self._shared(row, prepared)
        for first in list(self._others):  # rows that were read after their image had been decoded
            found |= self._shared(first, found[first])
        return pa.concat_tables(bare).combine_chunks(), found

    def _raw(
        self, tables: Iterable[pa.Table], bare: list[pa.Table], meter: Meter
    ) -> Iterator[tuple[int, RawImage]]:
        """Yield each alive row's raw image, those from the network last; append the tables without images to `bare`."""
        first = 0
        for table in tables:
            shown: list[np.ndarray] | None = None
            if self._manifest.task == CONVERSATION:
                table = dialogue_images.numbered(table, len(self._row_of))
                shown = self._expect_all(table, first)
                yield from dialogue_images.bodies(
                    table, self._acquirer, self._beside, self._is_first, self._remote
                )
                table = dialogue_images.without_bytes(table)
            elif self._manifest.task != "text":
                yield from self._at_hand(table, first)
            bare.append(set_column(table, "image", pa.nulls(table.num_rows, pa.large_binary())))
            first += table.num_rows
            self._windows.read(table["text"], shown)
            meter.add(rows=table.num_rows)
        yield from self._acquirer.fetch(self._remote)

    def _expect_all(self, table: pa.Table, first: int) -> list[np.ndarray]:
        """Return the slots of each dialogue's images (N); tell the scorer to expect those of alive dialogues."""
        images = table["images"].combine_chunks()
        counts = pc.list_value_length(images).fill_null(0).to_numpy(zero_copy_only=False)
        self._row_of += np.repeat(np.arange(first, first + len(counts)), counts).tolist()
        for row in pc.indices_nonzero(alive(table)).to_pylist():
            for _ in range(counts[row]):
                self._windows.expect(first + row)
        slots = pc.struct_field(pc.list_flatten(images), "slot").to_numpy(zero_copy_only=False)
        return np.split(slots.astype(np.int64), np.cumsum(counts)[:-1])

    def _at_hand(self, table: pa.Table, first: int) -> Iterator[tuple[int, RawImage]]:
        """Yield the images that need no network, and note the URLs of the others; `first` is the table's first row."""
        places = pc.indices_nonzero(alive(table))
        self._published.note(table, places, first)
        living = table.select(["image", "format", "image_path", "url"]).take(places)
        for place, image, kind, path, url in zip(places.to_pylist(), *living.columns, strict=True):
            row = first + place
            if kind.is_valid:
                self._spool.put(row, image.as_py())
                continue
            self._windows.expect(row)
            if image.is_valid:
                yield row, RawImage(image.as_py())
            elif path.is_valid and self._manifest.image.folder:
                if self._is_first(row, f"path {path}"):
                    yield row, self._acquirer.local(path.as_py())
            elif url.is_valid:
                if self._is_first(row, f"url {url}"):
                    self._remote[row] = url.as_py()
            else:
                yield row, RawImage(None, "read", "image_missing")

    def _is_first(self, row: int, image: str) -> bool:
        """Return whether no earlier row needs the same image; if one does, note that this row shares its image."""
        first = self._first.setdefault(image, row)
        if first != row:
            self._others.setdefault(first, []).append(row)
        return first == row

    def _shared(self, first: int, prepared: AcquiredImage) -> Outcomes:
        """Give the image and result of the row `first` to the rows that share it; return their results."""
        rows = self._others.pop(first, [])
        for row in rows:
            self._spool.put_again(row, first)
            self._settle(row)
        return dict.fromkeys(rows, prepared)

    def _settle(self, row: int) -> None:
        """Tell the scorer that the image of a row or slot has arrived or failed."""
        slot = row - dialogue_images.FIRST_SLOT
        self._windows.settle(row if slot < 0 else self._row_of[slot])
