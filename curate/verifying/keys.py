"""Find keys that occur twice in a run: keys are split into partitions on disk, and one at a time is in memory."""

from __future__ import annotations

import hashlib
from pathlib import Path

import numpy as np
import pyarrow as pa

from curate.storage.scratch import ScratchFolder

KEY_BYTES = 16
PARTITION_KEYS = 1_000_000  # of a partition, about; a few copies of them are in memory while they are sorted
WAITING_BYTES = 64 * 2**20


def as_bytes(keys: pa.ChunkedArray) -> bytes:
    """Keys (N rows, 32 hex digits each) as 16 bytes each; a malformed key is replaced by a hash of it."""
    return b"".join(map(_as_bytes, keys.to_pylist()))


def _as_bytes(key: str | None) -> bytes:
    try:
        packed = bytes.fromhex(key or "")
    except ValueError:
        packed = b""
    if len(packed) == KEY_BYTES and len(key or "") == 2 * KEY_BYTES:
        return packed
    return hashlib.blake2b((key or "").encode(), digest_size=KEY_BYTES).digest()


class KeyPartitions:
    """The keys of a run, written to partitions in a temporary folder by their first bytes."""

    def __init__(self, rows: int) -> None:
        """`rows`: about how many keys there will be."""
        self._count = max(1, -(-rows // PARTITION_KEYS))
        self._waiting: list[bytes] = []
        self._size = 0
        self._folder = ScratchFolder()

    def add(self, keys: bytes) -> None:
        """Add keys, in the form that `as_bytes` returns."""
        self._waiting.append(keys)
        self._size += len(keys)
        if self._size >= WAITING_BYTES:
            self._spill()

    def duplicates(self) -> int:
        """How many keys repeat an earlier one."""
        self._spill()
        return sum(_duplicates(self._path(number)) for number in range(self._count))

    def close(self) -> None:
        """Remove the temporary folder."""
        self._folder.close()

    def _spill(self) -> None:
        keys = np.frombuffer(b"".join(self._waiting), ">u8").reshape(-1, 2)
        self._waiting, self._size = [], 0
        partition = (keys[:, 0] >> np.uint64(32)) * np.uint64(self._count) >> np.uint64(32)
        order = np.argsort(partition, kind="stable")
        edges = np.searchsorted(partition[order], np.arange(self._count + 1))
        for number in np.flatnonzero(np.diff(edges)).tolist():
            with self._path(number).open("ab") as file:
                file.write(keys[order[edges[number] : edges[number + 1]]].tobytes())

    def _path(self, number: int) -> Path:
        return self._folder.path / f"{number:06d}"


def _duplicates(path: Path) -> int:
    if not path.exists():
        return 0
    keys = np.fromfile(path, ">u8").astype(np.uint64).reshape(-1, 2)
    keys = keys[np.lexsort((keys[:, 1], keys[:, 0]))]
    return int((keys[1:] == keys[:-1]).all(axis=1).sum())
