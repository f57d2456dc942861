"""`curate calibrate`: what each rule drops of a sample, and which threshold keeps the share that is wanted."""

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
from curate.engine.journal import Request
from curate.errors import InputError, ManifestError, nearest
from curate.manifest.load import changed
from curate.manifest.settings import Manifest
from curate.origins import kind_of
from curate.storage.scratch import ScratchFolder
from curate.tasks.formats import CONVERSATION

log = logging.getLogger("curate")

STEPS = 20  # thresholds at which the share that is kept is told
ROWS = 200_000
PHASES = ("keys", "seen")
SHARD_COLUMNS = ("url", "text", "width", "height", "clip_score")


@dataclass(frozen=True)
class Calibration:
    """A sample with its verdicts."""

    manifest: Manifest
    sample: DrawnSample
    verdicts: Verdicts

    @property
    def drawn(self) -> Sampled:
        """How the sample was drawn."""
        return self.sample.drawn

    def left(self, kept: Bools) -> float:
        """The share that is left of rows that all rules on single rows keep: less duplicates, if all rows are here."""
        return self.drawn.share(self.undoubled(kept))

    def undoubled(self, kept: Bools) -> Bools:
        """The rows (N) without those that fall to the rules across the run; a sample of some rows cannot show these."""
        if not self.drawn.is_whole:
            return kept
        left = kept.copy()
        for reason in self.across(kept).values():
            left &= ~reason
        return left

    def across(self, kept: Bools) -> dict[str, Bools]:
        """Which of the rows that are kept so far fall to each rule across the run (N each)."""
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
    """What each rule drops of about `rows` rows, and the thresholds of `rules` that keep these shares (0 to 1).

    With one share and several rules each of them takes an equal part of what is too much; with as many shares as
    rules, each share is what is left once its rule is judged, the later ones not yet.

    Raises:
        ManifestError: there is no such rule, or it has no threshold; the shares do not go with the rules.
        InputError: the inputs cannot be read, the sample is empty, or a share cannot be reached.
    """
    _check_asked(keep, rules, rows)
    _check_kind(asked.manifest)
    names = [_split(name) for name in rules]
    manifest = _with_rules(asked.manifest, [name for name, _ in names])
    asked = msgspec.structs.replace(asked, manifest=_reading_shards(manifest))
    with ScratchFolder() as work:
        planned = plan(asked, work)
        sample = read_sample(asked.manifest, planned, rows, manifest.seed, work)
    verdicts = judge_each(sample.rows, manifest, sample.rules)
    if not verdicts.readable.any():
        raise InputError(f"the sample is empty: none of its {sample.drawn.rows:,} rows can be read")
    found = Calibration(manifest, sample, verdicts)
    thresholds = [_threshold(found, name, setting) for name, setting in names]
    solved = list(_solved(found, thresholds, keep)) if keep else []
    return _told(found, solved)


def _told(found: Calibration, solved: Sequence[Solved]) -> dict[str, Any]:
    """The findings as plain data."""
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
    """A row a rule, in order; the first one is of what could not be read."""
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
    """The rules across the run, where every row was read."""
    if not found.drawn.is_whole:
        return
    for name, fell in found.across(kept).items():
        share = _share(found.drawn, fell)
        yield {"rule": name, "settings": {}, "alone": None, "in_order": share, "only": share}


def _curve(found: Calibration, threshold: RuleThreshold) -> dict[str, Any]:
    """The share that is kept at 20 thresholds, and what by this rule alone; all else stays as it is."""
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
    """What a threshold decides, with the rule's other settings as they are."""
    verdicts, settings = found.verdicts, dict(found.sample.rules[threshold.rule])
    beyond = np.zeros(verdicts.table.num_rows, np.bool_)
    if threshold.rule not in KNOWN:
        others = {name: value for name, value in settings.items() if name != threshold.setting}
        beyond = fallen(verdicts.table, threshold.rule, others)[0]
    return levers(verdicts, threshold, without, beyond)


def _solved(
    found: Calibration, thresholds: Sequence[RuleThreshold], keep: Sequence[float]
) -> Iterator[Solved]:
    """The thresholds that keep these shares, one after the other."""
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
    """Which rows the rule keeps by itself at the threshold that was found (N)."""
    settings = dict(found.sample.rules[of.threshold.rule]) | {of.threshold.setting: _plain(one)}
    return ~fallen(found.verdicts.table, of.threshold.rule, settings)[0]


def _parted(found: Calibration, thresholds: Sequence[RuleThreshold], share: float) -> list[float]:
    """Shares that fall from rule to rule by the same factor, down to the one that is wanted."""
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
    """See that the manifest's records are rows of tables, each with one text.

    Raises:
        ManifestError: they are not.
    """
    if not kind_of(manifest).selects or manifest.task == CONVERSATION:
        raise ManifestError(
            f"{manifest.name}: thresholds are measured on rows of tables, and not on pages, seeds or dialogues"
        )


def _split(name: str) -> tuple[str, str]:
    """`RULE` or `RULE.SETTING`, also with `rules.` in front."""
    rule, _, setting = name.removeprefix("rules.").partition(".")
    return rule, setting


def _with_rules(manifest: Manifest, names: Sequence[str]) -> Manifest:
    """The manifest with these rules switched on; one that it lacks keeps all until its threshold is found.

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
    """The manifest, which also takes our own names of columns: those of shards."""
    ours = {name: (*manifest.columns.get(name, ()), name) for name in SHARD_COLUMNS}
    columns = manifest.columns | {name: tuple(dict.fromkeys(names)) for name, names in ours.items()}
    return msgspec.structs.replace(manifest, columns=columns)


def _threshold(found: Calibration, name: str, setting: str) -> RuleThreshold:
    """A rule's threshold, by the rule's name and, where it has two, that of the setting.

    Raises:
        ManifestError: it has none, or two.
        InputError: an input has no column for it.
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
    """What a person should know of the figures."""
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
    """The share that Qwen-VL's table 2 kept of the data set."""
    paper = manifest.paper
    return None if paper is None else round(paper.rows_after / paper.rows_before, 4)
