"""Fingerprint files: what is written is read again, and what is damaged or made by another method is refused."""

from __future__ import annotations

import json
import struct
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from curate.errors import ManifestError
from curate.images import evaluation
from curate.images.evaluation import HEADER, MAGIC, EvaluationImages, open_set, read_set, write_set
from curate.images.fingerprint import BYTES
from curate.manifest import pinning
from filters.copies import VIEW_BYTES, VIEWS

PLACE = Path("set.prints")


def content(images: int = 3) -> bytes:
    rng = np.random.default_rng(images)
    made = [(f"bild-{n}-ü.jpg", rng.bytes(BYTES), bytes([n]) * n) for n in range(images)]
    words = [rng.integers(0, 2**63, n).astype(np.uint64) for n in (3, 0, 2)]
    return write_set([{"name": "bilder", "images": images, "texts": 3}], made, words)


def altered(change: dict[str, Any]) -> bytes:
    """A file whose header says something else."""
    whole = content()
    (size,) = HEADER.unpack_from(whole, len(MAGIC))
    first = len(MAGIC) + HEADER.size
    header = json.loads(whole[first : first + size]) | change
    said = json.dumps(header).encode()
    return MAGIC + struct.pack("<I", len(said)) + said + whole[first + size :]


def test_a_file_holds_what_was_written() -> None:
    found = read_set(content(), PLACE)
    assert found.name == "set"
    assert found.prints.shape == (3, VIEWS, VIEW_BYTES)
    assert [found.image_name(n) for n in range(3)] == ["bild-0-ü.jpg", "bild-1-ü.jpg", "bild-2-ü.jpg"]
    assert [found.picture(n) for n in range(3)] == [b"", b"\1", b"\2\2"]
    words, ends = found.texts()
    assert (len(words), ends.tolist()) == (5, [3, 3, 5])
    assert found.header["sources"] == [{"name": "bilder", "images": 3, "texts": 3}]


def test_the_same_images_make_the_same_file() -> None:
    assert content() == content()


def test_a_file_without_images_is_fine() -> None:
    assert len(read_set(write_set([], [], [np.ones(2, np.uint64)]), PLACE).prints) == 0


def test_another_method_or_version_is_refused_in_one_line() -> None:
    for change in ({"method": "phash-64"}, {"version": 1}, {"method": ["x"] * 9999}):
        with pytest.raises(ManifestError, match=r"its fingerprints are .* make it anew") as caught:
            read_set(altered(change), PLACE)
        assert "\n" not in str(caught.value)
        assert len(str(caught.value)) < 300


@pytest.mark.parametrize(
    "change",
    [
        {"images": 2},
        {"images": -1},
        {"images": "3"},
        {"images": 3.5},
        {"texts": 2**70},
        {"sections": {}},
        {"sections": []},
        {"sections": dict.fromkeys(evaluation.SECTIONS, 0)},
        {"sections": dict.fromkeys(evaluation.SECTIONS, 2**63)},
        {"sha256": None},
        {"sources": None, "texts": None},
    ],
)
def test_a_header_that_lies_is_refused(change: dict[str, Any]) -> None:
    with pytest.raises(ManifestError, match="no whole fingerprint file"):
        read_set(altered(change), PLACE)


def test_every_cut_and_every_flip_is_refused() -> None:
    whole = content()
    for size in range(0, len(whole), 7):
        with pytest.raises(ManifestError):
            read_set(whole[:size], PLACE)
    for at in range(0, len(whole), 11):
        damaged = bytearray(whole)
        damaged[at] ^= 0x55
        try:
            found = read_set(bytes(damaged), PLACE)
        except ManifestError:
            continue
        assert (
            found.sections == read_set(whole, PLACE).sections
        )  # the names of sources, or blanks: nothing compared


@pytest.mark.parametrize(
    "header", [b"[" * 100_000, b"null", b'{"a": NaN}', b"\xff\xfe", b'{"method": {}, "version": {}}']
)
def test_a_header_that_is_no_header_is_refused(header: bytes) -> None:
    with pytest.raises(ManifestError):
        read_set(MAGIC + struct.pack("<I", len(header)) + header, PLACE)
    with pytest.raises(ManifestError):
        read_set(MAGIC + struct.pack("<I", 2**32 - 1) + header, PLACE)


def test_several_files_are_searched_as_one(tmp_path: Path) -> None:
    names = []
    for images in (3, 4):
        path = tmp_path / f"set-{images}.prints"
        path.write_bytes(content(images))
        names.append(f"{path}@sha256:{pinning.sha256_of(path)}")
    both = EvaluationImages.of(names)
    asked = np.concatenate([open_set(name).prints for name in names])
    found = both.nearest(asked, 0)
    assert [(one[0].name, one[1]) for one in found if one] == [("set-3", n) for n in range(3)] + [
        ("set-4", n) for n in range(4)
    ]


def test_a_file_that_changed_since_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "set.prints"
    path.write_bytes(content(3))
    name = f"{path}@sha256:{pinning.sha256_of(path)}"
    path.write_bytes(content(4))
    with pytest.raises(ManifestError, match="another file"):
        open_set(name)


def test_names_are_pinned_beside_the_manifest(tmp_path: Path) -> None:
    (tmp_path / "set.prints").write_bytes(content())
    tree = {"rules": {"image_in_evaluation_set": {"against": "set.prints"}, "text_in_evaluation_set": False}}
    pinning.pin(tree, tmp_path)
    (name,) = tree["rules"]["image_in_evaluation_set"]["against"]  # type: ignore[index]
    assert pinning.place(name) == (tmp_path / "set.prints", pinning.sha256_of(tmp_path / "set.prints"))
    pinning.pin(tree, Path("/nowhere"))  # pinned already
    (tmp_path / "set.prints").write_bytes(content(5))
    with pytest.raises(ManifestError, match="another file"):
        pinning.pin(tree, tmp_path)


@pytest.mark.parametrize("against", [5, [5], None, {"a": 1}])
def test_what_is_no_list_of_names_is_left_to_be_refused(against: object) -> None:
    tree = {"rules": {"image_in_evaluation_set": {"against": against}}}
    pinning.pin(tree, Path())
    assert tree["rules"]["image_in_evaluation_set"]["against"] == against


@pytest.mark.parametrize("name", ["missing.prints", "a\0b", "."])
def test_a_file_that_cannot_be_read_is_named(name: str, tmp_path: Path) -> None:
    with pytest.raises(ManifestError, match="curate fingerprint"):
        pinning.pin({"rules": {"text_in_evaluation_set": {"against": [name]}}}, tmp_path)
