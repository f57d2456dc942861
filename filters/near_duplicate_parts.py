"""Search for near duplicates in parts, in several processes, with the same result as `filters.near_duplicate`.

Whether a row is dropped depends on which earlier rows are kept, but which rows are worth comparing does not. So the
rows of each block are first searched for among all earlier rows, kept or not, and compared with those that the index
proposes. Then one process goes through all rows in order, and ignores proposals that were dropped. Where so many were
dropped that other rows would have been proposed instead, the row is searched for again, among the kept rows.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from filters.near_duplicate import NOBODY
from filters.near_duplicate_index import PROBES, PROPOSED, Clusters, Matrix, Rows, Take

PROPOSED_OF_ALL = 2 * PROPOSED  # rows that one is compared with at most, before it is known which stay
CODE_BYTES = 40  # a row in an index, beside a bit a number


class Proposals(NamedTuple):
    """The P pairs of rows that were compared for a part, sorted by row, the most promising first."""

    row: Rows  # its place in the part, ascending
    other: Rows  # an earlier row's number
    similarity: Matrix  # of both (P)


class NearSearch:
    """Searches for rows among those whose codes were merged into its index."""

    def __init__(self, clusters: Clusters, take: Take, least: float) -> None:
        """`least` is the estimate from which on a row is compared (`filters.near_duplicate_index.floor`)."""
        self._clusters, self._take, self._floor = clusters, take, least
        self._index = clusters.codes()

    def merge(self, codes: npt.NDArray[np.uint8]) -> None:
        """Add the rows of `encoded`, whose numbers follow on those of before."""
        import faiss

        self._index.merge_from(faiss.deserialize_index(codes), 0)

    def before(self, part: Matrix, first: int) -> Proposals:
        """What is proposed for a part's rows among all rows before the part, whose first row is number `first`."""
        import faiss

        return self._found(part, PROPOSED_OF_ALL, faiss.IDSelectorRange(0, first))

    def among(self, part: Matrix, stays: npt.NDArray[np.uint8]) -> Proposals:
        """What is proposed for rows among the kept ones; `stays` has one bit a row, the lowest bit of a byte first."""
        import faiss

        return self._found(part, PROPOSED, faiss.IDSelectorBitmap(8 * len(stays), faiss.swig_ptr(stays)))

    def _found(self, part: Matrix, most: int, selector: Any) -> Proposals:
        import faiss

        asked = faiss.SearchParametersIVF(sel=selector, nprobe=PROBES)  # type: ignore[call-arg] # it lacks a stub
        estimate, found = self._index.search(self._clusters.turned(part), most, params=asked)
        row, place = np.nonzero(estimate > self._floor)
        other = found[row, place]
        return Proposals(row, other, (self._take(other) * part[row]).sum(axis=1))


def encoded(clusters: Clusters, parts: Iterable[Matrix], first: int) -> npt.NDArray[np.uint8]:
    """The codes of rows (unit ones, in parts that are not empty) that are numbered from `first` on, as bytes."""
    import faiss

    index = clusters.codes()
    for part in parts:
        index.add_with_ids(clusters.turned(part), np.arange(first, first + len(part)))
        first += len(part)
    codes: npt.NDArray[np.uint8] = faiss.serialize_index(index)
    return codes


class Proposed:
    """The rows that stay of those that were proposed for each part: see `filters.near_duplicate.RowsThatStay`."""

    def __init__(self, rows: int, search: Callable[[], NearSearch]) -> None:
        """`search` makes an index of all `rows`; it is called only where a row must be searched for again."""
        self._stays = np.zeros(rows // 8 + 1, np.uint8)
        self._search = search
        self._next: Proposals | None = None

    def expect(self, proposals: Proposals) -> None:
        """Take what was proposed for the next part."""
        self._next = proposals

    def nearest(self, part: Matrix) -> tuple[Rows, Matrix]:
        """See `RowsThatStay.nearest`."""
        assert self._next is not None
        every, self._next = self._next, None
        stands = (self._stays[every.other >> 3] >> (every.other & 7) & 1).astype(bool)
        proposed, left = (np.bincount(rows, minlength=len(part)) for rows in (every.row, every.row[stands]))
        lost = (proposed == PROPOSED_OF_ALL) & (left < PROPOSED)
        mine = stands & (_places(every.row, stands) < PROPOSED) & ~lost[every.row]
        found = [Proposals(*(values[mine] for values in every))]
        if lost.any():
            again, rows = self._search().among(part[lost], self._stays), np.flatnonzero(lost)
            found.append(again._replace(row=rows[again.row]))
        row, other, similarity = map(np.concatenate, zip(*found, strict=True))
        order = np.lexsort((-similarity, row))  # the most similar first, of two that are as similar the first
        row, first = np.unique(row[order], return_index=True)
        witness, best = np.full(len(part), NOBODY), np.full(len(part), -2, np.float32)
        witness[row], best[row] = other[order][first], similarity[order][first]
        return witness, best

    def add(self, features: Matrix, rows: Rows) -> None:
        """See `RowsThatStay.add`."""
        np.bitwise_or.at(self._stays, rows >> 3, (1 << (rows & 7)).astype(np.uint8))


def _places(row: Rows, counted: npt.NDArray[np.bool_]) -> Rows:
    """The place of each entry among the counted ones of its row, from 0 (`row` ascends)."""
    before: Rows = np.cumsum(counted) - counted
    starts = np.flatnonzero(np.diff(row, prepend=-1))
    sizes = np.diff([*starts, len(row)])
    places: Rows = before - np.repeat(before[starts], sizes)
    return places
