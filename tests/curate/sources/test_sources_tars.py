from __future__ import annotations

import json
import random
import tarfile
from pathlib import Path
from typing import Any

import pytest

from curate.errors import InputError
from curate.manifest.settings import InputSettings
from curate.sources import DETAIL, PROBLEM, Source, expand, open_source
from tests.curate.tar_files import tar_of

PLAIN = InputSettings()


def opened(path: Path, settings: InputSettings = PLAIN) -> Source:
    return open_source(expand([str(path)])[0], settings, path.parent / "work")


def rows(source: Source, start: int = 0, stop: int = 2**40) -> list[dict[str, Any]]:
    return [row for batch in source.batches(start, stop) for row in batch.to_pylist()]


def triple(i: int) -> list[tuple[str, bytes]]:
    fields = {"url": f"http://x/{i}", "width": 10 + i, "exif": {"a": i}}
    return [
        (f"d/{i:05d}.jpg", bytes([i % 256]) * (i + 1)),
        (f"d/{i:05d}.json", json.dumps(fields).encode()),
        (f"d/{i:05d}.txt", f"caption {i}".encode()),
    ]


def test_files_of_one_name_are_one_row(tmp_path: Path) -> None:
    files = [file for i in range(3) for file in triple(i)]
    read = rows(opened(tar_of(tmp_path / "a.tar", files)))
    assert read[2] == {
        "url": "http://x/2",
        "width": 12,
        "exif": '{"a":2}',
        "txt": "caption 2",
        "__key__": "d/00002",
        "image": b"\x02\x02\x02",
        PROBLEM: None,
        DETAIL: None,
    }


def test_masks_and_arrays_beside_an_image_are_not_taken_for_text(tmp_path: Path) -> None:
    files = [
        *triple(1),
        ("d/00001.seg.png", b"\x89PNG\xff"),
        ("d/00001.l14.npy", b"\x93NUMPY"),
        ("d/00001.cls", b"7"),
    ]
    (read,) = rows(opened(tar_of(tmp_path / "a.tar", files)))
    assert read["image"] == b"\x01\x01"
    assert read["cls"] == "7"
    assert not {"seg.png", "l14.npy"} & set(read)


@pytest.mark.parametrize(
    ("name", "mode"), [("a.tar", "w"), ("a.tar.gz", "w:gz"), ("a.tgz", "w:gz"), ("a.tar.bz2", "w:bz2")]
)
def test_the_files_of_a_row_may_lie_apart_and_the_tar_may_be_packed(
    tmp_path: Path, name: str, mode: str
) -> None:
    files = [file for i in range(40) for file in triple(i)]
    random.Random(4).shuffle(files)
    read = {row["__key__"]: row for row in rows(opened(tar_of(tmp_path / name, files, mode)))}
    assert len(read) == 40
    assert all(read[f"d/{i:05d}"]["txt"] == f"caption {i}" for i in range(40))
    assert all(len(read[f"d/{i:05d}"]["image"]) == i + 1 for i in range(40))


def test_any_range_is_read_exactly(tmp_path: Path) -> None:
    source = opened(tar_of(tmp_path / "a.tar", [file for i in range(300) for file in triple(i)]))
    for start, stop in ((0, 300), (7, 8), (100, 250), (299, 300)):
        assert [row["txt"] for row in rows(source, start, stop)] == [
            f"caption {i}" for i in range(start, stop)
        ]


def test_rows_lack_what_their_tar_lacks(tmp_path: Path) -> None:
    files = [("a.txt", b"no image"), ("b.png", b"x"), ("c.jpg", b"1"), ("c.png", b"2"), ("c.txt", b"caf\xe9")]
    batch = next(opened(tar_of(tmp_path / "a.tar", files)).batches(0, 3))
    assert batch.column("image").to_pylist() == [None, b"x", b"1"]
    assert batch.column("txt").cast("binary").to_pylist() == [b"no image", None, b"caf\xe9"]


def test_broken_fields_mark_their_row_alone(tmp_path: Path) -> None:
    files = [("a.json", b"{"), ("a.txt", b"x"), ("b.json", b'{"url":"u"}'), ("b.txt", b"y")]
    assert [row[PROBLEM] for row in rows(opened(tar_of(tmp_path / "a.tar", files)))] == [
        "row_malformed",
        None,
    ]


def test_a_file_too_large_to_hold_is_not_read(tmp_path: Path) -> None:
    path = tar_of(tmp_path / "a.tar", [("a.jpg", b"x" * 101), ("a.txt", b"t"), ("b.jpg", b"y")])
    read = rows(opened(path, InputSettings(max_value_bytes=100)))
    assert [(row[PROBLEM], row["image"]) for row in read] == [("too_large", None), (None, b"y")]


def test_links_folders_and_hidden_files_are_no_rows(tmp_path: Path) -> None:
    path = tar_of(tmp_path / "a.tar", [("._a.jpg", b"x"), ("a.txt", b"t"), ("README", b"r")])
    with tarfile.open(path, "a") as tar:
        for name, kind in (
            ("evil.txt", tarfile.SYMTYPE),
            ("dir.txt", tarfile.DIRTYPE),
            ("hard.txt", tarfile.LNKTYPE),
        ):
            info = tarfile.TarInfo(name)
            info.type, info.linkname = kind, "/etc/passwd"
            tar.addfile(info)
    assert [row["__key__"] for row in rows(opened(path))] == ["a"]


@pytest.mark.parametrize("size", [100, 700, 5000, 40_000])
def test_a_truncated_tar_is_refused(tmp_path: Path, size: int) -> None:
    path = tar_of(tmp_path / "a.tar", [("a.jpg", b"x" * 50_000), ("a.txt", b"t")])
    path.write_bytes(path.read_bytes()[:size])
    with pytest.raises(InputError, match=r"a\.tar"):
        opened(path)


def test_what_is_no_tar_is_refused(tmp_path: Path) -> None:
    (tmp_path / "a.tar").write_bytes(b"no tar at all" * 1000)
    with pytest.raises(InputError, match=r"a\.tar is not a whole tar"):
        opened(tmp_path / "a.tar")
