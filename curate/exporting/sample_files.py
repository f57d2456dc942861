"""Reads the rows of shards and packs for an export, and turns a row into the files that a tar keeps of a sample."""

from __future__ import annotations

import io
import json
from collections import Counter
from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa

from curate.exporting.judged_rows import JUDGED, light_groups, pack_faults, row_faults, row_groups
from curate.images.foreign_rows import ForeignRows
from curate.storage.dataset import DataFile, DataSet

_STRICT = json.JSONEncoder(
    ensure_ascii=False, sort_keys=True, separators=(",", ":"), allow_nan=False, default=float
)


class Record(NamedTuple):
    """A row to export, under a name that is safe as a file name in any folder."""

    name: str
    row: dict[str, Any]  # as in the shard or pack


class Records:
    """Reads the rows of a data set that can be exported, and counts them.

    `written` counts the rows that were given out; `dropped` counts the others by reason (see `row_faults`).

    Args:
        data: the shards or packs to read.
        foreign: checks the rows of shards that other software wrote.
    """

    def __init__(self, data: DataSet, foreign: ForeignRows) -> None:
        self.data, self.foreign = data, foreign
        self.packs = "loss_mask" in data.schema.names
        self.written = 0
        self.tasks: set[str] = set()  # of the rows that were read so far
        self.dropped: Counter[str] = Counter()

    def of(self, file: DataFile) -> Iterator[Record]:
        """Yield the rows of one file of the data set that can be exported, in order, with all columns.

        Of rows of a shard with the same key only the first is exported, as a key is the name of a sample's files.

        Raises:
            DamagedError: the file cannot be read.
        """
        number = 0
        seen: set[str] = set()
        stem = file.uri.rsplit("/", 1)[-1].removesuffix(".parquet")
        for rows, foreign in row_groups(file, None, self.foreign):
            names = [f"{stem}-{number + place:06d}" for place in range(rows.num_rows)] if self.packs else None
            faults = pack_faults(rows) if self.packs else row_faults(rows, foreign, any_task=True)
            if names is None:
                faults = _without_repeated(rows["key"].to_pylist(), faults, seen)
            yield from self._sound(rows, faults, names)
            number += rows.num_rows

    def light(self, file: DataFile, columns: list[str], faults: list[str | None]) -> Iterator[Record]:
        """Yield the rows of a shard that can be exported, in order, with only the given columns.

        Args:
            file: a shard of the data set.
            columns: the columns to read.
            faults: the reason for leaving out each row, as `faults(file)` returns them.

        Raises:
            DamagedError: the file cannot be read.
        """
        number = 0
        for rows in light_groups(file, columns):
            yield from self._sound(rows, faults[number : number + rows.num_rows], None)
            number += rows.num_rows

    def faults(self, file: DataFile) -> list[str | None]:
        """Return why each row of a shard (N items) is left out of a list of dialogues; None where it is not.

        Raises:
            DamagedError: the file cannot be read.
        """
        groups = row_groups(file, JUDGED, self.foreign)
        return [fault for rows, foreign in groups for fault in row_faults(rows, foreign, any_task=False)]

    def _sound(self, rows: pa.Table, faults: list[str | None], names: list[str] | None) -> Iterator[Record]:
        """Yield the rows without a fault, under `names` or (None) their keys, and count the others by fault."""
        self.dropped.update(filter(None, faults))
        sound = [number for number, fault in enumerate(faults) if fault is None]
        for number, row in zip(sound, rows.take(pa.array(sound, pa.int64())).to_pylist(), strict=True):
            self.written += 1
            self.tasks.add(row.get("task") or "")
            yield Record(row["key"] if names is None else names[number], row)


def _without_repeated(keys: list[str], faults: list[str | None], seen: set[str]) -> list[str | None]:
    """Return the faults, `id_repeated` for rows whose key is in `seen`, and add the keys of the other sound rows."""
    found = list(faults)
    for row, (key, fault) in enumerate(zip(keys, faults, strict=True)):
        if fault is None and key in seen:
            found[row] = "id_repeated"
        elif fault is None:
            seen.add(key)
    return found


def parts(record: Record) -> dict[str, bytes]:
    """Return the files that a tar keeps of a sample: file extension -> content.

    A row of a shard becomes its image (`jpg`, `png` or `webp`), or the images of a dialogue (`0.jpg`, `1.png`, …), then
    `txt` (the text) and `json` (all other columns). A row of a pack becomes `tokens.npy` (int32), `loss_mask.npy`
    (bool), `segments.npy` (int32), its images (`0.jpg`, `1.png`, …) and `json`. An image without bytes has no file.
    """
    row = dict(record.row)
    found: dict[str, bytes] = {}
    if "loss_mask" in row:
        for name, kind in (("tokens", np.int32), ("loss_mask", np.bool_), ("segments", np.int32)):
            found[f"{name}.npy"] = _npy(np.array(row.pop(name), kind))
        for number, image in enumerate(row["images"]):
            body = image.pop("bytes")
            found |= {f"{number}.{extension(image['path'])}": body} if body is not None else {}
    else:
        image, text = row.pop("image"), row.pop("text")
        if image is not None and image["bytes"] is not None:
            found[extension(image["path"])] = image["bytes"]
        found["txt"] = (text or "").encode()
        for number, one in enumerate(row.get("images") or ()):
            found |= {f"{number}.{extension(one['path'])}": one.pop("bytes")}
        row["image_path"] = image and image["path"]
    return found | {"json": to_json(row)}


def extension(path: str) -> str:
    """Return the extension of an image's path: `jpg`, `png` or `webp`."""
    return path.rsplit(".", 1)[-1]


def to_json(value: Any) -> bytes:
    """Return compact JSON in UTF-8 with sorted keys: the same bytes for the same value.

    What JSON has no type for, such as a NumPy half float, is written as a float; NaN and infinity as null.
    """
    try:
        return _STRICT.encode(value).encode()
    except ValueError:
        return _STRICT.encode(_finite(value)).encode()


def _finite(value: Any) -> Any:
    """The value with None for each number that is not finite."""
    if isinstance(value, dict):
        return {name: _finite(one) for name, one in value.items()}
    if isinstance(value, list):
        return [_finite(one) for one in value]
    return None if isinstance(value, (float, np.floating)) and not np.isfinite(value) else value


def _npy(array: np.ndarray[Any, Any]) -> bytes:
    out = io.BytesIO()
    np.save(out, array, allow_pickle=False)
    return out.getvalue()
