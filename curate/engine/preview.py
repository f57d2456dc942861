"""`--dry-run`: make the plan, and judge some rows by the rules that need no image. Only temporary files are written."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from curate.engine.command import plan
from curate.engine.plan import Plan, row_rules
from curate.engine.record import count_reasons
from curate.engine.request import Request
from curate.marking import SIZE, clean_and_judge
from curate.origins import open_origin
from curate.storage.scratch import ScratchFolder
from curate.terminal import plural, printable, settings_said

JUDGED = 1000  # rows that are judged, in all
OPENED = 20  # inputs from which they are taken, at most
SHOWN = 10  # rows that are shown
TEXT_CHARS = 60  # characters of a text that are shown


def preview(asked: Request) -> dict[str, Any]:
    """Return what a run would do: inputs, rows, units and rules, and what the rules say of its first rows.

    Raises:
        InputError: see `curate.engine.command.plan`.
    """
    with ScratchFolder() as work:
        planned = plan(asked, work)
        table = pa.concat_tables(list(_judged(asked, planned, work)), promote_options="default")
    shown = table.select(["key", "url", "text", "width", "height", "clip_score", "dropped", "detail"]).slice(
        0, SHOWN
    )
    return {
        "manifest": asked.manifest.name,
        "inputs": len(planned.inputs),
        "rows": planned.total,
        "units": planned.units,
        "clean": list(asked.manifest.clean),
        "rules": asked.manifest.active_rules(),
        "judged": table.num_rows,
        "alive": table.num_rows - pc.count(table["dropped"]).as_py(),
        "dropped": count_reasons(table["dropped"]),
        "first_rows": shown.to_pylist(),
    }


def _judged(asked: Request, planned: Plan, work: Path) -> Iterator[pa.Table]:
    """Yield the first rows of each input, or of inputs spread over all, judged by the rules that need no image."""
    some = [number for number, rows in enumerate(planned.rows) if rows]
    some = some[:: max(1, -(-len(some) // OPENED))]
    each = max(1, JUDGED // len(some))
    for number in some:
        origin = open_origin(planned.inputs[number], asked.manifest, work)
        if getattr(origin, "goes_online", False):
            origin.close()
            continue
        try:
            settled = () if asked.select else origin.settled
            rules = {
                n: s for n, s in row_rules(asked.manifest).items() if origin.judges(n) and n not in settled
            }
            for table in origin.read(0, min(each, planned.rows[number])):
                yield clean_and_judge(table, asked.manifest, rules, pending=SIZE)
        finally:
            origin.close()


def lines(found: Mapping[str, Any]) -> Iterator[str]:
    """Yield what `preview` found as lines for a person."""
    nouns = {"rows": "row", "inputs": "input", "units": "unit"}
    plan = [plural(found[name], noun) for name, noun in nouns.items()]
    yield f"{found['manifest']}: {plan[0]} of {plan[1]} in {plan[2]}; nothing is written"
    yield f"cleaners: {', '.join(found['clean']) or 'none'}"
    yield "rules:"
    for name, settings in found["rules"].items():
        yield f"  {name:30} {settings_said(settings)}".rstrip()
    judged = f"{plural(found['judged'], 'row')} of {_of_inputs(found['inputs'])}"
    yield f"{judged}, by what needs no image: {found['alive']:,} are left"
    for reason, count in found["dropped"].items():
        yield f"  {reason:30} -{count:,}"
    yield "the first of them:"
    for row in found["first_rows"]:
        yield f"  {row['dropped'] or 'left':24} {printable((row['text'] or '')[:TEXT_CHARS])}"


def _of_inputs(count: int) -> str:
    return (
        "the input" if count == 1 else "all inputs" if count <= OPENED else f"{OPENED} inputs spread over all"
    )
