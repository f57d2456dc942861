"""A server of this machine that answers like the Hugging Face Hub for one data set of public files."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from typing import Any
from urllib.parse import unquote, urlsplit

COMMIT = "a" * 40
RANGE = re.compile(r"bytes=(\d+)-(\d*)")


@contextmanager
def hub(repository: str, files: dict[str, bytes]) -> Iterator[str]:
    """The address of a hub whose data set `repository` (OWNER/NAME) holds these files, by path."""
    handler = type("Handler", (_Handler,), {"repository": repository, "files": files})
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        server.server_close()


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    repository: str
    files: dict[str, bytes]

    def do_GET(self) -> None:
        path, query = unquote(urlsplit(self.path).path), urlsplit(self.path).query
        api, files = f"/api/datasets/{self.repository}", f"/datasets/{self.repository}/resolve/main/"
        if path.startswith(files):
            self._file(path.removeprefix(files))
        elif path == api or path.startswith(f"{api}/revision/"):
            self._json({"id": self.repository, "sha": COMMIT, "private": False, "siblings": [], "tags": []})
        elif path.startswith(f"{api}/tree/main"):
            folder = path.removeprefix(f"{api}/tree/main").strip("/")
            self._tree(folder, deep="recursive=true" in query.lower())
        else:
            self._json({"error": "Entry not found"}, 404)

    def do_HEAD(self) -> None:
        self.do_GET()

    def log_message(self, *_: object) -> None:
        pass

    def _tree(self, folder: str, deep: bool) -> None:
        """The files of a folder, and the folders on the way to those below it."""
        entries: dict[str, dict[str, Any]] = {}
        for path, data in self.files.items():
            below = path.removeprefix(f"{folder}/" if folder else "").split("/")
            if folder and not path.startswith(f"{folder}/"):
                continue
            if len(below) > 1:
                name = f"{folder}/{below[0]}".strip("/")
                entries[name] = {"type": "directory", "oid": COMMIT, "size": 0, "path": name}
            if deep or len(below) == 1:
                digest = hashlib.sha1(data).hexdigest()
                entries[path] = {"type": "file", "oid": digest, "size": len(data), "path": path}
        self._json(list(entries.values()) or {"error": "Entry not found"}, 200 if entries else 404)

    def _file(self, path: str) -> None:
        if path not in self.files:
            self._json({"error": "Entry not found"}, 404)
            return
        data, span = self.files[path], RANGE.fullmatch(self.headers.get("Range", ""))
        headers = {"ETag": f'"{hashlib.sha1(data).hexdigest()}"', "X-Repo-Commit": COMMIT}
        if span is None:
            self._send(200, data, headers)
            return
        start, stop = int(span[1]), int(span[2]) + 1 if span[2] else len(data)
        part = data[start:stop]
        headers["Content-Range"] = f"bytes {start}-{start + len(part) - 1}/{len(data)}"
        self._send(206, part, headers)

    def _json(self, value: Any, status: int = 200) -> None:
        code = {} if status == 200 else {"X-Error-Code": "EntryNotFound"}
        self._send(status, json.dumps(value).encode(), {"Content-Type": "application/json"} | code)

    def _send(self, status: int, body: bytes, headers: dict[str, str]) -> None:
        self.send_response(status)
        for name, value in ({"Content-Length": str(len(body))} | headers).items():
            self.send_header(name, value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)
