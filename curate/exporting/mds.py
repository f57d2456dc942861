"""The format `mds` of MosaicML's streaming: shard files of samples with an offset table, and `index.json`.

Columns of a shard's row: `image` (the file's bytes; empty without an image), the strings of STRINGS, `width` and
`height` (pixels; 0 without an image), and `meta`: JSON of all other columns. Columns of a pack's row: `tokens`,
`loss_mask` and `segments` as bytes of int32, bool and int32, `image`, `task`, and `meta`. A pack or a dialogue may
have several images: `image` holds their bytes one after another, and `images` in `meta` says how many bytes each has.
"""

from __future__ import annotations

import itertools
import json
import struct
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from curate.exporting.album import Album, Images
from curate.exporting.exporter import Exported
from curate.exporting.sample_files import Record, Records, to_json
from curate.storage.dataset import DataFile, DataSet
from curate.storage.store import Store

SHARD_BYTES = 2**26
STRINGS = ("key", "dataset", "task", "language", "text", "prompt", "target")
SHARD_COLUMNS = dict.fromkeys(STRINGS, "str") | {
    "image": "bytes",
    "width": "int",
    "height": "int",
    "meta": "json",
}
PACK_COLUMNS = dict.fromkeys(("image", "tokens", "loss_mask", "segments"), "bytes") | {
    "task": "str",
    "meta": "json",
}
FIXED = {"int": 8}  # encodings of a fixed size (bytes); a sample gives the size of each other value


class Mds:
    """Writes `shard.00000.mds` and so on, and at the end `index.json`."""

    album = False

    def look(self, records: Records, file: DataFile, images: Images) -> None:
        """See `ExportFormat.look`: nothing to note, because each sample holds its images."""

    def write(self, store: Store, records: Records, number: int, album: Album) -> list[Any]:
        """See `ExportFormat.write`."""
        columns = dict(sorted((PACK_COLUMNS if records.packs else SHARD_COLUMNS).items()))
        encode = _pack if records.packs else _shard
        rows = records.of(records.data.files[number])
        told: list[dict[str, Any]] = []
        for samples in _cut(_encoded(encode(record), columns) for record in rows):
            name = f"shard.{number:05d}{f'-{len(told)}' if told else ''}.mds"
            body = _body(samples, _config(columns))
            store.write_bytes(name, body)
            raw = {"basename": name, "bytes": len(body), "hashes": {}}
            told.append(_config(columns) | {"samples": len(samples), "raw_data": raw, "zip_data": None})
        return told

    def finish(self, store: Store, data: DataSet, done: Sequence[Exported]) -> list[str]:
        """See `ExportFormat.finish`."""
        shards = [shard for one in done for shard in one.told]
        index = {"version": 2, "shards": shards}
        store.write_bytes("index.json", json.dumps(index, sort_keys=True).encode())
        return [shard["raw_data"]["basename"] for shard in shards] + ["index.json"]


def _config(columns: dict[str, str]) -> dict[str, Any]:
    return {
        "version": 2,
        "format": "mds",
        "compression": None,
        "hashes": [],
        "size_limit": SHARD_BYTES,
        "column_names": list(columns),
        "column_encodings": list(columns.values()),
        "column_sizes": [FIXED.get(encoding) for encoding in columns.values()],
    }


def _cut(samples: Iterator[bytes]) -> Iterator[list[bytes]]:
    """Group consecutive samples; a group is complete once it has SHARD_BYTES or more."""
    for first in samples:
        run, size = [], 0
        for sample in itertools.chain([first], samples):
            run.append(sample)
            size += len(sample)
            if size >= SHARD_BYTES:
                break
        yield run


def _body(samples: list[bytes], config: dict[str, Any]) -> bytes:
    """Return the bytes of a shard file: the number of samples, their offsets, the columns as JSON, the samples."""
    text = json.dumps(config, sort_keys=True).encode()
    before = 4 + 4 * (len(samples) + 1) + len(text)
    offsets = np.cumsum([before, *map(len, samples)], dtype=np.int64)
    return struct.pack("<I", len(samples)) + offsets.astype("<u4").tobytes() + text + b"".join(samples)


def _encoded(values: dict[str, bytes], columns: dict[str, str]) -> bytes:
    """Return the bytes of a sample: the sizes of the columns without a fixed size, then all columns."""
    data = [values[name] for name in columns]
    sizes = [len(body) for body, kind in zip(data, columns.values(), strict=True) if kind not in FIXED]
    return struct.pack(f"<{len(sizes)}I", *sizes) + b"".join(data)


def _shard(record: Record) -> dict[str, bytes]:
    row = dict(record.row)
    image = row.pop("image") or {"bytes": None, "path": None}
    bodies = [image["bytes"] or b""]
    if row.get("images"):
        bodies = [one["bytes"] for one in row["images"]]
        row["images"] = [{"path": one["path"], "bytes": len(one["bytes"])} for one in row["images"]]
    found = {name: (row.pop(name) or "").encode() for name in STRINGS}
    found |= {name: struct.pack("<q", row.pop(name) or 0) for name in ("width", "height")}
    return found | {"image": b"".join(bodies), "meta": to_json(row | {"image_path": image["path"]})}


def _pack(record: Record) -> dict[str, bytes]:
    row = record.row
    bodies = [image["bytes"] or b"" for image in row["images"]]
    places = [
        {"path": image["path"], "start": image["start"], "bytes": len(body)}
        for image, body in zip(row["images"], bodies, strict=True)
    ]
    return {
        "image": b"".join(bodies),
        "tokens": np.array(row["tokens"], "<i4").tobytes(),
        "loss_mask": np.array(row["loss_mask"], np.bool_).tobytes(),
        "segments": np.array(row["segments"], "<i4").tobytes(),
        "task": row["task"].encode(),
        "meta": to_json({"keys": row["keys"], "images": places}),
    }
