"""`--dry-run`: the plan, and what becomes of the first rows before any fetch. Writes nothing that stays."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from curate.engine.command import plan
from curate.engine.journal import Request
from curate.engine.plan import row_rules
from curate.engine.record import count_reasons
from curate.marking import SIZE, clean_and_judge
from curate.origins import open_origin
from curate.terminal import plural, printable, settings_said

JUDGED = 1000
SHOWN = 10
TEXT_CHARS = 60


def preview(asked: Request) -> dict[str, Any]:
    """What a run would do: inputs, rows, units, rules, and the fate of its first rows.

    Raises:
        InputError: see `curate.engine.command.plan`.
    """
    with TemporaryDirectory() as work:
        planned = plan(asked, Path(work))
        origin = open_origin(planned.inputs[0], asked.manifest, Path(work))
        rules = {n: s for n, s in row_rules(asked.manifest).items() if origin.judges(n)}
        tables = list(origin.read(0, min(JUDGED, planned.rows[0])))
    table = clean_and_judge(pa.concat_tables(tables), asked.manifest, rules, pending=SIZE)
    shown = table.select(["key", "url", "text", "width", "height", "clip_score", "dropped", "detail"]).slice(
        0, SHOWN
    )
    return {
        "manifest": asked.manifest.name,
        "inputs": len(planned.inputs),
        "rows": planned.total(),
        "units": len(planned.units()),
        "clean": list(asked.manifest.clean),
        "rules": asked.manifest.active_rules(),
        "judged": table.num_rows,
        "alive": table.num_rows - pc.count(table["dropped"]).as_py(),
        "dropped": count_reasons(table["dropped"]),
        "first_rows": shown.to_pylist(),
    }


def lines(found: Mapping[str, Any]) -> Iterator[str]:
    """What `preview` found, for a person."""
    nouns = {"rows": "row", "inputs": "input", "units": "unit"}
    plan = [plural(found[name], noun) for name, noun in nouns.items()]
    yield f"{found['manifest']}: {plan[0]} of {plan[1]} in {plan[2]}; nothing is written"
    yield f"cleaners: {', '.join(found['clean']) or 'none'}"
    yield "rules:"
    for name, settings in found["rules"].items():
        yield f"  {name:30} {settings_said(settings)}".rstrip()
    yield f"the first {plural(found['judged'], 'row')}, by what needs no image: {found['alive']:,} are left"
    for reason, count in found["dropped"].items():
        yield f"  {reason:30} -{count:,}"
    yield "the first of them:"
    for row in found["first_rows"]:
        yield f"  {row['dropped'] or 'left':24} {printable((row['text'] or '')[:TEXT_CHARS])}"
