"""Add inputs to a finished run, behind its own, with the same result as a run on all inputs from the start.

The run's units stay; new units are added behind them. Rules across the run judge the rows of both. `_manifest.json` is
deleted only when it is certain that the new inputs change nothing that can no longer be changed: if they are refused,
the run is as complete as before.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from typing import Any

import msgspec

from curate.engine.across import BEFORE_IMAGES, OF_STAGED, PHASES
from curate.engine.differences import first_difference
from curate.engine.journal import MANIFEST, RUN, Journal
from curate.engine.ledger import DONE_STATE, STAGED_STATE
from curate.engine.making import now, software
from curate.engine.plan import Plan, Run
from curate.engine.rebuilt import finished_records, plan_of, request_of
from curate.engine.records import DONE, SEGMENTS, STAGED, before_stem, grown_stem, write_records
from curate.engine.request import Begun, Request
from curate.engine.retry import finished_manifest
from curate.engine.similar import PHASE as SIMILAR_PHASE
from curate.engine.similar import PRINTS, without_prints
from curate.engine.similar import RULE as SIMILAR
from curate.errors import OrderForbidsError, OutputError
from curate.storage.finished import read_state

log = logging.getLogger("curate")

GROWABLE = {*BEFORE_IMAGES, *OF_STAGED}  # phases of rules across the run to which rows can be added


def grows(before: Mapping[str, Any], asked: Request) -> bool:
    """Return whether a request is that of a finished run with inputs added behind its own.

    Args:
        before: the finished run's request, as plain data.
        asked: the new request.
    """
    plain = asked.plain()
    old, new = before.get("inputs"), plain["inputs"]
    if not isinstance(old, list | tuple) or len(new) <= len(old) or asked.retry is not None or asked.select:
        return False
    return first_difference(dict(before), plain | {"inputs": new[: len(old)]}) is None


def misplaced(before: Mapping[str, Any], asked: Request) -> str | None:
    """Return a message if inputs were added in front of or between those of the finished run; else None.

    See `grows` for the arguments.
    """
    old, new = before.get("inputs"), asked.plain()["inputs"]
    if not isinstance(old, list | tuple) or len(new) <= len(old):
        return None
    known = set(map(_encoded, old))
    strange = [one for one in new if _encoded(one) not in known]
    if len(strange) != len(new) - len(old):  # some old inputs are missing or have changed
        return None
    return (
        f"{strange[0]['uri']} comes before inputs that it has, and units are numbered in the order of inputs"
    )


def _encoded(plain: Any) -> bytes:
    return msgspec.json.encode(plain, order="sorted")


def prepare(journal: Journal, asked: Request, plan: Callable[[], Plan]) -> None:
    """Prepare the folder of a finished run for the inputs that were added. After a kill it can be called again.

    Args:
        journal: that of the folder.
        asked: the request with all inputs.
        plan: makes the plan of that request.

    Raises:
        OrderForbidsError: inputs cannot be added to this run.
        OutputError: an old input has another number of rows now.
        InputError: see `curate.engine.command.plan`.
    """
    store, manifest = journal.store, finished_manifest(journal.store.uri)
    old = request_of(store, manifest)
    before, growth = plan_of(store, manifest, old).units, 1 + len(manifest.get("grown", ()))
    begun = read_state(store, RUN, Begun, "delete it and give the command again")
    if (
        begun is not None
        and begun.growth == growth
        and first_difference(begun.request, asked.plain()) is None
    ):
        return
    _check(journal, manifest, old)
    planned = plan()
    _check_rows(journal, manifest, planned)
    records = finished_records(store, manifest)
    if records is None:
        raise OrderForbidsError(
            f"{store.uri}/_run is missing or belongs to another run, and its units' records cannot be made again: "
            "run all inputs together into another --out"
        )
    judged = Run(manifest=asked.manifest, out=store.uri, work="", plan=planned).judges_staged
    lineage = {name: manifest[name] for name in ("removal",) if name in manifest}
    earlier = {
        "started": manifest["started"],
        "finished": manifest["finished"],
        "inputs": len(manifest["inputs"]),
    }
    lineage["grown"] = [*manifest.get("grown", ()), earlier]
    _clear_phases(journal)
    write_records(store, list(records), STAGED_STATE if judged else DONE_STATE, before_stem(growth))
    for folder in (DONE, STAGED):
        store.delete_folder(folder)
    new = Begun(asked.plain(), planned.rows, now(), lineage=lineage, before=before, growth=growth)
    store.write_bytes(RUN, msgspec.json.encode(new))


def undo(journal: Journal, manifest: Mapping[str, Any], growth: int) -> None:
    """Restore the folder as it was before `prepare`; only before `begin` has deleted its manifest.

    `manifest` is that of the finished run, `growth` counts how often inputs were added, with this time.
    """
    store, old = journal.store, request_of(journal.store, manifest)
    lineage = {name: manifest[name] for name in ("removal", "grown") if name in manifest}
    rows = plan_of(store, manifest, old).rows
    begun = Begun(
        old.plain(), rows, manifest["started"], lineage=lineage, growth=len(manifest.get("grown", ()))
    )
    _clear_phases(journal)
    store.write_bytes(RUN, msgspec.json.encode(begun))
    for name in store.names(SEGMENTS):
        if name.startswith((before_stem(growth), grown_stem(growth))):
            store.delete(f"{SEGMENTS}/{name}")


def begin(journal: Journal) -> None:
    """Delete the folder's manifest and reports: from now on the run is unfinished."""
    journal.delete_papers()
    journal.store.delete(MANIFEST)


def _check(journal: Journal, manifest: Mapping[str, Any], old: Request) -> None:
    """Check that the rules across the run can judge the finished run's rows together with new ones.

    Raises:
        OrderForbidsError: they cannot.
    """
    store, active = journal.store, old.manifest.active_rules()
    way = "run all inputs together into another --out"
    if "scored" in manifest:
        raise OrderForbidsError(f"{store.uri} was scored since, and new rows would have no scores: {way}")
    if SIMILAR in active and (lost := without_prints(store, plan_of(store, manifest, old).units)) is not None:
        raise OrderForbidsError(
            f"the fingerprints of unit {lost}, with which {SIMILAR} compares new images, "
            f"are not in {PRINTS}, or damaged: {way}"
        )
    for phase in set(PHASES) - GROWABLE:
        if rules := [name for name in PHASES[phase] if name in active]:
            raise OrderForbidsError(f"{rules[0]} compares images of the whole run at once: {way}")
    if old.manifest.drops.sample < 1 and any(name in active for name in PHASES["bytes"]):
        raise OrderForbidsError(
            f"drops.sample = {old.manifest.drops.sample:g} did not write down all rows that rules across the run "
            f"dropped, and new rows must be compared with these: {way}"
        )
    told = {
        name: version
        for name, version in software().items()
        if manifest.get("software", {}).get(name) != version
    }
    if told:
        log.warning(
            "%s was made with other versions of %s: new units may be encoded otherwise",
            store.uri,
            ", ".join(told),
        )


def _check_rows(journal: Journal, manifest: Mapping[str, Any], planned: Plan) -> None:
    rows = tuple(one["rows"] for one in manifest["inputs"])
    if planned.rows[: len(rows)] != rows:
        raise OutputError(
            f"the inputs of {journal.store.uri} had other rows when it was made: give another --out"
        )


def _clear_phases(journal: Journal) -> None:
    for phase in (*PHASES, SIMILAR_PHASE):
        journal.store.delete_folder(f"_run/{phase}")
