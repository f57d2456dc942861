from __future__ import annotations

import json
import pickle
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from curate import tasks
from curate.adapters.grit import grit
from curate.adapters.regions import regions
from curate.errors import InputError
from curate.manifest.load import load
from curate.reporting.explain import explain
from tests.curate.tasks_runs import corners, curated, write_json, write_picture

DATA = Path(__file__).parents[4] / "shared" / "data"
real = pytest.mark.skipif(not DATA.is_dir(), reason="needs the read-only test data beside the repository")

NAN, INFINITE = float("nan"), float("inf")


def boxes(*given: Any) -> pa.Table:
    manifest = load("refcoco", ["image.folder=somewhere"])
    table = pa.table(
        {
            "sents": ["a man"] * len(given),
            "bbox": pa.array(given, pa.list_(pa.float64())),
            "img_id": ["COCO_train2014_000000000009_1"] * len(given),
            "width": [100] * len(given),
            "height": [80] * len(given),
        }
    )
    return regions(table, manifest, "refs", 0)


def test_boxes_are_clipped_to_the_published_image() -> None:
    made = boxes([10, 10, 20, 30], [-5, 70, 20, 30])
    assert [corners(row) for row in made.to_pylist()] == [[[10, 10, 30, 40]], [[0, 70, 15, 80]]]
    assert made["regions"][0].as_py()[0]["quad"] == [10, 10, 30, 10, 30, 40, 10, 40]


@pytest.mark.parametrize(
    "box",
    [
        [10, 10, 0, 5],
        [10, 10, -4, 5],
        [200, 10, 20, 30],
        [NAN, 1, 2, 3],
        [1, 1, INFINITE, 3],
        [1, 2, 3],
        [1, 2, 3, 4, 5],
        None,
    ],
)
def test_a_broken_box_leaves_its_row_without_one(box: Any) -> None:
    row = boxes(box, [10, 10, 20, 30]).to_pylist()
    assert [one["dropped"] for one in row] == ["no_boxes_left", None]
    assert row[0]["regions"] == []
    assert row[0]["detail"]


def visual_genome(folder: Path, key: str = "region_id") -> list[Path]:
    region = {key: 7, "image_id": 1, "phrase": "a cat ", "x": 10, "y": 20, "width": 30, "height": 40}
    last = region | {key: 8, "phrase": "its tail", "x": 90, "y": 70, "width": 90, "height": 90}
    outside = region | {key: 9, "phrase": "a ghost", "x": 300}
    image = {"url": "https://example.org/1.jpg", "width": 100, "height": 80, "coco_id": None}
    main, other = ({"id": 1}, {"image_id": 1}) if key == "region_id" else ({"image": 1, "id": 1}, {"id": 1})
    return [
        write_json(folder / "region_descriptions.json", [main | {"regions": [region, last, outside]}]),
        write_json(folder / "image_data.json", [image | other]),
    ]


@pytest.mark.parametrize("key", ["region_id", "id"])  # v1.2 and v1.0
def test_visual_genomes_boxes_follow_the_image_that_is_stored(key: str, tmp_path: Path) -> None:
    write_picture(tmp_path / "images" / "VG_100K" / "1.jpg", 50, 40)  # half the published size
    files = visual_genome(tmp_path / "in", key)
    sets = [f"image.folder={tmp_path / 'images'}"]
    manifest, kept = curated("visual-genome", tmp_path / "out", files, sets)
    assert [corners(row) for row in kept.to_pylist()] == [[[5, 10, 20, 30]], [[45, 35, 50, 40]]]
    assert manifest["dropped"] == {"no_boxes_left": 1}
    assert (manifest["inputs_in"], manifest["rows_in"]) == (1, 3)
    assert kept["prompt"][0].as_py().endswith("<ref>This</ref><box>(100,250),(400,750)</box> is")
    assert kept["target"].to_pylist() == [" a cat", " its tail"]


def test_numbers_that_are_none_cost_their_box_and_not_their_file(tmp_path: Path) -> None:
    write_picture(tmp_path / "images" / "1.jpg", 100, 80)
    files = visual_genome(tmp_path / "in")
    for whole, name in (('"width": 90', '"width": -Infinity'), ('"x": 300', '"x": NaN')):
        files[0].write_text(files[0].read_text().replace(whole, name))
    sets = [f"image.folder={tmp_path / 'images'}"]
    manifest, kept = curated("visual-genome", tmp_path / "out", files, sets)
    assert kept["text"].to_pylist() == ["a cat"]
    assert manifest["dropped"] == {"no_boxes_left": 2}  # the tail and the ghost


def test_boxes_are_shrunk_with_their_image(tmp_path: Path) -> None:
    write_picture(tmp_path / "images" / "1.jpg", 100, 80)
    files = visual_genome(tmp_path / "in")
    sets = [f"image.folder={tmp_path / 'images'}", "image.max_side=50", "task=referring"]
    _, kept = curated("visual-genome", tmp_path / "out", files, sets)
    assert kept["width"].to_pylist() == [50, 50]
    assert corners(kept.to_pylist()[0]) == [[5, 10, 20, 30]]
    assert kept["target"][0].as_py() == "<box>(100,250),(400,750)</box>"


def test_images_are_told_from_what_nobody_described(tmp_path: Path) -> None:
    files = visual_genome(tmp_path / "in")
    document = [*json.loads(files[0].read_text()), {"id": 1, "regions": []}, {"id": 2, "regions": []}]
    write_json(files[0], document)
    write_picture(tmp_path / "images" / "1.jpg", 100, 80)
    sets = [f"image.folder={tmp_path / 'images'}"]
    manifest, _ = curated("visual-genome", tmp_path / "out", files, sets)
    assert manifest["dropped"] == {"image_missing": 1, "no_boxes_left": 1, "regions_missing": 1}
    assert (manifest["inputs_in"], manifest["rows_in"]) == (3, 5)


def refs_of(rows: list[dict[str, Any]]) -> tuple[list[dict[str, Any]], dict[str, Any]]:
    """MiniGPT-4's flat rows in the form that refer publishes."""
    refs: dict[tuple[str, str], dict[str, Any]] = {}
    images: dict[int, dict[str, Any]] = {}
    annotations = []
    for number, row in enumerate(rows):
        image = int(row["img_id"].split("_")[2])
        place = (row["img_id"], str(row["bbox"]))
        if place not in refs:
            annotations.append({"id": len(refs), "image_id": image, "bbox": row["bbox"], "segmentation": []})
            about = {"ref_id": len(refs), "ann_id": len(refs), "image_id": image, "split": "train"}
            refs[place] = about | {"file_name": f"{row['img_id']}.jpg", "sentences": []}
        said = row["sents"]
        refs[place]["sentences"].append(
            {"sent_id": number, "sent": said, "raw": said, "tokens": said.split()}
        )
        name = f"COCO_train2014_{image:012d}.jpg"
        images[image] = {"id": image, "file_name": name, "width": row["width"], "height": row["height"]}
    return list(refs.values()), {"images": list(images.values()), "annotations": annotations}


@real
def test_real_references_go_through_as_published(tmp_path: Path) -> None:
    rows = [
        json.loads(line)
        for path in sorted((DATA / "refcoco").glob("refcoco_*.jsonl"))
        for line in path.read_text().splitlines()[:100]
    ]
    refs, instances = refs_of(rows)
    (tmp_path / "refs(unc).p").write_bytes(pickle.dumps(refs, protocol=2))
    write_json(tmp_path / "instances.json", instances)
    for image in instances["images"]:
        size = image["width"] // 4, image["height"] // 4
        write_picture(tmp_path / "images" / f"{image['id']:012d}.jpg", *size)  # as COCO 2017 names them
    files = [tmp_path / "refs(unc).p", tmp_path / "instances.json"]
    sets = [f"image.folder={tmp_path / 'images'}"]
    manifest, kept = curated("refcoco", tmp_path / "out", files, sets)
    assert manifest["rows_in"] == manifest["rows_out"] == len(rows)
    by_text = {(row["text"], row["target"]) for row in kept.to_pylist()}
    for row in rows:
        x, y, width, height = row["bbox"]
        # the shrunk image's sides are whole, so its steps may differ by rounding
        close = [target for text, target in by_text if text == row["sents"].strip()]
        read = [tasks.parse("referring", target, row["width"], row["height"]).regions[0] for target in close]
        step = 2 * max(row["width"], row["height"]) / 1000 + 1
        assert any(
            abs(q.quad[0] - x) < step and abs(q.quad[1] - y) < step and abs(q.quad[4] - x - width) < step
            and abs(q.quad[5] - y - height) < step
            for q in read
        ), row  # fmt: skip


@real
def test_real_rows_of_every_split_have_boxes_in_their_images() -> None:
    for path in sorted((DATA / "refcoco").glob("*.jsonl")):
        rows = [json.loads(line) for line in path.read_text().splitlines()]
        names = ("sents", "bbox", "img_id", "width", "height")
        table = pa.table({name: [row[name] for row in rows] for name in names})
        made = regions(table, load("refcoco", ["image.folder=somewhere"]), path.name, 0)
        lost = [row for row in made.to_pylist() if row["dropped"]]
        assert lost == [], path.name
        sound = tasks.faults(made)
        assert sound.null_count == len(rows), path.name


class Evil:
    def __reduce__(self) -> Any:
        return (print, ("looked up",))


def test_a_pickle_that_names_anything_is_refused(tmp_path: Path) -> None:
    (tmp_path / "refs(unc).p").write_bytes(pickle.dumps([{"sentences": Evil()}], protocol=2))
    write_json(tmp_path / "instances.json", {"images": [{"id": 1, "file_name": "a"}], "annotations": []})
    files = [tmp_path / "refs(unc).p", tmp_path / "instances.json"]
    with pytest.raises(InputError, match=r"pickle_not_plain: it names .*print, which is not looked up"):
        curated("refcoco", tmp_path / "out", files)
    endless: list[Any] = []
    endless.append(endless)
    (tmp_path / "refs(unc).p").write_bytes(pickle.dumps([{"sentences": endless}], protocol=2))
    with pytest.raises(InputError, match="pickle_not_plain: Circular"):
        curated("refcoco", tmp_path / "out", files)
    (tmp_path / "refs(unc).p").write_bytes(b"\x80\x02]q\x00(K")
    with pytest.raises(InputError, match="pickle_damaged"):
        curated("refcoco", tmp_path / "out", files)
    (tmp_path / "refs(unc).p").write_bytes(b"Pname\n.")  # the unpickler says why in two lines
    with pytest.raises(InputError, match=r"^[^\n]*pickle_damaged: [^\n]*$"):
        curated("refcoco", tmp_path / "out", files)
    assert not (tmp_path / "out").exists()


def labels(caption: str, *phrases: tuple[str, list[float]]) -> list[list[float]]:
    return [[caption.index(p), caption.index(p) + len(p), *box, 0.9] for p, box in phrases]


CAPTION = "🐝 bees in 春天 near a hive of 蜜蜂"


def grounded(task: str = "grounded_caption") -> list[dict[str, Any]]:
    found = labels(
        CAPTION,
        ("bees", [0.1, 0.1, 0.2, 0.2]),
        ("bees", [0.5, 0.5, 0.75, 1.0]),
        ("a hive", [0.2, 0.2, 0.4, 0.6]),
    )
    table = pa.table(
        {
            "url": ["https://example.org/1.jpg", "https://example.org/2.jpg"],
            "caption": [CAPTION, "nothing is located here"],
            "width": [200, 200],
            "height": [100, 100],
            "noun_chunks": [found, [[0.0, 7.0, 0.6, 0.1, 0.5, 0.2, 0.8]]],
            "ref_exps": [labels(CAPTION, ("a hive of 蜜蜂", [0.2, 0.2, 0.4, 0.6])), []],
        }
    )
    sets = [f"task={task}", "rules.text_has_emoji=false", "rules.text_has_other_script=false"]
    rows: list[dict[str, Any]] = grit(table, load("grit", sets), "grit", 0).to_pylist()
    return rows


def test_grits_spans_read_their_phrases() -> None:
    kept, lost = grounded()
    assert {CAPTION[r["start"] : r["end"]] for r in kept["regions"]} == {r["text"] for r in kept["regions"]}
    assert [r["text"] for r in kept["regions"]] == ["bees", "bees", "a hive of 蜜蜂"]
    assert corners(kept) == [
        pytest.approx(box) for box in ([20, 10, 40, 20], [100, 50, 150, 100], [40, 20, 80, 60])
    ]
    assert lost["dropped"] == "no_boxes_left"


@pytest.mark.parametrize("task", ["referring", "region_caption"])
def test_each_phrase_of_grit_is_a_record_with_all_its_boxes(task: str) -> None:
    bees, hive, lost = grounded(task)
    assert (bees["text"], hive["text"], lost["dropped"]) == (
        "bees",
        "a hive of 蜜蜂",  # of equally many boxes the longer phrase stays
        "no_boxes_left",
    )
    assert [len(one["regions"]) for one in (bees, hive)] == [2, 1]
    assert [one["source"] for one in (bees, hive, lost)] == ["grit#0/0", "grit#0/1", "grit#1"]
    assert len({one["key"] for one in (bees, hive, lost)}) == 3


def test_rules_on_text_judge_grits_captions_and_not_its_phrases(tmp_path: Path) -> None:
    write_picture(tmp_path / "images" / "1.jpg", 300, 300)
    captions = ["a bee on a rose", "a bee", "a bee on 🌹"]
    rows = {
        "url": ["https://example.org/1.jpg"] * 3,
        "caption": captions,
        "noun_chunks": [labels(caption, ("bee", [0.1, 0.1, 0.2, 0.2])) for caption in captions],
        "ref_exps": [[], [], []],
    }
    pq.write_table(pa.table(rows), tmp_path / "grit.parquet")
    sets = ["task=referring", f"image.folder={tmp_path / 'images'}"]
    manifest, kept = curated("grit", tmp_path / "out", [tmp_path / "grit.parquet"], sets)
    assert kept["text"].to_pylist() == ["bee"]
    assert manifest["dropped"] == {"text_has_emoji": 1, "text_too_short": 1}
    told = explain(str(tmp_path / "out"), kept["key"][0].as_py())
    judged = {step["rule"]: step.get("value") for step in told["way"] if "rule" in step}
    assert judged["text_too_short"] == "of its caption"


@real
def test_grits_real_row_keeps_its_two_boxes() -> None:
    row = json.loads((DATA / "grit" / "grit_rows.jsonl").read_text())
    made = grit(pa.Table.from_pylist([row]), load("grit"), "grit", 0)
    assert made["dropped"].to_pylist() == [None]
    _, target = tasks.render(made, pa.array(["grit/1.jpg"]))
    assert target.to_pylist() == [
        " <ref>a wire hanger</ref><box>(19,27),(959,969)</box> with "
        "<ref>a paper cover that reads we heart our customers</ref><box>(19,310),(962,960)</box>"
    ]


def repeated(count: int) -> Iterator[dict[str, Any]]:
    for number in range(count):
        yield {"id": number, "image_id": 1, "bbox": [1, 1, 5, 5]}


def test_contradicting_annotations_of_one_id_are_counted_and_equal_ones_are_one(tmp_path: Path) -> None:
    write_picture(tmp_path / "images" / "000000000001.jpg", 40, 30)
    sentence = {"sent_id": 1, "sent": "it", "raw": "it", "tokens": []}
    ref = {"ref_id": 1, "ann_id": 1, "image_id": 1, "split": "train", "sentences": [sentence]}
    dangling = ref | {"ann_id": 99, "sentences": [sentence | {"sent_id": 2}]}
    (tmp_path / "refs(unc).p").write_bytes(pickle.dumps([ref, dangling], protocol=2))
    annotations = [*repeated(3), *repeated(1), {"id": 1, "image_id": 1, "bbox": [2, 2, 9, 9]}]
    images = [{"id": 1, "file_name": "COCO_train2014_000000000001.jpg", "width": 40, "height": 30}]
    write_json(tmp_path / "instances.json", {"images": images, "annotations": annotations})
    files = [tmp_path / "refs(unc).p", tmp_path / "instances.json"]
    manifest, kept = curated("refcoco", tmp_path / "out", files, [f"image.folder={tmp_path / 'images'}"])
    assert manifest["dropped"] == {"annotation_missing": 1, "id_repeated": 1}
    assert corners(kept.to_pylist()[0]) == [[1, 1, 6, 6]]
