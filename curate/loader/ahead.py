"""Images read ahead: those of the next lot of batches are on their way while one lot is used."""

from __future__ import annotations

import itertools
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor

from curate.loader.source import Row, ShardSource

Batch = tuple[int, list[Row]]  # its number, and this rank's samples
Fill = Callable[[Sequence[Row]], list[Row]]  # gives the samples their images, and leaves out what has none

DISK_LOT, STORE_LOT = 32, 256  # samples whose images are asked for at once
SLOW_S = 200e-6  # seconds a sample: a disk at work; memory takes a tenth of that


def filled(source: ShardSource, batches: Iterator[Batch], batch_size: int, fill: Fill) -> Iterator[Batch]:
    """The batches with their images in the places that stood for them.

    Raises:
        DamagedError: as `fill` does.
    """
    size = max(1, (DISK_LOT if source.local else STORE_LOT) // batch_size)
    lots = iter(lambda: list(itertools.islice(batches, size)), [])
    return _from_disk(source, lots, fill) if source.local else _from_store(lots, fill)


def _from_disk(source: ShardSource, lots: Iterator[list[Batch]], fill: Fill) -> Iterator[Batch]:
    """The system hears what the next lot wants; a batch is read in its turn, and used while in the cache.

    A disk that answered the last lot at memory's speed had it in memory already: then nothing is asked for.
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
    """A thread waits for the next lot meanwhile, all of whose images are asked for at once."""

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
