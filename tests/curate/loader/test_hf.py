"""Packs under transformers' names: a tiny random Qwen2.5-VL says of a pack what it says of its samples alone."""

from __future__ import annotations

import io
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

torch = pytest.importorskip("torch")

from curate.errors import ManifestError  # noqa: E402
from curate.loader import CollatePacks, hf  # noqa: E402
from curate.tasks import image_costs, load_dialect  # noqa: E402

PAD, START, STOP = 151655, 151652, 151653


def picture(width: int, height: int) -> bytes:
    out = io.BytesIO()
    noise = np.random.default_rng(width).integers(0, 255, (height, width, 3), np.uint8)
    Image.fromarray(noise).save(out, "PNG")
    return out.getvalue()


def sample(seed: int, sizes: list[tuple[int, int]]) -> dict[str, Any]:
    """A sequence of one sample with images so large, as a row of packs in Qwen2.5-VL's dialect."""
    rng = np.random.default_rng(seed)
    tokens, images, grids = [int(t) for t in rng.integers(0, 1000, 3)], [], []
    for width, height in sizes:
        cost = image_costs(load_dialect("qwen2.5-vl").cost, np.array([width]), np.array([height]))
        images.append({"bytes": picture(width, height), "path": "d/k.png", "start": len(tokens)})
        grids.append([1, int(cost.rows[0]), int(cost.columns[0])])
        tokens += [START, *[PAD] * int(cost.tokens[0]), STOP, *(int(t) for t in rng.integers(0, 1000, 4))]
    tokens += [int(t) for t in rng.integers(0, 1000, 6)]
    loss = np.arange(len(tokens)) >= len(tokens) - 8
    return {
        "task": "vqa",
        "tokens": np.array(tokens, np.int32),
        "loss_mask": loss,
        "segments": np.array([0, len(tokens)], np.int32),
        "images": images,
        "image_grid_thw": grids,
        "keys": [str(seed)],
    }


def together(*samples: dict[str, Any]) -> dict[str, Any]:
    """The samples in one sequence."""
    ends = np.cumsum([0, *(len(one["tokens"]) for one in samples)])
    images = [
        image | {"start": image["start"] + int(end)}
        for one, end in zip(samples, ends, strict=False)
        for image in one["images"]
    ]
    return {
        "task": "vqa",
        "tokens": np.concatenate([one["tokens"] for one in samples]),
        "loss_mask": np.concatenate([one["loss_mask"] for one in samples]),
        "segments": ends.astype(np.int32),
        "images": images,
        "image_grid_thw": [grid for one in samples for grid in one["image_grid_thw"]],
        "keys": [key for one in samples for key in one["keys"]],
    }


SAMPLES = [sample(1, [(60, 60)]), sample(2, [(200, 90), (56, 56)]), sample(3, []), sample(4, [(90, 250)])]


def test_positions_are_mropes_as_transformers_counts_them() -> None:
    # three words, then an image of 4 x 6 patches: 2 x 3 tokens at position 3, and text goes on at 6
    found = hf.mrope(11, np.array([0, 11]), np.array([3]), np.array([[4, 6]]), 2)
    assert found[0].tolist() == [0, 1, 2, 3, 3, 3, 3, 3, 3, 6, 7]
    assert found[1].tolist() == [0, 1, 2, 3, 3, 3, 4, 4, 4, 6, 7]
    assert found[2].tolist() == [0, 1, 2, 3, 4, 5, 3, 4, 5, 6, 7]


def test_positions_start_anew_in_every_sample() -> None:
    pack = together(*SAMPLES)
    batch = CollatePacks(seq_len=512, names="hf", dialect="qwen2.5-vl")([pack])
    alone = [
        CollatePacks(seq_len=len(one["tokens"]), names="hf", dialect="qwen2.5-vl")([one]) for one in SAMPLES
    ]
    size = len(pack["tokens"])
    assert torch.equal(
        batch["position_ids"][:, :, :size], torch.cat([one["position_ids"] for one in alone], dim=2)
    )
    assert batch["position_ids"].shape == (4, 1, 512)
    assert (batch["mm_token_type_ids"] == (batch["input_ids"] == PAD)).all()


def test_edges_are_those_of_the_batch_laid_end_to_end() -> None:
    collate = CollatePacks(seq_len=512, names="hf", dialect="qwen2.5-vl", attention="cu_seqlens")
    batch = collate([SAMPLES[0], SAMPLES[2]])
    first, second = (len(SAMPLES[number]["tokens"]) for number in (0, 2))
    assert batch["cu_seqlens"].tolist() == [0, first, 512, 512 + second, 1024]
    assert batch["cu_seqlens"].dtype == torch.int32
    assert "attention_mask" not in batch


def test_tiles_and_constant_sizes_become_pixels_too() -> None:
    tiles = hf.pixels([picture(640, 480), picture(448, 448)], load_dialect("internvl3"))
    assert tiles["pixel_values"].shape == (14, 3, 448, 448)
    assert hf.pixels([picture(64, 32)], load_dialect("qwen-vl"))["pixel_values"].shape == (1, 3, 448, 448)
    assert hf.pixels([], load_dialect("qwen3-vl"))["pixel_values"].shape == (0, 1536)


@pytest.mark.parametrize(
    ("dialect", "settings"),
    [("qwen2.5-vl", ("cost.max_pixels=6272",)), ("qwen3-vl", ()), ("internvl3", ()), ("qwen-vl", ())],
)
def test_packs_of_another_dialect_or_cost_are_refused(dialect: str, settings: tuple[str, ...]) -> None:
    pack = together(*SAMPLES)
    right = CollatePacks(256, names="hf", dialect="qwen2.5-vl")([pack])
    assert int(right["image_grid_thw"].prod(1).sum()) == 4 * int((right["input_ids"] == PAD).sum())
    collate = CollatePacks(256, names="hf", dialect=dialect, dialect_settings=settings)
    with pytest.raises(
        ManifestError, match=r"pad tokens in its pack, but costs .* in CollatePacks' dialect"
    ) as told:
        collate([pack])
    assert f"{dialect} (cost.rule=" in str(told.value)
    assert "\n" not in str(told.value)


def test_images_that_share_their_tiles_are_cut_as_their_pads_say() -> None:
    dialect = load_dialect("internvl3:own-trainer")  # 12 tiles for all images of a sample
    two = image_costs(
        dialect.cost, np.array([1800, 900]), np.array([900, 900]), np.array([2, 2])
    ).tokens.tolist()
    tokens = [
        1,
        *[dialect.tokens[dialect.image.pad]] * two[0],
        2,
        *[dialect.tokens[dialect.image.pad]] * two[1],
    ]
    images = [(1, picture(1800, 900)), (two[0] + 2, picture(900, 900))]
    pack = {
        "tokens": tokens,
        "loss_mask": [False] * len(tokens),
        "segments": [0, len(tokens)],
        "images": [{"bytes": body, "path": "d/k.png", "start": start} for start, body in images],
        "keys": ["1"],
    }
    made = CollatePacks(8192, names="hf", dialect="internvl3:own-trainer", attention="cu_seqlens")([pack])
    assert len(made["pixel_values"]) * 256 == sum(two)


def test_a_tiny_model_says_of_a_pack_what_it_says_of_its_samples_alone() -> None:
    pytest.importorskip("transformers")
    command = [
        sys.executable,
        "-m",
        "tests.curate.loader.tiny_qwen",
    ]  # its torchvision may not fit this process's torch
    said = subprocess.run(command, capture_output=True, text=True, cwd=Path(__file__).parents[3], check=False)
    assert said.returncode == 0, said.stdout + said.stderr
    assert said.stdout.split() == ["loss", "pixels"]
