"""Read GRIT's labels (phrases of a caption and their boxes), without recursive and broken ones (A.3).

A label is recursive if its phrase lies in, or overlaps, another phrase of the caption. Labels are left out so that none
is recursive and as many boxes as possible are kept. The paper does this greedily; here it is exact, by weighted
interval scheduling over spans. All boxes of one span are kept or left out together. Ties are decided by the higher sum
of scores, then by the longer phrases, then by the phrases that end first.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from filters.rule import one_array, rule
from filters.spans import byte_spans, distinct, in_order, lengths, slices

Ints = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float64]
Bools = npt.NDArray[np.bool_]

REGION = pa.struct(
    [
        ("text", pa.string()),
        ("start", pa.int32()),  # code points into the caption
        ("end", pa.int32()),
        ("quad", pa.list_(pa.float32(), 8)),  # px, corners clockwise from the top left
        ("score", pa.float32()),
    ]
)

FIELDS = 7  # of a GRIT label: start, end, x0, y0, x1, y1, score; the box as shares of width and height
SCORE_STEP = 2.0**-20  # scores are added up as multiples of this, without rounding errors
BOX = 2**40  # the weight of a box: more than the sum of a million scores


class Labels(NamedTuple):
    """R labels: the row of each, its span in code points, its box x0, y0, x1, y1, and its score."""

    row: Ints
    start: Ints
    end: Ints
    box: (
        Floats  # R x 4, as shares of the image's sides, then px; each side in one piece, as it is computed on
    )
    score: Floats


@rule("no_boxes_left")
def no_boxes_left(regions: pa.ListArray) -> pa.BooleanArray:
    """Keep rows that have a region, once recursive labels and broken boxes are gone."""
    return pc.greater(pc.list_value_length(regions), 0)


def ground(
    caption: pa.Array, width: pa.Array, height: pa.Array, noun_chunks: pa.Array, ref_exps: pa.Array
) -> pa.Array:
    """GRIT's labels as regions in pixels (N lists, empty where no label is left).

    `width` and `height` (N) are the images' in pixels; `noun_chunks` and `ref_exps` (N) are lists of labels. A label is
    left out if it does not have seven finite numbers, if its span is empty or does not consist of code points of the
    caption, if its box is inverted or has no area in the image, or if it is recursive. A label in both columns is taken
    once.
    """
    text = one_array(caption).cast(pa.large_string()).fill_null("")
    sizes = np.stack([_floats(width), _floats(height)] * 2, axis=1)
    labels = _once(_sound(_read(noun_chunks, ref_exps), lengths(text), sizes))
    kept = most_boxes(labels.row, labels.start, labels.end, labels.score)
    return _regions(_take(labels, kept), text)


def clip_boxes(box: Floats, sizes: Floats) -> tuple[Floats, Bools]:
    """Clip boxes x0, y0, x1, y1 to their images, whose `sizes` are width, height, width, height (px, R x 4 each).

    Also returns which of them are sound (R): finite, not inverted, and with an area in an image of at least one pixel.
    """
    clipped = np.clip(box, 0, sizes)
    area = (clipped[:, 2] > clipped[:, 0]) & (clipped[:, 3] > clipped[:, 1])
    return clipped, area & np.isfinite(box).all(axis=1) & (sizes >= 1).all(axis=1)


def quads(box: Floats) -> npt.NDArray[np.float32]:
    """The corners of boxes x0, y0, x1, y1, clockwise from the top left (R x 4 to R x 8)."""
    return box[:, [0, 1, 2, 1, 2, 3, 0, 3]].astype(np.float32)


def most_boxes(row: Ints, start: Ints, end: Ints, score: Floats) -> Bools:
    """Which of R labels to keep, so that no two spans of a row overlap and the row keeps the most boxes.

    Labels are boxes; those with one row, start and end are one phrase. Spans are not empty.
    """
    spans = distinct(row, start, end)
    units = np.rint(np.fmin(np.fmax(score, 0), 1) / SCORE_STEP).astype(np.int64)
    ends = np.cumsum(np.bincount(spans.group, minlength=len(spans.row)))
    weight = np.diff(np.append(0, np.cumsum((BOX + units)[spans.order]))[np.append(0, ends)])
    by_end = in_order(spans.row, spans.end, spans.start)
    chosen = np.zeros(len(spans.row), bool)
    chosen[by_end] = schedule(spans.row[by_end], spans.start[by_end], spans.end[by_end], weight[by_end])
    kept: Bools = chosen[spans.group]
    return kept


def schedule(row: Ints, start: Ints, end: Ints, weight: Ints) -> Bools:
    """Which spans to take (S): in each row those with the largest total weight among spans that do not overlap.

    Of equal totals, the one that covers more code points is taken. Spans are sorted by row, then by end. All rows are
    computed together: step j decides on the j-th span of every row that has one.
    """
    if not len(row):
        return np.zeros(0, bool)
    fresh = np.r_[True, row[1:] != row[:-1]]
    number, first = np.cumsum(fresh) - 1, np.flatnonzero(fresh)
    # slot i + number[i] holds the best total without span i, the next slot the best with it; the first slot of a row
    # is for no span
    slot = np.arange(len(row)) + number
    width = int(end.max()) + 1
    before = np.searchsorted(number * width + end, number * width + start, side="right") + number
    steps = _by_rank(np.arange(len(row)) - first[number])
    took = _advance(steps, slot, before, weight, end - start)
    chosen, cursor = np.zeros(len(row), bool), np.r_[first[1:], len(row)] + np.arange(len(first))
    for spans in reversed(steps):
        spans = spans[cursor[number[spans]] == slot[spans] + 1]
        chosen[spans] = took[spans]
        cursor[number[spans]] = np.where(took[spans], before[spans], slot[spans])
    return chosen


def _advance(steps: list[Ints], slot: Ints, before: Ints, weight: Ints, length: Ints) -> Bools:
    """Whether the best choice among a row's spans up to each span takes that span (S)."""
    best, cover = np.zeros((2, int(slot[-1]) + 2), np.int64)
    took = np.zeros(len(slot), bool)
    for spans in steps:
        without, rest = slot[spans], before[spans]
        gain, reach = best[rest] + weight[spans], cover[rest] + length[spans]
        better = (gain > best[without]) | ((gain == best[without]) & (reach > cover[without]))
        best[without + 1] = np.where(better, gain, best[without])
        cover[without + 1] = np.where(better, reach, cover[without])
        took[spans] = better
    return took


def _by_rank(rank: Ints) -> list[Ints]:
    """The spans of rank 0, of rank 1, and so on."""
    order = np.argsort(rank, kind="stable")
    return np.split(order, np.cumsum(np.bincount(rank))[:-1])


def _read(*columns: pa.Array) -> Labels:
    """The labels of lists of lists of seven finite numbers, column after column; others are left out."""
    rows, numbers = [], []
    for column in map(one_array, columns):
        labels = pc.list_flatten(column).cast(pa.large_list(pa.float64()))
        row = pc.list_parent_indices(column)
        seven = pc.equal(pc.list_value_length(labels), FIELDS).fill_null(False)
        if seven.false_count:
            labels, row = labels.filter(seven), row.filter(seven)
        rows.append(row.to_numpy().astype(np.int64))
        numbers.append(pc.list_flatten(labels).to_numpy(zero_copy_only=False).reshape(-1, FIELDS))
    row, label = np.concatenate(rows), np.asfortranarray(np.concatenate(numbers))
    span = label[:, :2]
    whole = np.isfinite(label).all(axis=1) & (np.rint(span) == span).all(axis=1)
    start, end = np.clip(np.where(whole[:, None], span, -1), -1, 2**31 - 1).astype(np.int64).T
    return _take(Labels(row, start, end, label[:, 2:6], label[:, 6]), whole)


def _sound(labels: Labels, points: Ints, sizes: Floats) -> Labels:
    """The labels whose span lies in the caption and whose box, clipped to the image, has an area."""
    own = _rows(sizes, labels.row)
    box, area = clip_boxes(np.clip(labels.box, -1, 2) * own, own)
    inside = (labels.start >= 0) & (labels.start < labels.end) & (labels.end <= points[labels.row])
    return _take(labels._replace(box=box), area & inside)


def _once(labels: Labels) -> Labels:
    """The labels by row, start and end, without those that have the span and box of an earlier one."""
    spans = distinct(labels.row, labels.start, labels.end)
    labels, group = _take(labels, spans.order), spans.group[spans.order]
    sizes = np.bincount(group)[group]
    new = np.ones(len(group), bool)
    new[1:] = (group[1:] != group[:-1]) | (labels.box[1:] != labels.box[:-1]).any(axis=1)
    many = np.flatnonzero(sizes > 2)  # few; of a pair the second stands beside the first
    if len(many):
        keys = np.column_stack([group[many], labels.box[many]])
        new[many] = False
        new[many[np.unique(keys, axis=0, return_index=True)[1]]] = True
    return _take(labels, new)


def _take(labels: Labels, which: Ints | Bools) -> Labels:
    if which.dtype == np.bool_:
        if which.all():
            return labels
        which = np.flatnonzero(which)
    row, start, end, box, score = labels
    return Labels(row[which], start[which], end[which], _rows(box, which), score[which])


def _rows(columns: Floats, which: Ints | Bools) -> Floats:
    """Those rows, each column in one piece."""
    return columns.T.take(which, axis=1).T


def _regions(labels: Labels, text: pa.Array) -> pa.Array:
    """The labels, which come by row, as lists of REGION (N lists)."""
    fields = [
        slices(text, *byte_spans(text, labels.row, labels.start, labels.end)).cast(pa.string()),
        pa.array(labels.start, pa.int32()),
        pa.array(labels.end, pa.int32()),
        pa.FixedSizeListArray.from_arrays(pa.array(quads(labels.box).ravel()), 8),
        pa.array(labels.score, pa.float32()),
    ]
    flat = pa.StructArray.from_arrays(fields, fields=list(REGION))
    offsets = np.searchsorted(labels.row, np.arange(len(text) + 1))
    return pa.ListArray.from_arrays(pa.array(offsets, pa.int32()), flat)


def _floats(values: pa.Array) -> Floats:
    """The values as floats; null is 0."""
    floats: Floats = one_array(values).cast(pa.float64()).fill_null(0).to_numpy(zero_copy_only=False)
    return floats
