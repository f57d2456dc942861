"""Write a report as one HTML file that holds all it needs and may load nothing.

The template engine escapes every text. The page's content security policy also forbids any request, any form, any
frame, and any script but the page's own, which the policy names by its hash.
"""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Mapping, Sequence
from datetime import datetime
from itertools import groupby
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from curate.engine.making import took_s
from curate.reporting.failures import FailureGroup, worth_retrying
from curate.reporting.funnel import STAGES_SAID, Step
from curate.reporting.gallery import Card
from curate.reporting.marks import visible
from curate.reporting.measures import Measure
from curate.reporting.overlaps import Overlaps
from curate.reporting.plots import compact, histogram
from curate.terminal import bytes_said, duration_said

HERE = Path(__file__).parent
Panel = tuple[str, list[tuple[str, int, float]], str]


def render(
    manifest: Mapping[str, Any],
    steps: Sequence[Step],
    measures: Sequence[Measure],
    panels: Sequence[Panel],
    cards: Sequence[Card],
    failures: Sequence[FailureGroup],
    looked_at: str,
    overlaps: Overlaps | None = None,
) -> str:
    """The report as HTML.

    `manifest` is the whole of `_manifest.json`. A panel is a title, its rows (name, count, share) and a note;
    `looked_at` is the sentence on which rows were measured.
    """
    css, js = ((HERE / name).read_text(encoding="utf-8") for name in ("page.css", "page.js"))
    counts = {"kept": manifest["rows_out"], **manifest["dropped"]}
    template = environment().get_template("page.html.jinja")
    return template.render(
        **_run_said(manifest),
        funnel=[(_stage(name), list(group)) for name, group in groupby(steps, lambda step: step.stage)],
        failures=failures,
        plots=[(measure, Markup(histogram(measure))) for measure in measures],
        panels=panels,
        looked_at=looked_at,
        overlaps=overlaps,
        groups=[(name, counts[name], list(group)) for name, group in groupby(cards, lambda c: c.reason)],
        samples=len(cards),
        reasons=list(counts.items()),
        tasks=sorted({card.task for card in cards} - {""}),
        css=Markup(css),
        js=Markup(js),
        policy=policy(js),
    )


def _run_said(manifest: Mapping[str, Any]) -> dict[str, Any]:
    """The template's values that describe the run as a whole."""
    rows_in, rows_out = manifest["rows_in"], manifest["rows_out"]
    paper = manifest["manifest"]["paper"]
    return {
        "manifest": manifest,
        "name": manifest["manifest"]["name"],
        "title": manifest["manifest"]["title"],
        "when": _when(manifest),
        "share": rows_out / rows_in if rows_in else 0.0,
        "paper": paper["rows_after"] / paper["rows_before"] if paper else None,
        "size": bytes_said(sum(shard["bytes"] for shard in manifest["shards"])),
        "notes": _notes(manifest),
        "retry": worth_retrying(manifest["dropped"]),
        "stages": [stage for stage in manifest["stages"] if _worked(stage)],
        "speed": _speed(manifest),
        "settings": msgspec.json.format(msgspec.json.encode(manifest["request"]), indent=2).decode(),
    }


def environment() -> Environment:
    """The template engine of our pages: it escapes every value, and a value that is missing is an error."""
    made = Environment(
        loader=FileSystemLoader(HERE),
        autoescape=True,
        finalize=_shown,
        undefined=StrictUndefined,
        trim_blocks=True,
    )
    made.filters |= {
        "number": lambda value: f"{value:,}",
        "percent": percent,
        "median": lambda values: compact(float(np.median(values))),
    }
    return made


def _shown(value: Any) -> Any:
    """A value as the page shows it: in a text, invisible characters become their code points."""
    return visible(value) if isinstance(value, str) and not isinstance(value, Markup) else value


def policy(script: str = "") -> str:
    """The page's content security policy: nothing is loaded from anywhere, and no script runs but `script`."""
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    return (
        f"default-src 'none'; img-src data:; style-src 'unsafe-inline'; script-src 'sha256-{digest}'; "
        "base-uri 'none'; form-action 'none'"
    )


def percent(share: float) -> str:
    """A share (0 to 1) as text: `25.4 %`; one below 0.05 % becomes `< 0.1 %`, so that it does not look like zero."""
    if 0 < share < 0.0005:
        return "< 0.1 %"
    return f"{100 * share:.1f} %"


def _speed(manifest: Mapping[str, Any]) -> str:
    seconds = took_s(manifest)
    return f"{manifest['rows_in'] / seconds:,.0f} rows a second from end to end. " if seconds >= 1 else ""


def _worked(stage: Mapping[str, Any]) -> bool:
    """Whether a stage took time or changed the number of rows in this run."""
    return bool(stage["seconds"] or stage["rows_in"] != stage["rows_out"])


def _when(manifest: Mapping[str, Any]) -> str:
    begun, took = datetime.fromisoformat(manifest["started"]), duration_said(took_s(manifest))
    return f"{begun:%-d %B %Y, %H:%M} UTC · took {took}"


def _stage(name: str) -> str:
    return STAGES_SAID.get(name, name)


def _notes(manifest: Mapping[str, Any]) -> list[str]:
    """What a reader must know before believing the numbers."""
    notes, request = [], manifest["request"]
    if not manifest["rows_out"]:
        notes.append("Nothing was kept.")
    if request["limit"] == sum(one["rows"] for one in manifest["inputs"]):
        notes.append(f"The run was limited to the first {request['limit']:,} of its inputs.")
    if request["sample"] < 1:
        notes.append(f"The run took a sample of {percent(request['sample'])} of the rows.")
    if request["retry"]:
        notes.append(f"The run tried again what failed for {', '.join(request['retry']['reasons'])}.")
    if manifest["manifest"]["drops"]["sample"] < 1:
        share = percent(manifest["manifest"]["drops"]["sample"])
        notes.append(f"Of the rows that rules dropped, {share} were written down; the counts are exact.")
    return notes
