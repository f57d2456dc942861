"""Checks and writes the one file that a command makes."""

from __future__ import annotations

from pathlib import Path

from curate.errors import ManifestError, OutputError
from curate.storage.whole_files import whole_file


def one_file(out: str, example: str) -> Path:
    """The path of a file to be written.

    Raises:
        ManifestError: it is a folder or on an object store.
    """
    if "://" in out or Path(out).is_dir():
        raise ManifestError(f"--out {out} must be a file on this machine, such as {example}")
    return Path(out)


def write_file(place: Path, content: bytes) -> None:
    """Write the file, complete or absent.

    Raises:
        OutputError: it cannot be written.
    """
    try:
        with whole_file(place, durable=True) as file:
            Path(file.name).chmod(0o644)
            file.write(content)
    except OSError as error:
        raise OutputError(f"cannot write {place}: {error.strerror or error}") from None
