"""Write shards and files of dropped rows: Parquet that any reader opens, with each image contiguous in the file."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable, Sequence
from functools import lru_cache
from itertools import pairwise
from typing import Any, NamedTuple

import msgspec
import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from curate.errors import DamagedError
from curate.manifest.settings import ShardSettings
from curate.schema import DROPPED, FINGERPRINT, SHARD
from curate.storage.batch_files import damaged
from curate.storage.filesystems import one_line
from curate.storage.image_index import LEAVES, write_groups
from curate.storage.store import HashingSink, Store

MIN_GROUP_ROWS = 100
GROWTH = 4  # a row group may grow by this factor when a reader gives each row its own copy of a shared image
MAX_DICTIONARY_BYTES = 2**31 - 2**20  # just below the largest size of a page
Ints = npt.NDArray[np.int64]
OUR_FILES = re.compile(r"(?:shard|part|dropped)-(\d{6,})(?:-(\d+))?\.parquet")
VALUES_AT_ONCE = 16  # the writer checks a page's size so often; after 1,024 images it is far too large


class Shard(msgspec.Struct, frozen=True):
    """A shard as `_manifest.json` lists it."""

    path: str
    rows: int
    bytes: int
    sha256: str


@lru_cache(maxsize=16)
def writer_options(schema: pa.Schema, level: int, repeated: bool = False) -> dict[str, Any]:
    """Options of the Parquet writer for shards: images uncompressed, everything else zstd, checksums on every page.

    Images are compressed already; plain and uncompressed, a reader can fetch one by its byte range. `level` is the
    level of zstd. With `repeated`, each image is stored once in a row group, in a dictionary.
    """
    leaves = leaf_paths(schema)
    plain = [path for path in leaves if path in LEAVES]
    dictionary = [path for path in leaves if path in ("dataset", "task", "language", "stage", "reason")]
    return {
        **({"dictionary_pagesize_limit": MAX_DICTIONARY_BYTES} if repeated else {}),
        "compression": {path: "none" if path in plain else "zstd" for path in leaves},
        "compression_level": {path: level for path in leaves if path not in plain},
        "use_dictionary": dictionary + (plain if repeated else []),
        "write_statistics": [path for path in leaves if path not in plain],
        "write_page_index": True,
        "write_page_checksum": True,
        "write_batch_size": VALUES_AT_ONCE,
        "store_schema": True,
    }


def leaf_paths(schema: pa.Schema) -> list[str]:
    """The schema's leaf columns by their Parquet paths, such as `regions.list.element.text`."""
    paths: list[str] = []

    def descend(prefix: str, kind: pa.DataType) -> None:
        if pa.types.is_struct(kind):
            for field in kind:
                descend(f"{prefix}.{field.name}", field.type)
        elif pa.types.is_list(kind) or pa.types.is_fixed_size_list(kind) or pa.types.is_large_list(kind):
            descend(f"{prefix}.list.element", kind.value_type)
        else:
            paths.append(prefix)

    for field in schema:
        descend(field.name, field.type)
    return paths


def has_repeated(parquet: pq.ParquetFile) -> bool:
    """Whether a file was written with its images in dictionaries."""
    for group in range(parquet.num_row_groups):
        columns = map(parquet.metadata.row_group(group).column, range(parquet.metadata.num_columns))
        if any(column.has_dictionary_page for column in columns if column.path_in_schema in LEAVES):
            return True
    return False


def write_tables(
    store: Store,
    name: str,
    tables: Iterable[pa.Table],
    schema: pa.Schema,
    settings: ShardSettings,
    repeated: bool = False,
) -> Shard:
    """Publish tables as one Parquet file, one row group for each; see `writer_options` for `repeated`.

    Raises:
        OSError: the file could not be written; nothing was published.
    """
    rows = 0

    def fill(sink: HashingSink) -> None:
        nonlocal rows
        options = writer_options(schema, settings.compression_level, repeated)
        rows = write_groups(sink, tables, schema, options)

    written = store.write(name, fill)
    return Shard(written.path, rows, written.bytes, written.sha256)


class RowImages(NamedTuple):
    """The images that N rows show: row n shows those from starts[n] to starts[n + 1]."""

    image: Ints  # a number for each image that is shown; equal images have equal numbers
    size: Ints  # bytes of each
    starts: Ints  # N + 1

    @property
    def repeated(self) -> bool:
        """Whether an image is shown more than once."""
        return len(np.unique(self.image)) < len(self.image)


def row_groups(shown: RowImages, settings: ShardSettings) -> list[list[int]]:
    """Cut rows that show these images into shards and row groups: a list of shards, each a list of numbers of rows.

    A row group closes at `row_group_bytes` once it has 100 rows; a shard closes at `max_bytes`. An image that several
    rows show counts once in a row group. But a row group also closes where its rows' images, counted once for each row,
    exceed GROWTH times `row_group_bytes`, because a reader may hold one image for each row in memory. The cuts depend
    on the images alone, so that the same rows always give the same files.
    """
    shards: list[list[int]] = [[]]
    group_rows = group_bytes = group_memory = shard_bytes = 0
    inside: set[int] = set()  # images of the row group
    images, sizes = shown.image.tolist(), shown.size.tolist()
    for start, stop in pairwise(shown.starts.tolist()):
        row = dict(zip(images[start:stop], sizes[start:stop], strict=True))
        memory = sum(sizes[start:stop])
        fresh = sum(size for image, size in row.items() if image not in inside)
        full = group_bytes + fresh > settings.row_group_bytes
        full = full or group_memory + memory > GROWTH * settings.row_group_bytes
        if group_rows >= MIN_GROUP_ROWS and full:
            shards[-1].append(group_rows)
            group_rows = group_bytes = group_memory = 0
            inside.clear()
            fresh = sum(row.values())
        if shard_bytes and shard_bytes + fresh > settings.max_bytes:
            shards[-1] += [group_rows] if group_rows else []
            shards.append([])
            group_rows = group_bytes = group_memory = shard_bytes = 0
            inside.clear()
            fresh = sum(row.values())
        inside.update(row)
        group_rows, group_bytes, group_memory = group_rows + 1, group_bytes + fresh, group_memory + memory
        shard_bytes += fresh
    if group_rows:
        shards[-1].append(group_rows)
    return [groups for groups in shards if groups]


def shard_name(unit: int, part: int) -> str:
    """`shard-000012.parquet`; where a unit exceeds `shard.max_bytes`, its next part is `shard-000012-1.parquet`."""
    return f"shard-{unit:06d}{f'-{part}' if part else ''}.parquet"


def dropped_name(unit: int) -> str:
    """`_dropped/dropped-000012.parquet`."""
    return f"_dropped/dropped-{unit:06d}.parquet"


def unit_of(name: str) -> int | None:
    """The unit that wrote a shard, a part or a file of dropped rows, from its name; None for any other file."""
    found = OUR_FILES.fullmatch(name.rsplit("/", 1)[-1])
    return int(found[1]) if found else None


def place_of(name: str) -> tuple[int, int]:
    """The unit and the part (from 0) in the name of a shard or file of dropped rows: the sort key of such files."""
    found = OUR_FILES.fullmatch(name.rsplit("/", 1)[-1])
    assert found is not None, name
    return int(found[1]), int(found[2] or 0)


def read_columns(store: Store, name: str, columns: Sequence[str]) -> pa.Table:
    """These columns of the shard or file of dropped rows `name`, all its rows.

    Raises:
        DamagedError: the file cannot be read, or lacks one of the columns.
        DamagedStateError: the same of a file that is staged.
    """
    try:
        with store.fs.open_input_file(store.path(name)) as file:
            table = pq.ParquetFile(file, page_checksum_verification=True).read(list(columns))
    except (pa.ArrowException, OSError) as error:
        if name.startswith("_run/"):
            raise damaged(store, name) from None
        raise DamagedError(f"cannot read {store.uri}/{name}: {one_line(error)}; {_verify(store)}") from None
    demand_columns(store, name, table.column_names, columns)
    return table


def demand_columns(store: Store, name: str, there: Iterable[str], columns: Iterable[str]) -> None:
    """Check that the file `name` of a finished run has `columns`; `there` are the columns that it has.

    Raises:
        DamagedError: it lacks one.
    """
    if lacking := sorted(set(columns) - set(there)):
        raise DamagedError(f"{store.uri}/{name} lacks the column {lacking[0]}; {_verify(store)}")


def _verify(store: Store) -> str:
    return f"`curate verify {store.uri}` names every damaged file"


def to_shard(
    sample: pa.Table,
    image: pa.BinaryArray,
    prompt: pa.Array,
    target: pa.Array,
    images: pa.Array | None = None,
    hashes: pa.Array | None = None,
    form: pa.Schema = SHARD,
) -> pa.Table:
    """Combine alive rows of SAMPLE with their images, prompts and targets into rows of `form` (N rows).

    `form` is SHARD or a version of it. `images` are the images of dialogues (None: there are none); `hashes` are the
    `image_hashes` of `image`, if they are known already.
    """
    none = pa.nulls(sample.num_rows, SHARD.field("images").type)
    made = {
        "images": none if images is None else images,
        "image": pa.StructArray.from_arrays(
            [image, image_path(sample)], names=["bytes", "path"], mask=pc.is_null(image)
        ),
        "prompt": prompt,
        "target": target,
        "sha256": image_hashes(image) if hashes is None else hashes,
    }
    if FINGERPRINT in form:
        made["fingerprint"] = pa.array(map(as_hex, sample["fingerprint"].to_pylist()), pa.string())
    columns = [
        _as(
            made.get(field.name, sample[field.name] if field.name in sample.column_names else None),
            field.type,
        )
        for field in form
    ]
    return pa.table(columns, schema=form)


def image_hashes(image: pa.BinaryArray) -> pa.Array:
    """The SHA-256 of each image in hexadecimal (N); null where there is none."""
    return pa.array([_sha256(body) for body in image], pa.string())


def image_path(sample: pa.Table) -> pa.Array:
    """`DATASET/KEY.EXT` for each row of SAMPLE; null where there is no image (N rows)."""
    extension = pc.replace_substring(sample["format"], "jpeg", "jpg")
    name = pc.binary_join_element_wise(sample["key"], extension, ".")
    return pc.binary_join_element_wise(sample["dataset"], name, "/").combine_chunks()


def as_dropped(rows: pa.Table) -> pa.Table:
    """The columns of DROPPED, converted to its types, from rows that have them all (N rows)."""
    return pa.table([_as(rows[field.name], field.type) for field in DROPPED], schema=DROPPED)


def as_hex(fingerprints: bytes | None) -> str | None:
    """The fingerprint of the whole image, the first of `fingerprints`, as 64 hex digits, as PDQ is exchanged."""
    return fingerprints[:32].hex() if fingerprints else None


def _sha256(body: pa.BinaryScalar) -> str | None:
    return hashlib.sha256(body.as_buffer()).hexdigest() if body.is_valid else None


def _as(column: Any, kind: pa.DataType) -> pa.ChunkedArray:
    column = column if isinstance(column, pa.ChunkedArray) else pa.chunked_array([column])
    if column.type.equals(kind):
        return column
    if pa.types.is_dictionary(kind):
        return column.cast(pa.string()).dictionary_encode().cast(kind)
    return column.cast(kind)
