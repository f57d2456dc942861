"""Check one part of a selection by itself: its metadata, its keys, and that every value can be read."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import msgspec
import pyarrow.compute as pc
import pyarrow.parquet as pq

from curate.storage.selected import KEY_COLUMN, METADATA, judged_rules
from curate.storage.store import Store
from curate.verifying.keys import as_bytes
from curate.verifying.parquet_checks import file_problems


def part_problems(store: Store, listed: Mapping[str, Any], digest: str, keys: list[bytes]) -> Iterator[str]:
    """Yield what is wrong with a part; adds the keys of its rows to `keys`, in the form that `as_bytes` returns.

    `listed` is the part's entry with `path`, `rows`, `bytes` and `sha256`; `digest` is the manifest's.
    """

    def look(reader: pq.ParquetFile) -> Iterator[str]:
        if not _says_so(reader, digest):
            yield "its schema's metadata are not of this selection"
            return
        for group in range(reader.num_row_groups):
            table = reader.read_row_group(group)
            keys.append(as_bytes(table[KEY_COLUMN]))
            sound = pc.match_substring_regex(table[KEY_COLUMN], "^[0-9a-f]{32}$").fill_null(False)
            if not pc.all(sound).as_py():
                yield "a key is not 32 hex digits"

    return file_problems(store, listed, None, look)


def _says_so(reader: pq.ParquetFile, digest: str) -> bool:
    """Whether a part's metadata name the rules by which it was judged, and this manifest."""
    schema = reader.schema_arrow
    told = (schema.metadata or {}).get(METADATA, b"{}")
    try:
        return judged_rules(schema) is not None and msgspec.json.decode(told).get("manifest") == digest
    except (msgspec.MsgspecError, AttributeError):
        return False
