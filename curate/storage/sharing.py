"""Put a file of one folder into another: as a link, or as a copy made by the object store, where that is possible."""

from __future__ import annotations

import errno
import os
import shutil
from contextlib import suppress
from pathlib import Path
from typing import Any, Literal

from curate.errors import DamagedError
from curate.storage.store import BLOCK, Store

NO_LINK = {errno.EXDEV, errno.EPERM, errno.EMLINK, errno.ENOTSUP, errno.EACCES}

How = Literal[
    "linked", "copied there", "copied"
]  # a hard link; a copy by the object store itself; a copy through this machine


def share(source: Store, target: Store, name: str, size: int, sha256: str) -> How:
    """Publish a complete file of one folder under the same name in another one.

    On a disk it is a hard link (safe, because curate never changes a file in place), on an object store a copy that the
    store makes itself. Otherwise the bytes are copied through this machine, and compared with the hash. `size` is in
    bytes (negative: not known), `sha256` in hex digits (empty: not known).

    Raises:
        OSError: the file cannot be read or written.
        DamagedError: the file is missing, or has another size or, if it was copied here, another hash.
    """
    if not (there := source.fs.get_file_info(source.path(name))).is_file:
        raise DamagedError(
            f"{source.uri}/{name} is missing: `curate verify {source.uri}` names every damaged file"
        )
    if size >= 0 and there.size != size:
        raise DamagedError(f"{source.uri}/{name} has {there.size} bytes instead of {size}")
    if source.local and target.local and _linked(source.path(name), target.path(name)):
        return "linked"
    if not source.local and not target.local and source.fs.equals(target.fs):
        source.fs.copy_file(source.path(name), target.path(name))
        return "copied there"
    _copy(source, target, name, sha256)
    return "copied"


def _linked(source: str, target: str) -> bool:
    """Make a hard link; False where the disk has no hard links, or the folders are on two disks."""
    Path(target).parent.mkdir(parents=True, exist_ok=True)
    with suppress(FileNotFoundError):
        if Path(target).samefile(source):
            return True
        Path(target).unlink()
    try:
        os.link(source, target)
    except OSError as error:
        if error.errno not in NO_LINK:
            raise
        return False
    return True


def _copy(source: Store, target: Store, name: str, sha256: str) -> None:
    """Copy the file through this machine."""

    def fill(sink: Any) -> None:
        with source.fs.open_input_stream(source.path(name), compression=None) as stream:
            shutil.copyfileobj(stream, sink, BLOCK)
        if sha256 and sink.hexdigest() != sha256:
            raise DamagedError(
                f"{source.uri}/{name} is not the file that is listed: `curate verify {source.uri}`"
            )

    target.write(name, fill)
