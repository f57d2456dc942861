"""The images folder of an export: one file an image, however many rows show it."""

from __future__ import annotations

import hashlib
from typing import Any

from curate.errors import OutputError
from curate.storage.store import Store


class Album:
    """Writes images under the path of the first row that shows them."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._stored: dict[bytes, str] = {}  # of an image's SHA-256: where it lies
        self._same: dict[str, str] = {}  # of the paths whose image lies under another one: where

    def add(self, image: dict[str, Any]) -> str:
        """Where the image lies in the folder; it is written unless the same bytes are there already.

        Files are not flushed one by one: the folder counts once its manifest is there.

        Raises:
            OutputError: it cannot be written.
        """
        body, path = image["bytes"], f"images/{image['path']}"
        digest = hashlib.sha256(body).digest()
        if digest not in self._stored:
            self._stored[digest] = path
            self._write(path, body)
        elif self._stored[digest] != path:
            self._same[path] = self._stored[digest]
        return self._stored[digest]

    def place(self, image: dict[str, Any]) -> str:
        """Where an image lies that was added before, by its path alone."""
        path = f"images/{image['path']}"
        return self._same.get(path, path)

    def _write(self, path: str, body: bytes) -> None:
        whole = self._store.path(path)
        try:
            self._store.fs.create_dir(whole.rsplit("/", 1)[0], recursive=True)
            with self._store.fs.open_output_stream(whole) as stream:
                stream.write(body)
        except OSError as error:
            raise OutputError(f"cannot write {whole}: {error.strerror or error}") from None
