"""The Parquet files of a run's folder in the order of their names: what pack, loader and export read."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable
from typing import Any

import msgspec
import pyarrow as pa
import pyarrow.parquet as pq
from pyarrow import fs

from curate.errors import InputError
from curate.storage.filesystems import filesystem


class DataFile(msgspec.Struct, frozen=True):
    """A shard or a pack: its place, its size, and the rows of each of its row groups."""

    uri: str
    bytes: int
    group_rows: tuple[int, ...]
    memory: int  # bytes of all columns, uncompressed
    mark: str  # its hash in the folder's manifest; empty without one

    @property
    def rows(self) -> int:
        """Of all row groups."""
        return sum(self.group_rows)

    def open(self) -> pq.ParquetFile:
        """The file, its pages' checksums verified on reading."""
        system, path = filesystem(self.uri)
        return pq.ParquetFile(system.open_input_file(path), page_checksum_verification=True)


class DataSet(msgspec.Struct, frozen=True):
    """Files that are read as one, and a digest of what they are."""

    files: tuple[DataFile, ...]
    digest: str
    schema: Any  # the pyarrow schema of every file

    @property
    def rows(self) -> int:
        """Of all files."""
        return sum(file.rows for file in self.files)

    @property
    def memory(self) -> int:
        """Bytes of all files' columns, uncompressed."""
        return sum(file.memory for file in self.files)


def find(uris: Iterable[str], stem: str = "shard") -> DataSet:
    """The files `STEM-*.parquet` of the folders, and files that are named themselves, in that order.

    The digest is of names, sizes and row groups, and of the hashes in `_manifest.json` where a folder has
    one.

    Raises:
        InputError: nothing there, a file that is no Parquet, an unfinished run, or files with different
        columns.
    """
    files, digest, schema = [], hashlib.sha256(), None
    for uri in uris:
        for place, mark in _places(uri.rstrip("/"), stem):
            file, found = _describe(place, mark)
            if schema is not None and not found.equals(schema):
                raise InputError(f"{place} has other columns than {files[0].uri}: give data of one version")
            files.append(file)
            schema = found
            name = place.rsplit("/", 1)[-1]
            digest.update(json.dumps([name, file.bytes, file.group_rows, mark]).encode())
    if not files:
        raise InputError(f"no {stem}-*.parquet in {', '.join(uris) or 'nothing'}")
    return DataSet(tuple(files), digest.hexdigest(), schema)


def _places(uri: str, stem: str) -> list[tuple[str, str]]:
    """The URIs of a folder's files, each with the hash that its manifest gives, or an empty string."""
    system, path = filesystem(uri)
    info = system.get_file_info(path)
    if info.type == fs.FileType.File:
        return [(uri, "")]
    if info.type == fs.FileType.NotFound:
        raise InputError(f"there is no {uri}")
    infos = system.get_file_info(fs.FileSelector(path))
    names = sorted(
        i.base_name for i in infos if i.base_name.startswith(f"{stem}-") and i.extension == "parquet"
    )
    hashes = _hashes(system, f"{path}/_manifest.json")
    if hashes is None:
        if system.get_file_info(f"{path}/_run").type == fs.FileType.Directory:
            raise InputError(f"{uri} is unfinished (it has no _manifest.json): run its command again first")
        hashes = {}
    return [(f"{uri}/{name}", hashes.get(name, "")) for name in names]


def _hashes(system: fs.FileSystem, path: str) -> dict[str, str] | None:
    """The files' hashes in a manifest; None where there is no manifest."""
    try:
        with system.open_input_stream(path) as stream:
            manifest = json.loads(stream.read())
        return {entry["path"]: entry["sha256"] for entry in manifest["shards"]}
    except FileNotFoundError:
        return None
    except (ValueError, KeyError, TypeError):
        raise InputError(f"{path} is not a manifest that curate wrote") from None


def _describe(uri: str, mark: str) -> tuple[DataFile, pa.Schema]:
    system, path = filesystem(uri)
    try:
        with system.open_input_file(path) as stream:
            file = pq.ParquetFile(stream)
            groups = [file.metadata.row_group(n) for n in range(file.metadata.num_row_groups)]
            rows, memory = tuple(g.num_rows for g in groups), sum(g.total_byte_size for g in groups)
            return DataFile(uri, stream.size(), rows, memory, mark), file.schema_arrow.remove_metadata()
    except (OSError, pa.ArrowInvalid) as error:
        raise InputError(f"cannot read {uri}: {error}") from None
