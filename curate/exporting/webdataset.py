"""The format `webdataset`: one tar for each shard; the files of a sample follow each other and begin with its key."""

from __future__ import annotations

import io
import tarfile
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

from curate.exporting.album import Album, Images
from curate.exporting.exporter import Exported
from curate.exporting.sample_files import Record, Records, parts
from curate.storage.dataset import DataFile, DataSet
from curate.storage.store import HashingSink, Store


class Member(NamedTuple):
    """Where one file of a sample is in a tar."""

    part: str  # the file's extension
    header: int  # offset of its header in the tar, bytes
    start: int  # offset of its content in the tar, bytes
    size: int  # of its content, bytes


class Tar(NamedTuple):
    """What a written tar holds."""

    name: str
    samples: list[tuple[str, list[Member]]]  # name and members of each sample
    end: int  # offset of the first byte after the last member


class WebDataset:
    """Writes `shard-000000.tar` and so on; a shard without samples has no tar."""

    album = False

    def look(self, records: Records, file: DataFile, images: Images) -> None:
        """See `ExportFormat.look`: nothing to note, because each tar holds the images of its samples."""

    def write(self, store: Store, records: Records, number: int, album: Album) -> list[Any]:
        """See `ExportFormat.write`."""
        tar = write_tar(store, records, number)
        return [] if tar is None else [tar.name]

    def finish(self, store: Store, data: DataSet, done: Sequence[Exported]) -> list[str]:
        """See `ExportFormat.finish`."""
        return [name for one in done for name in one.told]


def write_tar(store: Store, records: Records, number: int) -> Tar | None:
    """Write the tar for file `number` of the data set and return what it holds; None if the file has no samples."""
    samples = records.of(records.data.files[number])
    first = next(samples, None)
    return None if first is None else _write(store, f"shard-{number:06d}.tar", first, samples)


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
