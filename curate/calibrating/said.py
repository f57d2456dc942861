"""Print the results of a calibration as text for people."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from curate.terminal import plural

NAME = 32  # width of the first column, in characters
SHARE = 16  # width of the other columns
STEPS_A_LINE = 10


def lines(found: Mapping[str, Any]) -> Iterator[str]:
    """Yield a calibration's results as lines: a table of rules, the shares at each threshold, the settings to use."""
    yield _of_sample(found)
    yield f"{'rule':{NAME}}{'alone':>{SHARE}}{'in order':>{SHARE}}{'only by it':>{SHARE}}"
    for row in found["table"]:
        shares = "".join(f"{_said(row[name]):>{SHARE}}" for name in ("alone", "in_order", "only"))
        yield f"{row['rule'] or 'not readable':{NAME}}{shares}"
    paper = "" if found["paper"] is None else f"   (Qwen-VL's table 2: {found['paper']:.0%})"
    yield f"{'kept':{NAME}}{'':{SHARE}}{_said(found['kept']):>{SHARE}}{paper}"
    for row in found["table"]:
        for curve in row.get("thresholds", ()):
            yield from _curve(row, curve)
    for note in found["notes"]:
        yield f"note: {note}"
    for one in found.get("solved", ()):
        keeps = f"keeps {one['keep']:.2%} ({one['asked']:.2%} asked)"
        yield f"rules.{one['rule']}.{one['setting']} = {one['threshold']:g} {keeps}"
    yield from found.get("set", ())


def _of_sample(found: Mapping[str, Any]) -> str:
    sample = found["sample"]
    if sample["whole"]:
        return f"{found['manifest']}: all {plural(sample['rows'], 'row')}"
    spread = f"{sample['blocks']:,} blocks of {sample['inputs']:,} inputs"
    return f"{found['manifest']}: {sample['rows']:,} of {sample['of']:,} rows ({spread}); ±: 95 % confidence interval"


def _said(share: Mapping[str, float] | None) -> str:
    if share is None:
        return ""
    error = f" ±{share['error'] * 100:.2f}" if share["error"] else ""
    return f"{share['share']:.2%}{error}"


def _curve(row: Mapping[str, Any], curve: Mapping[str, Any]) -> Iterator[str]:
    """Yield lines with a rule's thresholds, and below each the share that it keeps."""
    steps: Sequence[Mapping[str, Any]] = curve["steps"]
    now = row["settings"].get(curve["setting"])
    yield f"rules.{row['rule']}.{curve['setting']} (now {now:g}), and the share that is kept:"
    for first in range(0, len(steps), STEPS_A_LINE):
        some = steps[first : first + STEPS_A_LINE]
        yield "  " + "".join(f"{one['threshold']:>9.4g}" for one in some)
        yield "  " + "".join(f"{one['keep']:>9.1%}" for one in some)
