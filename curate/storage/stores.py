"""Use fsspec's stores as pyarrow file systems; errors of their clients become OSErrors with one line of text."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

from pyarrow import PythonFile, fs

METHODS = (
    "get_file_info",
    "get_file_info_selector",
    "create_dir",
    "delete_dir",
    "delete_dir_contents",
    "delete_root_dir_contents",
    "delete_file",
    "move",
    "copy_file",
    "open_output_stream",
    "open_append_stream",
)


def plain_errors(call: Callable[..., Any]) -> Callable[..., Any]:
    """Wrap a call so that it raises only OSError, ValueError or NotImplementedError; other errors become OSErrors."""

    @functools.wraps(call)
    def plain(*arguments: Any, **named: Any) -> Any:
        try:
            return call(*arguments, **named)
        except (OSError, ValueError, NotImplementedError):
            raise
        except Exception as error:  # each store's client has its own error classes
            said = " ".join(str(error).split())[:300]
            raise OSError(f"{type(error).__name__}: {said}") from None

    return plain


class StoreClient(fs.FSSpecHandler):  # type: ignore[misc]
    """fsspec's file system, with plain errors."""

    def open_input_stream(self, path: str) -> PythonFile:
        """Open the file for reading from its start. Raises: see `open_input_file`."""
        return self.open_input_file(path)

    @plain_errors
    def open_input_file(self, path: str) -> PythonFile:
        """Open the file for reading at any offset.

        Raises:
            OSError: there is no such file, or the store cannot be reached.
        """
        if not self.fs.isfile(path):
            raise FileNotFoundError(path)
        return PythonFile(File(self.fs.open(path, mode="rb")), mode="r")


class WebClient(StoreClient):
    """A web server's files; a server that refuses or cannot be reached is an error, not a missing file."""

    def get_file_info(self, paths: list[str]) -> list[fs.FileInfo]:
        """The type and size of each file; a file that the server does not have (404, 410) is `NotFound`.

        Raises:
            OSError: a server cannot be reached, or answers with another error.
        """
        return [self._info(path) for path in paths]

    def _info(self, path: str) -> fs.FileInfo:
        try:
            return self._create_file_info(path, self.fs.info(path))
        except FileNotFoundError as error:
            cause = (
                error.__cause__
            )  # fsspec reports every failure as a missing file; the cause is the true error
            status = getattr(cause, "status", None)
            if cause is None or status in (404, 410):
                return fs.FileInfo(path, fs.FileType.NotFound)
            said = " ".join(str(getattr(cause, "message", "") or cause or type(cause).__name__).split())[:300]
            what = (
                f"its server answers {status}: {said}" if status else f"its server cannot be reached: {said}"
            )
            raise OSError(what) from None


for _name in METHODS:
    setattr(StoreClient, _name, plain_errors(getattr(fs.FSSpecHandler, _name)))


class File:
    """An open file of fsspec's, with plain errors."""

    def __init__(self, file: Any) -> None:
        self._file = file
        self.read, self.seek = plain_errors(file.read), plain_errors(file.seek)
        self.tell, self.close, self.readable = file.tell, file.close, file.readable

    @property
    def closed(self) -> bool:
        """Whether it was closed."""
        return bool(self._file.closed)
