"""Tar files for tests."""

from __future__ import annotations

import io
import tarfile
from collections.abc import Iterable, Mapping
from pathlib import Path


def tar_of(path: Path, files: Mapping[str, bytes] | Iterable[tuple[str, bytes]], mode: str = "w") -> Path:
    """Write a tar file of these files (name and content), in their order; returns its path."""
    pairs = files.items() if isinstance(files, Mapping) else files
    with tarfile.open(path, mode) as tar:  # type: ignore[call-overload]
        for name, content in pairs:
            member = tarfile.TarInfo(name)
            member.size = len(content)
            tar.addfile(member, io.BytesIO(content))
    return path
