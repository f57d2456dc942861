"""Training stages as recipes."""

from __future__ import annotations

from pathlib import Path

import pytest

from curate import api
from curate.errors import ManifestError
from curate.packing.mix import Amount, epochs, reached
from curate.packing.recipe import load_recipe, recipe_names
from curate.packing.settings import PackSettings
from tests.curate.made_shards import make_shards

STAGES = ("qwen-vl-stage1", "qwen-vl-stage2", "qwen-vl-stage3")


def test_the_built_in_recipes_have_the_papers_counts() -> None:
    assert recipe_names() == list(STAGES)
    totals = [sum(one.samples for one in load_recipe(name).source) for name in STAGES]
    assert totals == [1_417_400_000, 76_800_000, 350_000]
    assert [load_recipe(name).image_side for name in STAGES] == [224, 448, 448]
    assert [PackSettings(recipe=name).with_recipe().seq_len for name in STAGES] == [512, 2048, 2048]


def test_a_scale_takes_that_share_of_every_count() -> None:
    mix = load_recipe("qwen-vl-stage2").mix(0.001)
    there = {
        ("coco", "caption"): Amount(40_000),
        ("vqav2", "vqa"): Amount(5_000),
        ("a", "ocr_vqa"): Amount(3_000),
    }
    seen = epochs(mix, there)
    assert seen["coco", "caption"] * 40_000 == pytest.approx(19_700)
    assert seen["vqav2", "vqa"] == seen["a", "ocr_vqa"] == pytest.approx(3_600 / 8_000)
    told = reached(mix, there)["recipe"]
    assert told["scale"] == told["asked"] == 0.001
    assert {one["task"] for one in told["absent"]} == {
        "grounded_caption", "referring", "region_caption", ("ocr", "ocr_structured"), "text",
    }  # fmt: skip


def test_the_scarcest_source_shrinks_the_whole_mixture() -> None:
    there = {("coco", "caption"): Amount(197), ("vqav2", "vqa"): Amount(36_000)}
    mix = load_recipe("qwen-vl-stage2").mix(0.001)
    seen = epochs(mix, there)
    assert seen["coco", "caption"] == pytest.approx(1)
    assert seen["vqav2", "vqa"] * 36_000 == pytest.approx(36)
    assert reached(mix, there)["recipe"]["scale"] == pytest.approx(197 / 19_700_000)


def test_what_is_given_goes_before_the_recipe() -> None:
    assert PackSettings(recipe="qwen-vl-stage1", seq_len=1024).with_recipe().seq_len == 1024
    for settings, message in (
        (PackSettings(recipe="qwen-vl-stage4"), "no recipe"),
        (PackSettings(recipe="qwen-vl-stage1", scale=0), "scale must be"),
        (PackSettings(recipe="qwen-vl-stage1", mix="mix.toml"), "either mix or recipe"),
    ):
        with pytest.raises(ManifestError, match=message):
            settings.with_recipe()


def test_a_recipe_of_ones_own_is_checked(tmp_path: Path) -> None:
    path, head = tmp_path / "mine.toml", 'name = "mine"\ntitle = "Mine"\nimage_side = 448\n'
    for text, message in (
        (head, "has no source"),
        (f"{head}[[source]]\nsamples = -1\n", "weight must be from 0"),
        (f'{head}[[source]]\nsamples = 1\ncolour = "red"\n', "colour"),
        (f"{head}[pack]\nlength = 3\n[[source]]\nsamples = 1\n", "no setting length"),
        (f'{head}[pack]\nseq_len = "long"\n[[source]]\nsamples = 1\n', "seq_len"),
    ):
        path.write_text(text)
        with pytest.raises(ManifestError, match=message):
            PackSettings(recipe=str(path)).with_recipe()


def test_what_a_recipe_has_no_source_for_is_named(tmp_path: Path) -> None:
    shards = make_shards(tmp_path / "shards", rows=7, shards=1, tasks=("caption",))
    with pytest.raises(
        ManifestError, match="the recipe has no source for made-caption's caption: pack without it"
    ):
        api.pack(shards, tmp_path / "packs", recipe="qwen-vl-stage3", workers=0)


def test_packs_of_a_stage_say_what_was_reached(tmp_path: Path) -> None:
    shards = make_shards(tmp_path / "shards", rows=120, shards=1)
    packed = api.pack(shards, tmp_path / "packs", recipe="qwen-vl-stage2", scale=0.000001).raw
    assert packed["settings"]["recipe"] == "qwen-vl-stage2"
    assert packed["recipe"]["absent"] == []
    assert packed["recipe"]["scale"] <= 0.000001
    wanted = {
        "caption": 19.7,
        "grounded_caption": 3.5,
        "referring": 8.7,
        "region_caption": 8.7,
        "ocr": 24.8,
        "text": 7.8,
    }
    total = sum(of["samples"] for of in packed["tasks"].values())
    for task, share in wanted.items():
        expected = share * 1e6 * packed["recipe"]["scale"]
        assert abs(packed["tasks"].get(task, {"samples": 0})["samples"] - expected) <= 6
    assert total > 20
