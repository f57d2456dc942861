"""Reads row groups of shards and packs for an export, and finds the reasons for leaving out rows."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from curate.errors import DamagedError
from curate.images.foreign_rows import NOT_UTF8, ForeignRows, is_foreign, without_rows
from curate.storage.dataset import DataFile
from curate.storage.filesystems import one_line
from curate.tasks.shard_rows import handed_faults, is_dialogue, unknown_tasks
from curate.tasks.turns import PLACEHOLDER

SAFE_KEY = re.compile(r"[A-Za-z0-9_-]{1,200}")  # WebDataset ends a key at the first dot
SAFE_PATH = re.compile(r"[A-Za-z0-9_+-][A-Za-z0-9_.+-]*/[A-Za-z0-9_-]{1,200}\.(?:jpg|png|webp)")
JUDGED = (  # the columns that the checks of a row read
    "key", "task", "language", "text", "prompt", "target", "regions", "width", "height", "messages",
    "image.path", "images.list.element.path",
)  # fmt: skip


def row_groups(
    file: DataFile, columns: Sequence[str] | None, foreign: ForeignRows
) -> Iterator[tuple[pa.Table, list[str | None]]]:
    """Yield the rows of each row group, and their faults as `ForeignRows` finds them if other software wrote the shard.

    Without `columns`, and of such a shard, there are all of them. Of a row that holds a text which is none only names
    are left.

    Raises:
        DamagedError: one cannot be read.
    """
    with file.open() as parquet:
        judged = "loss_mask" not in parquet.schema_arrow.names and is_foreign(parquet)
        for group in range(parquet.num_row_groups):
            table = _read(file, parquet, group, None if judged else columns)
            faults = foreign.faults(table) if judged else [None] * table.num_rows
            reasons = [fault and fault.reason for fault in faults]
            unreadable = np.array([reason == NOT_UTF8 for reason in reasons], bool)
            yield without_rows(table, unreadable), reasons


def light_groups(file: DataFile, columns: Sequence[str]) -> Iterator[pa.Table]:
    """Yield the rows of each row group, with only the given columns.

    Raises:
        DamagedError: one cannot be read.
    """
    with file.open() as parquet:
        for group in range(parquet.num_row_groups):
            yield _read(file, parquet, group, columns)


def _read(file: DataFile, parquet: pq.ParquetFile, group: int, columns: Sequence[str] | None) -> pa.Table:
    try:
        return parquet.read_row_group(group, columns=columns)
    except (OSError, ValueError) as error:
        raise DamagedError(
            f"{file.uri} is damaged in row group {group}: {one_line(error)}; `curate verify` on its folder names "
            "every damaged file"
        ) from None


def row_faults(rows: pa.Table, foreign: Sequence[str | None], any_task: bool) -> list[str | None]:
    """Return why each row of a shard is left out (N items): by `foreign`, its task, `handed_faults`, or its name.

    With `any_task`, a row may have a task of other software, or none.
    """
    words = handed_faults(rows)
    words = (words if any_task else pc.coalesce(unknown_tasks(rows), words)).to_pylist()
    names = unsafe_names(rows)
    held = held_placeholders(rows)
    return [
        apart
        or fault
        or ("name_unsafe" if name else None)
        or ("text_has_placeholder" if placeholder else None)
        for apart, fault, name, placeholder in zip(foreign, words, names, held, strict=True)
    ]


def pack_faults(rows: pa.Table) -> list[str | None]:
    """Return `name_unsafe` for each row of a pack with an unsafe image name (N items); None for any other row."""
    return ["name_unsafe" if unsafe else None for unsafe in unsafe_names(rows)]


def unsafe_names(rows: pa.Table) -> list[bool]:
    """Return which rows have a key, or an image's path, that is not safe as a file name (N)."""
    keys = rows["key"].to_pylist() if "key" in rows.column_names else ["pack"] * rows.num_rows
    unsafe = [SAFE_KEY.fullmatch(key or "") is None for key in keys]
    if "image" in rows.column_names:
        image = rows["image"].combine_chunks()
        paths = pc.struct_field(image, "path").to_pylist()
        for row in np.flatnonzero(image.is_valid().to_numpy(zero_copy_only=False)).tolist():
            unsafe[row] |= _is_unsafe(paths[row])
    if "images" in rows.column_names:
        lists = rows["images"].combine_chunks()
        paths = pc.struct_field(pc.list_flatten(lists), "path").to_pylist()
        for row, path in zip(pc.list_parent_indices(lists).to_pylist(), paths, strict=True):
            unsafe[row] |= _is_unsafe(path)
    return unsafe


def _is_unsafe(path: str | None) -> bool:
    return SAFE_PATH.fullmatch(path or "") is None


def held_placeholders(rows: pa.Table) -> list[bool]:
    """Return which rows, dialogues apart, hold a placeholder in their text that a trainer would replace (N)."""
    found = (
        pc.match_substring_regex(rows[name], PLACEHOLDER).fill_null(False) for name in ("prompt", "target")
    )
    held: list[bool] = pc.and_not(pc.or_(*found), pa.array(is_dialogue(rows))).to_pylist()
    return held
