"""Images by their names: of URLs, paths and lists."""

from __future__ import annotations

from pathlib import Path

import pyarrow as pa
import pytest

from curate.errors import ManifestError
from curate.images.name_lists import open_names
from curate.schema import SAMPLE
from filters.column import find_rule
from filters.image_names import names_of, not_named

PICTURES = SAMPLE.field("images").type


def judged(listed: Path, urls: list[str | None], paths: list[str | None], images: list[object]) -> list[bool]:
    keys = pa.array([f"{number}" for number in range(len(urls))])
    columns = (
        keys,
        pa.array(urls, pa.large_string()),
        pa.array(paths, pa.string()),
        pa.array(images, PICTURES),
    )
    kept: list[bool] = not_named(*columns, against=(str(listed),)).to_pylist()
    return kept


@pytest.mark.parametrize(
    ("place", "name"),
    [
        ("http://images.example/train2017/000000576322.jpg?x=1/2", "coco:576322"),
        ("COCO_train2014_000000576322_17", "coco:576322"),
        ("coco/train2014/COCO_train2014_000000576322.jpg", "coco:576322"),
        ("coco:000576322", "coco:576322"),
        ("VG_100K_2/2407890.jpg", "2407890"),
        ("n161313", "n161313"),
        ("a\\b\\Picture.final.JPEG", "Picture.final"),
        ("x/\n000000000009.jpg", "\n000000000009"),
        ("", ""),
    ],
)
def test_a_name_is_the_last_part_and_cocos_is_its_number(place: str, name: str) -> None:
    assert names_of(pa.array([place, None])).to_pylist() == [name, None]


def test_a_row_falls_by_url_path_or_an_image_of_its_dialogue(tmp_path: Path) -> None:
    listed = tmp_path / "refcoco.txt"
    listed.write_text("\ufeff# testA\n\nCOCO_train2014_000000000009_3\ncoco:25\n2407890\n")
    picture = {"bytes": None, "path": "coco/000000000025.jpg", "url": None, "slot": None}
    assert judged(
        listed,
        ["http://x.example/000000000009.jpg", None, None, "http://x.example/9.jpg", None, None],
        [None, "VG_100K/2407890.jpg", "VG_100K/9.jpg", None, None, None],
        [None, None, [], None, [picture | {"path": "10.jpg"}, picture], None],
    ) == [False, False, True, True, False, True]


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"", "names no image"),
        (b"# nothing\n", "names no image"),
        (b"\xff\n", "not UTF-8"),
        (b"x" * 5000, "more than"),
    ],
)
def test_a_list_that_is_none_is_refused(tmp_path: Path, content: bytes, said: str) -> None:
    (tmp_path / "list.txt").write_bytes(content)
    with pytest.raises(ManifestError, match=said) as refused:
        open_names(str(tmp_path / "list.txt"))
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize(
    "numbers",
    [
        pa.array([9, 10, None], pa.int64()),
        pa.array([9.0, 9.5, float("nan")]),
        pa.array(["9", "9x", "-9"]),
        pa.array([9, 2**63, 10**12], pa.uint64()),
        pa.array([True, False, None]),
        pa.nulls(3),
    ],
)
def test_a_row_falls_by_cocos_number_in_a_column_of_its_own(tmp_path: Path, numbers: pa.Array) -> None:
    listed = tmp_path / "list.txt"
    listed.write_text("coco:9\n")
    nothing = [pa.nulls(3, kind) for kind in (pa.large_string(), pa.string(), PICTURES)]
    settings = {"against": (str(listed),), "coco_id": "image.coco_id"}
    rule = find_rule("image_name_on_list", settings)
    names = ("key", "url", "image_path", "images", "published:image.coco_id")
    table = pa.table([pa.array(["a", "b", "c"]), *nothing, numbers], names=names)
    falls = numbers.type not in (pa.bool_(), pa.null())
    assert rule.keep(table, **settings).to_pylist() == [not falls, True, True]
    if falls:
        assert rule.detail(table, **settings)[0].as_py() == " coco:9"
