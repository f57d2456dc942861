"""Reads images ahead: while one lot of batches is used, the images of the next lot are being read."""

from __future__ import annotations

import itertools
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor

from curate.loader.source import Row, ShardSource

Batch = tuple[int, list[Row]]  # the number of a global batch, and this rank's samples of it
Fill = Callable[
    [Sequence[Row]], list[Row]
]  # reads the samples' images; may leave out samples with damaged ones

DISK_LOT, STORE_LOT = 32, 256  # samples whose images are requested at once: from a disk, from an object store
# Reading a sample takes longer than this if it comes from the disk; from memory a tenth of it
SLOW_S = 200e-6


def filled(source: ShardSource, batches: Iterator[Batch], batch_size: int, fill: Fill) -> Iterator[Batch]:
    """Yield the batches with their images' bytes, reading the images of later batches ahead.

    Args:
        source: where the rows come from; it says whether they are on a disk.
        batches: the batches, with places instead of their images' bytes.
        batch_size: samples of a batch, to size the lots.
        fill: reads the images of some samples.

    Raises:
        DamagedError: `fill` raises it.
    """
    size = max(1, (DISK_LOT if source.local else STORE_LOT) // batch_size)
    lots = iter(lambda: list(itertools.islice(batches, size)), [])
    return _from_disk(source, lots, fill) if source.local else _from_store(lots, fill)


def _from_disk(source: ShardSource, lots: Iterator[list[Batch]], fill: Fill) -> Iterator[Batch]:
    """Tell the system which bytes the next lot needs, so that they are in its page cache when they are read.

    If the last lot was read at the speed of memory, the cache had it already: then the system is not told.
    """
    lot, slow = next(lots, []), True
    while lot:
        following = next(lots, [])
        if slow:
            source.expect(row for _, rows in following for row in rows)
        samples, waited = sum(len(rows) for _, rows in lot), 0.0
        while lot:
            number, rows = lot.pop(0)
            begun = time.perf_counter()
            rows = fill(rows)
            waited += time.perf_counter() - begun
            yield number, rows
        lot, slow = following, waited > SLOW_S * samples


def _from_store(lots: Iterator[list[Batch]], fill: Fill) -> Iterator[Batch]:
    """Read the images of the next lot in a thread, all at once, while the batches of this lot are used."""

    def read() -> list[Batch]:
        lot = next(lots, [])
        every = fill([row for _, rows in lot for row in rows])
        if len(every) == sum(len(rows) for _, rows in lot):
            return lot
        sound = set(map(id, every))
        return [(number, [row for row in rows if id(row) in sound]) for number, rows in lot]

    with ThreadPoolExecutor(1, "curate-ahead") as ahead:
        waiting = ahead.submit(read)
        while lot := waiting.result():
            waiting = ahead.submit(read)
            yield from lot
