"""What addresses answered, kept by content: asked again, an address gives what it gave before, byte for byte.

    FOLDER/answers/2c/2c26b4…   what an address answered: JSON, under the address's SHA-256
    FOLDER/bytes/9f/9f86d0…     each body once, under its own SHA-256

Several processes may keep answers in one folder: the first one that an address gets stands.
"""

from __future__ import annotations

import hashlib
import tempfile
from pathlib import Path

import msgspec

from curate.fetch.outcome import Fetched


class KeptAnswer(msgspec.Struct, frozen=True):
    """What one address answered: a body's hash, or a reason."""

    url: str  # as it was asked for
    sha256: str | None = None
    content_type: str | None = None
    final: str | None = None  # where redirects led
    reason: str | None = None
    detail: str | None = None


class KeptAnswers:
    """A folder of answers."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def find(self, url: str) -> Fetched | None:
        """What the address answered; null where it is not known, or its body is damaged."""
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
        """Keep an answer, unless there is one; the one that stands."""
        body = fetched.body
        sha256 = None if body is None else digest(body)
        if body is not None and sha256 is not None:
            self._write(self._place("bytes", sha256), body, replace=True)
        answer = KeptAnswer(url, sha256, fetched.content_type, fetched.url, fetched.reason, fetched.detail)
        place = self._place("answers", digest(url.encode()))
        if self._write(place, msgspec.json.encode(answer), replace=False):
            return fetched
        found = self.find(url)
        if found is None:  # what stood there is damaged
            self._write(place, msgspec.json.encode(answer), replace=True)
        return found or fetched

    def _place(self, kind: str, name: str) -> Path:
        return self._folder / kind / name[:2] / name

    def _write(self, path: Path, data: bytes, *, replace: bool) -> bool:
        """Write a file whole, and say whether it is now the one of that name."""
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
    """The bytes' SHA-256, in hex."""
    return hashlib.sha256(data).hexdigest()
