"""Training that stops and goes on: a plain loop, HF's Trainer and Ray Train, each with a tiny model."""

from __future__ import annotations

import itertools
import json
import os
from collections import Counter
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

torch = pytest.importorskip("torch")

from torch.utils.data import DataLoader  # noqa: E402

from curate.cluster import alone  # noqa: E402
from curate.loader import (  # noqa: E402
    Collate,
    CollatePacks,
    PackDataset,
    PackMap,
    ShardDataset,
    normalise,
)
from curate.scorer.weights import open_clip_module  # noqa: E402

STEPS = 50

pytestmark = [
    pytest.mark.filterwarnings("ignore:This DataLoader will create"),
    pytest.mark.filterwarnings("ignore:'set_vital' is deprecated"),
    pytest.mark.filterwarnings("ignore:'pin_memory' argument is set"),
]


def keys_of(folder: Path, column: str) -> list[Any]:
    """That column of all files in a folder of packs or shards."""
    paths = sorted(path for path in folder.glob("*.parquet"))
    return [value for path in paths for value in pq.read_table(path)[column].to_pylist()]


class Tiny(torch.nn.Module):  # type: ignore[misc, name-defined]
    """A model of a few thousand numbers that still sees tokens and pixels, and notes the keys it is given."""

    def __init__(self) -> None:
        super().__init__()
        self.inner = torch.nn.Embedding(64, 4)
        self.pixels = torch.nn.Linear(3, 4)
        self.out = torch.nn.Linear(4, 64)
        self.seen: list[tuple[str, ...]] = []

    def forward(
        self,
        tokens: Any,
        labels: Any,
        pixels: Any,
        image_row: Any,
        image_start: Any,
        keys: Any,
        **_: Any,
    ) -> dict[str, Any]:
        self.seen += [tuple(names) for names in keys]
        seen = self.pixels(normalise(pixels).mean((2, 3)))
        hidden = self.inner(tokens % 64).index_put((image_row, image_start), seen)
        labels = torch.where(labels < 0, labels, labels % 64)
        loss = torch.nn.functional.cross_entropy(
            self.out(hidden)[:, :-1].flatten(0, 1), labels[:, 1:].flatten()
        )
        return {"loss": loss}


def train(
    packs: Path, model: Tiny, steps: int, workers: int, checkpoint: Path, resume: bool = False
) -> list[float]:
    """The losses of so many steps, from the beginning of the first epoch or from a checkpoint."""
    data = PackDataset(str(packs), seed=5)
    optimiser = torch.optim.SGD(model.parameters(), lr=0.5, momentum=0.9)
    if resume:
        saved = torch.load(checkpoint, weights_only=True)
        model.load_state_dict(saved["model"])
        optimiser.load_state_dict(saved["optimiser"])
        data.load_state_dict(saved["data"])
    losses = []
    loader = DataLoader(data, num_workers=workers, collate_fn=CollatePacks(side=14))
    for batch in itertools.islice(loader, steps):
        optimiser.zero_grad()
        loss = model(**batch)["loss"]
        loss.backward()
        optimiser.step()
        losses.append(float(loss.detach()))
    saved = {"model": model.state_dict(), "optimiser": optimiser.state_dict()}
    torch.save(saved | {"data": data.state_after(steps)}, checkpoint)
    return losses


def tiny() -> Tiny:
    torch.manual_seed(0)
    torch.set_num_threads(1)
    return Tiny()


def test_fifty_steps_stopped_mid_epoch_go_on_under_other_workers_as_if_never_stopped(
    packs: Path, tmp_path: Path
) -> None:
    sequences = [tuple(keys) for keys in keys_of(packs, "keys")]
    assert len(sequences) > STEPS
    whole = tiny()
    losses = train(packs, whole, len(sequences), 0, tmp_path / "whole.pt")
    first, second = tiny(), tiny()
    stopped = train(packs, first, 20, 2, tmp_path / "stopped.pt")
    stopped += train(packs, second, len(sequences), 3, tmp_path / "stopped.pt", resume=True)
    assert first.seen + second.seen == whole.seen
    assert Counter(whole.seen) == Counter(sequences)
    assert stopped == losses
    assert sum(losses[STEPS - 10 : STEPS]) < sum(losses[:10])


def trainer(
    packs: Path, out: Path, workers: int, steps: int, stop_at: int | None = None, **more: Any
) -> tuple[Any, Tiny]:
    """HF's Trainer over packs by number, which saves at step 20 and may stop there."""
    pytest.importorskip("accelerate")
    open_clip_module()  # after which a torchvision that was built for another torch can be imported
    transformers = pytest.importorskip("transformers")

    class Stop(transformers.TrainerCallback):  # type: ignore[misc, name-defined]
        def on_step_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:
            control.should_training_stop |= state.global_step == stop_at

    model = tiny()
    settings = transformers.TrainingArguments(
        output_dir=str(out), max_steps=steps, per_device_train_batch_size=1, save_steps=20, use_cpu=True,
        dataloader_num_workers=workers, report_to=[], disable_tqdm=True, seed=3, logging_steps=1,
        learning_rate=0.05, remove_unused_columns=False, **more,
    )  # fmt: skip
    return transformers.Trainer(
        model, settings, CollatePacks(side=14), PackMap(str(packs)), callbacks=[Stop()]
    ), model


def losses_of(one: Any) -> list[float]:
    return [entry["loss"] for entry in one.state.log_history if "loss" in entry]


def test_hfs_trainer_stopped_mid_epoch_resumes_packs_by_number_under_other_workers(
    packs: Path, tmp_path: Path
) -> None:
    sequences = {tuple(keys) for keys in keys_of(packs, "keys")}
    one, whole = trainer(packs, tmp_path / "whole", 0, STEPS)
    one.train()
    stopped, first = trainer(packs, tmp_path / "stopped", 2, STEPS, stop_at=20)
    stopped.train()
    resumed, second = trainer(packs, tmp_path / "stopped", 1, STEPS)
    resumed.train(resume_from_checkpoint=True)
    assert (len(first.seen), len(second.seen)) == (20, STEPS - 20)
    assert first.seen + second.seen == whole.seen
    assert len(set(whole.seen)) == STEPS
    assert set(whole.seen) <= sequences
    assert losses_of(resumed) == losses_of(one)


def test_hfs_trainer_gives_every_pack_once_an_epoch_in_another_order_each(
    packs: Path, tmp_path: Path
) -> None:
    one, model = trainer(packs, tmp_path / "out", 1, -1, num_train_epochs=2)
    one.train_dataset = PackDataset(str(packs))
    one.train()
    half = len(model.seen) // 2
    sequences = sorted(tuple(keys) for keys in keys_of(packs, "keys"))
    assert sorted(model.seen[:half]) == sorted(model.seen[half:]) == sequences
    assert model.seen[:half] != model.seen[half:]


def in_ray(settings: dict[str, str]) -> None:
    """What each worker of Ray Train does; notes the keys that it got, by either way."""
    from ray import train as ray_train
    from ray.train.torch import prepare_data_loader

    def collate(batch: dict[str, Any]) -> dict[str, Any]:
        return Collate(14)([dict(zip(batch, row, strict=True)) for row in zip(*batch.values(), strict=True)])

    rank = ray_train.get_context().get_world_rank()
    batches = list(ray_train.get_dataset_shard("train").iter_torch_batches(batch_size=7, collate_fn=collate))
    assert all(len(batch["pixels"]) == int(batch["has_image"].sum()) for batch in batches)
    data = ShardDataset(settings["shards"], batch_size=8)  # rank and world size are torch.distributed's
    loader = prepare_data_loader(DataLoader(data, batch_size=8, collate_fn=Collate(14)))
    found = {
        "ray": [key for batch in batches for key in batch["key"]],
        "curate": [list(batch["key"]) for batch in loader],
    }
    Path(settings["out"], f"{rank}.json").write_text(json.dumps(found))


@pytest.mark.timeout(900)
def test_ray_train_reads_shards_by_itself_and_through_the_loader(shards: Path, tmp_path: Path) -> None:
    ray = pytest.importorskip("ray")
    pytest.importorskip("ray.train", exc_type=ImportError)
    from ray.train import RunConfig, ScalingConfig
    from ray.train.torch import TorchTrainer

    root = Path(__file__).parents[3]
    path = {"PYTHONPATH": f"{root}:{os.environ.get('PYTHONPATH', '')}"}
    with alone(ray):
        ray.init(
            address="local", num_cpus=3, include_dashboard=False, log_to_driver=False, configure_logging=False,
            runtime_env={"env_vars": path},
        )  # fmt: skip
    try:
        rows = ray.data.read_parquet(str(shards)).select_columns(["key", "prompt", "image"])
        TorchTrainer(
            in_ray,
            train_loop_config={"shards": str(shards), "out": str(tmp_path)},
            scaling_config=ScalingConfig(num_workers=2),
            run_config=RunConfig(name="run", storage_path=str(tmp_path / "ray")),
            datasets={"train": rows},
        ).fit()
    finally:
        ray.shutdown()
    found = [json.loads((tmp_path / f"{rank}.json").read_text()) for rank in range(2)]
    keys = sorted(keys_of(shards, "key"))
    assert sorted(found[0]["ray"] + found[1]["ray"]) == keys
    batches = list(zip(found[0]["curate"], found[1]["curate"], strict=True))
    assert sorted(key for parts in batches for part in parts for key in part) == keys
    by_one = [sample["key"] for sample in ShardDataset(str(shards))]
    assert [key for parts in batches for part in parts for key in part] == by_one
