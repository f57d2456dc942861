"""The funnel from rows read to rows kept: one step for each reason, with the rows that it dropped and left."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from curate.marking import RULE_STAGES

STAGES_SAID = {
    "read": "lacks what is needed, or was not asked for",
    "render": "could not be rendered",
    "rules": "judged by text and published values",
    "seen": "judged across the run, by URL",
    "fetch": "could not be fetched",
    "decode": "could not be decoded",
    "listed": "is on a list of hashes",
    "copies": "is in an evaluation set",
    "size": "judged by its true size",
    "score": "judged by its CLIP score",
    "tasks": "could not be written in the task's format",
    "remove": "removed because somebody asked for it",
    "across": "judged across the run, by image",
}

CHOSEN = frozenset(
    {"row_not_selected", "opted_out", "removed_on_request"}
)  # the user or the owner asked for these drops: they are no failures


@dataclass(frozen=True)
class Step:
    """The rows that one reason dropped at one stage."""

    reason: str
    stage: str
    settings: str  # the rule's settings in words; empty where it has none
    dropped: int
    left: int  # rows alive after it
    is_rule: bool  # else something failed


def steps(manifest: Mapping[str, Any], dropped: pa.Table) -> list[Step]:
    """The steps in the order in which a row meets them.

    `manifest` is the whole of `_manifest.json`; `dropped` holds dropped rows (DROPPED), all or a sample. The counts are
    the manifest's, so they are exact. Where a reason occurs at several stages, its count is divided among them in the
    proportion found in `dropped`.
    """
    rules = [name for name, settings in manifest["manifest"]["rules"].items() if settings]
    stages = [stage["name"] for stage in manifest["stages"]]
    found = [
        (
            stages.index(stage) if stage in stages else len(stages),
            _place(rules, reason),
            -count,
            reason,
            stage,
        )
        for (stage, reason), count in _counts(manifest["dropped"], dropped).items()
    ]
    left, made = manifest["rows_in"], []
    for _, _, count, reason, stage in sorted(found):
        left += count
        settings = said(manifest["manifest"]["rules"].get(reason) or {})
        made.append(Step(reason, stage, settings, -count, left, reason in CHOSEN or stage in RULE_STAGES))
    return made


def said(settings: Mapping[str, Any]) -> str:
    """A rule's settings as text: `min_side 200 · max_side 9000`; settings that are empty or None are left out."""
    parts = []
    for name, value in settings.items():
        if value in ("", None, []):
            continue
        text = ", ".join(map(str, value)) if isinstance(value, list | tuple) else f"{value}"
        parts.append(f"{name} {text}" if len(text) <= 60 else f"{name} {text[:57]}…")
    return " · ".join(parts)


def _counts(exact: Mapping[str, int], dropped: pa.Table) -> dict[tuple[str, str], int]:
    """The number of dropped rows by stage and reason; summed over the stages, they are the numbers of `exact`."""
    pairs = dropped.group_by(["stage", "reason"]).aggregate([([], "count_all")])
    seen: dict[str, dict[str, int]] = {}
    columns = (pairs[name].cast(pa.string()).to_pylist() for name in ("stage", "reason"))
    for stage, reason, count in zip(*columns, pairs["count_all"].to_pylist(), strict=True):
        seen.setdefault(reason, {})[stage] = count
    counts: dict[tuple[str, str], int] = {}
    for reason, count in exact.items():
        by_stage = seen.get(reason) or {"rules": 1}
        total, rest = sum(by_stage.values()), count
        for stage in sorted(by_stage, key=by_stage.__getitem__):
            counts[stage, reason] = round(count * by_stage[stage] / total)
            rest -= counts[stage, reason]
        counts[stage, reason] += rest  # the remainder goes to the stage with the most rows
    return {pair: count for pair, count in counts.items() if count}


def _place(rules: list[str], reason: str) -> int:
    return rules.index(reason) if reason in rules else len(rules)


def shares(values: pa.ChunkedArray, most: int) -> list[tuple[str, int, float]]:
    """At most `most` values, the most frequent first: value, count, and share (0 to 1) of all that are not null."""
    counts = pc.value_counts(values.drop_null()).to_pylist()
    total = sum(item["counts"] for item in counts)
    counts.sort(key=lambda item: (-item["counts"], item["values"]))
    return [(item["values"], item["counts"], item["counts"] / total) for item in counts[:most]]
