"""What one process does of an export: it looks at a shard's images, and writes a shard's samples."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol

import msgspec

from curate.engine.kept_results import keep_result
from curate.engine.record import Meter
from curate.engine.runners import OfflineRun
from curate.engine.worker import JobWorker
from curate.exporting.album import Album, AlbumNotes, Images, read_moved, write_notes
from curate.exporting.sample_files import Records
from curate.images.foreign_rows import ForeignRows
from curate.storage.dataset import DataFile, DataSet
from curate.storage.store import Store

FOLDER = "_run/export"


class Looked(msgspec.Struct, frozen=True):
    """A shard whose images are noted."""

    number: int


class Exported(msgspec.Struct, frozen=True):
    """A shard whose samples are written."""

    number: int
    rows: int
    dropped: dict[str, int]
    tasks: list[str]
    told: list[Any]  # what the format has to know of it in the end


class ExportFormat(Protocol):
    """How samples are written; what it holds travels to every process."""

    album: bool  # whether images lie in a folder of their own, each once

    def look(self, records: Records, file: DataFile, images: Images) -> None:
        """Show every image of a shard that is exported."""

    def write(self, store: Store, records: Records, number: int, album: Album) -> list[Any]:
        """Write the samples of a shard, the data set's file `number`; what `finish` needs of it."""

    def finish(self, store: Store, data: DataSet, done: Sequence[Exported]) -> list[str]:
        """Write what is of all shards; the names of all files."""


class ExportRun(OfflineRun, frozen=True, kw_only=True):
    """All that a worker must know."""

    identity: str  # of the shards, the format and the folder
    out: str
    data: DataSet
    form: Any  # an ExportFormat


def notes_name(number: int) -> str:
    """A shard's images, as they were noted."""
    return f"{FOLDER}/images/{number:06d}.arrow"


def moved_name(number: int) -> str:
    """The images of a shard that lie elsewhere."""
    return f"{FOLDER}/moved/{number:06d}.json"


class Exporter(JobWorker):
    """A worker of one export."""

    def __init__(
        self, run: ExportRun, meter: Meter, children: int, scorers: Sequence[Any] = (), exchange: Any = None
    ) -> None:
        super().__init__(run.out)
        self.run, self.store, self._meter = run, Store(run.out), meter
        self._form: ExportFormat = run.form
        self._foreign = ForeignRows(max(1, children))

    def watch(self, meter: Meter) -> None:
        """See `JobWorker.watch`."""
        self._meter = meter

    def close(self) -> None:
        """See `JobWorker.close`."""
        self._foreign.close()

    def look(self, number: int) -> Looked:
        """Note a shard's images."""
        notes, records = AlbumNotes(), Records(self.run.data, self._foreign)
        self._form.look(records, self.run.data.files[number], notes)
        write_notes(self.store, notes_name(number), notes)
        return keep_result(self.store, FOLDER, "look", Looked(number))

    def write(self, number: int) -> Exported:
        """Write a shard's samples."""
        records = Records(self.run.data, self._foreign)
        album = Album(self.store, read_moved(self.store, moved_name(number)))
        told = self._form.write(self.store, records, number, album)
        done = Exported(number, records.written, dict(records.dropped), sorted(records.tasks), told)
        self._meter.add(rows=records.written)
        return keep_result(self.store, FOLDER, "write", done)
