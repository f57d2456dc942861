from __future__ import annotations

import gzip
import json
from pathlib import Path
from typing import Any

import pytest

from curate.errors import InputError
from curate.manifest.settings import InputSettings
from curate.sources import DETAIL, PROBLEM, Source, expand, open_source


def opened(path: Path, content: Any) -> Source:
    if not isinstance(content, bytes):
        content = json.dumps(content).encode()
    path.write_bytes(content)
    return open_source(expand([str(path)])[0], InputSettings(), path.parent / "work")


def rows(source: Source) -> list[dict[str, Any]]:
    found = [row for batch in source.batches(0, source.rows) for row in batch.to_pylist()]
    return [{k: v for k, v in row.items() if k not in (PROBLEM, DETAIL)} for row in found]


def test_parallel_arrays_are_rows(tmp_path: Path) -> None:
    document = {"image_urls": ["u1", "u2", "u3"], "user_ids": ["a", "b"], "captions": ["x", "y", "z"]}
    assert rows(opened(tmp_path / "sbu.json", document)) == [
        {"image_urls": "u1", "user_ids": "a", "captions": "x"},
        {"image_urls": "u2", "user_ids": "b", "captions": "y"},
        {"image_urls": "u3", "user_ids": None, "captions": "z"},
    ]


def test_coco_annotations_carry_their_images_fields(tmp_path: Path) -> None:
    document = {
        "info": {"year": 2014, "nested": [{"x": [1]}]},
        "annotations": [{"image_id": 7, "id": 1, "caption": "a"}, {"image_id": 9, "id": 2, "caption": "b"}],
        "licenses": [{"id": 1}],
        "images": [{"id": 7, "file_name": "7.jpg", "height": 48, "width": 64}],
    }
    assert rows(opened(tmp_path / "coco.json", document)) == [
        {"id": 1, "file_name": "7.jpg", "height": 48, "width": 64, "image_id": 7, "caption": "a"},
        {"id": 2, "file_name": None, "height": None, "width": None, "image_id": 9, "caption": "b"},
    ]


@pytest.mark.parametrize(
    "document",
    [
        [{"a": 1}, {"a": 2}],
        {"info": "x", "data": [{"a": 1}, {"a": 2}], "tags": ["t"]},
    ],
)
def test_the_one_list_of_objects_holds_the_rows(tmp_path: Path, document: Any) -> None:
    assert [row["a"] for row in rows(opened(tmp_path / "a.json", document))] == [1, 2]


@pytest.mark.parametrize("more", [{}, {"id": "x"}, {"images": ["a.jpg"]}, {"images": [{"path": "a.jpg"}]}])
@pytest.mark.parametrize(("name", "said"), [("messages", "role"), ("conversations", "from")])
def test_an_object_with_the_turns_of_a_dialogue_is_one_row(
    tmp_path: Path, name: str, said: str, more: dict[str, Any]
) -> None:
    document = more | {name: [{said: "user", "x": "hi"}, {said: "assistant", "x": "yo"}]}
    [row] = rows(opened(tmp_path / "a.json", document))
    assert set(row) == {*more, name}


def test_a_list_of_dialogues_that_is_named_so_holds_rows(tmp_path: Path) -> None:
    talk = {"messages": [{"role": "user", "content": "hi"}]}
    assert len(rows(opened(tmp_path / "a.json", {"conversations": [talk, talk]}))) == 2


def test_an_object_of_objects_is_rows_with_their_names(tmp_path: Path) -> None:
    document = {"q1": {"question": "?"}, "q2": {"question": "!"}}
    assert rows(opened(tmp_path / "a.json", document)) == [
        {"__key__": "q1", "question": "?"},
        {"__key__": "q2", "question": "!"},
    ]


def test_a_packed_document_with_a_mark_and_broken_utf8_is_read(tmp_path: Path) -> None:
    content = b'\xef\xbb\xbf[{"a":"caf\xe9"},{"a":"ok"}]'
    assert [row["a"] for row in rows(opened(tmp_path / "a.json.gz", gzip.compress(content)))] == [
        "caf\ufffd",
        "ok",
    ]


def test_numbers_keep_their_kind_and_size(tmp_path: Path) -> None:
    assert rows(opened(tmp_path / "a.json", [{"i": 2**60 + 1, "f": 0.5}])) == [{"i": 2**60 + 1, "f": 0.5}]


def test_items_that_are_no_object_stay_as_rows_of_no_use(tmp_path: Path) -> None:
    source = opened(tmp_path / "a.json", [{"a": 1}, 5, "x"])
    problems = [p for batch in source.batches(0, 3) for p in batch.column(PROBLEM).to_pylist()]
    assert problems == [None, "row_malformed", "row_malformed"]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"5", "one JSON value"),
        (b"[]", "holds no row"),
        (b"{}", "cannot tell which part"),
        (b'{"a":[{"x":1}],"b":[{"x":1}]}', "cannot tell which part.*'a'.*'b'"),
        (b'[{"a":1},{"a":', "cannot read"),
        (b'[{"a":1}}', "cannot read"),
        (b"not json", "cannot read"),
        (b'{"a":[{"b":', "cannot read"),
    ],
)
def test_what_holds_no_rows_is_refused_in_one_line(tmp_path: Path, content: bytes, message: str) -> None:
    with pytest.raises(InputError, match=message) as caught:
        opened(tmp_path / "a.json", content)
    assert "\n" not in str(caught.value)
    assert not list((tmp_path / "work").glob("*"))
