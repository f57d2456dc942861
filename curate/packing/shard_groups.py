"""Reads the row groups of a shard without their images' bytes, and finds where the images are in the file.

An image whose place in the file is known is read later, by its place. The bytes are read with the row if the places are
not known (another writer compressed the images), and if the images' sizes must be read from their headers (the boxes of
a dialogue need the sizes in every dialect).
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from curate.images.foreign_rows import NOT_UTF8, ForeignRows, is_foreign, without_rows
from curate.storage.dataset import DataFile
from curate.storage.filesystems import filesystem
from curate.storage.image_index import IndexedImages, read_index
from curate.storage.image_places import IMAGE_LEAF, IMAGES_LEAF, NotInPlaceError, one_each, walked_places

IMAGE_PLACE = "image_place"  # the column: PLACE of `image`
IMAGES_PLACE = "images_place"  # the column: a list of PLACE, as long as `images`
FAULT, FAULT_DETAIL = "fault", "fault_detail"  # columns of shards of other software


class ShardGroups:
    """Reads the row groups of one shard by number, with the given columns.

    If other software wrote the shard and `foreign` is given, the columns FAULT and FAULT_DETAIL say why a row cannot be
    used; the other columns of a row with a text that is not UTF-8 are null.

    Args:
        file: the shard.
        parquet: the shard, opened.
        columns: the columns to read.
        places: whether to say where images are instead of reading their bytes, where that is possible.
        sides: whether images of unknown width or height must be read for their sizes.
        foreign: checks the rows of shards of other software; None: they are not checked.
    """

    def __init__(
        self,
        file: DataFile,
        parquet: pq.ParquetFile,
        columns: Sequence[str],
        places: bool,
        sides: bool,
        foreign: ForeignRows | None = None,
    ) -> None:
        self._file, self._parquet, self._places, self._sides = file, parquet, places, sides
        self._foreign = foreign if foreign is not None and is_foreign(parquet) else None
        self._columns = [self._path_alone(name) if name == "images" else name for name in columns]
        self._index = {leaf: read_index(parquet, leaf) for leaf in (IMAGE_LEAF, IMAGES_LEAF) if places}

    def read(self, group: int) -> pa.Table:
        """Read row group `group` (from 0).

        Raises:
            OSError, ValueError: it is damaged.
        """
        table = self._parquet.read_row_group(group, columns=self._columns)
        if "images" in table.column_names:
            table = self._with_many(table, group)
        if "image" in table.column_names and self._places:
            table = self._with_one(table, group)
        return table if self._foreign is None else self._judged(table, group, self._foreign)

    def _judged(self, table: pa.Table, group: int, foreign: ForeignRows) -> pa.Table:
        """Add the faults of the rows to the table."""
        found = foreign.faults(self._parquet.read_row_group(group))
        unreadable = np.array([fault is not None and fault.reason == NOT_UTF8 for fault in found], bool)
        table = without_rows(table, unreadable)
        for name, values in (
            (FAULT, [fault and fault.reason for fault in found]),
            (FAULT_DETAIL, [fault and fault.detail for fault in found]),
        ):
            table = table.append_column(name, pa.array(values, pa.string()))
        return table

    def _with_one(self, table: pa.Table, group: int) -> pa.Table:
        """Add the places of `image` to the table, or its bytes."""
        image = table["image"].combine_chunks()
        there = image.is_valid().to_numpy(zero_copy_only=False)
        places = self._located(group, IMAGE_LEAF) if there.any() else None
        unknown = self._sides and "width" in table.column_names and _lacks_sides(table, there)
        if places is not None and len(places.offset) == there.sum():
            table = table.append_column(IMAGE_PLACE, one_each(there, places))
            if not unknown:
                return table
        return self._whole(table, group, "image") if there.any() else table

    def _with_many(self, table: pa.Table, group: int) -> pa.Table:
        """Add the places of `images` to the table, or their bytes; both if sizes must be read from the bytes."""
        images = table["images"].combine_chunks()
        count = int(pc.sum(pc.list_value_length(images)).as_py() or 0)
        if not count:
            return table
        places = self._located(group, IMAGES_LEAF) if self._places else None
        found = places is not None and len(places.offset) == count
        if found:
            assert places is not None
            flat = one_each(np.ones(count, bool), places)
            lengths = pc.list_value_length(images).fill_null(0).to_numpy()
            edges = pa.array(np.concatenate([[0], np.cumsum(lengths)]), pa.int32())
            table = table.append_column(IMAGES_PLACE, pa.ListArray.from_arrays(edges, flat))
        needed = self._sides or (self._places and not found) or _has_boxes(table)
        return self._whole(table, group, "images") if needed else table

    def _whole(self, table: pa.Table, group: int, name: str) -> pa.Table:
        """Read a column of images with its bytes into the table."""
        column = self._parquet.read_row_group(group, columns=[name])[name]
        return table.set_column(table.schema.get_field_index(name), name, column)

    def _located(self, group: int, leaf: str) -> IndexedImages | None:
        """Return the places of the images in a row group; None if they cannot be found."""
        if (known := self._index.get(leaf)) is not None:
            return known[group]
        system, path = filesystem(self._file.uri)
        try:
            with system.open_input_file(path) as stream:
                return walked_places(self._parquet, stream, group, leaf)
        except (NotInPlaceError, ValueError):
            return None

    def _path_alone(self, name: str) -> str:
        """Return the Parquet leaf with the paths of a list of images."""
        schema = self._parquet.schema
        leaves = [schema.column(number).path for number in range(len(schema))]
        return next((leaf for leaf in leaves if leaf.startswith(f"{name}.") and leaf.endswith(".path")), name)


def _has_boxes(table: pa.Table) -> bool:
    """Whether a dialogue with images has regions, whose coordinates need the sizes of its images."""
    if "regions" not in table.column_names:
        return False
    counts = [pc.list_value_length(table[name]).fill_null(0).to_numpy() for name in ("regions", "images")]
    return bool(((counts[0] > 0) & (counts[1] > 0)).any())


def _lacks_sides(table: pa.Table, there: np.ndarray) -> bool:
    """Whether a row with an image lacks its width or height."""
    known = pc.and_(table["width"].is_valid(), table["height"].is_valid()).to_numpy()
    return bool((there & ~known).any())
