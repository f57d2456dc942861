"""A tiny random Qwen2.5-VL over a pack and over its samples alone; and the pixels beside its processor's.

Run by itself (`python -m tests.curate.loader.tiny_qwen`), as it may have to patch torchvision's import.
"""

from __future__ import annotations

import io
from typing import Any

import torch
import transformers
from PIL import Image

from benchmarks.image_costs import allow_torchvision
from curate.loader import CollatePacks, hf
from curate.tasks import load_dialect
from tests.curate.loader.test_hf import PAD, SAMPLES, together


def model() -> Any:
    text = {
        "hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 2, "num_attention_heads": 4,
        "num_key_value_heads": 2, "vocab_size": 151660,
        "rope_parameters": {"rope_type": "default", "mrope_section": [1, 1, 2], "rope_theta": 10000.0},
    }  # fmt: skip
    vision = {
        "depth": 2, "hidden_size": 32, "intermediate_size": 64, "num_heads": 2, "out_hidden_size": 32,
        "fullatt_block_indexes": [1], "window_size": 56,
    }  # fmt: skip
    config = transformers.Qwen2_5_VLConfig(text_config=text, vision_config=vision, image_token_id=PAD)
    config._attn_implementation = "eager"
    torch.manual_seed(0)
    return transformers.Qwen2_5_VLForConditionalGeneration(config).eval()


def summed_loss(tiny: Any, rows: list[dict[str, Any]], seq_len: int) -> float:
    batch = CollatePacks(seq_len=seq_len, names="hf", dialect="qwen2.5-vl")(rows)
    batch.pop("keys")
    if not len(batch["image_grid_thw"]):
        batch = {
            name: value for name, value in batch.items() if name not in ("pixel_values", "image_grid_thw")
        }
    count = int((batch["labels"] != -100).sum())
    mask = batch.pop("attention_mask")
    allowed = torch.zeros(mask.shape).masked_fill(~mask, torch.finfo(torch.float32).min)
    with torch.no_grad():
        return float(tiny(**batch, attention_mask=allowed).loss) * count


def check_loss() -> None:
    tiny = model()
    alone = sum(summed_loss(tiny, [one], len(one["tokens"])) for one in SAMPLES)
    for rows, seq_len in (
        ([together(*SAMPLES)], 512),
        ([together(SAMPLES[2], SAMPLES[0]), together(SAMPLES[3], SAMPLES[1])], 256),
    ):
        assert abs(summed_loss(tiny, rows, seq_len) / alone - 1) < 1e-5, (
            alone,
            summed_loss(tiny, rows, seq_len),
        )
    print("loss")


def check_pixels() -> None:
    bodies = [image["bytes"] for one in SAMPLES for image in one["images"]]
    for name, kind in (
        ("qwen2.5-vl", {}),
        ("qwen3-vl", {"patch_size": 16, "image_mean": [0.5] * 3, "image_std": [0.5] * 3}),
    ):
        cost = load_dialect(name).cost
        processor = transformers.Qwen2VLImageProcessor(
            min_pixels=cost.min_pixels, max_pixels=cost.max_pixels, **kind
        )
        theirs = processor([Image.open(io.BytesIO(body)) for body in bodies], return_tensors="pt")
        ours = hf.pixels(bodies, load_dialect(name))
        assert torch.equal(ours["image_grid_thw"], theirs["image_grid_thw"])
        assert ours["pixel_values"].shape == theirs["pixel_values"].shape
        assert (
            ours["pixel_values"] - theirs["pixel_values"]
        ).abs().mean() < 0.02  # Pillow's resize, not torch's
    print("pixels")


if __name__ == "__main__":
    allow_torchvision()
    check_loss()
    check_pixels()
