"""`curate remove`: writes a new version of a finished run without what a list names.

Files that lose no row are shared with the old version: by a hard link on a disk, by a copy that the object store makes
itself. Units that lose rows are written again. `_manifest.json` is written last: until it is there, the new version
counts as unfinished, and the same command goes on where a killed one stopped.
"""

from __future__ import annotations

import hashlib
import os
import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import msgspec

from curate.engine.journal import DATA_FILES, MANIFEST, RUN, data_files
from curate.engine.making import now
from curate.engine.rebuilt import finished_records, plan_of, request_of
from curate.engine.record import Stage, add_counts
from curate.engine.records import SEGMENTS, write_records
from curate.engine.request import Begun
from curate.engine.retry import finished_manifest
from curate.engine.similar import prints_names
from curate.engine.tombstones import (
    REASON,
    Tombstone,
    Tombstones,
    read_tombstones,
    together,
    told,
    tombstones_table,
    write_tombstones,
)
from curate.errors import CurateError, InputError, OutputError
from curate.lineage.evaluation_overlap import EvaluationOverlap
from curate.lineage.matching import ShardMatch, matches
from curate.lineage.products import products
from curate.lineage.removal import Removal, begin_removal, finished_removal
from curate.lineage.removal_list import NO_LIST, RemovalList, read_list
from curate.lineage.rewriting import Rewriter, UnitAnew, pair_marks, record_without, stages_with
from curate.manifest.settings import ShardSettings
from curate.storage.filesystems import NOT_JSON
from curate.storage.finished import (
    SCORING,
    check_complete,
    damaged_manifest,
    listed_dropped,
    listed_files,
)
from curate.storage.goes_on import goes_on
from curate.storage.listing import DROPPED_FILES, LISTED, SHARDS, as_shards, files_table, write_files
from curate.storage.product_notes import absolute
from curate.storage.shards import Shard, place_of, unit_of
from curate.storage.sharing import share
from curate.storage.store import PublishedFile, Store
from curate.terminal import plural, printable

UNITS = "_run/remove/units"
OURS = re.compile(
    r"(?:_dropped/dropped|_scores/[a-z0-9][a-z0-9._-]{0,63}/shard|shard)-[0-9]{6,12}(?:-[0-9]{1,6})?\.parquet"
)  # the names that a run's files may have: none leads out of its folder
NAMED = 5  # examples that are shown: of lines that match nothing, and of copies of evaluation images
COPIES = 10_000  # the most copies of evaluation images in `copies`
REMOTE_COPIES = 32  # copies at once on an object store


class NothingRemovedError(CurateError):
    """No row matches what was to be removed: nothing was written."""

    exit_code = 1


def remove(
    folder: str, list_uri: str | None, out: str, reason: str | None = None, against: Sequence[str] = ()
) -> dict[str, Any]:
    """Write a version of the run in `folder` to `out`, without what a list names or what evaluation sets hold.

    The result has `folder` and `parent` (the new and the old version), `rows_removed` and `rows_out`; `rewritten`,
    `emptied` and `shared` (numbers of shards); `lines` and `unmatched` (numbers of lines of the list);
    `unmatched_lines` (some of these); `overlaps` (rule -> rows that it found in evaluation sets), `copies` (some of
    these rows), and `made_of_parent`: the packs and exports of the old version, each with the command that makes it
    again.

    Args:
        folder: folder (path or URI) of a finished run.
        list_uri: the list of what to remove; None: there is none.
        out: folder (path or URI) to write.
        reason: noted with every removed row; None: `on request`, or `in an evaluation set` without a list.
        against: fingerprint files of evaluation sets.

    Raises:
        InputError: there is no complete run, the list cannot be read, or neither list nor fingerprint file is given.
        ManifestError: a fingerprint file cannot be read.
        NothingRemovedError: no row matches.
        DamagedError: a file of the run is missing or damaged.
        OutputError: `out` holds something else, is the run itself, or lies in it.
        Halted, Stopped: the removal did not finish; running the same command again goes on.
    """
    source, target = Store(folder), Store(out)
    if list_uri is None and not against:
        raise InputError(
            "nothing says what is to go: give --list FILE, or --against a file that `curate fingerprint` made"
        )
    manifest, overlap = finished_manifest(folder), EvaluationOverlap.of(against)
    wanted = NO_LIST if list_uri is None else read_list(list_uri)
    if source.exists(SCORING):
        raise OutputError(f"a scoring is unfinished in {folder}: the same `curate score` command finishes it")
    if f"{absolute(out)}/".startswith(f"{absolute(folder)}/"):
        raise OutputError(f"{out} is the run itself or lies in it: a new version needs a folder of its own")
    asked = Removal(
        parent=absolute(folder),
        parent_manifest=hashlib.sha256(source.read_bytes(MANIFEST) or b"").hexdigest(),
        list=wanted.sha256,
        against=overlap.sha256s,
        reason=reason or ("on request" if list_uri is not None else "in an evaluation set"),
        date=now(),
    )
    with goes_on(out):
        if (done := finished_removal(target, asked)) is None:
            done = _remove(source, target, manifest, wanted, overlap, asked)
    return done | {"made_of_parent": msgspec.to_builtins(products(source, out))}


def _remove(
    source: Store,
    target: Store,
    manifest: dict[str, Any],
    wanted: RemovalList,
    overlap: EvaluationOverlap,
    asked: Removal,
) -> dict[str, Any]:
    files = listed_files(source, manifest)
    check_complete(source, files, "shard")
    shards = as_shards(files)
    marks = tombstones_table(wanted.marks, asked.reason, asked.date)
    found = list(matches(source, shards, Tombstones(marks), overlap))
    if not found:
        listed = [f"what {wanted.uri} lists ({len(wanted.marks)} of it)"] if wanted.marks else []
        asked_for = " or ".join([*listed, *(f"in the evaluation set {name}" for name in overlap.names)])
        raise NothingRemovedError(f"nothing in {source.uri} is {asked_for}: nothing was written")
    with target.locked():
        version = RunVersion(source, target, manifest, shards, begin_removal(target, asked))
        return version.make(found, wanted)


class RunVersion:
    """Writes a new version of a run."""

    def __init__(
        self, source: Store, target: Store, manifest: dict[str, Any], shards: Sequence[Shard], asked: Removal
    ) -> None:
        self.source, self.target, self.manifest, self.shards, self.asked = (
            source,
            target,
            manifest,
            shards,
            asked,
        )
        said = [one for of in manifest.get("scorers", {}).values() for one in of.get("files", ())]
        try:
            self.scores = {one.path: one for one in msgspec.convert(said, list[Shard])}
        except msgspec.ValidationError as error:
            raise damaged_manifest(source, f"its files of scores: {error}") from None
        listed = listed_dropped(source)
        self.lists_dropped = listed is not None
        names = [f"_dropped/{name}" for name in source.names("_dropped") if unit_of(name) is not None]
        dropped = as_shards(listed) if listed is not None else [Shard(name, -1, -1, "") for name in names]
        self.dropped = {one.path: one for one in dropped}
        for path in (*self.dropped, *self.scores, *(one.path for one in shards)):
            if not OURS.fullmatch(path):
                raise damaged_manifest(source, f"it lists {path[:80]!r}, which is no file of a run")

    def make(self, found: Sequence[ShardMatch], wanted: RemovalList) -> dict[str, Any]:
        """Write all files, `_manifest.json` last, and return what `remove` returns (without `made_of_parent`)."""
        anew = self._units_anew(found)
        gone = {name: shard for one in anew.values() for name, shard in {**one.shards, **one.scores}.items()}
        touched = {*gone, *(one.dropped_file.path for one in anew.values())}
        self._share(
            [
                one
                for one in (*self.shards, *self.scores.values(), *self.dropped.values())
                if one.path not in touched
            ]
        )
        prints = [name for unit, name in prints_names(self.source) if unit not in anew]
        self._share([Shard(name, -1, -1, "") for name in prints])
        said = self._said(found, wanted, anew)
        self._finish(anew, gone, {mark for one in found for mark in one.marks}, wanted, said)
        return {"folder": self.target.uri, **said}

    def _units_anew(self, found: Sequence[ShardMatch]) -> dict[int, UnitAnew]:
        """Write the units that lose rows again, unless a stopped command did it; return all of them by number."""
        lost: dict[int, dict[str, list[int]]] = {}
        for one in found:
            lost.setdefault(place_of(one.shard.path)[0], {})[one.shard.path] = one.rows
        rewriter = Rewriter(
            self.source,
            self.target,
            msgspec.convert(self.manifest["manifest"]["shard"], ShardSettings),
            self.scores,
            self.dropped,
            f"reason={self.asked.reason} date={self.asked.date}",
        )
        anew = self._done_before()
        for unit in sorted(lost.keys() - anew.keys()):
            anew[unit] = rewriter.anew(unit, lost[unit])
            self.target.check_held()
            self.target.write_bytes(f"{UNITS}/{unit:06d}.json", msgspec.json.encode(anew[unit]))
        return anew

    def _done_before(self) -> dict[int, UnitAnew]:
        """Return the units that a stopped command wrote; a unit with a damaged note is written again."""
        found = {}
        for name in self.target.names(UNITS):
            try:
                one = msgspec.json.decode(self.target.read_bytes(f"{UNITS}/{name}") or b"", type=UnitAnew)
            except NOT_JSON:
                continue
            found[one.unit] = one
        return found

    def _share(self, files: Sequence[Shard]) -> None:
        """Link or copy the files that lose no row to the new folder."""
        threads = (
            2 * len(os.sched_getaffinity(0)) if self.source.local and self.target.local else REMOTE_COPIES
        )
        there = {} if self.target.local else self._sizes()

        def one(file: Shard) -> None:
            if there.get(file.path) != file.bytes:
                share(self.source, self.target, file.path, file.bytes, file.sha256)

        with ThreadPoolExecutor(threads) as pool:
            for start in range(0, len(files), 1024):
                self.target.check_held()
                list(pool.map(one, files[start : start + 1024]))

    def _sizes(self) -> dict[str, int]:
        """Return the files that the new folder on an object store has already: path -> size in bytes."""
        from pyarrow import fs

        infos = self.target.fs.get_file_info(
            fs.FileSelector(self.target.root, recursive=True, allow_not_found=True)
        )
        return {one.path.removeprefix(f"{self.target.root}/"): one.size for one in infos if one.is_file}

    def _said(
        self, found: Sequence[ShardMatch], wanted: RemovalList, anew: Mapping[int, UnitAnew]
    ) -> dict[str, Any]:
        matched = {mark for one in found for mark in one.marks}
        idle = [line for mark, line in wanted.marks.items() if mark not in matched]
        now_as = [shard for one in anew.values() for shard in one.shards.values()]
        return {
            "parent": self.asked.parent,
            "rows_removed": sum(one.removed for one in anew.values()),
            "rows_out": self.manifest["rows_out"] - sum(one.removed for one in anew.values()),
            "rewritten": sum(shard is not None for shard in now_as),
            "emptied": sum(shard is None for shard in now_as),
            "shared": len(self.shards) - len(now_as),
            "lines": len(wanted.marks),
            "unmatched": len(idle),
            "unmatched_lines": [f"{number}: {line[:200]}" for number, line in idle[:NAMED]],
            "overlaps": dict(sum((one.overlaps for one in found), Counter[str]())),
            "copies": [copy for one in found for copy in one.copies][:COPIES],
        }

    def _finish(
        self,
        anew: Mapping[int, UnitAnew],
        gone: Mapping[str, Shard | None],
        matched: set[Tombstone],
        wanted: RemovalList,
        said: dict[str, Any],
    ) -> None:
        """Write the tables, the journal and the manifest of the new version, the manifest last."""
        named = any(mark.kind not in ("sha256", "pdq") for mark in matched)
        pairs = pair_marks([*anew.values()]) if named else ()
        marks = tombstones_table(
            [*wanted.marks, *sorted(matched - wanted.marks.keys()), *pairs],
            self.asked.reason,
            self.asked.date,
        )
        tombstones = together([read_tombstones(self.source), marks])
        lineage = {"removal": self._told(said)}
        shards = [one for shard in self.shards if (one := gone.get(shard.path, shard)) is not None]
        manifest = self._manifest_without(shards, gone, said["rows_removed"]) | lineage | told(tombstones)
        self._write_records(anew, lineage)
        tables = [
            write_files(self.target, SHARDS, files_table(shards)),
            *self._list_dropped(anew),
            write_tombstones(self.target, tombstones),
        ]
        manifest["tables"] = msgspec.to_builtins(tables)
        self.target.write_bytes(DATA_FILES, data_files("shard").encode())
        self.target.check_held()
        self.target.write_bytes(MANIFEST, msgspec.json.format(msgspec.json.encode(manifest), indent=1))
        for name in ("remove", "tmp"):
            self.target.delete_folder(f"_run/{name}")

    def _told(self, said: Mapping[str, Any]) -> dict[str, Any]:
        """Return the entry `removal` of `_manifest.json`."""
        return {
            **{name: getattr(self.asked, name) for name in ("parent_manifest", "list", "reason", "date")},
            "against": list(self.asked.against),
            "fetched": self.manifest.get("removal", {}).get("fetched", self.manifest.get("finished")),
            "found": {name: of for name, of in said.items() if name not in ("unmatched_lines", "copies")},
        }

    def _manifest_without(
        self, shards: Sequence[Shard], gone: Mapping[str, Shard | None], removed: int
    ) -> dict[str, Any]:
        """Return the parent's manifest, with its counts and shards changed for the removed rows."""
        manifest = {
            name: of for name, of in self.manifest.items() if name not in ("removal", "removed", "tombstones")
        }
        stages = stages_with(msgspec.convert(self.manifest["stages"], list[Stage]), removed)
        manifest |= {
            "rows_out": self.manifest["rows_out"] - removed,
            "dropped": add_counts([self.manifest["dropped"], {REASON: removed}]),
            "stages": msgspec.to_builtins(stages),
            "shards": msgspec.to_builtins(shards[:LISTED]),
            "finished": now(),
        }
        if "scorers" in self.manifest:
            manifest["scorers"] = {n: _scores_without(of, gone) for n, of in self.manifest["scorers"].items()}
        return manifest

    def _write_records(self, anew: Mapping[int, UnitAnew], lineage: dict[str, Any]) -> None:
        """Write the journal of the new version, so that it can take in more inputs and be repaired.

        If the records of the parent cannot be read, there is no journal.
        """
        try:
            records = finished_records(self.source, self.manifest)
        except (CurateError, OSError, ValueError):
            records = None
        if records is None:
            return
        asked = request_of(self.source, self.manifest)
        self.target.delete_folder(SEGMENTS)
        write_records(self.target, (record_without(one, anew.get(one.unit)) for one in records))
        begun = Begun(
            asked.plain(),
            plan_of(self.source, self.manifest, asked).rows,
            str(self.manifest.get("started")),
            lineage=lineage,
        )
        self.target.write_bytes(RUN, msgspec.json.encode(begun))

    def _list_dropped(self, anew: Mapping[int, UnitAnew]) -> list[PublishedFile]:
        """Write the table of the files of dropped rows; a run of an older curate has no such table, and gets none."""
        if not self.lists_dropped:
            return []
        now_as = {**self.dropped, **{one.dropped_file.path: one.dropped_file for one in anew.values()}}
        in_order = files_table(now_as[path] for path in sorted(now_as, key=place_of))
        return [write_files(self.target, DROPPED_FILES, in_order)]


def _scores_without(said: Mapping[str, Any], gone: Mapping[str, Shard | None]) -> dict[str, Any]:
    """Return a scorer's entry in the manifest, with its score files as they are in the new version."""
    files = [gone.get(one["path"], one) for one in said.get("files", ())]
    return {**said, "files": [msgspec.to_builtins(one) for one in files if one is not None]}


def lines(found: Mapping[str, Any]) -> Iterator[str]:
    """Yield the lines that tell a person what `remove` returned."""
    counts = Counter({name: found[name] for name in ("rows_removed", "rewritten", "emptied", "shared")})
    yield (
        f"{plural(counts['rows_removed'], 'row')} removed, {found['rows_out']:,} left in {found['folder']}: shards "
        f"written again {counts['rewritten']:,}, gone {counts['emptied']:,}, shared with {found['parent']} "
        f"{counts['shared']:,}"
    )
    for rule, rows in found["overlaps"].items():
        yield f"{rule}: {plural(rows, 'row')}"
    for copy in found["copies"][:NAMED]:
        yield f"  {copy['key']} shows {printable(copy['image'])}, {copy['distance']} of 256 bits differ"
    if found["unmatched"]:
        first = "; ".join(f"line {printable(line)}" for line in found["unmatched_lines"])
        yield (
            f"{found['unmatched']:,} of {found['lines']:,} lines match no row here, and are kept out from now on"
            + (f": {first}" if first else "")
        )
    for one in found["made_of_parent"]:
        folder, remake = printable(one["folder"]), printable(one["remake"], 4000)
        yield f"{folder} ({one['kind']}) was made of the older version: {remake}"
