"""Pairs a CPU second of the searches of curate, data-juicer and imagededup, one after the other.

    python -m venv PEERS && PEERS/bin/pip install py-data-juicer imagededup aiohttp
    PEERS/bin/python -m benchmarks.similar_peers [rows]

A row in ten is a copy of another: 12 bits of 256 differ for curate, 3 of 64 for the others. data-juicer's operator
compares hashes for equality alone, and imagededup all pairs; curate those that agree in the bits of a band. The time of
making fingerprints and hashes is not counted.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable

import numpy as np

from filters.copies import MAX_DISTANCE, VIEW_BYTES, VIEWS, Entries, bits_for

Copies = list[tuple[int, int]]


def told(name: str, rows: int, copies: Copies, search: Callable[[], Callable[[int, int], bool]]) -> None:
    begun = time.process_time()
    is_found = search()
    spent = time.process_time() - begun
    share = float(np.mean([is_found(*pair) for pair in copies]))
    pairs = rows * (rows - 1) / 2 / spent
    print(
        f"{name:30} {rows / spent:10,.0f} rows, {pairs:14,.0f} pairs a CPU second, {100 * share:.1f} % found",
        flush=True,
    )


def curate_search(
    rows: int, copies: Copies, rng: np.random.Generator
) -> Callable[[], Callable[[int, int], bool]]:
    prints = rng.integers(0, 256, (rows, VIEWS, VIEW_BYTES), dtype=np.uint8)
    for one, other in copies:
        spread = np.unpackbits(prints[one, 0])
        spread[rng.permutation(256)[:12]] ^= 1
        prints[other, 0] = np.packbits(spread)

    def search() -> Callable[[int, int], bool]:
        images = np.arange(rows, dtype=np.uint64)
        later, earlier, _ = Entries.of(prints, np.arange(rows), images, bits_for(rows)).pairs(MAX_DISTANCE)
        found = set(zip(later.tolist(), earlier.tolist(), strict=True))
        return lambda one, other: (max(one, other), min(one, other)) in found

    return search


def data_juicer_search(hashes: list[str]) -> Callable[[], Callable[[int, int], bool]]:
    from data_juicer.ops.deduplicator.image_deduplicator import ImageDeduplicator
    from data_juicer.utils.constant import HashKeys
    from datasets import Dataset

    data = Dataset.from_dict({HashKeys.imagehash: hashes, "row": list(range(len(hashes)))})
    operator = ImageDeduplicator(method="phash")

    def search() -> Callable[[int, int], bool]:
        kept = set(operator.process(data)[0]["row"])
        return lambda one, other: max(one, other) not in kept

    return search


def imagededup_search(hashes: list[str]) -> Callable[[], Callable[[int, int], bool]]:
    from imagededup.methods import PHash

    named = {str(row): one for row, one in enumerate(hashes)}

    def search() -> Callable[[int, int], bool]:
        found = PHash(verbose=False).find_duplicates(
            encoding_map=named, max_distance_threshold=10, num_dist_workers=0
        )
        return lambda one, other: str(other) in found[str(one)]

    return search


def main(rows: int) -> None:
    rng = np.random.default_rng(0)
    drawn = rng.permutation(rows)[: rows // 10].reshape(2, -1)
    copies: Copies = list(zip(*drawn.tolist(), strict=True))
    told("curate", rows, copies, curate_search(rows, copies, rng))
    numbers = rng.integers(0, 2**64, rows, dtype=np.uint64)
    numbers[drawn[1]] = numbers[drawn[0]] ^ np.uint64(0b10101)
    hashes = [f"{one:016x}" for one in numbers.tolist()]
    told("data-juicer image_deduplicator", rows, copies, data_juicer_search(hashes))
    told("imagededup PHash", rows, copies, imagededup_search(hashes))


if __name__ == "__main__":
    main(int(float(sys.argv[1])) if len(sys.argv) > 1 else 10_000)
