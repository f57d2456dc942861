"""Find the byte ranges of a row group's images by reading its pages, for files without an image index."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from curate.errors import DamagedError
from curate.storage.filesystems import scheme
from curate.storage.image_index import IndexedImages, bodies, checksum
from curate.storage.parquet_pages import chunk_range, dictionary_places, value_places
from curate.storage.shards import unit_of

PLACE = pa.struct(
    [("offset", pa.int64()), ("size", pa.int64()), ("sum", pa.uint32())]
)  # null without an image
REFERENCES = pa.field(
    "image_places", pa.list_(pa.struct([pa.field("uri", pa.string()), *PLACE]))
)  # a column of packs that refer to their images: one entry for each image, with the URI of its shard
IMAGE_LEAF = "image.bytes"
IMAGES_LEAF = "images.list.element.bytes"


class NotInPlaceError(Exception):
    """A file's images are not written as curate writes them."""


def referred_shard(uri: str) -> str:
    """Check the URI of a shard that a pack refers to, and return it: a pack must not make us open other files.

    Raises:
        DamagedError: the URI names no shard, or one on a web server.
    """
    if unit_of(uri) is None or scheme(uri) in ("http", "https"):
        raise DamagedError(f"a pack refers to {uri}, which is no shard: packs do not name their images so")
    return uri


def walked_places(parquet: pq.ParquetFile, stream: pa.NativeFile, group: int, leaf: str) -> IndexedImages:
    """The images of a row group, found in the pages of the column `leaf`, with their checksums.

    `stream` is the open file of `parquet`; the whole column chunk is read.

    Raises:
        NotInPlaceError: the column is missing or compressed, or its dictionary has images that no row shows.
        ValueError: the pages are damaged.
    """
    try:
        column, start, size = chunk_range(parquet.metadata.row_group(group), leaf)
    except ValueError as error:
        raise NotInPlaceError(str(error)) from None
    if column.compression != "UNCOMPRESSED":
        raise NotInPlaceError(f"{leaf} is compressed ({column.compression})")
    described = next(
        one for one in map(parquet.schema.column, range(len(parquet.schema))) if one.path == leaf
    )
    levels = (described.max_definition_level > 0) + (described.max_repetition_level > 0)
    chunk = memoryview(stream.read_at(size, start))
    once = column.has_dictionary_page  # each image is stored once, however many rows show it
    places = dictionary_places(chunk, column) if once else value_places(chunk, column, levels)
    pairs = zip((places.offset - start).tolist(), places.size.tolist(), strict=True)
    sums = np.array([checksum(chunk[offset : offset + size]) for offset, size in pairs], np.uint32)
    codes = _codes(parquet, group, leaf, len(sums)) if once else np.arange(len(sums))
    return IndexedImages(places.offset[codes], places.size[codes], sums[codes])


def _codes(parquet: pq.ParquetFile, group: int, leaf: str, stored: int) -> np.ndarray:
    """For each row with an image, the number of its image in the dictionary."""
    column = parquet.read_row_group(group, columns=[leaf])[0].combine_chunks()
    encoded = bodies(column).drop_null().dictionary_encode()
    if len(encoded.dictionary) != stored:
        raise NotInPlaceError(f"the dictionary of {leaf} holds images that no row shows, or not all")
    codes: np.ndarray = encoded.indices.to_numpy()
    return codes


def one_each(there: np.ndarray, places: IndexedImages) -> pa.StructArray:
    """A place (PLACE) for each of N rows, null for rows without an image.

    `there` (N) is true for rows with an image; `places` are those of the images, in order.

    Raises:
        ValueError: there are more or fewer places than images.
    """
    if len(places.offset) != there.sum():
        raise ValueError(f"{there.sum()} rows have an image, but {len(places.offset)} images are there")
    row = np.cumsum(there) - 1  # of each row that has an image, its number among the images
    columns = [
        pa.array(np.append(np.asarray(values), 0)[np.where(there, row, -1)], field.type)
        for values, field in zip(places, PLACE, strict=True)
    ]
    return pa.StructArray.from_arrays(columns, fields=list(PLACE), mask=pa.array(~there))
