"""Spans of code points in a column of text, as slices of its UTF-8 bytes."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

Ints = npt.NDArray[np.int64]
Bools = npt.NDArray[np.bool_]


class Spans(NamedTuple):
    """S distinct spans in order of row and start; `group` says which span each of R regions has."""

    row: Ints
    start: Ints
    end: Ints
    group: Ints
    order: Ints  # the regions in order of their spans, else as they came
    first: Ints  # the first region of each span


def distinct(row: Ints, start: Ints, end: Ints) -> Spans:
    """The spans of R regions: those of one row with one start and end share a span."""
    order = in_order(row, start, end)
    keys = np.stack([row[order], start[order], end[order]])
    first = np.ones(len(order), bool)
    first[1:] = (keys[:, 1:] != keys[:, :-1]).any(axis=0)
    group = np.empty(len(order), np.int64)
    group[order] = np.cumsum(first) - 1
    region = order[first]
    return Spans(row[region], start[region], end[region], group, order, region)


def in_order(row: Ints, first: Ints, then: Ints) -> Ints:
    """The order that sorts R regions by row, then `first`, then `then` (both at least -1); equal ones stay in order."""
    if not len(row):
        return np.zeros(0, np.int64)
    wide = int(max(first.max(), then.max())) + 2  # null offsets are -1
    if (int(row.max()) + 1) * wide**2 < 2**62:
        return np.argsort((row * wide + first + 1) * wide + then + 1, kind="stable")  # seven times as fast
    return np.lexsort((then, first, row))


def overlapping(spans: Spans) -> Bools:
    """True for a span that begins before the one before it in its row ends (S)."""
    clash = np.zeros(len(spans.row), bool)
    clash[1:] = (spans.row[1:] == spans.row[:-1]) & (spans.start[1:] < spans.end[:-1])
    return clash


def byte_offsets(text: pa.Array, row: Ints, position: Ints) -> Ints:
    """The offset, in the column's bytes, of the code point at `position` of the text of `row` (any length).

    The text is a large_string without nulls and with offset 0; positions run from 0 to the row's length.
    """
    starts, data = buffers(text)
    if len(data) == 0 or data.max() < 0x80:
        return starts[row] + position
    begins = np.ones(len(data) + 1, bool)  # the end of the data counts as a beginning
    begins[:-1] = (data & 0xC0) != 0x80  # continuation bytes are 10xxxxxx
    points = np.flatnonzero(begins)
    offsets: Ints = points[np.searchsorted(points, starts)[row] + position]
    return offsets


def byte_spans(text: pa.Array, row: Ints, start: Ints, end: Ints) -> tuple[Ints, Ints]:
    """Start and end, in the column's bytes, of spans that are given in code points (S each)."""
    both = byte_offsets(text, np.concatenate([row, row]), np.concatenate([start, end]))
    return both[: len(row)], both[len(row) :]


def buffers(text: pa.Array) -> tuple[Ints, npt.NDArray[np.uint8]]:
    """A large_string column's N + 1 offsets and its bytes."""
    _, offsets, data = text.buffers()
    starts = np.frombuffer(offsets, np.int64, len(text) + 1, text.offset * 8)
    size = int(starts[-1])
    return starts, np.frombuffer(data, np.uint8, size) if data is not None and size else np.zeros(0, np.uint8)


def cut(text: pa.Array, row: Ints, start: Ints, end: Ints) -> tuple[pa.Array, pa.Array]:
    """Cut texts at spans that are given in the column's bytes: returns N + S gaps (the text around) and S phrases.

    The spans are within their rows, in order, and do not overlap. A row with k spans has k + 1 gaps, one after another.
    """
    starts, _ = buffers(text)
    rank = np.arange(len(row))
    edges = np.empty(len(text) + 2 * len(row) + 1, np.int64)
    spans_before = np.searchsorted(row, np.arange(len(text)))
    edges[np.arange(len(text)) + 2 * spans_before] = starts[:-1]
    edges[-1] = starts[-1]
    opening = row + 2 * rank + 1
    edges[opening], edges[opening + 1] = start, end
    pieces = pa.Array.from_buffers(
        pa.large_string(), len(edges) - 1, [None, pa.py_buffer(edges), text.buffers()[2]]
    )
    outside = np.ones(len(edges) - 1, bool)
    outside[opening] = False
    return pieces.filter(pa.array(outside)), pieces.take(pa.array(opening))


def slices(text: pa.Array, start: Ints, end: Ints) -> pa.Array:
    """The column's bytes from each start to each end, in any order, overlapping or not (S strings)."""
    edges = np.concatenate([[0], np.cumsum(end - start)])
    index = np.repeat(start - edges[:-1], end - start) + np.arange(edges[-1])
    data = pa.py_buffer(buffers(text)[1][index])
    return pa.Array.from_buffers(pa.large_string(), len(start), [None, pa.py_buffer(edges), data])


def lengths(text: pa.Array) -> Ints:
    """Code points of each text (N)."""
    points: Ints = pc.utf8_length(text).to_numpy(zero_copy_only=False).astype(np.int64)
    return points
