"""The images folder of an export: one file an image, however many rows show it.

Shards are written by any number of processes, so it takes two looks. First each shard's images are noted by their
SHA-256; then it is settled which path each has, that of the first row that shows it; and each shard's writer writes
the images that are first its own.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, Protocol

import msgspec
import pyarrow as pa

from curate.errors import OutputError
from curate.storage.store import Store

NOTED = pa.schema([("sha256", pa.binary(32)), ("path", pa.string())])


class Images(Protocol):
    """Who is shown each image of an export."""

    def add(self, image: dict[str, Any]) -> str:
        """An image with its `bytes`; where it lies in the folder."""


class AlbumNotes:
    """Notes images by their content, and writes none."""

    def __init__(self) -> None:
        self._noted: dict[tuple[bytes, str], None] = {}

    def add(self, image: dict[str, Any]) -> str:
        """See `Images.add`."""
        self._noted[hashlib.sha256(image["bytes"]).digest(), image["path"]] = None
        return f"images/{image['path']}"

    def table(self) -> pa.Table:
        """What was noted, in order (NOTED)."""
        digests, paths = zip(*self._noted, strict=True) if self._noted else ((), ())
        return pa.table([pa.array(digests, pa.binary(32)), pa.array(paths, pa.string())], schema=NOTED)


def elsewhere(notes: Iterable[pa.Table]) -> Iterator[dict[str, str]]:
    """Of the notes of each shard, in order: the paths whose image lies under another one, and where."""
    first: dict[bytes, str] = {}
    for table in notes:
        moved: dict[str, str] = {}
        for digest, path in zip(table["sha256"].to_pylist(), table["path"].to_pylist(), strict=True):
            place = first.setdefault(digest, path)
            if place != path:
                moved[path] = place
        yield moved


class Album:
    """Writes a shard's images, each once, but for those that lie `moved` elsewhere."""

    def __init__(self, store: Store, moved: Mapping[str, str]) -> None:
        self._store, self._moved = store, moved
        self._written: set[str] = set()

    def add(self, image: dict[str, Any]) -> str:
        """See `Images.add`.

        Files are not flushed one by one: the folder counts once its manifest is there.

        Raises:
            OutputError: it cannot be written.
        """
        path = image["path"]
        if path not in self._moved and path not in self._written:
            self._write(f"images/{path}", image["bytes"])
            self._written.add(path)
        return self.place(image)

    def place(self, image: dict[str, Any]) -> str:
        """Where an image lies, by its path alone."""
        return f"images/{self._moved.get(image['path'], image['path'])}"

    def _write(self, path: str, body: bytes) -> None:
        whole = self._store.path(path)
        try:
            self._store.fs.create_dir(whole.rsplit("/", 1)[0], recursive=True)
            with self._store.fs.open_output_stream(whole) as stream:
                stream.write(body)
        except OSError as error:
            raise OutputError(f"cannot write {whole}: {error.strerror or error}") from None


def write_notes(store: Store, name: str, notes: AlbumNotes) -> None:
    """Keep a shard's notes under `name`."""
    sink = pa.BufferOutputStream()
    with pa.ipc.new_file(sink, NOTED) as writer:
        writer.write_table(notes.table())
    store.write_bytes(name, sink.getvalue().to_pybytes())


def read_notes(store: Store, name: str) -> pa.Table:
    """The notes that were kept under `name`."""
    return pa.ipc.open_file(pa.py_buffer(store.read_bytes(name) or b"")).read_all()


def write_moved(store: Store, name: str, moved: Mapping[str, str]) -> None:
    """Keep what lies elsewhere under `name`, if anything does."""
    if moved:
        store.write_bytes(name, msgspec.json.encode(moved))


def read_moved(store: Store, name: str) -> dict[str, str]:
    """What lies elsewhere, as kept under `name`."""
    data = store.read_bytes(name)
    return {} if data is None else msgspec.json.decode(data, type=dict[str, str])
