"""The results of the functions of `curate.api`. `raw` of each is what its command prints with `--json`."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Literal, TypedDict, TypeVar

R = TypeVar("R")


class ShardEntry(TypedDict):
    """One shard or pack file, as `_manifest.json` lists it."""

    path: str  # relative to the folder
    rows: int
    bytes: int
    sha256: str


@dataclass(frozen=True)
class RunResult:
    """A finished run, as in its `_manifest.json`; `rows_in == rows_out + sum(dropped.values())`."""

    folder: str
    rows_in: int
    rows_out: int
    dropped: dict[str, int]  # reason → rows
    shards: list[ShardEntry] = field(repr=False)  # at most the first 10,000: _manifest/shards.parquet has all
    stages: list[dict[str, Any]] = field(repr=False)  # in order: name, rows_in, rows_out, seconds
    manifest: dict[str, Any] = field(repr=False)  # with every default filled in
    inputs: list[dict[str, Any]] = field(repr=False)  # uri, bytes, rows, fingerprint
    scorer: dict[str, Any] | None = field(repr=False)  # the CLIP model of the scores; None without one
    raw: dict[str, Any] = field(repr=False)  # the whole of _manifest.json

    def __str__(self) -> str:
        lost = "".join(f"\n  {reason:24} -{count:,}" for reason, count in self.dropped.items())
        return f"read {self.rows_in:,}{lost}\nkept {self.rows_out:,} in {self.folder}"


@dataclass(frozen=True)
class PreviewResult:
    """What a run would do, and what the rules that need no image say of the first rows; nothing was written."""

    inputs: int
    rows: int
    units: int
    judged: int  # the first rows: how many were judged
    alive: int  # how many of them no rule dropped
    dropped: dict[str, int]  # reason → rows, of those that were judged
    first_rows: list[dict[str, Any]] = field(repr=False)
    raw: dict[str, Any] = field(repr=False)


@dataclass(frozen=True)
class CalibrateResult:
    """Which share of a sample each rule drops, and the thresholds that were asked for; shares are from 0 to 1."""

    rule: str | None  # the rule of the last threshold that was found; None if no threshold was asked for
    setting: str | None  # the rule's setting
    threshold: float | None  # its value
    keep: float | None  # the share of all rows that is kept with this threshold
    kept: dict[str, float]  # share and error (half its 95 % interval) of what the rules keep as they are
    table: list[dict[str, Any]] = field(repr=False)  # for each rule: alone, in_order, only, thresholds
    sample: dict[str, Any] = field(repr=False)  # rows, of, blocks, inputs, whole
    set: list[str] = field(repr=False)  # the option `--set …` for each threshold that was found
    notes: list[str] = field(repr=False)
    raw: dict[str, Any] = field(repr=False)


@dataclass(frozen=True)
class PackResult:
    """Finished packs, as in their `_manifest.json`; a row is a sample."""

    folder: str
    rows_in: int
    rows_out: int
    dropped: dict[str, int]  # reason → samples
    tasks: dict[str, dict[str, Any]]  # task → samples, sequences, padding (share of the tokens)
    shards: list[ShardEntry] = field(repr=False)
    raw: dict[str, Any] = field(repr=False)


@dataclass(frozen=True)
class ExportResult:
    """A finished export, as in its `_manifest.json`."""

    folder: str
    to: str  # the format
    rows_in: int
    rows_out: int
    dropped: dict[str, int]  # reason → rows
    files: list[str] = field(repr=False)
    raw: dict[str, Any] = field(repr=False)


@dataclass(frozen=True)
class FingerprintResult:
    """A fingerprint file, for the rules `image_in_evaluation_set` and `text_in_evaluation_set`."""

    out: str  # the file's path
    images: int  # how many images it has fingerprints of
    texts: int  # how many texts it has fingerprints of
    left_out: dict[str, int]  # reason → images without a fingerprint
    raw: dict[str, Any] = field(repr=False)


@dataclass(frozen=True)
class HeldOutResult:
    """A list of images that data sets hold out, for the rule `image_name_on_list`."""

    out: str  # the list's path
    images: int  # how many images it names
    splits: dict[str, int]  # split, such as `val` → images that it holds out
    left_out: int  # rows whose image name cannot be written as one line of a list
    raw: dict[str, Any] = field(repr=False)


@dataclass(frozen=True)
class RemoveResult:
    """A new version of a run, without the rows that a list names or that evaluation sets hold."""

    folder: str  # the new version
    parent: str  # the older version
    rows_removed: int
    rows_out: int  # rows that are left
    rewritten: int  # shards that lost rows and were written again
    emptied: int  # shards that lost all rows: the new version does not have them
    shared: int  # shards that lost no row: linked, or copied by the store
    unmatched: int  # lines of the list that match no row
    overlaps: dict[str, int]  # rule → rows that it found in evaluation sets
    made_of_parent: list[dict[str, str]] = field(
        repr=False
    )  # packs and exports: kind, folder, remake (a command)
    raw: dict[str, Any] = field(repr=False)


@dataclass(frozen=True)
class ReportResult:
    """The files of a report."""

    folder: str
    wrote: list[str]  # file names within the folder
    left: list[str]  # files that curate did not write, and so left as they are
    seconds: float
    raw: dict[str, Any] = field(repr=False)


@dataclass(frozen=True)
class ExplainResult:
    """What became of one input."""

    fate: Literal["kept", "dropped", "unknown"]
    shard: str | None  # the shard that it is kept in
    row: int | None  # its row number from 0 in the shard; of a dropped input, in its file under _dropped/
    reason: str | None  # why it was dropped
    detail: str | None  # the values that decided
    way: list[dict[str, Any]] = field(repr=False)  # a step for each stage or rule, with the value it judged
    raw: dict[str, Any] = field(repr=False)


@dataclass(frozen=True)
class TraceResult:
    """Which rows of which shards the samples of packed sequences come from."""

    folder: str
    samples: list[
        dict[str, Any]
    ]  # pack, row, tokens, key; of a sample found in a shard also folder, shard, shard_row, source, url
    gone: list[str]  # folders of shards that no longer exist
    raw: dict[str, Any] = field(repr=False)


@dataclass(frozen=True)
class DiffResult:
    """How one run differs from another."""

    settings: dict[str, list[Any]]  # a setting's path → its value in each run
    counts: dict[str, list[int]]  # rows_in, rows_out or a reason → the number of rows in each run
    added: int  # keys of rows that only the second run has
    removed: int  # keys of rows that only the first run has
    changed: int  # keys that both have, with other rows
    same: int  # shards that both have
    examples: dict[str, list[str]] = field(repr=False)  # added, removed and changed → some keys
    raw: dict[str, Any] = field(repr=False)


@dataclass(frozen=True)
class VerifyResult:
    """What a check of every checksum and invariant found."""

    shards: int  # shards or packs that were checked
    rows: int
    damaged: dict[str, list[str]]  # file → what is wrong with it; empty: nothing is damaged
    repaired: list[str]  # files that were made again
    raw: dict[str, Any] = field(repr=False)


def made(kind: type[R], found: dict[str, Any], **more: Any) -> R:
    """Build a result of class `kind` from plain data.

    Args:
        kind: a dataclass of this module.
        found: the fields' values by name, and others; all of it becomes `raw`. A field without a value is None, or an
            empty list if it is `repaired`, `way` or `set`.
        more: values of fields, in place of those in `found`.
    """
    import msgspec

    found = msgspec.json.decode(
        msgspec.json.encode(found)
    )  # the same values as a reader of the JSON gets: lists in place of tuples
    empty: dict[str, Any] = {"repaired": [], "way": [], "set": []}
    given = {name: found.get(name, empty.get(name)) for name in kind.__dataclass_fields__}  # type: ignore[attr-defined]
    return kind(**given | {"raw": found} | more)
