from __future__ import annotations

import json
import subprocess
import sys
from collections import defaultdict
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from curate.errors import ManifestError
from curate.tasks import image_costs, load_dialect

ROOT = Path(__file__).parents[3]
SIZES = ROOT.parent / "shared" / "dialects" / "sizes.jsonl"

# width, height, then tokens in the dialects of COLUMNS: published by the trainers' and transformers' own code
COLUMNS = (
    "qwen2.5-vl",
    "qwen2.5-vl:qwenvl-finetune",
    "qwen2.5-vl:llamafactory",
    "qwen3-vl",
    "qwen3-vl:qwen-vl-utils",
    "internvl3",
    "llava-onevision",
)
KNOWN = """
1 1 4 16 4 64 4 256 1485
224 224 64 64 64 64 49 256 1485
333 500 216 216 216 160 160 1792 1849
448 448 256 256 256 196 196 256 3699
480 640 391 391 391 300 300 3328 2943
640 480 391 391 391 300 300 3328 2929
1001 1001 1296 529 729 961 961 2560 7371
1024 768 999 540 768 768 768 3328 4725
1920 1080 2691 576 777 2040 2040 2304 7269
2480 3508 11125 560 759 8580 8580 1792 7353
10000 10000 16129 576 729 16384 16384 2560 7371
3000 50 214 214 214 188 188 3328 1218
10 2000 29 57 71 114 62 3328 1053
28 5600 200 200 200 175 175 3328 1053
"""


def costs(name: str, sizes: list[tuple[int, int]], **settings: Any) -> Any:
    width, height = np.array(sizes).T
    return image_costs(load_dialect(name, settings).cost, width, height)


def test_an_image_costs_what_the_trainers_own_code_says() -> None:
    rows = [list(map(int, line.split())) for line in KNOWN.split("\n") if line]
    for column, name in enumerate(COLUMNS):
        found = costs(name, [(row[0], row[1]) for row in rows])
        assert found.tokens.tolist() == [row[2 + column] for row in rows], name


@pytest.mark.skipif(not SIZES.exists(), reason="needs ../shared/dialects")
def test_every_published_size_comes_out_right() -> None:
    by_dialect = defaultdict(list)
    for row in map(json.loads, SIZES.read_text().splitlines()):
        by_dialect[row["dialect"]].append(row)
    assert len(by_dialect) == 18
    for name, rows in by_dialect.items():
        found = costs(name, [(row["width"], row["height"]) for row in rows])
        assert found.tokens.tolist() == [-1 if row["tokens"] is None else row["tokens"] for row in rows], name
        assert found.width.tolist() == [row["resized_width"] or 0 for row in rows], name
        assert found.height.tolist() == [row["resized_height"] or 0 for row in rows], name
        grids = list(zip(found.rows.tolist(), found.columns.tolist(), strict=True))
        told = [row.get("grid_thw") for row in rows]
        assert all(grid == tuple(say[1:]) for grid, say in zip(grids, told, strict=True) if say), name


def test_an_image_of_more_than_two_hundred_times_its_width_is_refused() -> None:
    found = costs("qwen2.5-vl", [(1, 201), (1, 200), (201, 1)])
    assert found.taken.tolist() == [False, True, False]
    assert found.width[0] == found.rows[0] == 0


def test_the_counts_are_those_of_transformers_image_processors() -> None:
    pytest.importorskip("transformers")
    command = [sys.executable, "-m", "benchmarks.image_costs", "--sizes", "300"]
    said = subprocess.run(command, capture_output=True, text=True, cwd=ROOT, check=False)
    assert said.returncode == 0, said.stdout + said.stderr
    assert said.stdout.count("300 sizes, 0 differ") == 8


def test_a_setting_changes_what_an_image_costs() -> None:
    assert costs("qwen2.5-vl", [(1920, 1080)], **{"cost.max_pixels": 451_584}).tokens.tolist() == [576]
    with pytest.raises(ManifestError, match="min_side"):
        load_dialect("qwen2.5-vl", {"cost.min_side": 3})


def test_several_images_share_tiles_where_internvls_own_trainer_does_so() -> None:
    shared = load_dialect("internvl3:own-trainer").cost
    sides, images = np.full(3, 1000), np.array([1, 6, 24])
    assert image_costs(shared, sides, sides, images).tokens.tolist() == [2560, 256, 256]


def test_several_images_cost_less_each_in_llava_onevision() -> None:
    cost = load_dialect("llava-onevision").cost
    assert image_costs(
        cost, np.array([640, 640]), np.array([480, 480]), np.array([1, 2])
    ).tokens.tolist() == [2929, 730]


@pytest.mark.parametrize(
    ("name", "settings", "said"),
    [
        ("qwen2.5-vl", {"cost.max_pixels": -1}, "cost.max_pixels = -1 is not from 0 to 1,000,000,000,000"),
        ("qwen2.5-vl", {"cost.max_pixels": 0}, "cost.max_pixels = 0: the rule smart_resize needs it above 0"),
        ("qwen2.5-vl", {"cost.max_pixels": 100}, "cost.min_pixels = 3136 is above cost.max_pixels = 100"),
        ("qwen2.5-vl", {"cost.patch": 0}, "cost.patch = 0 is not from 1 to"),
        ("qwen2.5-vl", {"cost.patch": -14}, "cost.patch = -14 is not from 1 to"),
        ("qwen2.5-vl", {"cost.merge": 0}, "cost.merge = 0 is not from 1 to"),
        ("qwen2.5-vl", {"cost.max_ratio": float("nan")}, "cost.max_ratio = nan is not from 1 to"),
        ("qwen2.5-vl:llamafactory", {"cost.first.min_side": 0}, "cost.first.min_side = 0 is not from 1 to"),
        (
            "qwen2.5-vl:llamafactory",
            {"cost.first.max_area": 1},
            "cost.first.min_area = 1024 is above max_area = 1",
        ),
        ("internvl3", {"cost.max_tiles": -3}, "cost.max_tiles = -3 is not from 1 to"),
        ("internvl3", {"cost.max_tiles": 10**9}, "cost.max_tiles = 1000000000 is not from 1 to"),
        ("internvl3", {"cost.tile": 0}, "cost.tile = 0: the rule tiles needs it above 0"),
        ("llava-next", {"cost.grids": [[0, 1]]}, r"cost.grids = \(\(0, 1\),\) is not from 1 to"),
        ("llava-next", {"cost.grids": []}, r"cost.grids = \(\): the rule anyres needs it"),
        ("qwen3-vl", {"places.parts": 0}, "places.parts = 0 is not from 1 to"),
        ("qwen3-vl", {"std": [0, 1, 1]}, "std = .* is not from"),
    ],
)
def test_numbers_that_make_no_sense_are_refused(name: str, settings: dict[str, Any], said: str) -> None:
    with pytest.raises(ManifestError, match=f"^dialect {name}: {said}"):
        load_dialect(name, settings)
