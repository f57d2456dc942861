"""Check that the images to which packs refer are still in the shards, with the bytes that were packed."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from curate.errors import CurateError
from curate.storage.filesystems import one_line
from curate.storage.image_index import checksum
from curate.storage.image_places import referred_shard
from curate.storage.ranges import RangeReader, Ranges

AT_ONCE_BYTES = 64 << 20  # about so many bytes of images are read together


def reference_problems(places: pa.ListArray) -> Iterator[str]:
    """Yield what is wrong with the images of N sequences (column `image_places`), one problem for each shard."""
    flat = places.flatten()
    named = flat.field("uri").dictionary_encode()
    reader = RangeReader(lambda file: str(named.dictionary[file]))
    try:
        for file, uri in enumerate(named.dictionary.to_pylist()):
            mine = flat.filter(pc.equal(named.indices, file))
            try:
                referred_shard(uri)
                yield from _problems_in(reader, file, uri, mine)
            except (CurateError, ValueError) as error:
                yield f"images in a shard: {one_line(error)}"
    finally:
        reader.close()


def _problems_in(reader: RangeReader, file: int, uri: str, places: pa.StructArray) -> Iterator[str]:
    """Yield what is wrong with the images in one shard.

    Raises:
        DamagedError: the shard cannot be read, or is too short.
    """
    known = pa.table([places.field(name) for name in ("offset", "size", "sum")], ["offset", "size", "sum"])
    known = known.group_by(known.column_names).aggregate([]).sort_by("offset")
    offset, size, told = (known[name].to_numpy() for name in ("offset", "size", "sum"))
    for part in np.split(
        np.arange(len(offset)), np.flatnonzero(np.diff(np.cumsum(size) // AT_ONCE_BYTES)) + 1
    ):
        body = memoryview(reader.read(Ranges(np.full(len(part), file), offset[part], size[part])))
        ends = np.cumsum(size[part])
        for at, end, wanted in zip(
            (ends - size[part]).tolist(), ends.tolist(), told[part].tolist(), strict=True
        ):
            if checksum(body[at:end]) != wanted:
                yield f"{uri} holds other images than were packed"
                return
