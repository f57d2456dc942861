"""Rows of shards and packs as the files that other formats keep of a sample."""

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
    """A sample under a name that is safe in any folder."""

    name: str
    row: dict[str, Any]  # of the shard or pack


class Records:
    """The rows of a data set. `written` counts them, `dropped` those whose names are not safe as files', or whose
    raw text holds a placeholder such as `<image>`.
    """

    def __init__(self, data: DataSet) -> None:
        self.data = data
        self.packs = "loss_mask" in data.schema.names
        self.written = 0
        self.tasks: set[str] = set()  # of the rows that were read so far
        self.dropped: Counter[str] = Counter()

    def of(self, file: DataFile, columns: list[str] | None = None) -> Iterator[Record]:
        """The records of one of its files."""
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
        """Why a row is left out: its name, or a placeholder in raw text that a trainer would replace."""
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
    """Why a dialogue, perhaps of other software's making, cannot be written turn by turn with its images."""
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
    """What a tar keeps of a sample, by file extension.

    A shard's row gives its image (`jpg`, `png` or `webp`), a dialogue's its images (`0.jpg`, `1.png`, …), each `txt`
    (the text) and `json` (everything else). A pack's row gives `tokens.npy`, `loss_mask.npy`, `segments.npy`, its
    images as `0.jpg`, `1.png`, …, and `json`.
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
    """Of an image's path: jpg, png or webp."""
    return path.rsplit(".", 1)[-1]


def to_json(value: Any) -> bytes:
    """Compact JSON in UTF-8, the same for the same value; half floats are floats."""
    return json.dumps(
        value, ensure_ascii=False, sort_keys=True, separators=(",", ":"), default=float
    ).encode()


def _npy(array: np.ndarray[Any, Any]) -> bytes:
    out = io.BytesIO()
    np.save(out, array, allow_pickle=False)
    return out.getvalue()
