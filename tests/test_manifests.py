from __future__ import annotations

import io
from collections import Counter
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from PIL import Image

import filters
from curate.adapters import adapter
from curate.manifest.builtin_files import folder, samples
from curate.manifest.load import builtin, image_folder, load, on_sample
from curate.manifest.settings import Manifest
from curate.marking import clean, judge
from curate.sources import expand, open_source
from curate.verifying.command import verify
from tests.curate.tasks_runs import curated

IMAGE_TEXT = ("laion", "laion-zh", "laion-coco", "coyo", "datacomp", "cc3m", "cc12m", "sbu", "coco")
TASKS = {
    "vqav2": "vqa",
    "gqa": "vqa",
    "vgqa": "vqa",
    "dvqa": "ocr_vqa",
    "ocr-vqa": "ocr_vqa",
    "docvqa": "ocr_vqa",
    "textvqa": "ocr_vqa",
    "chartqa": "vqa",
    "ai2d": "vqa",
    "grit": "grounded_caption",
    "visual-genome": "region_caption",
    "refcoco": "referring",
    "refcoco+": "referring",
    "refcocog": "referring",
    "text": "text",
}
RENDERED = ("pdf", "html", "synthdog-en", "synthdog-zh")  # see tests/curate/origins/test_origins.py
ACROSS = ("duplicate_pair", "placeholder_image", "shorter_text_of_same_image")
SIZES = frozenset({"width", "height"})


def sample(name: str, work: Path) -> tuple[Manifest, pa.Table]:
    """The manifest and its sample's rows, cleaned and judged by what needs no image."""
    manifest = on_sample(load(name))
    found = expand([str(samples() / manifest.input.sample)])[0]
    source = open_source(found, manifest.input, work)
    tables = [
        adapter(manifest.adapter)(pa.table(batch), manifest, found.name, 0)
        for batch in source.batches(0, source.rows)
    ]
    table = clean(pa.concat_tables(tables), manifest)
    rules = {name: of for name, of in manifest.active_rules().items() if name not in ACROSS}
    return manifest, judge(table, rules, "rules", SIZES)


def pictures(manifest: Manifest, table: pa.Table) -> list[bytes | None]:
    """The bytes of each row's image, from the table or the sample's folder."""
    images = table["image"].to_pylist()
    root = image_folder(manifest)
    if root is None:
        return images
    return [(root / path).read_bytes() for path in table["image_path"].to_pylist()]


@pytest.mark.parametrize("name", IMAGE_TEXT)
def test_every_image_text_manifest_says_what_the_paper_reports(name: str) -> None:
    manifest = load(name)
    assert manifest.name == name
    assert manifest.paper is not None
    assert manifest.paper.rows_before >= manifest.paper.rows_after > 0
    assert manifest.homepage.startswith("https://")
    assert manifest.licence


def test_the_nine_sets_add_up_to_table_2() -> None:
    papers = [load(name).paper for name in IMAGE_TEXT]
    assert sum(paper.rows_before for paper in papers if paper) == pytest.approx(5e9, rel=0.05)
    assert sum(paper.rows_after for paper in papers if paper) == pytest.approx(1.4e9, rel=0.15)


@pytest.mark.parametrize("name", IMAGE_TEXT)
def test_every_number_in_a_manifests_rules_has_its_reason_beside_it(name: str) -> None:
    lines = (folder() / f"{name}.toml").read_text(encoding="utf-8").splitlines()
    for before, line in zip(["", *lines], lines, strict=False):
        setting = line.split(" = ")[0]
        if setting in ("max_ratio", "min_side", "min_score", "min_chars", "max_chars", "max_texts"):
            assert "#" in line or before.startswith("#"), f"{name}: {line}"


@pytest.mark.parametrize("name", IMAGE_TEXT)
def test_every_sample_runs_without_a_network(name: str, tmp_path: Path) -> None:
    manifest, table = sample(name, tmp_path)
    alive = [row is None for row in table["dropped"].to_pylist()]
    images = [image for image, ok in zip(pictures(manifest, table), alive, strict=True) if ok]
    assert sum(alive) >= 15
    assert all(image is not None for image in images)


@pytest.mark.parametrize("name", IMAGE_TEXT)
def test_sample_sizes_are_those_of_the_pictures(name: str, tmp_path: Path) -> None:
    manifest, table = sample(name, tmp_path)
    wrong = Counter[Any]()
    for row, image in zip(table.to_pylist(), pictures(manifest, table), strict=True):
        if image is None or row["width"] is None or b"<!doctype" in image:
            continue
        wrong[Image.open(io.BytesIO(image)).size != (row["width"], row["height"])] += 1
    assert wrong[True] <= 1  # laion.parquet has one row whose published size is too large, on purpose


def test_a_row_of_laions_sample_falls_to_each_rule_on_metadata(tmp_path: Path) -> None:
    manifest, table = sample("laion", tmp_path)
    reasons = set(table["dropped"].to_pylist())
    judged = [name for name in manifest.active_rules() if name not in ACROSS]
    assert reasons >= {*judged, "text_missing", "image_missing"}


def test_laions_sample_has_rows_for_what_is_judged_later(tmp_path: Path) -> None:
    manifest, table = sample("laion", tmp_path)
    alive = [row for row in table.to_pylist() if row["dropped"] is None]
    assert max(Counter((row["url"], row["text"]) for row in alive).values()) > 1
    texts = Counter(image for image, _ in {(row["image"], row["text"]) for row in alive})
    assert max(texts.values()) > manifest.rules["placeholder_image"]["max_texts"]  # type: ignore[index]
    damaged = 0
    for row in alive:
        try:
            Image.open(io.BytesIO(row["image"])).load()
        except OSError:
            damaged += 1
    assert damaged == 2


def test_laions_sample_is_cleaned(tmp_path: Path) -> None:
    texts = sample("laion", tmp_path)[1]["text"].to_pylist()
    assert "Espresso & coffee – Pikolo Espresso Bar" in texts
    assert "Portrait of a tabby cat" in texts
    assert not any(text and ("<" in text or "&amp;" in text) for text in texts)


def test_samples_cover_both_languages(tmp_path: Path) -> None:
    assert set(sample("laion", tmp_path)[1]["language"].to_pylist()) == {"en", "zh"}
    assert set(sample("laion-zh", tmp_path)[1]["language"].to_pylist()) == {"zh"}


@pytest.mark.parametrize("name", TASKS)
def test_every_set_of_a_task_runs_on_its_sample(name: str, tmp_path: Path) -> None:
    manifest, kept = curated(name, tmp_path / "out")
    assert set(kept["task"].to_pylist()) == {TASKS[name]}
    assert kept.num_rows >= 3
    assert verify(str(tmp_path / "out"))["damaged"] == {}
    assert set(manifest["dropped"]) <= {
        "annotation_missing",
        "image_missing",
        "letters_not_drawn",
        "no_boxes_left",
        "question_missing",
        "row_not_selected",
        "text_missing",
    }


@pytest.mark.parametrize("name", sorted({*builtin()} - {*IMAGE_TEXT, *TASKS, *RENDERED}))
def test_any_other_set_runs_on_its_sample_without_a_network(name: str, tmp_path: Path) -> None:
    manifest, kept = curated(name, tmp_path / "out")
    assert kept.num_rows >= 1
    fetch = next(stage for stage in manifest["stages"] if stage["name"] == "fetch")
    assert fetch["rows_in"] == fetch["rows_out"]
    assert verify(str(tmp_path / "out"))["damaged"] == {}


@pytest.mark.parametrize("name", ["grit", "visual-genome", "refcoco", "refcoco+", "refcocog"])
def test_what_is_located_can_be_asked_in_both_directions(name: str, tmp_path: Path) -> None:
    asked, told = (
        curated(name, tmp_path / task, sets=[f"task={task}"])[1] for task in ("referring", "region_caption")
    )
    assert asked["key"].to_pylist() == told["key"].to_pylist()
    for one, other in zip(asked.to_pylist(), told.to_pylist(), strict=True):
        assert f"<ref>{one['text']}</ref>" in one["prompt"]
        assert one["target"] in other["prompt"]
        assert other["target"] == f" {one['text']}"


def test_every_picture_of_the_samples_is_credited() -> None:
    credits = (samples() / "CREDITS.md").read_text(encoding="utf-8")
    named = {
        name.strip()
        for line in credits.splitlines()
        if line.startswith("| ")
        for name in line.split("|")[1].split(",")
    }
    assert {path.stem for path in (samples() / "images").iterdir()} <= named
    assert {path.stem for path in (samples() / "tasks").rglob("*.*")} <= named


def test_rules_of_the_image_text_sets_are_known() -> None:
    for name in IMAGE_TEXT:
        assert set(load(name).active_rules()) <= set(filters.RULES)


def test_the_folder_of_the_samples_images_resolves_the_same_everywhere() -> None:
    manifest = on_sample(load("cc3m"))
    assert manifest.image.folder == "samples:images"
    assert image_folder(manifest) == samples() / "images"
    assert image_folder(load("cc3m")) is None
    assert on_sample(load("cc3m", ["image.folder=elsewhere"])).image.folder == "elsewhere"
    assert on_sample(load("laion")) == load("laion")


def test_the_thresholds_in_the_docs_are_those_of_the_manifests() -> None:
    lines = (Path(__file__).parents[1] / "docs" / "datasets.md").read_text(encoding="utf-8").splitlines()
    start = next(i for i, line in enumerate(lines) if line.startswith("| manifest | `max_ratio`"))
    settings = [cell.strip(" `") for cell in lines[start].split("|")[2:-1]]
    told = {}
    for line in lines[start + 2 : start + 2 + len(IMAGE_TEXT)]:
        name, *cells = [cell.strip(" `") for cell in line.split("|")[1:-1]]
        told[name] = {of: float(cell) for of, cell in zip(settings, cells, strict=True) if cell}
    for name in IMAGE_TEXT:
        rules = load(name).active_rules().values()
        assert told[name] == {of: value for rule in rules for of, value in rule.items() if of in settings}, (
            name
        )


def test_a_scan_with_a_stamp_falls_for_its_writing_however_short_the_stamp() -> None:
    judged = list(load("pdf").active_rules())
    assert judged.index("page_mostly_unlabelled") < judged.index("text_too_short")
