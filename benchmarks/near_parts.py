"""What does the search for near duplicates in parts cost against one process's, and what of it is left to one?

    python -m benchmarks.near_parts [rows] [max_similarity]

The features of `benchmarks.near`, all in memory, one thread. CPU seconds of one process that does all, and of the steps
of a search by many: `clusters` and `settle` are one process's (with all its cores, as a run does them), `codes` and
`search` anybody's. Both must say the same of every row.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager

import faiss
import numpy as np

from benchmarks.near import DIMENSION, made, parts
from filters.near_duplicate import NOBODY, judged
from filters.near_duplicate_index import Clusters, Matrix, NearIndex, Rows, floor, unit
from filters.near_duplicate_parts import NearSearch, Proposals, Proposed, encoded

BLOCK = 16_384


@contextmanager
def timed(what: str, spent: dict[str, float]) -> Iterator[None]:
    begun = time.process_time()
    yield
    spent[what] = time.process_time() - begun
    print(f"{what:10}{spent[what]:8.1f} CPU s")


def said(found: list[tuple[Rows, Matrix]]) -> tuple[Rows, Matrix]:
    witness, similarity = map(np.concatenate, zip(*found, strict=True))
    return witness, similarity[witness != NOBODY]


def main(rows: int = 200_000, most: float = 0.95) -> None:
    faiss.omp_set_num_threads(1)
    features, spent, least = made(rows), dict[str, float](), floor(most, DIMENSION)

    def take(numbers: Rows) -> Matrix:
        return unit(features[numbers])

    with timed("clusters", spent):
        clusters = Clusters.trained(rows, DIMENSION, take)
    with timed("alone", spent):
        alone = said([*judged(map(unit, parts(features)), NearIndex(clusters, take, least), most)])
    with timed("codes", spent):
        starts = range(0, rows, BLOCK)
        codes = [encoded(clusters, map(unit, parts(features[at : at + BLOCK])), at) for at in starts]
    search, found = NearSearch(clusters, take, least), list[Proposals]()
    with timed("search", spent):
        for block in codes:
            search.merge(block)
        for number, part in enumerate(parts(features)):
            found.append(search.before(unit(part), number * len(next(parts(features)))))
    kept = Proposed(rows, lambda: search)

    def expected() -> Iterator[Matrix]:
        for proposals, part in zip(found, parts(features), strict=True):
            kept.expect(proposals)
            yield unit(part)

    with timed("settle", spent):
        several = said([*judged(expected(), kept, most)])
    assert all(np.array_equal(one, other) for one, other in zip(alone, several, strict=True))
    one, shared = spent["clusters"] + spent["alone"], spent["codes"] + spent["search"]
    several_s = spent["clusters"] + shared + spent["settle"]
    fall = (alone[0] != NOBODY).mean()
    print(f"{fall:.1%} fall; one process {one:.1f} CPU s, in parts {several_s:.1f}")
    for workers in (2, 4, 16):
        took = spent["clusters"] + spent["settle"] + shared / workers
        print(
            f"{workers:4} workers, by arithmetic, one core for what one process does: {one / took:.1f} x as fast"
        )


if __name__ == "__main__":
    main(*(kind(word) for kind, word in zip((int, float), sys.argv[1:], strict=False)))
