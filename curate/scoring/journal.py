"""The journal of a scoring in `_run/score`, and what a finished scoring writes into `_manifest.json`."""

from __future__ import annotations

import hashlib
import importlib.metadata
import json
from collections.abc import Sequence
from typing import Any

import msgspec

from curate.engine.journal import MANIFEST
from curate.engine.making import now
from curate.engine.record import add_counts
from curate.engine.records import in_parallel, spread
from curate.errors import OutputError
from curate.manifest.settings import ScorerSettings
from curate.scorer.identity import Identity
from curate.scorer.reload import places
from curate.scoring.judging import Models
from curate.scoring.shard import FOLDER, STAGE, Done, publish
from curate.storage.filesystems import NOT_JSON
from curate.storage.finished import read_state
from curate.storage.listing import (
    DROPPED_FILES,
    LISTED,
    SHARDS,
    as_shards,
    files_table,
    listed_shards,
    read_files,
    write_files,
)
from curate.storage.shards import Shard, place_of
from curate.storage.store import TMP, PublishedFile, Store

ASKED = f"{FOLDER}/asked.json"
RECORDS = f"{FOLDER}/done"


class Asked(msgspec.Struct, frozen=True, kw_only=True):
    """What a scoring was asked to do; a stopped scoring continues only if it is asked for the same."""

    scorer: dict[str, Any]
    features: bool
    threshold: float | None
    name: str
    max_similarity: float | None = None
    models: Models | None = None


class BegunScoring(msgspec.Struct, frozen=True):
    """`_run/score/asked.json`: a scoring that has begun, and the shards that it began with."""

    asked: Asked
    shards: str  # hash of the manifest's list of shards


class ScoreJournal:
    """Records which shards of a folder one scoring has done; `name` is the scorer's name, or empty."""

    def __init__(self, store: Store, name: str) -> None:
        self.store, self.name = store, name

    def open(
        self, manifest: dict[str, Any], asked: Asked, rescore: bool
    ) -> tuple[dict[str, Any], dict[str, Done]]:
        """Begin the scoring or continue it: returns the manifest to start from, and the shards already done.

        Raises:
            OutputError: another scoring of the folder is unfinished, and `rescore` was not asked for.
        """
        self.store.delete_folder(TMP)
        begun, digest = self._begun(rescore), _digest(manifest)
        manifest = manifest | {"shards": msgspec.to_builtins(listed_shards(self.store, manifest))}
        if begun is not None and begun.shards == digest:
            if begun.asked == asked:
                return manifest, self._recover()
            if not rescore:
                raise OutputError(
                    f"{self.store.uri} holds an unfinished scoring by {_who(begun.asked)}: the same "
                    "command finishes it, --rescore begins anew"
                )
            if not begun.asked.name:  # it may have replaced shards: list them first
                manifest = self._settled(manifest, self._recover()) | {"scorer": None}
                manifest.pop("scored", None)
                digest = _digest(self._write(manifest))
        self.store.delete_folder(FOLDER)
        self.store.write_bytes(ASKED, msgspec.json.encode(BegunScoring(asked, digest)))
        return manifest, {}

    def _begun(self, rescore: bool) -> BegunScoring | None:
        """The unfinished scoring of the folder, if any; with `rescore` a damaged record of it is ignored."""
        try:
            return read_state(self.store, ASKED, BegunScoring, "--rescore begins the scoring anew")
        except OutputError:
            if not rescore:
                raise
            return None

    def keep(self, done: Done) -> Done:
        """Record that a shard is written, then move it to its place (a named scorer's file is there already)."""
        name = f"{done.path.removesuffix('.parquet')}.json"
        self.store.write_bytes(f"{RECORDS}/{spread(name)}/{name}", msgspec.json.encode(done))
        if not self.name:
            publish(self.store, done)
        return done

    def close(
        self,
        manifest: dict[str, Any],
        done: dict[str, Done],
        settings: ScorerSettings | None,
        who: Identity | None,
        seconds: float,
    ) -> dict[str, Any]:
        """Write the scored folder's new manifest and delete the journal; returns the manifest.

        `done` are the records of all shards by path; `settings` and `who` are None where only heads were asked for;
        `seconds` is how long the scoring took.
        """
        asked = self._asked()
        before = manifest.get("scored", {})
        told = asked.models or before.get("models")
        models = {} if told is None else {"models": msgspec.to_builtins(told)}
        if settings is None or who is None:
            said = before | models | {"finished": now()}
            return self._finish(self._settled(manifest, done, seconds) | {"scored": said})
        said = {
            "settings": msgspec.to_builtins(settings),
            "threshold": asked.threshold,
            "places": places(settings),
            "without_feature": add_counts(one.failed for one in done.values()),
            "finished": now(),
        }
        if self.name:
            files = [msgspec.to_builtins(done[one["path"]].written) for one in manifest["shards"]]
            said |= {"scorer": who.plain(), "files": files}
            manifest = manifest | {"scorers": manifest.get("scorers", {}) | {self.name: said}}
        else:
            manifest = self._settled(manifest, done, seconds) | {
                "scorer": who.plain(),
                "scored": said | models,
            }
            software = {name: importlib.metadata.version(name) for name in ("torch", "open_clip_torch")}
            manifest["software"] = manifest["software"] | software
        return self._finish(manifest)

    def close_near_duplicates(self, manifest: dict[str, Any], done: dict[str, Done]) -> dict[str, Any]:
        """As `close`, after near duplicates were dropped from the shards in `done`."""
        said = manifest["scored"] | {"max_similarity": self._asked().max_similarity, "finished": now()}
        return self._finish(self._settled(manifest, done) | {"scored": said})

    def _finish(self, manifest: dict[str, Any]) -> dict[str, Any]:
        manifest = self._write(manifest)
        self.store.delete_folder(FOLDER)
        return manifest

    def _asked(self) -> Asked:
        return msgspec.json.decode(self.store.read_bytes(ASKED) or b"", type=BegunScoring).asked

    def _settled(
        self, manifest: dict[str, Any], done: dict[str, Done], seconds: float = 0.0
    ) -> dict[str, Any]:
        """The manifest with these shards as they are now; the table of dropped rows' files is written again."""
        manifest = _with_tables(manifest, self._list_dropped(done))
        shards = []
        for one in manifest["shards"]:
            record = done.get(one["path"])
            if record is None:
                shards.append(one)
            elif record.written is not None:
                shards.append(msgspec.to_builtins(record.written))
        rows = sum(one["rows"] for one in shards)
        stage = {
            "name": STAGE,
            "rows_in": manifest["rows_out"],
            "rows_out": rows,
            "seconds": round(seconds, 3),
        }
        return manifest | {
            "rows_out": rows,
            "dropped": add_counts([manifest["dropped"], *(one.dropped for one in done.values())]),
            "stages": [*manifest["stages"], stage],
            "shards": shards,
        }

    def _recover(self) -> dict[str, Done]:
        """The recorded shards, each moved to its place if a kill prevented that; incomplete records are deleted."""
        folders = self.store.folders(RECORDS)
        named = in_parallel(lambda folder: [f"{folder}/{name}" for name in self.store.names(folder)], folders)
        found = in_parallel(self._recovered, (name for names in named for name in names))
        return {done.path: done for done in found if done is not None}

    def _recovered(self, name: str) -> Done | None:
        """A recorded shard, moved to its place; None for an incomplete record, which is deleted."""
        try:
            done = msgspec.json.decode(self.store.read_bytes(name) or b"", type=Done)
        except NOT_JSON:
            self.store.delete(name)
            return None
        if not self.name:
            publish(self.store, done)
        return done

    def _list_dropped(self, done: dict[str, Done]) -> list[PublishedFile]:
        """Add these shards' files of dropped rows to the folder's table of such files, if it has one.

        Returns the table's file as written now, or nothing.
        """
        table = read_files(self.store, DROPPED_FILES)
        if table is None:
            return []
        files = {file.path: file for file in as_shards(table)}
        files |= {one.dropped_file.path: one.dropped_file for one in done.values() if one.dropped_file}
        in_order = files_table(files[path] for path in sorted(files, key=place_of))
        return [write_files(self.store, DROPPED_FILES, in_order)]

    def _write(self, manifest: dict[str, Any]) -> dict[str, Any]:
        """Write the table of all shards, then the manifest; returns the manifest as written."""
        if self.store.exists(SHARDS):
            shards = msgspec.convert(manifest["shards"], list[Shard])
            manifest = _with_tables(manifest, [write_files(self.store, SHARDS, files_table(shards))])
        manifest = manifest | {"shards": manifest["shards"][:LISTED]}
        self.store.write_bytes(MANIFEST, msgspec.json.format(msgspec.json.encode(manifest), indent=1))
        return manifest


def _with_tables(manifest: dict[str, Any], tables: Sequence[PublishedFile]) -> dict[str, Any]:
    """The manifest with the new hashes of these tables; manifests of an older version list no tables."""
    if "tables" not in manifest:
        return manifest
    listed = {one["path"]: one for one in manifest["tables"]}
    listed |= {one.path: msgspec.to_builtins(one) for one in tables}
    return manifest | {"tables": [*listed.values()]}


def _digest(manifest: dict[str, Any]) -> str:
    return hashlib.sha256(json.dumps(manifest["shards"], sort_keys=True).encode()).hexdigest()


def _who(asked: Asked) -> str:
    if not asked.scorer:
        return "heads alone"
    return f"{asked.scorer['model']} {asked.scorer['pretrained']}".strip() + (
        f" as {asked.name}" if asked.name else ""
    )
