"""Find the texts in which each of several RE2 expressions may match, by one pass over the bytes of all texts."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import chain
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from filters.letters import CODES, EDGE_BYTE, FOLDED, LETTERS, RUN
from filters.needs import Needs

Rows = npt.NDArray[np.int64]
Marks = npt.NDArray[np.uint64]

HALF = 32  # number of expressions that have a mark of their own
ALL = np.uint64(2**HALF - 1)
BLOCK = 1 << 16  # bytes, so that what is looked up stays in the processor's cache
FOLDED_SIGNS = "|".join(map(chr, FOLDED))


class Change(NamedTuple):
    """A change to texts: `find` selects the texts that need it, `make` changes them."""

    find: Callable[[pa.StringArray], pa.BooleanArray]
    make: Callable[[pa.StringArray], pa.StringArray]


class Sieve:
    """Expressions, known by what each needs (`filters.needs`)."""

    def __init__(self, needs: Sequence[Needs]) -> None:
        """`needs` are what each of E expressions needs."""
        marks = np.zeros((LETTERS,) * RUN, np.uint64)
        self._always = np.uint64(0)
        for place, sets in enumerate(needs):
            self._always |= bit(place) if not sets else np.uint64(0)
            for half, runs in enumerate((sets[:1], sets[-1:])):
                for run in chain.from_iterable(runs):
                    marks[tuple(run)] |= bit(place) << np.uint64(half * HALF)
        self._marks = marks.reshape(-1)  # of each run, by first and last set: the expressions that need it
        self._marked = self._marks != 0

    def marks(self, text: pa.StringArray | pa.LargeStringArray) -> Marks:
        """For each text (N), the bits (see `bit`) of all expressions that may match in it; 0 for null."""
        data, edges = between_edges(text)
        places, marks = self._found(data.translate(CODES))
        bounds = np.searchsorted(places, edges)
        some = np.flatnonzero(bounds[:-1] < bounds[1:])
        found = np.full(len(text), self._always)
        if len(some):
            both = np.bitwise_or.reduceat(marks, bounds[some])
            found[some] |= both & (both >> np.uint64(HALF))
        if text.null_count:
            found[pc.is_null(text).to_numpy(zero_copy_only=False)] = 0
        return found & ALL

    def _found(self, codes: bytes) -> tuple[Rows, Marks]:
        """Where runs begin that some expression needs, and their marks."""
        found = [(np.zeros(0, np.int64), np.zeros(0, np.uint64))]
        letters = np.frombuffer(codes + bytes(RUN - 1), np.uint8)
        for first in range(0, len(codes), BLOCK):
            some = letters[first : first + BLOCK + RUN - 1].astype(np.uint16)
            runs = (some[:-2] * LETTERS + some[1:-1]) * LETTERS + some[2:]
            places = np.flatnonzero(np.take(self._marked, runs))
            found.append((places + first, np.take(self._marks, np.take(runs, places))))
        return np.concatenate([places for places, _ in found]), np.concatenate([marks for _, marks in found])


class Edited:
    """Texts (N rows), some of which are changed again and again."""

    def __init__(self, text: pa.StringArray) -> None:
        self._text, self._pool = text, text.slice(0, 0)
        self._fresh: list[pa.StringArray] = []  # behind the pool
        self._versions = np.full(len(text), -1)  # of each text: which of the pool it is now; -1: as it was
        self._count = 0

    def change(self, rows: Rows, change: Change) -> tuple[Rows, pa.StringArray]:
        """Make a change to the texts with these numbers that need it; returns the numbers of those that differ now.

        Also returns these texts.
        """
        rows, old = self._read(rows, self._versions)
        there = change.find(old)
        rows, old = rows[there.to_numpy(zero_copy_only=False)], old.filter(there)
        if not len(rows):  # most expressions are found nowhere, and compiling one costs more than a few texts
            return rows, old
        new = change.make(old)
        changed = pc.not_equal(new, old)
        rows, new = rows[changed.to_numpy(zero_copy_only=False)], new.filter(changed)
        self._versions[rows] = np.arange(self._count, self._count + len(rows))
        self._count += len(rows)
        self._fresh.append(new)
        return rows, new

    def mark(self) -> Rows:
        """The current state of all texts, for a later call of `differing`."""
        return self._versions.copy()

    def differing(self, before: Rows) -> Rows:
        """The numbers of the texts that differ from the state `before`."""
        rows = np.flatnonzero(self._versions != before)
        (rows, now), (same, then) = self._read(rows, self._versions), self._read(rows, before)
        order = np.argsort(same, kind="stable")
        then = then.take(pa.array(order[np.searchsorted(same[order], rows)]))
        differing: Rows = rows[pc.not_equal(now, then).to_numpy(zero_copy_only=False)]
        return differing

    def texts(self) -> pa.StringArray:
        """All texts as they are now."""
        rows = np.flatnonzero(self._versions >= 0)
        if not len(rows):
            return self._text
        mask = np.zeros(len(self._text), bool)
        mask[rows] = True
        return pc.replace_with_mask(self._text, pa.array(mask), self._read(rows, self._versions)[1])

    def _read(self, rows: Rows, versions: Rows) -> tuple[Rows, pa.StringArray]:
        """Some texts in a version of each, in some order."""
        chosen = versions[rows]
        kept, changed = rows[chosen < 0], chosen >= 0
        if len(kept) == len(rows):
            return rows, self._text.take(pa.array(rows))
        if self._fresh:
            self._pool, self._fresh = pa.concat_arrays([self._pool, *self._fresh]), []
        texts = [self._text.take(pa.array(kept)), self._pool.take(pa.array(chosen[changed]))]
        return np.concatenate([kept, rows[changed]]), pa.concat_arrays(texts)


def settle(text: pa.StringArray, sieve: Sieve, changes: Sequence[Change], rounds: int) -> pa.StringArray:
    """Every change made in order, and again of the texts that these changed, at most `rounds` times.

    `sieve` has the expressions by which the changes find their texts: others are not searched.
    """
    edited, marks, odd = Edited(text), sieve.marks(text), with_folded_signs(text)
    marks[odd] = ALL
    for _ in range(rounds):
        before = edited.mark()
        for place, change in enumerate(changes):
            rows = np.flatnonzero(marks & bit(place))
            if len(rows):
                rows, new = edited.change(rows, change)
                marks[rows] = np.where(odd[rows], ALL, sieve.marks(new))
        again = edited.differing(before)
        if not len(again):
            break
        marks, of_all = np.zeros(len(text), np.uint64), marks
        marks[again] = of_all[again]
    return edited.texts()


def with_folded_signs(text: pa.StringArray) -> npt.NDArray[np.bool_]:
    """True for the texts with a letter that is one byte to some expressions and several to others (N rows)."""
    odd: npt.NDArray[np.bool_] = ~pc.fill_null(pc.string_is_ascii(text), True).to_numpy(zero_copy_only=False)
    rows = np.flatnonzero(odd)
    if len(rows):
        found = pc.match_substring_regex(text.take(pa.array(rows)), FOLDED_SIGNS)
        odd[rows] = found.to_numpy(zero_copy_only=False)
    return odd


def bit(place: int) -> np.uint64:
    """The mark of an expression; the 33rd has that of the first."""
    return np.uint64(1 << place % HALF)


def between_edges(text: pa.StringArray | pa.LargeStringArray) -> tuple[bytes, npt.NDArray[np.int64]]:
    """All texts in one, with an edge before the first and behind each, and where each one's begins (N + 1)."""
    values = (pc.fill_null(text, "") if text.null_count else text).cast(pa.large_binary())
    ends = np.array([0, len(values)], np.int64)
    whole = pa.LargeListArray.from_arrays(pa.array(ends), values)
    data = pc.binary_join(whole, pa.scalar(EDGE_BYTE, pa.large_binary()))[0].as_py() if len(values) else b""
    sizes = pc.binary_length(values).to_numpy(zero_copy_only=False)
    return EDGE_BYTE + data + EDGE_BYTE, np.concatenate([[0], np.cumsum(sizes + 1)])
