"""A folder of answers: fetching an address again gives the bytes that it gave the first time.

    FOLDER/answers/2c/2c26b4…   the answer of an address: JSON, named by the SHA-256 of the address
    FOLDER/bytes/9f/9f86d0…     a body, named by its SHA-256, so that equal bodies are stored once

Several processes may use one folder: the first answer that is kept for an address is the one that all of them get.
"""

from __future__ import annotations

import hashlib
import tempfile
from pathlib import Path

import msgspec

from curate.fetch.outcome import Fetched


class KeptAnswer(msgspec.Struct, frozen=True):
    """What one address answered: the hash of a body, or the reason for a failure."""

    url: str  # as it was requested
    sha256: str | None = None  # of the body, in hex; None for a failure
    content_type: str | None = None
    final: str | None = None  # the address after all redirects
    reason: str | None = None
    detail: str | None = None


class KeptAnswers:
    """Reads and writes the answers in one folder."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def find(self, url: str) -> Fetched | None:
        """Return the answer of an address; None if none is kept, or if the kept one is damaged."""
        try:
            answer = msgspec.json.decode(
                self._place("answers", digest(url.encode())).read_bytes(), type=KeptAnswer
            )
            body = None if answer.sha256 is None else self._place("bytes", answer.sha256).read_bytes()
        except (OSError, msgspec.DecodeError):
            return None
        if body is not None and digest(body) != answer.sha256:
            return None
        return Fetched(body, answer.reason, answer.detail, answer.final, answer.content_type)

    def keep(self, url: str, fetched: Fetched) -> Fetched:
        """Keep an answer unless the address already has one; return the answer that is kept now."""
        body = fetched.body
        sha256 = None if body is None else digest(body)
        if body is not None and sha256 is not None:
            self._write(self._place("bytes", sha256), body, replace=True)
        answer = KeptAnswer(url, sha256, fetched.content_type, fetched.url, fetched.reason, fetched.detail)
        place = self._place("answers", digest(url.encode()))
        if self._write(place, msgspec.json.encode(answer), replace=False):
            return fetched
        found = self.find(url)
        if found is None:  # the answer that was kept is damaged
            self._write(place, msgspec.json.encode(answer), replace=True)
        return found or fetched

    def _place(self, kind: str, name: str) -> Path:
        return self._folder / kind / name[:2] / name

    def _write(self, path: Path, data: bytes, *, replace: bool) -> bool:
        """Write a complete file at `path`, and return whether it is there now.

        Without `replace` a file that already has this name stays.
        """
        path.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.NamedTemporaryFile(dir=self._folder, delete=False) as file:
            try:
                file.write(data)
                file.flush()
                if replace:
                    Path(file.name).replace(path)
                else:
                    path.hardlink_to(file.name)
                return True
            except FileExistsError:
                return False
            finally:
                Path(file.name).unlink(missing_ok=True)


def digest(data: bytes) -> str:
    """Return the SHA-256 of `data` in hex."""
    return hashlib.sha256(data).hexdigest()
