"""Parquet: read by batch, checksums verified, extension types refused before any row is read."""

from __future__ import annotations

import bisect
import itertools
from collections.abc import Iterator

import pyarrow as pa
import pyarrow.parquet as pq

from curate.errors import InputError
from curate.sources.columns import unique
from curate.sources.inputs import Input
from curate.sources.reading import BATCH_BYTES, BATCH_ROWS, Forward, Source
from curate.storage.filesystems import filesystem, one_line

READ_AHEAD = 2**20  # bytes a column; pages are read one by one, so a row group may have any size
EXTENSION = b"ARROW:extension:name"


def open_parquet(source: Input) -> Source:
    """The file's rows, counted by its footer.

    Raises:
        InputError: not Parquet, truncated, encrypted, or with a column type that could run code.
    """
    try:
        file = _open(source.uri)
        schema = file.schema_arrow.remove_metadata()
    except (OSError, ValueError, pa.ArrowException) as error:
        raise InputError(
            f"{source.uri} is not a whole Parquet file: {one_line(error)}; fetch it again or leave it out"
        ) from None
    for column in schema:
        refuse_extensions(column, column.name, source.uri)
    meta = file.metadata
    sizes = [meta.row_group(i).num_rows for i in range(meta.num_row_groups)]
    starts = [0, *itertools.accumulate(sizes)]
    if starts[-1] != meta.num_rows or min(sizes, default=0) < 0:
        raise InputError(f"{source.uri} is damaged: row groups hold {starts[-1]} rows, not {meta.num_rows}")

    def begin(row: int) -> tuple[int, Iterator[pa.RecordBatch]]:
        group = max(0, bisect.bisect_right(starts, row) - 1)
        wanted = list(range(group, len(sizes)))
        return starts[group], _batches(source.uri, wanted)

    names = unique(schema.names)
    fields = [field.with_name(name) for field, name in zip(schema, names, strict=True)]
    return Forward(source.uri, meta.num_rows, pa.schema(fields), begin)


def _open(uri: str) -> pq.ParquetFile:
    system, path = filesystem(uri)
    return pq.ParquetFile(
        system.open_input_file(path),
        pre_buffer=False,
        buffer_size=READ_AHEAD,
        page_checksum_verification=True,
        arrow_extensions_enabled=False,
    )


def _batches(uri: str, groups: list[int]) -> Iterator[pa.RecordBatch]:
    """The row groups' rows. Opened by the first `next`: a reader not used costs nothing."""
    file = _open(uri)
    for group in groups:
        meta = file.metadata.row_group(group)
        wide = max(1, meta.total_byte_size // max(1, meta.num_rows))
        rows = max(1, min(BATCH_ROWS, BATCH_BYTES // wide))
        for batch in file.iter_batches(batch_size=rows, row_groups=[group]):
            yield batch.replace_schema_metadata(None).rename_columns(unique(batch.schema.names))


def refuse_extensions(column: pa.Field, name: str, uri: str) -> None:
    """Arrow's own extension types are read as what they store; any other may run code when it is read.

    Raises:
        InputError: such a type, at any depth.
    """
    kind = column.type
    known = kind.extension_name if isinstance(kind, pa.BaseExtensionType) else ""
    said = (column.metadata or {}).get(EXTENSION, b"").decode("utf-8", "replace")
    for extension in (known, said):
        if extension and not extension.startswith("arrow."):
            raise InputError(
                f"{uri}: column {name!r} has the extension type {extension!r}, which can run code when read: "
                "write it again as a plain type, or leave the file out"
            )
    for child in _children(kind):
        refuse_extensions(child, f"{name}.{child.name}", uri)


def _children(kind: pa.DataType) -> list[pa.Field]:
    if isinstance(kind, pa.BaseExtensionType):
        return [pa.field("storage", kind.storage_type)]
    if pa.types.is_dictionary(kind):
        return [pa.field("values", kind.value_type)]
    return [kind.field(i) for i in range(kind.num_fields)]
