"""The images folder of an export. An image that several rows show is written once.

Any number of processes write shards, so the export makes two passes. The first pass notes the SHA-256 and the path of
each image, shard by shard. Then `elsewhere` decides the path of each image: the path in the first row that shows it.
In the second pass each shard's writer writes the images whose first row is in its shard.
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
    """What receives each image of an export: notes of the first pass, or the folder of the second."""

    def add(self, image: dict[str, Any]) -> str:
        """Take an image (its `bytes` and its `path`) and return its path relative to the export's folder."""


class AlbumNotes:
    """Notes each image's SHA-256 and path, and writes no image."""

    def __init__(self) -> None:
        self._noted: dict[tuple[bytes, str], None] = {}

    def add(self, image: dict[str, Any]) -> str:
        """See `Images.add`."""
        self._noted[hashlib.sha256(image["bytes"]).digest(), image["path"]] = None
        return f"images/{image['path']}"

    def table(self) -> pa.Table:
        """Return what was noted, in the order of first notes (N rows, schema NOTED)."""
        digests, paths = zip(*self._noted, strict=True) if self._noted else ((), ())
        return pa.table([pa.array(digests, pa.binary(32)), pa.array(paths, pa.string())], schema=NOTED)


def elsewhere(notes: Iterable[pa.Table]) -> Iterator[dict[str, str]]:
    """Yield, for the notes of each shard in turn, the paths whose image is stored under another path.

    Args:
        notes: one table of schema NOTED for each shard, in the order of the shards.

    Yields a dict for each shard: path in the shard -> path under which the same bytes are stored.
    """
    first: dict[bytes, str] = {}
    for table in notes:
        moved: dict[str, str] = {}
        for digest, path in zip(table["sha256"].to_pylist(), table["path"].to_pylist(), strict=True):
            place = first.setdefault(digest, path)
            if place != path:
                moved[path] = place
        yield moved


class Album:
    """Writes the images of one shard, each once.

    Args:
        store: the export's folder.
        moved: images that are stored under another path, so not written here: path in the shard -> stored path.
    """

    def __init__(self, store: Store, moved: Mapping[str, str]) -> None:
        self._store, self._moved = store, moved
        self._written: set[str] = set()

    def add(self, image: dict[str, Any]) -> str:
        """See `Images.add`.

        Files are not flushed one by one: until its manifest is written, the folder counts as unfinished.

        Raises:
            OutputError: the image cannot be written.
        """
        path = image["path"]
        if path not in self._moved and path not in self._written:
            self._write(f"images/{path}", image["bytes"])
            self._written.add(path)
        return self.place(image)

    def place(self, image: dict[str, Any]) -> str:
        """Return the path of an image relative to the export's folder; only the image's `path` is used."""
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
    """Write a shard's notes to the file `name` of the store."""
    sink = pa.BufferOutputStream()
    with pa.ipc.new_file(sink, NOTED) as writer:
        writer.write_table(notes.table())
    store.write_bytes(name, sink.getvalue().to_pybytes())


def read_notes(store: Store, name: str) -> pa.Table:
    """Read the notes that `write_notes` wrote to the file `name` (N rows, schema NOTED)."""
    return pa.ipc.open_file(pa.py_buffer(store.read_bytes(name) or b"")).read_all()


def write_moved(store: Store, name: str, moved: Mapping[str, str]) -> None:
    """Write a shard's moved images, as `elsewhere` gives them, to the file `name`; no file if there are none."""
    if moved:
        store.write_bytes(name, msgspec.json.encode(moved))


def read_moved(store: Store, name: str) -> dict[str, str]:
    """Read the moved images that `write_moved` wrote to the file `name`; empty if there is no such file."""
    data = store.read_bytes(name)
    return {} if data is None else msgspec.json.decode(data, type=dict[str, str])
