from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from curate.adapters import check_task
from curate.adapters.questions import best, questions
from curate.errors import InputError, ManifestError
from curate.manifest.load import load
from curate.manifest.settings import Manifest
from curate.sources import PROBLEM
from tests.curate.runs import dropped
from tests.curate.tasks_runs import curated, write_json, write_picture

DATA = Path(__file__).parents[4] / "shared" / "data"
real = pytest.mark.skipif(not DATA.is_dir(), reason="needs the read-only test data beside the repository")


def said(*answers: tuple[str, str | None]) -> list[dict[str, Any]]:
    return [{"answer": answer, "answer_confidence": sure} for answer, sure in answers]


def winner(*answers: tuple[str, str | None]) -> str | None:
    table = pa.table({"answers": [said(*answers)]})
    answer: str | None = best(table["answers"], table.schema.field("answers"))[0].as_py()
    return answer


def test_the_answer_of_the_highest_confidence_wins() -> None:
    assert winner(("red", "maybe"), ("red", "maybe"), ("orange", "yes"), ("orange", "maybe")) == "orange"
    assert winner(("no", "no"), ("no", "no"), ("no", "no"), ("yes", "maybe")) == "yes"


def test_equally_sure_answers_go_to_the_one_that_more_people_gave() -> None:
    assert winner(("one", "yes"), ("two", "maybe"), ("two", "maybe")) == "two"
    assert winner(("a", "no"), ("b", "no"), ("b", "no")) == "b"


def test_full_ties_go_to_the_first_answer() -> None:
    assert winner(("left", "yes"), ("right", "yes")) == "left"


def test_an_answer_of_unknown_confidence_counts_as_sure() -> None:
    assert winner(("a", "maybe"), ("b", None)) == "b"
    assert winner((" ", "yes"), ("b", "no")) == "b"
    assert winner((" ", "yes")) is None


def test_answers_without_confidences_are_counted() -> None:
    table = pa.table({"answers": [["a", "b", "b"], ["x", "y"], [], None]})
    assert best(table["answers"], table.schema.field("answers")).to_pylist() == ["b", "x", None, None]


def test_rows_do_not_share_their_answers() -> None:
    table = pa.table({"answers": [said(("a", "yes")), said(("b", "no"), ("a", "no"))]})
    assert best(table["answers"], table.schema.field("answers")).to_pylist() == ["a", "b"]


def test_a_question_without_question_or_answer_or_id_is_dropped_by_name() -> None:
    manifest = load("gqa", ["image.folder=somewhere"])
    rows = [("1", "Who?", "me"), ("2", None, "me"), ("3", "Who?", " "), (None, "Who?", "me")]
    table = pa.table(
        {
            "question_id": [row[0] for row in rows],
            "question": [row[1] for row in rows],
            "answer": [row[2] for row in rows],
            "imageId": ["n1"] * 4,
        }
    )
    made = questions(table, manifest, "a.json", 0)
    assert made["dropped"].to_pylist() == [None, "question_missing", "answer_missing", "id_missing"]
    assert made["text"][0].as_py() == "Who? me"
    assert made["image_path"][0].as_py() == "n1"


def test_a_book_is_unfolded_into_its_questions() -> None:
    manifest = load("ocr-vqa", ["image.folder=somewhere"])
    table = pa.table(
        {
            "__key__": ["b1", "b2", "b3"],
            "questions": [["Who wrote this?", "What is it?"], [], ["Is this it?"]],
            "answers": [["Ann"], [], ["Yes", "No"]],
            "split": [1, 1, 3],
            PROBLEM: pa.nulls(3, pa.string()),
        }
    )
    made = questions(table, manifest, "dataset.json", 10)
    assert made["source"].to_pylist() == [
        f"dataset.json#{n}" for n in ("10/0", "10/1", "11/0", "12/0", "12/1")
    ]
    assert made["dropped"].to_pylist() == [
        None,
        "answer_missing",
        "questions_missing",
        "row_not_selected",
        "row_not_selected",
    ]


def test_an_adapter_refuses_a_task_that_it_cannot_make() -> None:
    with pytest.raises(ManifestError, match="'questions' has no task 'caption'"):
        check_task(load("gqa", ["task=caption"]))


def annotated(folder: Path, questions: list[Any], annotations: list[Any]) -> list[Path]:
    return [
        write_json(folder / "questions.json", {"info": {}, "questions": questions}),
        write_json(folder / "annotations.json", {"data_subtype": "train2014", "annotations": annotations}),
    ]


def question(number: int, image: int = 9) -> dict[str, Any]:
    return {"question_id": number, "image_id": image, "question": f"How many of number {number}?"}


def annotation(number: int, answer: str = "two") -> dict[str, Any]:
    return {"question_id": number, "image_id": 9, "answers": said((answer, "yes"))}


def test_every_question_and_every_annotation_of_vqav2_ends_somewhere(tmp_path: Path) -> None:
    write_picture(tmp_path / "images" / "train2014" / "COCO_train2014_000000000009.jpg", 40, 30)
    files = annotated(
        tmp_path / "in",
        [question(1), question(2), question(1), question(3, image=404), question(4)],
        [annotation(1), annotation(1, "three"), annotation(3), annotation(4), annotation(5)],
    )
    manifest, kept = curated("vqav2", tmp_path / "out", files, [f"image.folder={tmp_path / 'images'}"])
    assert kept["target"].to_pylist() == [" two", " two"]
    assert manifest["dropped"] == {
        "annotation_missing": 1,  # question 2
        "file_missing": 1,  # image 404
        "id_repeated": 2,  # the second question 1, the second annotation 1
        "question_missing": 1,  # annotation 5
    }
    assert manifest["rows_in"] == 7


def test_an_annotation_file_cut_short_is_an_error_before_anything_is_written(tmp_path: Path) -> None:
    files = annotated(tmp_path / "in", [question(1)], [annotation(1), annotation(2)])
    files[1].write_text(files[1].read_text()[:-40])
    with pytest.raises(InputError, match=r"annotations.json: .*parse error|premature|Incomplete"):
        curated("vqav2", tmp_path / "out", files)
    assert not (tmp_path / "out").exists()


def test_questions_without_their_annotations_are_refused(tmp_path: Path) -> None:
    files = annotated(tmp_path / "in", [question(1)], [annotation(1)])
    with pytest.raises(
        InputError, match="no annotations: give the file with a list of objects that have 'answers'"
    ):
        curated("vqav2", tmp_path / "out", files[:1])
    with pytest.raises(InputError, match="no list of objects with 'question'"):
        curated("vqav2", tmp_path / "out", files[1:])


def test_an_id_that_a_json_object_has_twice_is_dropped_the_second_time(tmp_path: Path) -> None:
    write_picture(tmp_path / "images" / "n1.jpg", 40, 30)
    entry = json.dumps({"imageId": "n1", "question": "Is it?", "answer": "yes"})
    (tmp_path / "gqa.json").write_text(f'{{"07": {entry}, "08": {entry}, "07": {entry}}}')
    sets = [f"image.folder={tmp_path / 'images'}"]
    manifest, kept = curated("gqa", tmp_path / "out", [tmp_path / "gqa.json"], sets)
    assert manifest["rows_out"] == kept.num_rows == 2
    assert dropped(tmp_path / "out") == {"gqa.json#2": "id_repeated"}


def flat(name: str) -> Manifest:
    return load(name, ["image.folder=somewhere"])


@real
def test_real_questions_pass_unchanged() -> None:
    lines = (DATA / "vqa_mix" / "mathvista_subset.jsonl").read_text().splitlines()
    rows = [json.loads(line) for line in lines]
    table = pa.table(
        {
            "question_id": [row["pid"] for row in rows],
            "question": [row["question"] for row in rows],
            "answer": [row["answer"] for row in rows],
            "image": [row["image"] for row in rows],
        }
    )
    made = questions(table, flat("dvqa"), "vqa_mix", 0)
    assert made["dropped"].null_count == len(rows)
    assert made["answer"].to_pylist() == [row["answer"].strip() for row in rows]
    assert len(set(made["key"].to_pylist())) == len(rows)


@real
@pytest.mark.parametrize("path", ["vqa_answers/vqa_label2ans.jsonl", "gqa_answers/gqa_label2ans.jsonl"])
def test_real_answers_are_what_they_were(path: str) -> None:
    answers = [json.loads(line)["answer"] for line in (DATA / path).read_text().splitlines()]
    table = pa.table({"answers": [said((answer, "yes"), ("zzz", "maybe")) for answer in answers]})
    found = best(table["answers"], table.schema.field("answers")).to_pylist()
    assert found == [answer.strip() or "zzz" for answer in answers]
