"""The journal of a run's folder: what was asked for, which units are done, and at the end that the run is complete."""

from __future__ import annotations

import hashlib
import tempfile
import time
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import msgspec
import pyarrow as pa
import pyarrow.parquet as pq

from curate.engine.across import PHASES
from curate.engine.differences import first_difference
from curate.engine.evaluation_copies import FOLDER as COPIES
from curate.engine.ledger import DONE_STATE, STAGED_STATE, Ledger
from curate.engine.making import now, software
from curate.engine.plan import Plan, Run
from curate.engine.record import UnitRecord
from curate.engine.records import (
    SEGMENT_RECORDS,
    Entry,
    before_stem,
    grown_stem,
    read_marks,
    read_segments,
    segment_names,
    write_segment,
)
from curate.engine.request import Begun, Request
from curate.engine.similar import PHASE as SIMILAR
from curate.engine.tombstones import REMOVED, read_tombstones, told
from curate.errors import OutputError, UnitError
from curate.scorer.reload import places
from curate.storage.filesystems import NOT_JSON
from curate.storage.finished import BEGUN, damaged_manifest, read_manifest, read_state
from curate.storage.listing import DROPPED_FILES, LISTED, SHARDS, as_shards, write_files
from curate.storage.shards import place_of, unit_of
from curate.storage.store import TMP, Store
from curate.version import __version__

MANIFEST = "_manifest.json"
RUN = BEGUN
PAPERS = ("report.html", "croissant.json", "domains.csv")  # written by `curate report`, besides the data card
# Tells `datasets` which files are the data; other readers ignore names with a dot
DATA_FILES = ".huggingface.yaml"
OUR_CARD = "<!-- `curate report` writes this file anew each time; remove this line to keep your own text -->"
SELECTION = "selection"  # the `kind` of a selection's `_manifest.json`; a run's has none
JUDGED = (*PHASES, SIMILAR)  # folders with files of the rules across the run
SEGMENT_S = 30.0  # a segment is written at least so often while units are being finished


class Journal:
    """The journal of one folder. Only the driver process has one, and only it appends to the journal's files."""

    def __init__(self, store: Store, select: bool = False) -> None:
        self.store, self._selects = store, select
        self.ledger = Ledger(0)
        self._begun: Begun | None = None
        self._unwritten: list[Entry] = []  # records for the next segment
        self._segment, self._written = 0, time.monotonic()

    def finished(self) -> dict[str, Any] | None:
        """Return the manifest of a complete run in this folder, or None.

        Raises:
            DamagedManifestError: it cannot be read, or has no request.
        """
        manifest = read_manifest(self.store)
        if manifest is not None and not isinstance(manifest.get("request"), dict):
            raise damaged_manifest(self.store, "it lacks request")
        return manifest

    @contextmanager
    def locked(self, lease: bool = True) -> Iterator[None]:
        """Hold the folder, so that no other run writes to it: by a lock on a disk, by a lease on an object store.

        Without `lease`, a folder on an object store is not held.

        Raises:
            OutputError: another run holds the folder, or it cannot be written.
        """
        self.store.lock(lease)
        try:
            yield
        finally:
            if self.store.holds() and not self.store.exists(
                RUN
            ):  # the run did not begin: leave nothing behind
                self.store.delete_folder("_run")
                self.store.delete_if_empty()
            self.store.unlock()

    def work(self) -> str:
        """Return the path of a local folder for files that are made in one pass over an input, such as indexes."""
        if self.store.local:
            return self.store.path("_run/inputs")
        name = hashlib.sha256(self.store.uri.encode()).hexdigest()[:16]
        return str(Path(tempfile.gettempdir()) / f"curate-{name}")

    def clear(self) -> None:
        """Remove everything that a run wrote here, and nothing else; tombstones stay.

        Raises:
            DamagedError: the folder's tombstones cannot be read, or are gone: nothing was removed.
        """
        read_tombstones(self.store)
        self._selects = self._selects or self._holds_selection()
        for name in (MANIFEST, SHARDS, DROPPED_FILES, DATA_FILES):
            self.store.delete(name)
        self.delete_papers()
        for name in ("journal", "done", "staged", "prints", *JUDGED, "tmp", "inputs/web"):
            self.store.delete_folder(
                f"_run/{name}"
            )  # the journal goes first: after a kill it must not name files that are gone
        self.store.delete(RUN)
        self.store.delete_folder(COPIES)
        for name in self._ours():
            self.store.delete(name)

    def delete_papers(self) -> None:
        """Remove the files that `curate report` wrote into the folder; a data card that a person wrote stays."""
        for name in PAPERS:
            self.store.delete(name)
        if OUR_CARD.encode() in (self.store.read_bytes("README.md") or b""):
            self.store.delete("README.md")

    def resume(self, asked: Request, plan: Callable[[], Plan]) -> Run:
        """Return the unfinished run of this folder if it has the same request, or begin a new run.

        Nothing is removed: files that a killed run left half written are written again under the same names.

        Args:
            asked: the request.
            plan: makes the plan of a new run.

        Raises:
            OutputError: the folder holds files of another run.
        """
        data = self.store.read_bytes(RUN)
        if data is None:
            self._inherit(asked)
            if left := self._ours():
                raise OutputError(
                    f"{self.store.uri} holds {left[0]} of another run: give another --out, or --overwrite"
                )
            begun = self._begin(asked, plan())
        else:
            begun = self._read_begun()
            self.check_same(begun.request, asked)
        run = self._run(asked, begun)
        self.store.run = run.begun
        self._begun, self.ledger = begun, Ledger(run.plan.units)
        if data is not None:
            self._remember()
        return run

    def keep(self, record: UnitRecord, state: int) -> None:
        """Note that a unit is staged or done (`state`), with the record of its worker; write a segment if it is time.

        Raises:
            Halted: another run took the folder over.
        """
        if self.ledger.add(record, state):
            self._unwritten.append((state, record))
        late = time.monotonic() - self._written > SEGMENT_S
        if len(self._unwritten) >= SEGMENT_RECORDS or (self._unwritten and late):
            self.flush()

    def flush(self) -> None:
        """Write the records that are in no segment yet as new segments.

        Raises:
            Halted: another run took the folder over.
        """
        self.store.check_held()
        for first in range(0, len(self._unwritten), SEGMENT_RECORDS):
            entries = self._unwritten[first : first + SEGMENT_RECORDS]
            write_segment(self.store, self._segment, entries, self._stem)
            self._segment += 1
        self._unwritten, self._written = [], time.monotonic()

    def finish(self, run: Run) -> dict[str, Any]:
        """Write the tables of files and, last, `_manifest.json`; then remove what only an unfinished run needs.

        Returns:
            The manifest.

        Raises:
            UnitError: a unit is not done.
            Halted: another run took the folder over.
        """
        lacking = self.ledger.below(DONE_STATE)
        if len(lacking):
            raise UnitError(f"unit {lacking[0]} of {self.store.uri} is not done: run the same command again")
        self.flush()
        shards, dropped = self.ledger.shards(), self.ledger.dropped_files()
        manifest = self._manifest(run, shards)
        self._delete_orphans(shards, dropped)
        for name in set(segment_names(self.store)) - set(self._segments()):
            self.store.delete(name)
        tables = [write_files(self.store, SHARDS, shards), write_files(self.store, DROPPED_FILES, dropped)]
        if self.store.exists(REMOVED):
            tables.append(self.store.describe(REMOVED))
        manifest["tables"] = msgspec.to_builtins(tables)
        self.store.write_bytes(DATA_FILES, data_files("part" if run.select else "shard").encode())
        self.store.check_held()
        self.store.write_bytes(MANIFEST, msgspec.json.format(msgspec.json.encode(manifest), indent=1))
        for name in (*JUDGED, "staged", "tmp", "inputs"):
            self.store.delete_folder(f"_run/{name}")
        return manifest

    def _manifest(self, run: Run, shards: pa.Table) -> dict[str, Any]:
        """Return the content of `_manifest.json` without `tables`."""
        assert self._begun is not None
        scorer = self._scorer(shards)
        return {
            **({"kind": SELECTION} if run.select else {}),
            "curate_version": __version__,
            "manifest": run.manifest.resolved(),
            "manifest_digest": run.manifest.digest(),
            "request": self._begun.request,
            "inputs": [
                msgspec.to_builtins(one) | {"rows": rows}
                for one, rows in zip(run.plan.inputs, run.plan.rows, strict=True)
            ],
            **self.ledger.sums(),
            "shards": msgspec.to_builtins(as_shards(shards.slice(0, LISTED))),
            "scorer": scorer,
            **({"scorer_places": places(run.manifest.scorer)} if run.manifest.scorer else {}),
            "software": software(),
            "started": self._begun.started,
            "finished": now(),
            **self._begun.lineage,
            **told(read_tombstones(self.store)),
        }

    def _remember(self) -> None:
        """Read what was done before: the segments, then the records of single units that are in no segment.

        A record that was cut off by a kill is ignored: its unit is done again.
        """
        if self.store.local:  # the folder is locked, so that nobody writes there
            self.store.delete_folder(TMP)
        names = self._segments()
        mine = [name for name in names if name.rsplit("/", 1)[-1].startswith(self._stem)]
        self._segment = len(mine) and 1 + int(mine[-1].rsplit("-", 1)[-1].split(".")[0])
        for state, record in read_segments(self.store, names):
            self.ledger.add(record, state)
        for state in (DONE_STATE, STAGED_STATE):
            for record in read_marks(self.store, state, self.ledger.state):
                if self.ledger.add(record, state):
                    self._unwritten.append((state, record))

    @property
    def _stem(self) -> str:
        """How the names of the segments begin that are written now."""
        return grown_stem(0 if self._begun is None else self._begun.growth)

    def _segments(self) -> list[str]:
        """Return the segments that count: after inputs were added, those with the older units and those since then."""
        names = segment_names(self.store)
        if self._begun is None or not self._begun.growth:
            return names
        stems = (before_stem(self._begun.growth), self._stem)
        return [name for name in names if name.rsplit("/", 1)[-1].startswith(stems)]

    def _inherit(self, asked: Request) -> None:
        """For a retry, copy the tombstones of the earlier run into this folder."""
        if asked.retry is None:
            return
        earlier = Store(asked.retry.run)
        read_tombstones(earlier)
        if (data := earlier.read_bytes(REMOVED)) is not None:
            self.store.write_bytes(REMOVED, data)

    def settle_before(self, touched: Collection[int]) -> None:
        """Note that the units older than the added inputs are done, except those in `touched`, which lose rows now."""
        if self._begun is None or not self._begun.before:
            return
        for state, record in read_segments(self.store, self._segments()):
            if state == STAGED_STATE and record.unit < self._begun.before and record.unit not in touched:
                self.keep(record, DONE_STATE)
        self.flush()

    def _delete_orphans(self, shards: pa.Table, dropped: pa.Table) -> None:
        """Remove shards and files of dropped rows that no unit of the finished run lists.

        They are left if a run was killed while it published a unit, or if rules across the run dropped all of a
        shard's rows.
        """
        listed = {*shards["path"].to_pylist(), *dropped["path"].to_pylist()}
        for name in self._ours():
            of_score = name.startswith("_dropped/") and place_of(name)[1] > 0  # `curate score` wrote that one
            if name not in listed and not of_score:
                self.store.delete(name)

    def _scorer(self, shards: pa.Table) -> dict[str, Any] | None:
        """Return the scorer that the first shard names; None without shards or scores."""
        if not len(shards):
            return None
        first = shards["path"][0].as_py()
        with self.store.fs.open_input_file(self.store.path(first)) as file:
            said: dict[str, Any] = msgspec.json.decode(pq.read_schema(file).metadata[b"curate"])
        scorer: dict[str, Any] | None = said["scorer"]
        return scorer

    def _begin(self, asked: Request, plan: Plan) -> Begun:
        begun = Begun(asked.plain(), plan.rows, now())
        self.store.check_held()
        self.store.write_bytes(RUN, msgspec.json.encode(begun))
        return begun

    def _read_begun(self) -> Begun:
        begun = read_state(self.store, RUN, Begun, "--overwrite begins the run anew")
        assert begun is not None
        return begun

    def _run(self, asked: Request, begun: Begun) -> Run:
        return Run(
            manifest=asked.manifest,
            out=self.store.uri,
            work=self.work(),
            plan=Plan(asked.inputs, begun.rows, asked.unit_rows),
            sample=asked.sample,
            retry=asked.retry,
            before=begun.before,
            growth=begun.growth,
            removed=self._removed(),
            begun=begun.digest(),
            select=asked.select,
        )

    def _removed(self) -> str:
        """Return the SHA-256 (hex) of the folder's tombstones; an empty string if it has none.

        Raises:
            DamagedError: they cannot be read, or are gone.
        """
        read_tombstones(self.store)
        data = self.store.read_bytes(REMOVED)
        return "" if data is None else hashlib.sha256(data).hexdigest()

    def _ours(self) -> list[str]:
        """Return the names of shards and files of dropped rows in the folder; for a selection also its parts.

        If this is not a selection, a file with the name of a part is not curate's, and is left out.
        """
        dropped = [f"_dropped/{name}" for name in self.store.names("_dropped")]
        ours = [name for name in (*self.store.names(), *dropped) if unit_of(name) is not None]
        return [name for name in ours if self._selects or not name.startswith("part-")]

    def _holds_selection(self) -> bool:
        """Return whether the folder holds a selection, finished or not."""
        for name in (MANIFEST, RUN):
            try:
                told = msgspec.json.decode(self.store.read_bytes(name) or b"{}", type=dict[str, Any])
            except NOT_JSON:
                continue
            request = told.get("request")
            if isinstance(request, dict) and request.get("select"):
                return True
        return False

    def check_same(self, before: dict[str, Any], asked: Request) -> None:
        """Check that a request is the same as the folder's, `before`.

        Raises:
            OutputError: it is not; the message names the first difference.
        """
        difference = first_difference(before, asked.plain())
        if difference:
            raise OutputError(
                f"{self.store.uri} is of another run: {difference}; choose another --out, or --overwrite it"
            )


def data_files(stem: str) -> str:
    """Return the YAML that makes `datasets.load_dataset(FOLDER)` read the files `STEM-*.parquet` and no others."""
    files = f"  data_files:\n  - split: train\n    path: {stem}-*.parquet\n"
    return f"configs:\n- config_name: default\n{files}"
