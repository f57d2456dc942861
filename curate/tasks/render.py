"""Rows to training strings, in columns."""

from __future__ import annotations

import string
from collections.abc import Callable

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from curate.tasks.coordinates import write_boxes, write_quads
from curate.tasks.faults import first_fault
from curate.tasks.formats import IMG, LANGUAGE_NAMES, REF
from curate.tasks.part import Part, parts
from curate.tasks.regions import counts, join
from filters.spans import cut

TEXT = pa.large_string()


def render(table: pa.Table, path: pa.Array | pa.ChunkedArray) -> tuple[pa.Array, pa.Array]:
    """Prompt and target of each row of SAMPLE, given its image's `DATASET/KEY.EXT` (N strings each).

    Both are null where the row has a fault (see `faults`) or its format wants an image and the path is null.

    Raises:
        ValueError: a task without a format.
    """
    prompts, targets, rows = [], [], []
    for every in parts(table.append_column("path", path), "path"):
        part = every.only(first_fault(every) < 0)
        prompt, target = _fill(part.format.prompt, part), _fill(part.format.target, part)
        prompts.append(prompt)
        targets.append(pc.if_else(pc.is_valid(prompt), target, None))
        rows.append(part.rows)
    return _scatter(prompts, rows, table.num_rows), _scatter(targets, rows, table.num_rows)


def _fill(template: str, part: Part) -> pa.Array:
    """The template with its fields filled in (N strings)."""
    pieces: list[pa.Array | pa.Scalar] = []
    for literal, field, _, _ in string.Formatter().parse(template):
        pieces += [pa.scalar(literal, TEXT)] if literal else []
        pieces += [FIELDS[field](part)] if field else []
    if not pieces:
        return pa.repeat(pa.scalar("", TEXT), len(part))
    return pc.binary_join_element_wise(*pieces, pa.scalar("", TEXT))


def _scatter(arrays: list[pa.Array], rows: list[np.ndarray], count: int) -> pa.Array:
    """The arrays' values put to their rows of `count`; the other rows are null."""
    place = np.full(count, -1)
    if rows:
        place[np.concatenate(rows)] = np.arange(sum(map(len, rows)))
    values = pa.chunked_array(arrays, TEXT).combine_chunks()
    return values.take(pa.array(place, mask=place < 0))


def _img(part: Part) -> pa.Array:
    return _between(IMG, part.column("path"))


def _language(part: Part) -> pa.Array:
    names = pa.array(list(LANGUAGE_NAMES.values()), TEXT)
    code = part.column("language").cast(pa.string())
    return names.take(pc.index_in(code, pa.array(list(LANGUAGE_NAMES))))


def _boxes(part: Part) -> pa.Array:
    width, height = _size(part)
    return join(write_boxes(part.flat.quad, width, height), counts(part.flat.row, len(part)), "")


def _lines(part: Part) -> pa.Array:
    """`<ref>line</ref> <quad>…</quad>` for each region, joined by one space."""
    width, height = _size(part)
    space = pa.scalar(" ", TEXT)
    lines = pc.binary_join_element_wise(
        _between(REF, part.flat.text), write_quads(part.flat.quad, width, height), space
    )
    return join(lines, counts(part.flat.row, len(part)), " ")


def _grounded(part: Part) -> pa.Array:
    """The text, each phrase as `<ref>phrase</ref>` and its boxes in the order of the regions."""
    flat, spans = part.flat, part.spans
    start, end = (side[spans.first] for side in part.span_bytes)
    gaps, phrases = cut(part.column("text"), spans.row, start, end)
    boxes = write_boxes(flat.quad, *_size(part)).take(pa.array(spans.order))
    located = join(boxes, np.bincount(spans.group, minlength=len(spans.row)), "")
    marked = pc.binary_join_element_wise(_between(REF, phrases), located, pa.scalar("", TEXT))
    # row by row gap, phrase, gap, phrase, …, gap: row r's first gap comes after r gaps and all phrases before
    # it
    per_row = counts(spans.row, len(part))
    place = np.empty(len(gaps) + len(marked), np.int64)
    at = spans.row + 2 * np.arange(len(marked)) + 1
    is_gap = np.ones(len(place), bool)
    is_gap[at] = False
    place[is_gap], place[at] = np.arange(len(gaps)), len(gaps) + np.arange(len(marked))
    pieces = pa.chunked_array([gaps, marked], TEXT).combine_chunks().take(pa.array(place))
    return join(pieces, 2 * per_row + 1, "")


FIELDS: dict[str, Callable[[Part], pa.Array]] = {
    "img": _img,
    "language": _language,
    "text": lambda part: part.column("text"),
    "question": lambda part: part.column("question"),
    "answer": lambda part: part.column("answer"),
    "boxes": _boxes,
    "grounded": _grounded,
    "lines": _lines,
}


def _between(marks: tuple[str, str], values: pa.Array) -> pa.Array:
    return pc.binary_join_element_wise(
        pa.scalar(marks[0], TEXT), values, pa.scalar(marks[1], TEXT), pa.scalar("", TEXT)
    )


def _size(part: Part) -> tuple[np.ndarray, np.ndarray]:
    """Width and height of each region's image (R)."""
    row = part.flat.row
    width, height = (part.column(name).to_numpy(zero_copy_only=False) for name in ("width", "height"))
    return width[row], height[row]
