"""The checks that `curate verify` makes of every Parquet file that a folder lists."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from curate.storage.filesystems import one_line
from curate.storage.store import Store
from curate.terminal import plural

Look = Callable[[pq.ParquetFile], Iterator[str]]


def file_problems(
    store: Store, listed: Mapping[str, Any], schema: pa.Schema | None, look: Look
) -> Iterator[str]:
    """Yield what is wrong with a file: it is missing, has other bytes, columns or rows, or what `look` finds in it.

    `listed` is the file's entry with `path`, `bytes`, `sha256` and `rows`. With `schema` None any columns are allowed.
    """
    path = listed["path"]
    if not store.exists(path):
        yield "it is missing"
        return
    if difference := store.differs(path, listed["bytes"], listed["sha256"]):
        yield difference
    try:
        with store.fs.open_input_file(store.path(path)) as file:
            reader = pq.ParquetFile(file, page_checksum_verification=True)
            if schema is not None and not reader.schema_arrow.equals(schema):
                yield "its columns are not those it should have"
                return
            if reader.metadata.num_rows != listed["rows"]:
                yield f"{plural(reader.metadata.num_rows, 'row')} instead of {listed['rows']}"
            yield from look(reader)
    except (OSError, ValueError, pa.ArrowException) as error:
        yield f"cannot be read: {one_line(error)[:200]}"
