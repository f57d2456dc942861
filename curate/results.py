"""What the commands of `curate.api` give: their findings as fields, and under `raw` as the command line prints them."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Literal, TypedDict, TypeVar

R = TypeVar("R")


class ShardEntry(TypedDict):
    """One shard or pack file, as `_manifest.json` lists it."""

    path: str  # within the folder
    rows: int
    bytes: int
    sha256: str


@dataclass(frozen=True)
class RunResult:
    """A finished run, as its `_manifest.json` tells of it; `rows_in == rows_out + sum(dropped.values())`."""

    folder: str
    rows_in: int
    rows_out: int
    dropped: dict[str, int]  # reason → rows
    shards: list[ShardEntry] = field(repr=False)  # at most the first 10,000: _manifest/shards.parquet has all
    stages: list[dict[str, Any]] = field(repr=False)  # in order: name, rows_in, rows_out, seconds
    manifest: dict[str, Any] = field(repr=False)  # resolved, with every threshold
    inputs: list[dict[str, Any]] = field(repr=False)  # uri, bytes, rows, fingerprint
    scorer: dict[str, Any] | None = field(repr=False)
    raw: dict[str, Any] = field(repr=False)  # the whole of _manifest.json

    def __str__(self) -> str:
        lost = "".join(f"\n  {reason:24} -{count:,}" for reason, count in self.dropped.items())
        return f"read {self.rows_in:,}{lost}\nkept {self.rows_out:,} in {self.folder}"


@dataclass(frozen=True)
class PreviewResult:
    """What a run would do, and the fate of the first rows by all that needs no image; nothing was written."""

    inputs: int
    rows: int
    units: int
    judged: int  # rows that were looked at
    alive: int  # of them, those that no rule dropped
    dropped: dict[str, int]
    first_rows: list[dict[str, Any]] = field(repr=False)
    raw: dict[str, Any] = field(repr=False)


@dataclass(frozen=True)
class CalibrateResult:
    """What each rule drops of a sample, and the thresholds that were asked for; shares are from 0 to 1."""

    rule: str | None  # of the last threshold that was found; None where none was asked for
    setting: str | None
    threshold: float | None
    keep: float | None  # the share of all rows that is kept with it
    kept: dict[str, float]  # share and error (half its 95 % interval) of what the rules keep as they are
    table: list[dict[str, Any]] = field(repr=False)  # a rule each: alone, in_order, only, thresholds
    sample: dict[str, Any] = field(repr=False)  # rows, of, blocks, inputs, whole
    set: list[str] = field(repr=False)  # `--set …` for each threshold that was found
    notes: list[str] = field(repr=False)
    raw: dict[str, Any] = field(repr=False)


@dataclass(frozen=True)
class PackResult:
    """Finished packs, as their `_manifest.json` tells of them; rows are samples."""

    folder: str
    rows_in: int
    rows_out: int
    dropped: dict[str, int]
    tasks: dict[str, dict[str, Any]]  # task → samples, sequences, padding (share of the tokens)
    shards: list[ShardEntry] = field(repr=False)
    raw: dict[str, Any] = field(repr=False)


@dataclass(frozen=True)
class ExportResult:
    """A finished export, as its `_manifest.json` tells of it."""

    folder: str
    to: str
    rows_in: int
    rows_out: int
    dropped: dict[str, int]
    files: list[str] = field(repr=False)
    raw: dict[str, Any] = field(repr=False)


@dataclass(frozen=True)
class FingerprintResult:
    """A fingerprint file, for the rules `image_in_evaluation_set` and `text_in_evaluation_set`."""

    out: str
    images: int
    texts: int
    left_out: dict[str, int]  # reason → images without a fingerprint
    raw: dict[str, Any] = field(repr=False)


@dataclass(frozen=True)
class HeldOutResult:
    """A list of images that data sets hold out, for the rule `image_name_on_list`."""

    out: str
    images: int
    splits: dict[str, int]  # images, by the split that holds them out
    left_out: int  # rows whose name no line of a list can hold
    raw: dict[str, Any] = field(repr=False)


@dataclass(frozen=True)
class RemoveResult:
    """A new version of a run without what a list names."""

    folder: str
    parent: str  # the folder of the older version
    rows_removed: int
    rows_out: int  # left
    rewritten: int  # shards that were written again
    emptied: int  # shards of which no row is left: they are gone
    shared: int  # shards that both versions have, linked or copied by the store
    unmatched: int  # lines of the list that match no row
    overlaps: dict[str, int]  # rows in evaluation sets, by the rule that tells them
    made_of_parent: list[dict[str, str]] = field(
        repr=False
    )  # packs and exports: kind, folder, remake (a command)
    raw: dict[str, Any] = field(repr=False)


@dataclass(frozen=True)
class ReportResult:
    """The files of a report."""

    folder: str
    wrote: list[str]  # names within the folder
    left: list[str]  # those left as they were, because a person wrote them
    seconds: float
    raw: dict[str, Any] = field(repr=False)


@dataclass(frozen=True)
class ExplainResult:
    """What became of one input."""

    fate: Literal["kept", "dropped", "unknown"]
    shard: str | None  # where it is kept
    row: int | None  # in that shard, from 0; of a dropped input, in the file under _dropped/
    reason: str | None  # why it was dropped
    detail: str | None  # the values that decided
    way: list[dict[str, Any]] = field(repr=False)  # a step a stage or rule, with the value it was judged by
    raw: dict[str, Any] = field(repr=False)


@dataclass(frozen=True)
class TraceResult:
    """Which rows of which shards the samples of packed sequences come from."""

    folder: str
    samples: list[
        dict[str, Any]
    ]  # pack, row, tokens, key; where it was found folder, shard, shard_row, source, url
    gone: list[str]  # folders of shards that are there no more
    raw: dict[str, Any] = field(repr=False)


@dataclass(frozen=True)
class DiffResult:
    """How one run differs from another."""

    settings: dict[str, list[Any]]  # path → the two values
    counts: dict[str, list[int]]  # rows_in, rows_out and each reason → the two numbers
    added: int  # keys of rows
    removed: int
    changed: int
    same: int  # shards that both have
    examples: dict[str, list[str]] = field(repr=False)  # added, removed and changed → some keys
    raw: dict[str, Any] = field(repr=False)


@dataclass(frozen=True)
class VerifyResult:
    """What a check of every checksum and invariant found."""

    shards: int
    rows: int
    damaged: dict[str, list[str]]  # file → what is wrong with it; empty: all is well
    repaired: list[str]
    raw: dict[str, Any] = field(repr=False)


def made(kind: type[R], found: dict[str, Any], **more: Any) -> R:
    """A result of plain data; what is not there is None, or an empty list where there may be many."""
    import msgspec

    found = msgspec.json.decode(
        msgspec.json.encode(found)
    )  # as a reader of the file has it: lists, no tuples
    empty: dict[str, Any] = {"repaired": [], "way": [], "set": []}
    given = {name: found.get(name, empty.get(name)) for name in kind.__dataclass_fields__}  # type: ignore[attr-defined]
    return kind(**given | {"raw": found} | more)
