"""Find near duplicates among a scored run's rows by their features, and drop them from the shards."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

from curate.errors import ManifestError
from curate.scorer.near_duplicate_rows import NEAR_DUPLICATES, find_near_duplicates
from curate.scoring.journal import Asked, ScoreJournal
from curate.scoring.shard import VERDICT, Done
from curate.storage.batch_files import batches_of, read_batch, write_batches
from curate.storage.store import Store

Work = Callable[[str, list[int]], Iterator[Done]]  # does the jobs of one kind with these numbers


def drop_near_duplicates(
    store: Store, manifest: dict[str, Any], max_similarity: float, work: Work
) -> dict[str, Any]:
    """Drop the rows of a scored run that are too similar to an earlier row that stays; returns `_manifest.json` anew.

    `manifest` is the whole of the old one; rows fall whose cosine is above `max_similarity`; `work` does the jobs. The
    list of rows to drop is written to the folder before any of them is dropped, so that a kill does not change it.

    Raises:
        ManifestError: the run was not scored.
        UnitError: its features were not kept, or a shard cannot be written.
        MachineError: faiss is needed and missing, or the disk for temporary files is full.
    """
    if manifest["scorer"] is None:
        raise ManifestError(f"near duplicates are found by their features: score {store.uri} first")
    journal = ScoreJournal(store, "")
    asked = Asked(
        scorer=manifest["scorer"], features=True, threshold=None, name="", max_similarity=max_similarity
    )
    manifest, done = journal.open(manifest, asked, rescore=False)
    if not store.exists(VERDICT):
        rows = {one["path"]: one["rows"] for one in manifest["shards"]}
        write_batches(store, VERDICT, NEAR_DUPLICATES, find_near_duplicates(store, rows, {}, max_similarity))
    for one in work("drop", [number for number, path in _named(store) if path not in done]):
        done[one.path] = journal.keep(one)
    return journal.close_near_duplicates(manifest, done)


def _named(store: Store) -> Iterator[tuple[int, str]]:
    """The numbers of the verdict's record batches, each with the path of its shard."""
    for number in range(batches_of(store, VERDICT)):
        yield number, read_batch(store, VERDICT, number)["path"][0].as_py()
