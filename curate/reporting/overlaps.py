"""The report's section on evaluation sets: the sets, how many rows each one dropped, and pictures side by side."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import msgspec
import pyarrow as pa
import pyarrow.compute as pc

from curate.engine.evaluation_copies import FOLDER, EvaluationCopy
from curate.manifest.pinning import NAMES_RULE, RULES, place
from curate.reporting.marks import plain
from curate.reporting.sampling import evenly
from curate.reporting.thumbnails import data_urls
from curate.storage.store import Store

PAIRS = 12
FILES = 12  # at most so many files with examples of copies are read
LARGEST = 64 * 2**20  # bytes: a longer file of examples is cut, and then skipped as invalid JSON
FOUND = re.compile(r"distance=\d+ to (.+?): (.*)|ngram=\d+ in (.+)", re.DOTALL)  # details of dropped rows


@dataclass(frozen=True)
class PicturePair:
    """A dropped image and the evaluation image that it copies, as `data:` URLs; None where there is no image."""

    said: str
    dropped: str | None
    evaluated: str | None


@dataclass(frozen=True)
class Overlaps:
    """What the rules against evaluation sets did in a run."""

    rules: list[tuple[str, int, str]]  # rule, rows that it dropped, names of the files that it compared with
    sets: list[tuple[str, int]]  # evaluation set, rows dropped for it in the files that were read
    pairs: list[PicturePair]


def overlaps(store: Store, manifest: Mapping[str, Any], dropped: pa.Table) -> Overlaps | None:
    """The section for a run; None where no rule compares with evaluation sets or their names.

    `manifest` is the whole of `_manifest.json`; `dropped` holds dropped rows (DROPPED), all or a sample.
    """
    active = {name: of for name, of in manifest["manifest"]["rules"].items() if of and of.get("on", True)}
    rules = [
        (
            name,
            manifest["dropped"].get(name, 0),
            ", ".join(place(one)[0].name for one in active[name]["against"]),
        )
        for name in (*RULES, NAMES_RULE)
        if name in active
    ]
    return Overlaps(rules, _sets(dropped), _pairs(store)) if rules else None


def _sets(dropped: pa.Table) -> list[tuple[str, int]]:
    """How many rows were dropped for each of up to 20 sets, the most frequent first."""
    rows = dropped.filter(pc.is_in(dropped["reason"].cast(pa.string()), pa.array(RULES)))
    found = (FOUND.fullmatch(detail or "") for detail in rows["detail"].to_pylist())
    return Counter(plain(_set(one), 120) for one in found if one).most_common(20)


def _set(found: re.Match[str]) -> str:
    """The fingerprint file that a row fell for, and in it the table or folder of the image, if it lies in one."""
    name, image, of_text = found.groups()
    if of_text is not None:
        return str(of_text)
    table, row, _ = image.rpartition("#")
    source = table if row else image.rpartition("/")[0]
    return f"{name}: {source}" if source else str(name)


def _pairs(store: Store) -> list[PicturePair]:
    """Some of the copies, from files spread evenly over the run."""
    copies: list[EvaluationCopy] = []
    for name in evenly(store.names(FOLDER), FILES):
        content = store.read_bytes(f"{FOLDER}/{name}") or b""
        try:
            copies += msgspec.json.decode(content[:LARGEST], type=list[EvaluationCopy])
        except msgspec.MsgspecError:
            continue  # only the pictures are lost; the counts come from the manifest
    shown = evenly(copies, PAIRS)
    urls = data_urls([body for one in shown for body in (one.image, one.picture)])
    return [
        PicturePair(plain(f"{one.set}: {one.name}, {one.distance} of 256 bits differ", 160), mine, other)
        for one, mine, other in zip(shown, urls[::2], urls[1::2], strict=True)
    ]
