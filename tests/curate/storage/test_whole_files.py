from __future__ import annotations

import errno
from pathlib import Path

import pytest

from curate.engine.worker import full_place
from curate.storage.whole_files import copy_whole, whole_file, write_whole


def write_and_run_out_of_room(place: Path) -> None:
    with whole_file(place, durable=True) as file, Path("/dev/full").open("wb", 0) as full:
        file.write(b"half")
        full.write(b"x")


def test_a_file_that_cannot_be_finished_leaves_what_was_there(tmp_path: Path) -> None:
    place = tmp_path / "deep" / "a"
    with pytest.raises(OSError, match="No space"):
        write_and_run_out_of_room(place)
    assert not list(place.parent.iterdir())
    write_whole(place, b"old")
    with pytest.raises(OSError, match="No space"):
        write_and_run_out_of_room(place)
    assert [path.read_bytes() for path in place.parent.iterdir()] == [b"old"]


def test_no_more_is_copied_than_is_allowed(tmp_path: Path) -> None:
    with Path("/dev/zero").open("rb") as endless, pytest.raises(ValueError, match="more than 5000000 bytes"):
        copy_whole(endless, tmp_path / "a", 5_000_000)
    assert not list(tmp_path.iterdir())


def test_where_there_was_no_room_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    full = OSError(errno.ENOSPC, "No space left on device")
    assert full_place(full, "/out") == "/out"
    assert full_place(OSError(errno.ENOSPC, "No space", "/cache/x"), "/out") == "/cache/x"
    assert full_place(OSError(errno.ENOSPC, "No space", "/out/_run/x"), "/out") == "/out"
    monkeypatch.setattr("curate.engine.worker.ROOM", 2**63)
    assert full_place(full, "/out").startswith("the temporary folder /")
