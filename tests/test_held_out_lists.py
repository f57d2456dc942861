"""Lists of held-out images: the one that ships, and those that are made of what data sets publish."""

from __future__ import annotations

import json
from pathlib import Path

import pyarrow.parquet as pq
import pytest

import curate
from curate.reporting.overlaps import overlaps
from curate.storage.store import Store
from tests.curate.runs import ROOT

SAMPLE = ROOT / "manifests" / "samples" / "refcoco"


def test_what_data_sets_hold_out_is_listed_and_a_run_honours_it(tmp_path: Path) -> None:
    splits = {"a": "train", "b": "restval", "c": "val", "d": "test"}
    karpathy = [
        {"filename": f"COCO_val2014_{n:012d}.jpg", "cocoid": n, "split": split, "sentences": []}
        for n, split in enumerate(splits.values(), 901)
    ]
    (tmp_path / "dataset_coco.json").write_text(json.dumps({"images": karpathy, "dataset": "coco"}))
    shared = [
        {"image_id": 1, "coco_id": 903},
        {"image_id": 2, "coco_id": 901},
        {"image_id": 3, "coco_id": None},
    ]
    (tmp_path / "image_data.json").write_text(json.dumps(shared))
    files = [tmp_path / "image_data.json", tmp_path / "dataset_coco.json", SAMPLE / "refs(unc).p"]
    made = curate.held_out(files, tmp_path / "held-out.txt")
    named = (tmp_path / "held-out.txt").read_text().split()
    assert made.images == len(named)
    assert made.splits["val"] >= 1
    assert made.splits["test"] == made.splits["by coco_id"] == 1
    assert {"coco:903", "coco:904", "1"} < set(named)
    assert not {"coco:901", "coco:902", "2", "3"} & set(named)
    everything = {"only.split": ["train", "val", "testA", "testB"]}
    sample = {"workers": 0, "progress": False}
    whole = curate.run("refcoco", tmp_path / "whole", settings=everything, **sample)  # type: ignore[arg-type]
    less = curate.run(
        "refcoco",
        tmp_path / "less",
        settings=everything | {"rules.image_name_on_list.against": str(tmp_path / "held-out.txt")},
        **sample,  # type: ignore[arg-type]
    )
    assert isinstance(whole, curate.RunResult)
    assert isinstance(less, curate.RunResult)
    assert less.dropped["image_name_on_list"] > 0
    assert less.rows_out < whole.rows_out


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        ("a.json", b'[{"image_id": 1}]', "no list of objects with"),
        ("a.csv", b"image_id,split_of\n1,val\n", "no column 'split', nor 'coco_id'"),
        ("a.csv", b"what,split\n1,val\n", "no column with an image's name"),
        ("a.csv", b"file_name,split\nx.jpg,train\ny.jpg,\n", "hold no image out"),
        ("a.json", b'[{"image_id": 1, "coco_id": 2}]', "hold no image out"),
        ("a.json", b'[{"split": "val"', "cannot read"),
        ("a.p", b"cos\nsystem\n(S'true'\ntR.", "not_plain"),
    ],
)
def test_what_holds_nothing_out_is_refused_in_a_line(
    tmp_path: Path, name: str, content: bytes, said: str
) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(curate.CurateError, match=said) as refused:
        curate.held_out(tmp_path / name, tmp_path / "held-out.txt")
    assert "\n" not in str(refused.value)
    assert not (tmp_path / "held-out.txt").exists()


def test_names_and_splits_of_hostile_files_stay_lines_of_their_own(tmp_path: Path) -> None:
    rows = [
        {"file_name": "a\nb.jpg", "split": "val"},
        {"file_name": "#c.jpg", "split": "x" * 300},
        {"file_name": None, "split": "test"},
        {"file_name": "d.jpg", "split": None},
    ]
    rows += [{"file_name": f"{name}.jpg", "split": "x" * 300 + name} for name in ("e", "f")]
    (tmp_path / "a.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    made = curate.held_out(tmp_path / "a.jsonl", tmp_path / "held-out.txt")
    assert (made.images, made.left_out, made.splits) == (2, 1, {"x" * 100: 2})
    assert (tmp_path / "held-out.txt").read_text() == "e\nf\n"


TESTED, TAUGHT = 391895, 3  # of Karpathy's split
VG_IMAGES = [
    {"image_id": number, "url": "http://x.example/a", "width": 9, "height": 9, "coco_id": coco}
    for number, coco in ((1, TESTED), (2, None), (3, TAUGHT), (TESTED, None))
]


@pytest.mark.parametrize(
    ("manifest", "files"),
    [
        (
            "coco",
            {
                "captions.json": [
                    {"file_name": f"COCO_val2014_{image:012d}.jpg", "caption": "A dog on a lawn."}
                    for image in (TESTED, TAUGHT)
                ]
            },
        ),
        (
            "vqav2",
            {
                "questions.json": {
                    "questions": [
                        {"question_id": image, "image_id": image, "question": "What is it?"}
                        for image in (TESTED, TAUGHT)
                    ]
                },
                "annotations.json": {
                    "annotations": [
                        {"question_id": image, "multiple_choice_answer": "a dog", "answers": []}
                        for image in (TESTED, TAUGHT)
                    ]
                },
            },
        ),
        (
            "visual-genome",
            {
                "image_data.json": VG_IMAGES,
                "region_descriptions.json": [
                    {
                        "id": one["image_id"],
                        "regions": [
                            {
                                "region_id": one["image_id"],
                                "phrase": "a dog",
                                "x": 1,
                                "y": 1,
                                "width": 5,
                                "height": 5,
                            }
                        ],
                    }
                    for one in VG_IMAGES
                ],
            },
        ),
        (
            "vgqa",
            {
                "image_data.json": VG_IMAGES,
                "question_answers.json": [
                    {
                        "id": one["image_id"],
                        "qas": [{"qa_id": one["image_id"], "question": "What is it?", "answer": "A dog."}],
                    }
                    for one in VG_IMAGES
                ],
            },
        ),
        (
            "llava-instruct",
            {
                "llava.json": [
                    {
                        "id": str(image),
                        "image": f"coco/train2017/{image:012d}.jpg",
                        "conversations": [
                            {"from": "human", "value": "<image>\nWhat is it?"},
                            {"from": "gpt", "value": "A dog."},
                        ],
                    }
                    for image in (TESTED, TAUGHT)
                ]
            },
        ),
    ],
)
def test_manifests_of_cocos_images_leave_karpathys_test_images_out(
    tmp_path: Path, manifest: str, files: dict[str, object]
) -> None:
    for name, content in files.items():
        (tmp_path / "in" / name).parent.mkdir(exist_ok=True)
        (tmp_path / "in" / name).write_text(json.dumps(content))
    given = {"workers": 0, "progress": False, "inputs": [tmp_path / "in"]}
    settings = {"image.folder": str(tmp_path), "fetch.retries": 0, "fetch.name_servers": ["127.0.0.1:1"]}
    done = curate.run(manifest, tmp_path / "out", settings=settings, **given)  # type: ignore[arg-type]
    assert isinstance(done, curate.RunResult)
    assert done.dropped["image_name_on_list"] == 1
    assert done.raw["manifest"]["rules"]["image_name_on_list"]["against"][0].startswith(
        "coco-karpathy-test@sha256:"
    )
    rows = pq.read_table(next((tmp_path / "out" / "_dropped").glob("*.parquet")))
    section = overlaps(Store(str(tmp_path / "out")), done.raw, rows)
    assert section is not None
    assert section.rules == [("image_name_on_list", 1, "coco-karpathy-test")]


def test_visual_genome_without_its_list_of_images_needs_no_column_of_it(tmp_path: Path) -> None:
    (tmp_path / "region_descriptions.json").write_text(
        json.dumps(
            [
                {
                    "id": TESTED,
                    "regions": [{"region_id": 1, "phrase": "a dog", "x": 1, "y": 1, "width": 5, "height": 5}],
                }
            ]
        )
    )
    done = curate.run(
        "visual-genome",
        tmp_path / "out",
        inputs=[tmp_path / "region_descriptions.json"],
        settings={"image.folder": str(tmp_path)},
        workers=0,
        progress=False,
    )
    assert isinstance(done, curate.RunResult)
    assert done.dropped == {"file_missing": 1}


def test_what_reads_no_table_has_no_column_of_numbers(tmp_path: Path) -> None:
    with pytest.raises(curate.InputError, match="reads the column 'image_id', and there is none"):
        curate.run(
            "text",
            tmp_path / "out",
            settings={"rules.image_name_on_list": {"against": ["coco-karpathy-test"], "coco_id": "image_id"}},
            workers=0,
            progress=False,
        )
