"""The jobs of an export that a worker process runs: note the images of one shard, write the samples of one shard."""

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
    """The result of the job `look`: the images of shard `number` are noted."""

    number: int


class Exported(msgspec.Struct, frozen=True):
    """The result of the job `write`: the samples of shard `number` are written."""

    number: int
    rows: int  # rows that were written
    dropped: dict[str, int]  # rows left out, by reason
    tasks: list[str]  # of the rows that were written
    told: list[Any]  # what the format's `write` returned, for its `finish`


class ExportFormat(Protocol):
    """How samples are written. The object is sent to every worker process, so it must be picklable."""

    album: bool  # whether images are stored in a folder of their own, each once

    def look(self, records: Records, file: DataFile, images: Images) -> None:
        """Pass every image of the shard `file` that is exported to `images.add`."""

    def write(self, store: Store, records: Records, number: int, album: Album) -> list[Any]:
        """Write the samples of one shard, file `number` of the data set, and return what `finish` must know of it.

        `records` counts the rows that are written and dropped; `album` writes the images folder.
        """

    def finish(self, store: Store, data: DataSet, done: Sequence[Exported]) -> list[str]:
        """Write the files that cover all shards, and return the names of all files of the export.

        `done` are the results of all `write` jobs, in the order of the shards.
        """


class ExportRun(OfflineRun, frozen=True, kw_only=True):
    """All that a worker process must know of an export."""

    identity: str  # digest of the export's plan, then its folder: equal only for the same export
    out: str  # folder to write: a path, or a URI for a store that is not local
    data: DataSet
    form: Any  # an ExportFormat


def notes_name(number: int) -> str:
    """Name the temporary file with the image notes of shard `number` (see `write_notes`)."""
    return f"{FOLDER}/images/{number:06d}.arrow"


def moved_name(number: int) -> str:
    """Name the temporary file with the moved images of shard `number` (see `write_moved`)."""
    return f"{FOLDER}/moved/{number:06d}.json"


class Exporter(JobWorker):
    """Runs the jobs of one export in a worker process."""

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
        """Note the images of shard `number` (its place in the data set, from 0)."""
        notes, records = AlbumNotes(), Records(self.run.data, self._foreign)
        self._form.look(records, self.run.data.files[number], notes)
        write_notes(self.store, notes_name(number), notes)
        return keep_result(self.store, FOLDER, "look", Looked(number))

    def write(self, number: int) -> Exported:
        """Write the samples of shard `number` (its place in the data set, from 0)."""
        records = Records(self.run.data, self._foreign)
        album = Album(self.store, read_moved(self.store, moved_name(number)))
        told = self._form.write(self.store, records, number, album)
        done = Exported(number, records.written, dict(records.dropped), sorted(records.tasks), told)
        self._meter.add(rows=records.written)
        return keep_result(self.store, FOLDER, "write", done)
