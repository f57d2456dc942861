"""WebDataset: a tar a shard, a sample's files one after another under its key."""

from __future__ import annotations

import io
import tarfile
from collections.abc import Iterator
from typing import NamedTuple

from curate.exporting.sample_files import Record, Records, parts
from curate.storage.store import HashingSink, Store


class Member(NamedTuple):
    """A file of a sample in a tar."""

    part: str  # its extension
    header: int  # byte at which its header begins
    start: int  # byte at which its content begins
    size: int


class Tar(NamedTuple):
    """A tar that was written: its samples with their members, and the byte behind the last one."""

    name: str
    samples: list[tuple[str, list[Member]]]
    end: int


def write_webdataset(store: Store, records: Records) -> list[str]:
    """`shard-000000.tar` and so on; files without a sample give no tar."""
    return [tar.name for tar in write_tars(store, records)]


def write_tars(store: Store, records: Records) -> Iterator[Tar]:
    """Write a tar a file of the data set."""
    for number, file in enumerate(records.data.files):
        samples = records.of(file)
        first = next(samples, None)
        if first is not None:
            yield _write(store, f"shard-{number:06d}.tar", first, samples)


def _write(store: Store, name: str, first: Record, more: Iterator[Record]) -> Tar:
    written: list[tuple[str, list[Member]]] = []
    end = 0

    def fill(sink: HashingSink) -> None:
        nonlocal end
        with tarfile.open(fileobj=sink, mode="w|", format=tarfile.USTAR_FORMAT) as tar:
            written.append((first.name, _add(tar, first)))
            for record in more:
                written.append((record.name, _add(tar, record)))
            end = tar.offset

    store.write(name, fill)
    return Tar(name, written, end)


def _add(tar: tarfile.TarFile, record: Record) -> list[Member]:
    members = []
    for part, body in parts(record).items():
        info = tarfile.TarInfo(f"{record.name}.{part}")  # no time, no owner: the same bytes for the same data
        info.size, info.mode = len(body), 0o644
        header = tar.offset
        tar.addfile(info, io.BytesIO(body))
        members.append(Member(part, header, header + tarfile.BLOCKSIZE, len(body)))
    return members
