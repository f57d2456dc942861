"""Reads the rows of shards and packs for an export, and turns a row into the files that a tar keeps of a sample."""

from __future__ import annotations

import io
import json
import re
from collections import Counter
from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np

from curate.errors import DamagedError
from curate.storage.dataset import DataFile, DataSet
from curate.storage.filesystems import one_line
from curate.tasks.formats import CONVERSATION
from curate.tasks.turns import IMAGE, PLACEHOLDER

SAFE_KEY = re.compile(r"[A-Za-z0-9_-]{1,200}")  # WebDataset ends a key at the first dot
PLACEHOLDERS = re.compile(PLACEHOLDER)
SAFE_PATH = re.compile(r"[A-Za-z0-9_+-][A-Za-z0-9_.+-]*/[A-Za-z0-9_-]{1,200}\.(?:jpg|png|webp)")


class Record(NamedTuple):
    """A row to export, under a name that is safe as a file name in any folder."""

    name: str
    row: dict[str, Any]  # as in the shard or pack


class Records:
    """Reads the rows of a data set that can be exported, and counts them.

    `written` counts the rows that were given out. `dropped` counts the others by reason: names that are not safe as
    file names, texts that hold a placeholder such as `<image>`, and dialogues that are incomplete.
    """

    def __init__(self, data: DataSet) -> None:
        self.data = data
        self.packs = "loss_mask" in data.schema.names
        self.written = 0
        self.tasks: set[str] = set()  # of the rows that were read so far
        self.dropped: Counter[str] = Counter()

    def of(self, file: DataFile, columns: list[str] | None = None) -> Iterator[Record]:
        """Yield the rows of one file of the data set as records, in order.

        Args:
            file: a file of the data set.
            columns: the columns to read; None reads all.

        Raises:
            DamagedError: the file cannot be read.
        """
        number = 0
        stem = file.uri.rsplit("/", 1)[-1].removesuffix(".parquet")
        with file.open() as parquet:
            for group in range(parquet.num_row_groups):
                try:
                    rows = parquet.read_row_group(group, columns=columns).to_pylist()
                except (OSError, ValueError) as error:
                    raise DamagedError(
                        f"{file.uri} is damaged in row group {group}: {one_line(error)}; `curate verify` on its "
                        "folder names every damaged file"
                    ) from None
                for row in rows:
                    name = f"{stem}-{number:06d}" if self.packs else str(row["key"])
                    number += 1
                    fault = self._fault(name, row)
                    if fault is None:
                        self.written += 1
                        self.tasks.add(row.get("task") or "")
                        yield Record(name, row)
                    else:
                        self.dropped[fault] += 1

    def _fault(self, name: str, row: dict[str, Any]) -> str | None:
        """Return the reason for leaving a row out; None for a row that can be exported.

        A placeholder in a text is such a reason, because a trainer would replace it by an image.
        """
        if not self.packs and row.get("task") == CONVERSATION and (fault := _talk_fault(row)) is not None:
            return fault
        if not self._safe(name, row):
            return "name_unsafe"
        texts = (
            () if self.packs or row.get("task") == CONVERSATION else (row.get("prompt"), row.get("target"))
        )
        held = any(PLACEHOLDERS.search(text) for text in texts if text)
        return "text_has_placeholder" if held else None

    def _safe(self, name: str, row: dict[str, Any]) -> bool:
        images = row["images"] if self.packs else [row["image"], *(row.get("images") or [])]
        paths = [image["path"] for image in images or () if image is not None]
        return bool(SAFE_KEY.fullmatch(name)) and all(SAFE_PATH.fullmatch(path or "") for path in paths)


def _talk_fault(row: dict[str, Any]) -> str | None:
    """Return why a dialogue cannot be written turn by turn with its images; None if it can.

    Other software may have made the shard, so nothing about its turns and images is taken for granted.
    """
    messages, images = row.get("messages"), row.get("images") or []
    if not messages:
        return "text_missing"
    if any(turn is None or turn["role"] is None or turn["content"] is None for turn in messages):
        return "turn_empty"
    if any(image is None or image.get("bytes", b"") is None for image in images):
        return "image_missing"
    named = sum(turn["content"].count(IMAGE) for turn in messages if turn["role"] == "user")
    return None if named == len(images) else "image_count"


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

    What JSON has no type for, such as a NumPy half float, is written as a float.
    """
    return json.dumps(
        value, ensure_ascii=False, sort_keys=True, separators=(",", ":"), default=float
    ).encode()


def _npy(array: np.ndarray[Any, Any]) -> bytes:
    out = io.BytesIO()
    np.save(out, array, allow_pickle=False)
    return out.getvalue()
