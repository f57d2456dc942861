"""`curate calibrate`: what each rule drops from a sample, and which threshold keeps the share that is asked for."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import msgspec
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

import filters
from curate.calibrating.drawn_sample import DrawnSample, read_sample
from curate.calibrating.shares import Sampled
from curate.calibrating.solving import Levers, Solved, levers, solve
from curate.calibrating.thresholds import KNOWN, RuleThreshold, thresholds_of
from curate.calibrating.verdicts import Bools, Verdicts, fallen, judge_each
from curate.engine.across import rules_of, spill_rows
from curate.engine.command import plan
from curate.engine.request import Request
from curate.errors import InputError, ManifestError, nearest
from curate.manifest.load import changed
from curate.manifest.settings import Manifest
from curate.origins import kind_of
from curate.storage.scratch import ScratchFolder
from curate.tasks.formats import CONVERSATION

log = logging.getLogger("curate")

STEPS = 20  # thresholds of a rule for which the kept share is reported
ROWS = 200_000  # rows of a sample, by default
PHASES = ("keys", "seen")  # phases of rules across the run that need no image bytes
SHARD_COLUMNS = ("url", "text", "width", "height", "clip_score")  # columns that are read from shards


@dataclass(frozen=True)
class Calibration:
    """A sample of N rows, and what each rule says of them."""

    manifest: Manifest
    sample: DrawnSample
    verdicts: Verdicts

    @property
    def drawn(self) -> Sampled:
        """How the sample was drawn."""
        return self.sample.drawn

    def left(self, kept: Bools) -> float:
        """Return the share of all rows that is left of `kept`, see `undoubled`."""
        return self.drawn.share(self.undoubled(kept))

    def undoubled(self, kept: Bools) -> Bools:
        """Return `kept`, the rows that all rules on single rows keep, without those that rules across the run drop (N).

        A sample of only some rows cannot show duplicates; `kept` is returned as it is.
        """
        if not self.drawn.is_whole:
            return kept
        left = kept.copy()
        for reason in self.across(kept).values():
            left &= ~reason
        return left

    def across(self, kept: Bools) -> dict[str, Bools]:
        """Return, for each rule across the run, which of the rows `kept` so far it drops (N each)."""
        places = np.flatnonzero(kept)
        table = self.verdicts.table.take(pa.array(places))
        found: dict[str, Bools] = {}
        for phase in PHASES:
            rules = rules_of(phase, self.manifest.active_rules())
            if not rules or not len(places):
                continue
            image = table["key"] if phase == "keys" else pc.coalesce(table["url"], table["image_path"])
            rows = pa.array(np.arange(len(places)), pa.int32())
            spilled = spill_rows(image.combine_chunks(), table["text"].combine_chunks(), 0, rows)
            reasons = filters.judge(spilled, rules).reason
            for name in rules:
                fell = np.zeros(len(kept), np.bool_)
                hit = pc.equal(reasons, name).fill_null(False).to_numpy(zero_copy_only=False)
                fell[places[spilled["row"].to_numpy()[hit]]] = True
                found[name] = fell
        return found


def calibrate(
    asked: Request, keep: Sequence[float] = (), rules: Sequence[str] = (), rows: int = ROWS
) -> dict[str, Any]:
    """Measure what each rule drops from a sample, and find the thresholds that keep the shares asked for.

    With one share and several rules, each rule keeps the same fraction of what the rule before it leaves. With as many
    shares as rules, each share is what is left after its rule, with the later ones of `rules` not applied.

    Args:
        asked: the manifest and its inputs.
        keep: shares to keep, 0 to 1; none: no threshold is searched for.
        rules: `RULE` or `RULE.SETTING`, in the order in which their thresholds are found.
        rows: about how many rows to read.

    Returns:
        The results as plain data: see `curate.results.CalibrateResult`.

    Raises:
        ManifestError: there is no such rule, or it has no threshold; or the numbers of shares and rules do not match.
        InputError: the inputs cannot be read, the sample is empty, or a share cannot be reached.
    """
    _check_asked(keep, rules, rows)
    _check_kind(asked.manifest)
    names = [_split(name) for name in rules]
    manifest = _with_rules(asked.manifest, [name for name, _ in names])
    asked = msgspec.structs.replace(asked, manifest=_reading_shards(manifest))
    with ScratchFolder() as work:
        planned = plan(asked, work, judges_again=True)
        sample = read_sample(asked.manifest, planned, rows, manifest.seed, work)
    verdicts = judge_each(sample.rows, manifest, sample.rules)
    if not verdicts.readable.any():
        raise InputError(f"the sample is empty: none of its {sample.drawn.rows:,} rows can be read")
    found = Calibration(manifest, sample, verdicts)
    thresholds = [_threshold(found, name, setting) for name, setting in names]
    solved = list(_solved(found, thresholds, keep)) if keep else []
    return _as_plain(found, solved)


def _as_plain(found: Calibration, solved: Sequence[Solved]) -> dict[str, Any]:
    """Return the results as plain data."""
    manifest, drawn, kept = found.manifest, found.drawn, found.verdicts.kept()
    left = found.undoubled(kept)
    told: dict[str, Any] = {"manifest": manifest.name}
    if solved:
        last = solved[-1]
        told |= {"rule": last.threshold.rule, "setting": last.threshold.setting}
        told |= {"threshold": _plain(last), "keep": round(last.keep, 6), "asked": last.asked}
        told |= {"solved": [_solution(one) for one in solved]}
        told |= {"set": [f"--set {one.threshold.name}={_plain(one)}" for one in solved]}
    told |= {"kept": _share(drawn, left), "paper": _paper(manifest)}
    told |= {"table": [*_table(found), *_across(found, kept)]}
    told |= {
        "sample": {
            "rows": drawn.rows,
            "of": drawn.of,
            "blocks": drawn.blocks,
            "inputs": found.sample.inputs,
            "whole": drawn.is_whole,
        }
    }
    return told | {"notes": list(_notes(found))}


def _table(found: Calibration) -> Iterator[dict[str, Any]]:
    """Yield one entry for rows that could not be read, then one for each rule, in the manifest's order."""
    drawn, verdicts = found.drawn, found.verdicts
    unread = _share(drawn, ~verdicts.readable)
    yield {"rule": None, "settings": {}, "alone": unread, "in_order": unread, "only": unread}
    for name, settings in found.sample.rules.items():
        yield {
            "rule": name,
            "settings": dict(settings),
            "alone": _share(drawn, verdicts.falls[name]),
            "in_order": _share(drawn, verdicts.in_order(name)),
            "only": _share(drawn, verdicts.only(name)),
            "missing": round(drawn.share(verdicts.lacks[name]), 6),
            "thresholds": [_curve(found, one) for one in thresholds_of(name, settings)],
        }


def _across(found: Calibration, kept: Bools) -> Iterator[dict[str, Any]]:
    """Yield an entry for each rule across the run, if every row was read; else none."""
    if not found.drawn.is_whole:
        return
    for name, fell in found.across(kept).items():
        share = _share(found.drawn, fell)
        yield {"rule": name, "settings": {}, "alone": None, "in_order": share, "only": share}


def _curve(found: Calibration, threshold: RuleThreshold) -> dict[str, Any]:
    """Return the kept share at up to 20 thresholds: by all rules (`keep`), and by this rule alone (`alone`).

    The other rules and settings stay as they are.
    """
    of, drawn = _levers(found, threshold, set()), found.drawn
    values = of.values[found.verdicts.readable & ~np.isnan(of.values) & np.isfinite(of.values)]
    if not len(values):
        return {"setting": threshold.setting, "values": 0, "steps": []}
    shares = (np.arange(STEPS) + 0.5) / STEPS
    at = np.unique(np.quantile(values, shares, method="nearest"))
    steps = [
        {
            "threshold": _number(threshold, value),
            "keep": round(drawn.share(of.kept(value)), 6),
            "alone": round(
                drawn.share(found.verdicts.readable & (of.always | threshold.kept(of.values, value))), 6
            ),
        }
        for value in at.tolist()
    ]
    ends = {"least": _number(threshold, values.min()), "largest": _number(threshold, values.max())}
    return {"setting": threshold.setting, "values": len(values), **ends, "steps": steps}


def _levers(found: Calibration, threshold: RuleThreshold, without: set[str]) -> Levers:
    """Return the rows that a threshold decides about; the rule's other settings and all rules but `without` apply."""
    verdicts, settings = found.verdicts, dict(found.sample.rules[threshold.rule])
    beyond = np.zeros(verdicts.table.num_rows, np.bool_)
    if threshold.rule not in KNOWN:
        others = {name: value for name, value in settings.items() if name != threshold.setting}
        beyond = fallen(verdicts.table, threshold.rule, others)[0]
    return levers(verdicts, threshold, without, beyond)


def _solved(
    found: Calibration, thresholds: Sequence[RuleThreshold], keep: Sequence[float]
) -> Iterator[Solved]:
    """Yield the threshold for each share, one after the other; each is applied before the next one is searched for."""
    shares = keep if len(keep) == len(thresholds) else _parted(found, thresholds, keep[0])
    verdicts, falls = found.verdicts, dict(found.verdicts.falls)
    for number, (threshold, share) in enumerate(zip(thresholds, shares, strict=True)):
        now = Calibration(
            found.manifest, found.sample, Verdicts(verdicts.table, verdicts.readable, falls, verdicts.lacks)
        )
        later = {one.rule for one in thresholds[number + 1 :]} - {threshold.rule}
        of = _levers(now, threshold, later)
        one = solve(of, share, now.left)
        falls = falls | {threshold.rule: verdicts.readable & ~_passing(now, of, one)}
        yield one


def _passing(found: Calibration, of: Levers, one: Solved) -> Bools:
    """Return which rows the rule alone keeps with the threshold that was found (N)."""
    settings = dict(found.sample.rules[of.threshold.rule]) | {of.threshold.setting: _plain(one)}
    return ~fallen(found.verdicts.table, of.threshold.rule, settings)[0]


def _parted(found: Calibration, thresholds: Sequence[RuleThreshold], share: float) -> list[float]:
    """Return a share for each threshold: they fall by the same factor from rule to rule, and end at `share`.

    Raises:
        InputError: the other rules leave less than `share`.
    """
    base = found.left(found.verdicts.kept({one.rule for one in thresholds}))
    if share > base:
        raise InputError(f"cannot keep {share:.2%}: the other rules leave {base:.2%}")
    factor = (share / base) ** (1 / len(thresholds))
    return [*(base * factor ** (n + 1) for n in range(len(thresholds) - 1)), share]


def _check_asked(keep: Sequence[float], rules: Sequence[str], rows: int) -> None:
    if rows < 1:
        raise InputError(f"--rows must be at least 1, not {rows}")
    if any(not 0 < share <= 1 for share in keep):
        raise InputError(f"--keep is a share above 0 % and up to 100 %, not {[f'{one:.2%}' for one in keep]}")
    if bool(keep) != bool(rules) or len(keep) not in (0, 1, len(rules)):
        raise ManifestError(
            f"--keep needs --rule, one share for all rules or one for each: not {len(keep)} shares and "
            f"{len(rules)} rules"
        )


def _check_kind(manifest: Manifest) -> None:
    """Check that the manifest's records are rows of tables, with one text each.

    Raises:
        ManifestError: they are pages, seeds or dialogues.
    """
    if not kind_of(manifest).selects or manifest.task == CONVERSATION:
        raise ManifestError(
            f"{manifest.name}: thresholds are measured on rows of tables, and not on pages, seeds or dialogues"
        )


def _split(name: str) -> tuple[str, str]:
    """Split `RULE` or `RULE.SETTING`, with or without `rules.` in front, into rule and setting (or an empty string)."""
    rule, _, setting = name.removeprefix("rules.").partition(".")
    return rule, setting


def _with_rules(manifest: Manifest, names: Sequence[str]) -> Manifest:
    """Return the manifest with these rules switched on. A rule that it lacks is added with a threshold that keeps all.

    Raises:
        ManifestError: there is no such rule.
    """
    settings: dict[str, Any] = {}
    for name in names:
        of = manifest.rules.get(name)
        if isinstance(of, dict):
            settings |= {f"rules.{name}.on": True} if not of.get("on", True) else {}
        elif name in KNOWN:
            setting, keeps, _, whole = KNOWN[name]
            mildest = 0 if keeps == "from" else 10**9
            settings[f"rules.{name}.{setting}"] = max(1, mildest) if whole else float(mildest)
        else:
            raise ManifestError(
                f"{manifest.name} has no rule {name!r}{nearest(name, [*manifest.rules, *KNOWN])}"
            )
    return changed(manifest, settings)


def _reading_shards(manifest: Manifest) -> Manifest:
    """Return the manifest with the names of the shards' columns added, so that shards can be read as inputs."""
    ours = {name: (*manifest.columns.get(name, ()), name) for name in SHARD_COLUMNS}
    columns = manifest.columns | {name: tuple(dict.fromkeys(names)) for name, names in ours.items()}
    return msgspec.structs.replace(manifest, columns=columns)


def _threshold(found: Calibration, name: str, setting: str) -> RuleThreshold:
    """Return the threshold of the rule `name`; `setting` says which, if it has two.

    Raises:
        ManifestError: the rule has no threshold, or has two and `setting` is empty.
        InputError: an input lacks a column that the rule reads.
    """
    if name not in found.sample.rules:
        raise InputError(f"rule {name!r} cannot be judged: an input has no column for it")
    known = thresholds_of(name, found.sample.rules[name])
    fitting = [one for one in known if setting in ("", one.setting)]
    if len(fitting) == 1:
        return fitting[0]
    if not known:
        raise ManifestError(f"rule {name!r} has no threshold")
    raise ManifestError(
        f"which threshold of {name!r}: write {' or '.join(f'{name}.{one.setting}' for one in known)}"
    )


def _notes(found: Calibration) -> Iterator[str]:
    """Yield notes on the figures: what they leave out, and thresholds that no value reaches."""
    if settled := [name for name in found.sample.rules if name in found.sample.settled]:
        yield (
            f"{', '.join(settled)}: judged by `curate select` already, and here again, as another `curate select` of "
            "these parts would; `curate run` does not judge them again"
        )
    if not found.drawn.is_whole:
        names = [name for phase in PHASES for name in rules_of(phase, found.manifest.active_rules())]
        if names:
            yield f"{', '.join(dict.fromkeys(names))}: not in these figures, as a sample cannot show duplicates"
    for name, settings in found.sample.rules.items():
        for one in thresholds_of(name, settings):
            values = one.of(found.verdicts.table)
            values = values[found.verdicts.readable & ~np.isnan(values)]
            limit = settings.get(one.setting)
            if limit is not None and len(values) and not one.kept(values, limit).any():
                end, said = (values.max(), "largest") if one.keeps == "from" else (values.min(), "least")
                yield f"no value reaches {one.name} = {limit:g}: the {said} of {len(values):,} is {end:g}"


def _share(drawn: Sampled, rows: Bools) -> dict[str, float]:
    return {"share": round(drawn.share(rows), 6), "error": round(drawn.error(rows), 6)}


def _solution(one: Solved) -> dict[str, Any]:
    return {
        "rule": one.threshold.rule,
        "setting": one.threshold.setting,
        "threshold": _plain(one),
        "asked": one.asked,
        "keep": round(one.keep, 6),
    }


def _plain(one: Solved) -> int | float:
    return _number(one.threshold, one.value)


def _number(threshold: RuleThreshold, value: float) -> int | float:
    return int(value) if threshold.whole else float(value)


def _paper(manifest: Manifest) -> float | None:
    """Return the share of this data set that is left in Qwen-VL's table 2; None if it is not in the table."""
    paper = manifest.paper
    return None if paper is None else round(paper.rows_after / paper.rows_before, 4)
