"""Write columns of boxes and quads in a dialect's notation."""

from __future__ import annotations

import string
from collections.abc import Callable, Mapping

import msgspec
import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from curate.tasks.coordinates import bounding_boxes, numbers
from curate.tasks.dialect import PlaceNotation

TEXT = pa.large_string()
ESCAPED = '["\\\\\\x00-\\x1f]'  # characters that JSON must escape
LONGEST_TABLE = 2**20  # smaller numbers are written by a table of texts, larger ones one by one

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]


class Sides(msgspec.Struct, frozen=True):
    """The sides of the image of each of R regions, in pixels: as it is, and as the model resizes it."""

    width: Ints
    height: Ints
    resized_width: Ints
    resized_height: Ints


def fill(template: str, values: Mapping[str, Callable[[], pa.Array | pa.Scalar]], count: int) -> pa.Array:
    """Fill in a template's fields (`count` strings); null where the value of a field is null.

    `values` maps each field to a function that makes its value: an array of `count` strings, or one for all.
    """
    pieces: list[pa.Array | pa.Scalar] = []
    for literal, field, _, _ in string.Formatter().parse(template):
        pieces += [pa.scalar(literal, TEXT)] if literal else []
        pieces += [values[field]()] if field else []
    if all(isinstance(piece, pa.Scalar) for piece in pieces):
        return pa.repeat(pa.scalar("".join(piece.as_py() for piece in pieces), TEXT), count)
    return pc.binary_join_element_wise(*pieces, pa.scalar("", TEXT))


def write_boxes(places: PlaceNotation, quads: Floats, sides: Sides) -> pa.Array:
    """Write the box around each quad (R x 8 px; `sides` are the images'); returns R strings."""
    return _write(places, places.box, bounding_boxes(quads), sides)


def write_quads(places: PlaceNotation, quads: Floats, sides: Sides) -> pa.Array:
    """Write each quad (R x 8 px; `sides` are the images'), or the box around it where the dialect has no quads."""
    return _write(places, places.quad, quads, sides) if places.quad else write_boxes(places, quads, sides)


def _write(places: PlaceNotation, template: str, points: Floats, sides: Sides) -> pa.Array:
    """Fill the template with each row's points (x1, y1, x2, y2, …); numbers that are not finite are written as 0."""
    finite = np.where(np.isfinite(points), points, 0)
    across = (np.maximum(sides.width, 1), sides.resized_width, np.maximum(sides.height, 1))
    down = (np.maximum(sides.height, 1), sides.resized_height, np.maximum(sides.width, 1))
    values = {}
    for number in range(points.shape[1]):
        side, resized, other = down if number % 2 else across
        steps = numbers(places, finite[:, number], side, resized, other)
        values[f"{'xy'[number % 2]}{number // 2 + 1}"] = _given(_texts(places, steps))
    return fill(template, values, len(points))


def _given(array: pa.Array) -> Callable[[], pa.Array]:
    return lambda: array


def _texts(places: PlaceNotation, steps: Ints) -> pa.Array:
    """The numbers as they are written (R strings)."""
    if not len(steps) or steps.max() >= LONGEST_TABLE:
        return pa.array([_number(places, step) for step in steps.tolist()], TEXT)
    there = np.zeros(int(steps.max()) + 1, bool)
    there[steps] = True
    table = pa.array([_number(places, step) for step in np.flatnonzero(there).tolist()], TEXT)
    return table.take(pa.array((np.cumsum(there) - 1)[steps]))


def _number(places: PlaceNotation, step: int) -> str:
    if places.unit == "shares":
        return f"{step / 10**places.decimals:.{places.decimals}f}"
    return f"{step:0{places.digits}d}"


def json_strings(values: pa.Array) -> pa.Array:
    """Each text as a JSON string (R strings); only texts with characters to escape are encoded one by one."""
    quote = pa.scalar('"', TEXT)
    quoted = pc.binary_join_element_wise(quote, values, quote, pa.scalar("", TEXT))
    special = pc.match_substring_regex(values, ESCAPED).fill_null(False)
    if not pc.any(special, min_count=0).as_py():
        return quoted
    escaped = [msgspec.json.encode(value).decode() for value in values.filter(special).to_pylist()]
    return pc.replace_with_mask(quoted, special, pa.array(escaped, TEXT))
