"""Dialogues through run, pack, load and a training of a tiny random Qwen2.5-VL that is stopped and goes on.

    python -m benchmarks.dialogue_training MANIFEST=FILE… [--steps 50] [--stop 20] [--seq-len 1024] [--max-pixels 50176]

Prints what became of the dialogues and the images' costs, then the losses of a training that never stopped and of one
that stopped and went on in new processes; they must be the same, to the bit. Needs transformers; no weights.
"""

from __future__ import annotations

import argparse
import itertools
import tempfile
from collections import Counter
from pathlib import Path
from typing import Any

import torch
import transformers

import curate
from benchmarks.image_costs import allow_torchvision
from curate.loader import CollatePacks, PackDataset, dataloader

DIALECT = "qwen2.5-vl"
IMAGE_PAD = 151655
NOT_LEARNT = -100  # a label


def tiny_model() -> Any:
    """A Qwen2.5-VL of two small layers with random numbers, made from a config."""
    text = {
        "hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 2, "num_attention_heads": 4,
        "num_key_value_heads": 2, "vocab_size": 151_680,
        "rope_parameters": {"rope_type": "default", "mrope_section": [1, 1, 2], "rope_theta": 10_000.0},
    }  # fmt: skip
    vision = {
        "depth": 2, "hidden_size": 32, "intermediate_size": 64, "num_heads": 2, "out_hidden_size": 32,
        "fullatt_block_indexes": [1], "window_size": 56,
    }  # fmt: skip
    config = transformers.Qwen2_5_VLConfig(text_config=text, vision_config=vision, image_token_id=IMAGE_PAD)
    config._attn_implementation = "eager"
    torch.manual_seed(0)
    return transformers.Qwen2_5_VLForConditionalGeneration(config)


def run_and_pack(work: Path, inputs: list[str], seq_len: int, max_pixels: int) -> str:
    """The folder of the packs of `MANIFEST=FILE` dialogues."""
    folders = []
    for number, one in enumerate(inputs):
        manifest, _, file = one.partition("=")
        folders.append(str(work / f"shards-{number}"))
        result = curate.run(manifest, out=folders[-1], inputs=[file], workers=0)
        print(
            f"{manifest} {Path(file).name}: {result.rows_in} dialogues, {result.rows_out} kept {result.dropped or ''}"
        )
    settings = [f"cost.max_pixels={max_pixels}"]
    kept = [folder for folder in folders if list(Path(folder).glob("shard-*.parquet"))]
    packed = curate.pack(
        kept, work / "packs", seq_len=seq_len, dialect=DIALECT, dialect_settings=settings, truncate=True
    )
    print(f"{packed.rows_out} of {packed.rows_in} dialogues in packs {packed.dropped or ''}")
    return str(work / "packs")


def train(
    packs: str, collate: CollatePacks, steps: int, workers: int, saved: dict[str, Any] | None
) -> dict[str, Any]:
    """So many steps from the beginning or from what was `saved`: the losses, and what to go on from."""
    data, model = PackDataset(packs, seed=3), tiny_model()
    optimiser = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9)
    if saved is not None:
        model.load_state_dict(saved["model"])
        optimiser.load_state_dict(saved["optimiser"])
        data.load_state_dict(saved["data"])
    losses, costs = list[float](), Counter[int]()
    while len(losses) < steps:
        begun = len(losses)
        for batch in itertools.islice(
            dataloader(data, num_workers=workers, collate_fn=collate), steps - begun
        ):
            costs.update((batch["image_grid_thw"].prod(1) // 4).tolist())
            losses.append(step(model, optimiser, batch))
        state = data.state_after(len(losses) - begun)
        if len(losses) < steps:
            data.set_epoch(state["epoch"] + 1)
    states = {"model": model.state_dict(), "optimiser": optimiser.state_dict(), "data": state}
    return {"losses": losses, "costs": costs, "saved": states}


def step(model: Any, optimiser: Any, batch: dict[str, Any]) -> float:
    """One step of training; its loss."""
    batch = {name: value for name, value in batch.items() if name != "keys"}
    mask, labels = batch.pop("attention_mask"), batch.pop("labels")[:, 1:]
    if not len(batch["image_grid_thw"]):
        del batch["image_grid_thw"], batch["pixel_values"]
    allowed = torch.zeros(mask.shape).masked_fill(~mask, torch.finfo(torch.float32).min)
    optimiser.zero_grad()
    hidden = model.model(**batch, attention_mask=allowed).last_hidden_state[:, :-1]
    learnt = (
        labels != NOT_LEARNT
    )  # logits of these alone: of so small a model they are nearly all of the work
    loss = torch.nn.functional.cross_entropy(model.lm_head(hidden[learnt]), labels[learnt])
    loss.backward()
    torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
    optimiser.step()
    return float(loss.detach())


def main() -> None:
    """See above."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("inputs", nargs="+", metavar="MANIFEST=FILE")
    for name, default in (("steps", 50), ("stop", 20), ("seq-len", 1024), ("max-pixels", 50_176)):
        parser.add_argument(f"--{name}", type=int, default=default)
    asked = parser.parse_args()
    allow_torchvision()
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as work:
        packs = run_and_pack(Path(work), asked.inputs, asked.seq_len, asked.max_pixels)
        settings = (f"cost.max_pixels={asked.max_pixels}",)
        collate = CollatePacks(asked.seq_len, names="hf", dialect=DIALECT, dialect_settings=settings)
        whole = train(packs, collate, asked.steps, 0, None)
        first = train(packs, collate, asked.stop, 0, None)
        second = train(packs, collate, asked.steps - asked.stop, 1, first["saved"])
    costs = whole["costs"]
    print(
        f"{sum(costs.values())} images of {len(costs)} costs, {min(costs)} to {max(costs)} tokens"
        if costs
        else "no images"
    )
    losses = whole["losses"]
    print(f"{len(losses)} steps: loss {losses[0]:.3f} to {losses[-1]:.3f}")
    same = first["losses"] + second["losses"] == losses
    print(f"stopped after {asked.stop} and resumed: {'the same losses' if same else 'OTHER LOSSES'}")
    if not same or not losses[-1] < losses[0]:
        raise SystemExit(1)


if __name__ == "__main__":
    main()
