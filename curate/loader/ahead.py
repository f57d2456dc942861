"""Images read ahead: those of the next lot of batches are on their way while one lot is used."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

from curate.loader.source import Row, Source

Batch = tuple[int, list[Row]]  # its number, and this rank's samples

DISK_LOT, STORE_LOT = 32, 256  # samples whose images are asked for at once


def filled(source: Source, batches: Iterator[Batch], batch_size: int) -> Iterator[Batch]:
    """The batches with their images in the places that stood for them.

    Raises:
        InputError: a file has changed or cannot be read.
    """
    size = max(1, (DISK_LOT if source.local else STORE_LOT) // batch_size)
    lots = iter(lambda: list(itertools.islice(batches, size)), [])
    return _from_disk(source, lots) if source.local else _from_store(source, lots)


def _from_disk(source: Source, lots: Iterator[list[Batch]]) -> Iterator[Batch]:
    """The system hears what the next lot wants; a batch is read in its turn, and used while in the cache."""
    lot = next(lots, [])
    while lot:
        following = next(lots, [])
        source.expect(row for _, rows in following for row in rows)
        while lot:
            number, rows = lot.pop(0)
            source.fill(rows)
            yield number, rows
        lot = following


def _from_store(source: Source, lots: Iterator[list[Batch]]) -> Iterator[Batch]:
    """A thread waits for the next lot meanwhile."""

    def read() -> list[Batch]:
        lot = next(lots, [])
        source.fill(row for _, rows in lot for row in rows)
        return lot

    with ThreadPoolExecutor(1, "curate-ahead") as ahead:
        waiting = ahead.submit(read)
        while lot := waiting.result():
            waiting = ahead.submit(read)
            yield from lot
