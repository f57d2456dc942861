"""Byte ranges that others name: what is beyond their file is refused before room is made for it."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from curate.errors import DamagedError
from curate.storage.ranges import OpenedFile, RangeReader, Ranges

BEYOND = [(9, 2), (-1, 1), (0, -1), (2**62, 2**62), (0, 2**62), (-5, 4), (2**62, 1), (11, 0)]


@pytest.fixture
def file(tmp_path: Path) -> str:
    (tmp_path / "file").write_bytes(b"0123456789")
    return str(tmp_path / "file")


def ranges(*places: tuple[int, int]) -> Ranges:
    offsets, sizes = zip(*places, strict=True)
    return Ranges(np.zeros(len(places), np.int64), np.array(offsets, np.int64), np.array(sizes, np.int64))


def test_ranges_come_in_the_order_in_which_they_are_named(file: str) -> None:
    assert RangeReader(lambda _: file).read(ranges((7, 3), (0, 1), (10, 0), (1, 2))) == b"789012"
    assert OpenedFile(file).read(7, 3) == b"789"


@pytest.mark.parametrize(("offset", "size"), BEYOND)
def test_a_range_beyond_its_file_is_refused_by_the_files_name(file: str, offset: int, size: int) -> None:
    with pytest.raises(DamagedError, match="file is shorter than what names its bytes says"):
        RangeReader(lambda _: file).read(ranges((0, 1), (offset, size), (3, 2)))
    with pytest.raises(DamagedError, match="file is shorter than what names its bytes says"):
        OpenedFile(file).read(offset, size)
