"""Stores that fsspec reaches, as pyarrow's file systems: whatever their clients raise is an OSError of one line."""

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
    """The call, with every error as an OSError, ValueError or NotImplementedError without its history."""

    @functools.wraps(call)
    def plain(*arguments: Any, **named: Any) -> Any:
        try:
            return call(*arguments, **named)
        except (OSError, ValueError, NotImplementedError):
            raise
        except Exception as error:  # each store's client has errors of its own
            said = " ".join(str(error).split())[:300]
            raise OSError(f"{type(error).__name__}: {said}") from None

    return plain


class StoreClient(fs.FSSpecHandler):  # type: ignore[misc]
    """fsspec's file system, with plain errors."""

    def open_input_stream(self, path: str) -> PythonFile:
        """The file, for reading in order."""
        return self.open_input_file(path)

    @plain_errors
    def open_input_file(self, path: str) -> PythonFile:
        """The file, for reading anywhere."""
        if not self.fs.isfile(path):
            raise FileNotFoundError(path)
        return PythonFile(File(self.fs.open(path, mode="rb")), mode="r")


class WebClient(StoreClient):
    """A web server's files: what a server refuses, or one that nobody reaches, is no file that is not there."""

    def get_file_info(self, paths: list[str]) -> list[fs.FileInfo]:
        """What is known of each file.

        Raises:
            OSError: a server cannot be reached, or answers with something else than that the file is not there.
        """
        return [self._info(path) for path in paths]

    def _info(self, path: str) -> fs.FileInfo:
        try:
            return self._create_file_info(path, self.fs.info(path))
        except FileNotFoundError as error:
            cause = (
                error.__cause__
            )  # fsspec says of every failure that nothing is there; this is the true one
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
    """A file of fsspec's, with plain errors."""

    def __init__(self, file: Any) -> None:
        self._file = file
        self.read, self.seek = plain_errors(file.read), plain_errors(file.seek)
        self.tell, self.close, self.readable = file.tell, file.close, file.readable

    @property
    def closed(self) -> bool:
        """Whether it was closed."""
        return bool(self._file.closed)
