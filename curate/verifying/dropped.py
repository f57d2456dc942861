"""Check a run's files of dropped rows: their bytes against the table that lists them, and their rows by reason."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from curate.engine.record import UnitRecord, add_counts, count_reasons
from curate.schema import DROPPED
from curate.storage.filesystems import one_line
from curate.storage.listing import DROPPED_FILES
from curate.storage.shards import dropped_name
from curate.storage.store import Store
from curate.terminal import plural
from curate.verifying.listed import Problems, each_listed
from curate.verifying.parquet_checks import file_problems


def dropped_problems(
    store: Store, manifest: Mapping[str, Any], listed: pa.Table | None, records: Iterable[UnitRecord]
) -> Problems:
    """The problems by file; `listed` is the folder's table of these files (FILES), or None where it has none.

    Where all dropped rows are written to files, they are also counted, and compared with the manifest. `records` (of
    the units) serve instead of the table where there is none.
    """
    whole = manifest["manifest"]["drops"]["sample"] == 1
    if listed is None:
        return _by_records(store, manifest, records, whole)
    damaged, counts = Problems(), Counter[str]()
    for one in each_listed(listed):
        if not store.exists(one["path"]):
            damaged[one["path"]] = [f"it is missing: holds 0 rows instead of {one['rows']}"]
        elif problems := [*file_problems(store, one, DROPPED, lambda reader: count_dropped(reader, counts))]:
            damaged[one["path"]] = problems
    known = set(listed["path"].to_pylist())
    for name in (f"_dropped/{name}" for name in store.names("_dropped")):
        if name.endswith(".parquet") and name not in known:
            damaged[name] = [f"{_rows(store, name)} instead of 0: it is not in {DROPPED_FILES}"]
    if whole and not damaged and (difference := _difference(counts, manifest["dropped"])):
        damaged["_dropped"] = [difference]
    return damaged


def _by_records(
    store: Store, manifest: Mapping[str, Any], records: Iterable[UnitRecord], whole: bool
) -> Problems:
    """The problems by file in a folder without that table: each file's rows are compared with its unit's record."""
    damaged, written = Problems(), dict[str, dict[str, int]]()
    for name in (f"_dropped/{name}" for name in store.names("_dropped") if name.endswith(".parquet")):
        try:
            written[name] = dropped_counts(store, name)
        except (OSError, ValueError, pa.ArrowException) as error:
            damaged[name] = [f"cannot be read: {one_line(error)[:200]}"]
    if not whole:
        return damaged
    expected = {dropped_name(record.unit): record.dropped for record in records}
    strange = set(written) if expected and "scored" not in manifest else set()  # `curate score` adds files
    for name in sorted((strange | set(expected)) - set(damaged)):
        if difference := _difference(written.get(name, {}), expected.get(name, {})):
            damaged[name] = [difference]
    if not damaged and (difference := _difference(add_counts(written.values()), manifest["dropped"])):
        damaged["_dropped"] = [difference]
    return damaged


def _difference(there: Mapping[str, int], told: Mapping[str, int]) -> str | None:
    """How the rows by reason in files (`there`) differ from the recorded counts (`told`); None where they do not."""
    if sum(there.values()) != sum(told.values()):
        return f"holds {plural(sum(there.values()), 'row')} instead of {sum(told.values())}"
    for reason in {**told, **there}:
        if there.get(reason, 0) != told.get(reason, 0):
            return (
                f"holds {plural(there.get(reason, 0), 'row')} for {reason} instead of {told.get(reason, 0)}"
            )
    return None


def count_dropped(reader: pq.ParquetFile, counts: Counter[str]) -> Iterator[str]:
    """Read all of a file of dropped rows, and add its reasons to `counts`; yields no problems (see `file_problems`)."""
    for group in range(reader.num_row_groups):
        counts.update(count_reasons(reader.read_row_group(group)["reason"].cast(pa.string())))
    yield from ()


def dropped_counts(store: Store, name: str) -> dict[str, int]:
    """Read all of a file of dropped rows; returns the number of its rows by reason.

    Raises:
        OSError, ValueError, pa.ArrowException: the file cannot be read, or has other columns.
    """
    counts = Counter[str]()
    with store.fs.open_input_file(store.path(name)) as file:
        reader = pq.ParquetFile(file, page_checksum_verification=True)
        if not reader.schema_arrow.equals(DROPPED):
            raise pa.ArrowInvalid("its columns are not those of dropped rows")
        list(count_dropped(reader, counts))
    return dict(counts)


def _rows(store: Store, name: str) -> str:
    """How many rows an unlisted file holds, in words."""
    try:
        return f"holds {plural(sum(dropped_counts(store, name).values()), 'row')}"
    except (OSError, ValueError, pa.ArrowException):
        return "cannot be read and holds unknown rows"
