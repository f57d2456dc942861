"""Near duplicates among a scored run's rows: found by their features, and dropped from the shards."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import msgspec
import pyarrow.ipc as ipc

from curate.engine.across import write_batches
from curate.errors import ManifestError
from curate.manifest.settings import ShardSettings
from curate.scorer.identity import from_plain
from curate.scorer.near_duplicate_rows import NEAR_DUPLICATES, find_near_duplicates
from curate.scoring.journal import FOLDER, Asked, ScoreJournal
from curate.scoring.meter import ScoringMeter
from curate.scoring.shard import ScoringTerms, stored, write
from curate.storage.store import Store

VERDICT = f"{FOLDER}/alike.arrow"


def drop_near_duplicates(
    store: Store, manifest: dict[str, Any], max_similarity: float, watch: ScoringMeter
) -> dict[str, Any]:
    """Drop the rows of a scored run that are too much like an earlier one; its new `_manifest.json`.

    Who falls is written down before any of them is dropped, so that a kill changes nothing in it.

    Raises:
        ManifestError: the run was not scored, or its features were not kept.
        MachineError: faiss is needed and missing, or the disk for temporary files is full.
    """
    if manifest["scorer"] is None:
        raise ManifestError(f"near duplicates are found by their features: score {store.uri} first")
    identity, books = from_plain(manifest["scorer"]), ScoreJournal(store, "")
    asked = Asked(
        scorer=identity.plain(), features=True, threshold=None, name="", max_similarity=max_similarity
    )
    manifest, done = books.open(manifest, asked, rescore=False)
    terms = ScoringTerms(
        name="",
        features=True,
        threshold=None,
        drops_sample=manifest["manifest"]["drops"]["sample"],
        shard=msgspec.convert(manifest["manifest"]["shard"], ShardSettings),
    )
    if not store.exists(VERDICT):
        rows = {one["path"]: one["rows"] for one in manifest["shards"]}
        write_batches(store, VERDICT, NEAR_DUPLICATES, find_near_duplicates(store, rows, {}, max_similarity))
    watch.say("dropping the rows that are like an earlier one")
    for path, fallen in _verdicts(store):
        if path in done:
            continue
        scored = stored(store, path, identity, features=True)
        if scored is None:
            raise ManifestError(f"{path} holds no features of {identity}: score it again, with --features")
        mine = msgspec.structs.replace(terms, near_duplicates={path: fallen})
        done[path] = books.keep(write(store, path, scored, identity, mine))
    return books.close_near_duplicates(manifest, done)


def _verdicts(store: Store) -> Iterator[tuple[str, dict[int, str]]]:
    """Of each shard that loses rows, which fall and what they are like, as written down."""
    with store.fs.open_input_file(store.path(VERDICT)) as file:
        reader = ipc.open_file(file)
        for number in range(reader.num_record_batches):
            fell = reader.get_batch(number).to_pydict()
            yield fell["path"][0], dict(zip(fell["row"], fell["detail"], strict=True))
