"""`curate explain`: what happened to one input row, stage by stage, with the values that decided."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

import filters
from curate.adapters.grit import has_phrases
from curate.engine.across import ACROSS, PHASES
from curate.engine.retry import finished_manifest
from curate.engine.tombstones import REASON, STAGE, Tombstones, read_tombstones
from curate.errors import DamagedError
from curate.images.evaluation import IMAGE_RULE
from curate.manifest.document_renderers import RENDERERS
from curate.manifest.pinning import LIST_RULE
from curate.manifest.settings import FLAGS, HEADS
from curate.marking import SCORE, SIZE
from curate.reporting.kept_columns import KeptColumns
from curate.reporting.key_lookup import find_rows, read_rows
from curate.schema import SAMPLE
from curate.storage.filesystems import one_line
from curate.storage.store import Store
from curate.terminal import printable, settings_said

KEPT = (
    *("key", "dataset", "task", "language", "width", "height", "text", "prompt", "target"),
    *("clip_score", "url", "source"),
    *("messages", "images.list.element.path"),
)
SHA256 = re.compile(r"[0-9a-f]{64}")
OTHERS = 20  # at most so many further rows of the same name are listed
PAGE = re.compile(r".*#(?P<page>\d{1,9})(?:\.(?P<part>\d{1,9}))?", re.DOTALL)
LONGEST = 120  # characters: longer values are not shown beside a step
KNOWN_IMAGES = {"listed": LIST_RULE, "copies": IMAGE_RULE}
PHASE_OF_STAGE = {"seen": ("keys", "seen"), "across": ("bytes", "near")}


def explain(folder: str, key_or_url: str) -> dict[str, Any]:
    """The fate of the row with that key, URL or source: `kept`, `dropped` or `unknown`, and what decided it.

    A source is `FILE#ROW`, or `FILE#PAGE` for a document. The file's name alone stands for all its rows or pages. For
    a file inside an archive, the archive's name can be left out.

    The first kept row of that name (or else the first dropped one) is described in full. Its `way` has one step for
    each stage and rule that it met, with the value that was judged where that is known. `also` lists further rows of
    that name, at most OTHERS; `more` says whether there are still others. Rows of documents have their `page` (from 1),
    and their `part` where a page was cut.

    Raises:
        InputError: the folder holds no complete run.
        DamagedError: a file of it cannot be read.
    """
    manifest, store = finished_manifest(folder, selections=True), Store(folder)
    try:
        found = list(_found(manifest, store, key_or_url))
    except (OSError, pa.ArrowException) as error:
        raise DamagedError(
            f"cannot read {folder}: {one_line(error)}; `curate verify` names what is damaged"
        ) from None
    if not found:
        return _removed(store, key_or_url) or {"fate": "unknown", "why": _why_unknown(manifest)}
    first, *others = found
    told = first | {"way": list(_way(manifest, first))}
    if others:
        names = ("fate", "key", "source", "shard", "row", "reason", "detail")
        of_documents = manifest["manifest"]["adapter"] in RENDERERS
        told["also"] = [
            {name: one[name] for name in names if name in one} | (_page(one) if of_documents else {})
            for one in others[:OTHERS]
        ]
        told["more"] = len(others) > OTHERS
    return told


def _page(one: Mapping[str, Any]) -> dict[str, int]:
    """The `page` (from 1) that a document's row shows, and its `part` where the page was cut."""
    found = PAGE.fullmatch(one.get("source") or "")
    return {name: int(number) for name, number in found.groupdict().items() if number} if found else {}


def lines(told: Mapping[str, Any]) -> Iterator[str]:
    """The lines that show a person what `explain` found; `told` is its result."""
    if told["fate"] == "unknown":
        yield f"unknown: {told['why']}"
        return
    yield _where(told)
    for name in ("key", "url", "source", "task", "text", "prompt", "target"):
        if name in told:
            yield f"  {name:8} {printable(told[name])}"
    for number, image in enumerate(told.get("images", ()), 1):
        yield f"  image {number:<2} {printable(image['path'])}"
    for turn in told.get("messages", ()):
        yield f"  {turn['role']:9} {printable(turn['content'])}"
    yield "its steps:"
    for step in told["way"]:
        settings = settings_said(step.get("settings", {}))
        value = printable(step.get("value", ""))
        said = "  ".join(filter(None, (value, f"({settings})" if settings else "")))
        yield f"  {step['stage']:8} {step.get('rule', ''):30} {step['outcome']:8} {said}".rstrip()
    if "also" in told:
        yield "other rows of this name:"
        for one in told["also"]:
            yield f"  {_name(one)}{_where(one)}, key {one['key']}"
        if told["more"]:
            yield "  … and more; ask for one of them by its source, FILE#PAGE or FILE#ROW"


def _name(one: Mapping[str, Any]) -> str:
    """What tells a row from others of the same name: `page 7, part 2: `, or its source."""
    if "page" in one:
        return f"page {one['page']}" + (f", part {one['part']}" if "part" in one else "") + ": "
    return f"{printable(one['source'])}: " if one.get("source") else ""


def _where(one: Mapping[str, Any]) -> str:
    if one["fate"] == "kept":
        return f"kept: {one['shard']}, row {one['row']}"
    return f"dropped: {one['reason']}" + (f" ({printable(one['detail'])})" if one.get("detail") else "")


def _found(manifest: Mapping[str, Any], store: Store, key_or_url: str) -> Iterator[dict[str, Any]]:
    """Every row with that key, URL or source, kept ones first (dropped duplicates have the kept row's key)."""
    for name, rows in find_rows(store, manifest, key_or_url, OTHERS + 2):
        kept = not name.startswith("_dropped/")
        for row in read_rows(store, name, rows, KEPT if kept else None, KeptColumns(manifest)):
            if kept:
                yield {"fate": "kept", "shard": name, **row}
            else:
                settings = manifest["manifest"]["rules"].get(row["reason"])
                yield {"fate": "dropped", **row, **({"settings": settings} if settings else {})}


def _removed(store: Store, key_or_url: str) -> dict[str, Any] | None:
    """The answer for a key, URL or image's SHA-256 that was removed on request, with date and reason; else None."""
    tombstones = Tombstones(read_tombstones(store))
    marks = [*tombstones.of_names(key_or_url, key_or_url)]
    marks += tombstones.of_content(key_or_url, None) if SHA256.fullmatch(key_or_url) else []
    if not marks:
        return None
    table = tombstones.table
    same = pc.and_(pc.equal(table["kind"], marks[0].kind), pc.equal(table["hash"], marks[0].hash))
    one = table.filter(same).slice(0, 1).to_pylist()[0]
    detail = f"{one['kind']} date={one['date']} reason={one['reason']}"
    way = [{"stage": STAGE, "rule": REASON, "outcome": "dropped", "value": detail}]
    return {"fate": "dropped", "reason": REASON, "detail": detail, "way": way}


def _way(manifest: Mapping[str, Any], row: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    """A step for each stage and rule that the row passed, and last the one that dropped it, if one did."""
    for stage in manifest["stages"]:
        name = stage["name"]
        fell = row["fate"] == "dropped" and row["stage"] == name
        rules = _rules_of(manifest["manifest"], name)
        idle = not stage["seconds"] and stage["rows_in"] == stage["rows_out"]
        phrase = has_phrases(manifest["manifest"]["adapter"], manifest["manifest"]["task"])
        for rule, settings in rules.items():
            if fell and rule == row["reason"]:
                break
            yield _passed(name, rule, settings, row, phrase)
        if fell:
            told = {"stage": name, "rule": row["reason"], "outcome": "dropped", "value": row.get("detail")}
            told["settings"] = row.get("settings")
            yield {key: value for key, value in told.items() if value}
            return
        if not rules and not idle:
            yield {"stage": name, "outcome": "passed"}


def _rules_of(manifest: Mapping[str, Any], stage: str) -> dict[str, dict[str, Any]]:
    """The settings of the switched-on rules that a stage applies, by name, in the order in which it applies them."""
    active = {name: of for name, of in manifest["rules"].items() if of is not False and of.get("on", True)}
    if stage in PHASE_OF_STAGE:
        here = {name for phase in PHASE_OF_STAGE[stage] for name in PHASES[phase]}
        here |= {"similar_image"} if stage == "across" else set()
        return {name: settings for name, settings in active.items() if name in here}
    if stage in KNOWN_IMAGES:
        return {name: of for name, of in active.items() if name == KNOWN_IMAGES[stage]}
    others = {*ACROSS, *KNOWN_IMAGES.values()}
    row_rules = {name: of for name, of in active.items() if name not in others}
    columns = {name: _columns(name, of) for name, of in row_rules.items()}
    if stage == "size":
        return {name: row_rules[name] for name in columns if columns[name] & SIZE}
    said = {FLAGS + one for one in manifest.get("flags", {})} | {
        HEADS + one for one in manifest.get("heads", {})
    }
    by_models = {filters.PREFIX + one for one in said} | ({SCORE} if manifest["scorer"] else set())
    late = {name for name in columns if columns[name] & by_models}
    if stage == "score":
        return {name: row_rules[name] for name in columns if name in late}
    if stage == "rules":
        judged = [name for name in columns if name not in late]
        return {name: row_rules[name] for name in sorted(judged, key=lambda name: "text" in columns[name])}
    return {}


def _columns(name: str, settings: Mapping[str, Any]) -> set[str]:
    """The columns that a rule reads; none for a plug-in's rule.

    A plug-in that a folder names is not trusted, so it is not imported, and its rule's columns are not known.
    """
    return set() if "plugin" in settings else set(filters.find_rule(name, settings).columns)


def _passed(
    stage: str, name: str, settings: Mapping[str, Any], row: Mapping[str, Any], phrase: bool
) -> dict[str, Any]:
    """The step of a rule that the row passed, with the value that was judged if the row still holds that value."""
    step: dict[str, Any] = {"stage": stage, "rule": name, "outcome": "passed"}
    if "plugin" in settings:
        return step | {"settings": dict(settings)}
    rule = filters.find_rule(name, settings)
    if stage == "rules" and SIZE & set(rule.columns):  # the rule judged the published size, not the row's
        step["value"] = "as published, if it was"
    elif (
        stage == "rules" and phrase and set(rule.columns) == {"text"}
    ):  # the row holds a phrase of what was judged
        step["value"] = "of its caption"
    elif set(rule.columns) <= set(row) & set(SAMPLE.names):
        table = pa.table([pa.array([row[c]], SAMPLE.field(c).type) for c in rule.columns], list(rule.columns))
        value = rule.detail(table, **settings)[0].as_py()
        if value and len(value) <= LONGEST and not value.startswith("text="):
            step["value"] = value
    elif SCORE in rule.columns and row["fate"] == "kept":
        step |= {"outcome": "unjudged", "value": f"no {SCORE}"}
    return step | ({"settings": dict(settings)} if settings else {})


def _why_unknown(manifest: Mapping[str, Any]) -> str:
    share, sample = manifest["manifest"]["drops"]["sample"], manifest["request"]["sample"]
    why = ["no row of this run's input has that key, URL or source"]
    if share < 1:
        why.append(f"or a rule dropped it and it is not among the {share:g} of drops that are written down")
    if sample < 1 or manifest["request"]["limit"]:
        why.append("or --limit or --sample left it out")
    return "; ".join(why)
