from __future__ import annotations

import os
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest

from curate.images.folder import Pictures

FILES = (
    "train2014/COCO_train2014_000000000009.jpg",
    "VG_100K/2.jpg",
    "VG_100K_2/2407890.jpg",
    "n161313.jpg",
    "charts/bar_train_00000005.png",
    "train/same.png",
    "val/same.png",
    "0001714570.jpg",
)


def folder(root: Path) -> Path:
    for name in FILES:
        (root / "images" / name).parent.mkdir(parents=True, exist_ok=True)
        (root / "images" / name).write_bytes(name.encode())
    return root / "images"


def archive(root: Path) -> Path:
    with zipfile.ZipFile(root / "images.zip", "w") as file:
        for name in FILES:
            file.writestr(name, name.encode())
    return root / "images.zip"


@pytest.mark.parametrize("make", [folder, archive])
@pytest.mark.parametrize(
    ("name", "file"),
    [
        ("VG_100K/2.jpg", "VG_100K/2.jpg"),
        ("2407890.jpg", "VG_100K_2/2407890.jpg"),
        ("2407890", "VG_100K_2/2407890.jpg"),
        ("N161313", "n161313.jpg"),
        ("9", "train2014/COCO_train2014_000000000009.jpg"),
        ("000000000009.jpg", "train2014/COCO_train2014_000000000009.jpg"),
        ("COCO_val2014_000000000009.jpg", "train2014/COCO_train2014_000000000009.jpg"),
        ("COCO_train2014_000000000009_16.jpg", "train2014/COCO_train2014_000000000009.jpg"),
        ("elsewhere/bar_train_00000005.png", "charts/bar_train_00000005.png"),
        ("train/same.png", "train/same.png"),
        ("0001714570", "0001714570.jpg"),
    ],
)
def test_an_image_is_found_by_path_name_or_number(
    make: Callable[[Path], Path], name: str, file: str, tmp_path: Path
) -> None:
    assert Pictures(make(tmp_path)).read(name, 1000) == file.encode()


@pytest.mark.parametrize("make", [folder, archive])
@pytest.mark.parametrize("name", ["same.png", "bar_val_00000005.png", "5", "10", "VG_100K", "", "."])
def test_a_name_of_no_file_or_of_several_is_missing(
    make: Callable[[Path], Path], name: str, tmp_path: Path
) -> None:
    with pytest.raises(FileNotFoundError):
        Pictures(make(tmp_path)).read(name, 1000)


def test_a_name_does_not_lead_out_of_the_folder(tmp_path: Path) -> None:
    (tmp_path / "secret.jpg").write_bytes(b"secret")
    root = folder(tmp_path)
    (root / "link.jpg").symlink_to(tmp_path / "secret.jpg")
    for name in ("../secret.jpg", str(tmp_path / "secret.jpg"), "link.jpg", "link"):
        with pytest.raises(PermissionError):
            Pictures(root).read(name, 1000)


def test_no_more_is_read_than_was_asked_for(tmp_path: Path) -> None:
    for place in (folder(tmp_path), archive(tmp_path)):
        assert len(Pictures(place).read("n161313.jpg", 4)) == 5


def test_a_pipe_is_no_image(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.jpg")
    with pytest.raises(OSError, match="it is no file"):
        Pictures(tmp_path).read("pipe.jpg", 10)
