"""Write rows as training strings, in columns."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from curate.tasks.dialect import Dialect
from curate.tasks.flat_regions import counts, join
from curate.tasks.formats import LANGUAGE_NAMES, QWEN_VL
from curate.tasks.notation import TEXT, fill, json_strings, write_boxes, write_quads
from curate.tasks.part import Part, parts
from curate.tasks.row_faults import first_fault
from curate.tasks.task_columns import task_columns
from filters.spans import cut


def render(
    table: pa.Table, path: pa.Array | pa.ChunkedArray | None = None, dialect: Dialect = QWEN_VL
) -> tuple[pa.Array, pa.Array]:
    """Prompt and target of each row of SAMPLE or of a shard (N strings each).

    `path` (N) is the path of each row's image, `DATASET/KEY.EXT`. With None, rows of a shard have their own paths, and
    rows of SAMPLE have none. In a dialect whose tasks are dialogues, prompt and target are what the user and the
    assistant say. Both are null where the row has a fault (see `faults`), where its format needs an image and the path
    is null, and for dialogues (see `curate.tasks.chat`).

    Raises:
        ValueError: a task that no dialect has, or rows of another kind.
    """
    prompts, targets, rows = [], [], []
    table = task_columns(table)
    if path is not None or "path" not in table.column_names:
        bare = table.drop_columns("path") if "path" in table.column_names else table
        table = bare.append_column("path", pa.nulls(table.num_rows, TEXT) if path is None else path)
    for every in parts(table, "path", dialect=dialect):
        part = every.only(first_fault(every) < 0)
        prompt, target = _fill(part.format.prompt, part), _fill(part.format.target, part)
        prompts.append(prompt)
        targets.append(pc.if_else(pc.is_valid(prompt), target, None))
        rows.append(part.rows)
    return _scatter(prompts, rows, table.num_rows), _scatter(targets, rows, table.num_rows)


def _fill(template: str, part: Part) -> pa.Array:
    """The template with its fields filled in (N strings)."""

    def of(make: Callable[[Part], pa.Array]) -> Callable[[], pa.Array]:
        return lambda: make(part)

    return fill(template, {name: of(make) for name, make in FIELDS.items()}, len(part))


def _scatter(arrays: list[pa.Array], rows: list[np.ndarray], count: int) -> pa.Array:
    """One array of `count` values, in which the arrays' values are at the numbers `rows`; the others are null."""
    place = np.full(count, -1)
    if rows:
        place[np.concatenate(rows)] = np.arange(sum(map(len, rows)))
    values = pa.chunked_array(arrays, TEXT).combine_chunks()
    return values.take(pa.array(place, mask=place < 0))


def _img(part: Part) -> pa.Array:
    """The image's markers around its path, or around one pad if the dialect shows no paths; null without a path."""
    marks, path = part.dialect.image, part.column("path")
    if marks.shows_path:
        return _between((marks.before, marks.after), path)
    shown = pa.scalar(f"{marks.before}{marks.pad}{marks.after}", TEXT)
    return pc.if_else(pc.is_valid(path), shown, pa.scalar(None, TEXT))


def _language(part: Part) -> pa.Array:
    names = pa.array(list(LANGUAGE_NAMES.values()), TEXT)
    code = part.column("language").cast(pa.string())
    return names.take(pc.index_in(code, pa.array(list(LANGUAGE_NAMES))))


def _boxes(part: Part) -> pa.Array:
    boxes = write_boxes(part.dialect.places, part.flat.quad, part.sides)
    return _listed(boxes, part, part.dialect.places.boxes)


def _entries(part: Part) -> pa.Array:
    """Each region's box with the region's text, or with the row's text where the region has none."""
    places = part.dialect.places
    boxes = write_boxes(places, part.flat.quad, part.sides)
    return _listed(_item(places.entry, part.labels, boxes), part, places.entries)


def _lines(part: Part) -> pa.Array:
    """Each region's text with its quad."""
    places = part.dialect.places
    quads = write_quads(places, part.flat.quad, part.sides)
    return _listed(_item(places.line, part.flat.text, quads), part, places.lines)


def _item(template: str, text: pa.Array, place: pa.Array) -> pa.Array:
    """One text with its box or quad (R strings)."""
    made = {"text": lambda: text, "label": lambda: json_strings(text)}
    return fill(template, made | {"box": lambda: place, "quad": lambda: place}, len(text))


def _listed(items: pa.Array, part: Part, marks: tuple[str, str, str]) -> pa.Array:
    """Join the items of each row into a list (from R strings to N)."""
    before, between, after = marks
    joined = join(items, counts(part.flat.row, len(part)), between)
    return joined if not before and not after else _between((before, after), joined)


def _grounded(part: Part) -> pa.Array:
    """The text with each phrase in its marks, and its boxes behind it in the order of the regions."""
    flat, spans, places = part.flat, part.spans, part.dialect.places
    start, end = (side[spans.first] for side in part.span_bytes)
    gaps, phrases = cut(part.column("text"), spans.row, start, end)
    boxes = write_boxes(places, flat.quad, part.sides).take(pa.array(spans.order))
    before, between, after = places.boxes
    located = join(boxes, np.bincount(spans.group, minlength=len(spans.row)), between)
    located = _between((before, after), located) if before or after else located
    opening, closing = places.ref
    marked = pc.binary_join_element_wise(_between((opening, closing), phrases), located, pa.scalar("", TEXT))
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
    "code": lambda part: part.column("language").cast(TEXT),
    "text": lambda part: part.column("text"),
    "question": lambda part: part.column("question"),
    "answer": lambda part: part.column("answer"),
    "boxes": _boxes,
    "grounded": _grounded,
    "entries": _entries,
    "lines": _lines,
}


def _between(marks: tuple[str, str], values: pa.Array) -> pa.Array:
    return pc.binary_join_element_wise(
        pa.scalar(marks[0], TEXT), values, pa.scalar(marks[1], TEXT), pa.scalar("", TEXT)
    )
