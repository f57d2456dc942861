"""Right-to-left writing: a line's glyphs in the order in which they are read, found from where they stand.

MuPDF gives what a PDF draws in an order of its own that turns numbers, brackets and ligatures round. So the
glyphs are taken from left to right, as they are seen, and Unicode's bidirectional algorithm (UAX 9) turns
that order into the one of reading: what it reverses to show a line, it reverses back.
"""

from __future__ import annotations

import re
import unicodedata
from bisect import bisect_left
from collections.abc import Iterator, Sequence
from itertools import pairwise
from typing import NamedTuple

from renderers.pdf.frames import Box
from renderers.pdf.line import SPACE, Glyph

RTL = re.compile("[\u0590-\u08ff\ufb1d-\ufdff\ufe70-\ufefc\U00010800-\U00010fff\U0001e800-\U0001efff]")
THIN_EM = 0.02  # narrower glyphs are the rest of a ligature, or marks

BRACKETS = dict(zip("([{«", ")]}»", strict=True))


class Cluster(NamedTuple):
    """A glyph that takes up room, with what stands on it or belongs to it, in the order of reading."""

    start: float  # where it begins and ends along the line
    end: float
    glyphs: list[Glyph]


def is_rtl(text: str) -> bool:
    """True where most letters are of a right-to-left script."""
    right = len(RTL.findall(text))
    return right > 0 and 2 * right >= sum(map(str.isalpha, text))


def in_reading_order(
    glyphs: Sequence[Glyph], boxes: Sequence[Box], space: float, gutter: float
) -> Iterator[list[Glyph]]:
    """The glyphs of a line, whose `boxes` are in its frame, in runs between gaps of at least `gutter`.

    A space is what stands between other glyphs, or a gap of at least `space`. Brackets are as they are read.
    """
    row = clusters(glyphs, boxes)
    starts = [k for k, (last, one) in enumerate(pairwise(row), 1) if one.start - last.end >= gutter]
    spaces = sorted(
        (box[0] + box[2]) / 2 for glyph, box in zip(glyphs, boxes, strict=True) if glyph["c"] == " "
    )
    for start, end in pairwise([0, *starts, len(row)]):
        yield as_read(list(spaced(row[start:end], spaces, space)))


def as_read(row: Sequence[Cluster]) -> list[Glyph]:
    """The glyphs of a row of clusters that goes from left to right."""
    from bidi import algorithm  # only pages with such writing need it

    visual = "".join(cluster.glyphs[0]["c"] for cluster in row)
    level = int(is_rtl(visual))
    storage = algorithm.get_empty_storage() | {"base_level": level, "base_dir": "LR"[level]}
    algorithm.get_embedding_levels(visual, storage)
    for entry, cluster in zip(storage["chars"], row, strict=True):
        entry["cluster"] = cluster
    algorithm.explicit_embed_and_overrides(storage)
    algorithm.resolve_weak_types(storage)
    algorithm.resolve_neutral_types(storage, False)
    algorithm.resolve_implicit_levels(storage, False)
    algorithm.reorder_resolved_levels(storage, False)
    algorithm.apply_mirroring(storage, False)
    said = "".join(entry["cluster"].glyphs[0]["c"] for entry in storage["chars"])
    shown = "".join(entry["ch"] for entry in storage["chars"])
    read = min(shown, said, key=misplaced)  # some PDFs name a bracket for its shape, some for what it does
    out: list[Glyph] = []
    for entry, char in zip(storage["chars"], read, strict=True):
        first, *others = entry["cluster"].glyphs
        out += [first | {"c": char}, *others]
    return out


def misplaced(text: str) -> int:
    """How many brackets close what is not open, or stay open."""
    open_, wrong = [], 0
    for char in text:
        if char in BRACKETS:
            open_.append(BRACKETS[char])
        elif char in BRACKETS.values():
            wrong += not (open_ and open_.pop() == char)
    return wrong + len(open_)


def clusters(glyphs: Sequence[Glyph], boxes: Sequence[Box]) -> list[Cluster]:
    """The glyphs but for white space, from left to right, each with the rest of its ligature and its marks.

    The rest of a ligature has boxes without width at its end, and stands before it where MuPDF turned it
    round. A mark belongs to the glyph before it if it touches that, as to the nearest otherwise.
    """
    inked = [i for i, glyph in enumerate(glyphs) if not glyph["c"].isspace()]
    slack = THIN_EM * max((boxes[i][3] - boxes[i][1] for i in inked), default=0.0)
    marks = {i for i in inked if unicodedata.combining(glyphs[i]["c"])}
    rests = {i for i in inked if boxes[i][2] - boxes[i][0] < slack} - marks
    hosts = [i for i in inked if i not in marks | rests] or inked
    members: dict[int, list[int]] = {i: [i] for i in hosts}
    ends = sorted((boxes[i][2], i) for i in hosts)
    for i in sorted(rests.difference(hosts)):
        host = nearest(ends, boxes[i][2])
        members[host].insert(1 if i < host else len(members[host]), i)
    middles = sorted(((boxes[i][0] + boxes[i][2]) / 2, i) for i in hosts)
    for i in sorted(marks.difference(hosts)):
        middle = (boxes[i][0] + boxes[i][2]) / 2
        last = next((k for k in range(i - 1, -1, -1) if k not in marks), -1)
        touches = last in members and boxes[last][0] - slack <= middle <= boxes[last][2] + slack
        host = last if touches else nearest(middles, middle)
        letters = [k for k, member in enumerate(members[host]) if member not in marks]
        share = (boxes[host][2] - middle) / ((boxes[host][2] - boxes[host][0]) or 1.0)
        at = min(
            max(int(share * len(letters)), 0), len(letters) - 1
        )  # a ligature's first letter is at its right
        members[host].insert([*letters[1:], len(members[host])][at], i)
    found = [Cluster(boxes[i][0], boxes[i][2], [glyphs[k] for k in members[i]]) for i in hosts]
    return sorted(found, key=lambda cluster: cluster[:2])


def nearest(places: Sequence[tuple[float, int]], at: float) -> int:
    """The second of the pair whose first is nearest; the pairs are in order."""
    k = bisect_left(places, (at,))
    return min(places[max(0, k - 1) : k + 1], key=lambda place: abs(place[0] - at))[1]


def spaced(row: Sequence[Cluster], spaces: Sequence[float], space: float) -> Iterator[Cluster]:
    """The clusters, with a space in each gap that has the middle of one, or is as wide as `space`."""
    yield row[0]
    for last, cluster in pairwise(row):
        k = bisect_left(spaces, last.end)
        if cluster.start - last.end >= space or (k < len(spaces) and spaces[k] <= cluster.start):
            yield Cluster(last.end, cluster.start, [SPACE])
        yield cluster
