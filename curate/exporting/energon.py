"""The format `energon`: WebDataset tars with the index files that Megatron-Energon's `energon prepare` would make.

`.nv-meta/dataset.yaml` declares "crude" samples: functions that Energon calls cookers turn the files `jpg`, `txt` and
`json` into what a model takes. `.nv-meta/energon_samples.py` has such a cooker. If all samples are of one Energon type,
`typed.yaml` declares that type. All tars are in the split `train`; edit `split.yaml` to change that.
"""

from __future__ import annotations

import json
import sqlite3
import struct
import tempfile
import uuid
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path
from typing import Any

import msgspec

from curate.errors import InputError
from curate.exporting import energon_samples
from curate.exporting.album import Album, Images
from curate.exporting.energon_samples import type_name
from curate.exporting.exporter import FOLDER, Exported
from curate.exporting.sample_files import Records
from curate.exporting.webdataset import Tar, write_tar
from curate.storage.dataset import DataFile, DataSet
from curate.storage.store import Store

META = ".nv-meta"
VERSION = "7.4.1"  # the version of energon whose file layout is written
TABLES = """
CREATE TABLE samples (tar_file_id INTEGER NOT NULL, sample_key TEXT NOT NULL UNIQUE,
    sample_index INTEGER NOT NULL, byte_offset INTEGER, byte_size INTEGER);
CREATE TABLE sample_parts (tar_file_id INTEGER, sample_index INTEGER, part_name TEXT,
    content_byte_offset INTEGER, content_byte_size INTEGER);
"""
INDICES = """
CREATE INDEX idx_samples_by_tar_and_idx ON samples(tar_file_id, sample_index);
CREATE INDEX idx_sample_parts_seq ON sample_parts(tar_file_id, sample_index, content_byte_offset);
CREATE INDEX idx_sample_parts_full ON sample_parts(tar_file_id, sample_index, part_name, content_byte_offset,
    content_byte_size);
"""


class Energon:
    """Writes the tars, an index `shard-000000.tar.idx` beside each, and the folder `.nv-meta`."""

    album = False

    def look(self, records: Records, file: DataFile, images: Images) -> None:
        """See `ExportFormat.look`: nothing to note, because each tar holds the images of its samples."""

    def write(self, store: Store, records: Records, number: int, album: Album) -> list[Any]:
        """See `ExportFormat.write`."""
        tar = write_tar(store, records, number)
        if tar is None:
            return []
        starts = [members[0].header for _, members in tar.samples]
        store.write_bytes(f"{tar.name}.idx", struct.pack(f"<{len(starts) + 1}Q", *starts, tar.end))
        store.write_bytes(_tar_name(number), msgspec.msgpack.encode(tar))
        return [tar.name, len(tar.samples)]

    def finish(self, store: Store, data: DataSet, done: Sequence[Exported]) -> list[str]:
        """See `ExportFormat.finish`."""
        counts = {one.told[0]: one.told[1] for one in done if one.told}
        decode = msgspec.msgpack.Decoder(Tar).decode
        with closing(_database()) as database:
            for number, one in enumerate(one for one in done if one.told):
                tar = decode(store.read_bytes(_tar_name(one.number)) or b"")
                try:
                    _index(database, number, tar)
                except sqlite3.IntegrityError:
                    raise InputError(
                        f"a key in {tar.name} is in an earlier tar too, and Energon needs each once: give each row "
                        "a key of its own, or export to webdataset"
                    ) from None
            database.executescript(INDICES)
            database.commit()
            packs = "loss_mask" in data.schema.names
            types = set() if packs else {type_name(task) for one in done for task in one.tasks}
            meta = _meta(data, counts) | _typed(types)
            meta["index.sqlite"] = database.serialize()
            for name, body in meta.items():
                store.write_bytes(f"{META}/{name}", body)
        files = [name for tar in counts for name in (tar, f"{tar}.idx")]
        return files + [f"{META}/{name}" for name in meta]


def _tar_name(number: int) -> str:
    """Name the temporary file that lists a tar's samples until `finish` reads it."""
    return f"{FOLDER}/tars/{number:06d}.msgpack"


def _database() -> sqlite3.Connection:
    """Open an empty index on disk, and delete the file's name: however this process ends, no file stays behind."""
    with tempfile.NamedTemporaryFile(prefix="curate-energon-") as place:
        database = sqlite3.connect(place.name)
        database.execute("PRAGMA journal_mode = OFF")
        database.executescript(TABLES)
    return database


def _index(database: sqlite3.Connection, number: int, tar: Tar) -> None:
    starts = [members[0].header for _, members in tar.samples]
    ends = [*starts[1:], tar.end]
    database.executemany(
        "INSERT INTO samples VALUES (?, ?, ?, ?, ?)",
        (
            (number, name, place, start, end - start)
            for place, ((name, _), start, end) in enumerate(zip(tar.samples, starts, ends, strict=True))
        ),
    )
    database.executemany(
        "INSERT INTO sample_parts VALUES (?, ?, ?, ?, ?)",
        (
            (number, place, member.part, member.start, member.size)
            for place, (_, members) in enumerate(tar.samples)
            for member in members
        ),
    )


def _typed(types: set[str]) -> dict[str, bytes]:
    """Return `energon_samples.py`, and `typed.yaml` if all samples are of one type: file name -> content."""
    if not types:
        return {}
    found = {"energon_samples.py": Path(energon_samples.__file__).read_bytes()}
    if len(types) == 1:
        kind = {"__module__": "megatron.energon", "__class__": types.pop()}
        functions = {name: f"energon_samples.py:{name}" for name in ("sample_loader", "part_filter")}
        found["typed.yaml"] = json.dumps({"sample_type": kind} | functions, indent=2).encode()
    return found


def _meta(data: DataSet, counts: dict[str, int]) -> dict[str, bytes]:
    """Return the small files of `.nv-meta`: file name -> content. The `.yaml` files hold JSON, which is valid YAML."""
    dataset = {"__module__": "megatron.energon", "__class__": "CrudeWebdataset"}
    split = {"split_parts": {"train": list(counts), "val": [], "test": []}, "exclude": []}
    info = {"energon_version": VERSION, "shard_counts": counts}
    made = {".info.json": info, "split.yaml": split, "dataset.yaml": dataset}
    found = {name: json.dumps(value, indent=2).encode() for name, value in made.items()}
    return found | {"index.uuid": str(uuid.uuid5(uuid.NAMESPACE_OID, data.digest)).encode()}
