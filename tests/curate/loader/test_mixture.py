"""Sources mixed while they are read."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from curate.errors import InputError  # noqa: E402
from curate.loader import CollatePacks, PackDataset, ShardDataset, dataloader  # noqa: E402
from curate.loader.mixture import Interleaving  # noqa: E402
from curate.packing import PackSettings, pack  # noqa: E402
from tests.curate.made_shards import make_shards  # noqa: E402


@pytest.fixture(scope="module")
def sources(tmp_path_factory: pytest.TempPathFactory) -> dict[str, float]:
    """Three parts captions to one part questions; there are more questions than captions."""
    folder = tmp_path_factory.mktemp("sources")
    make_shards(folder / "captions", rows=40, shards=2, tasks=("caption",))
    make_shards(folder / "questions", rows=50, shards=4, tasks=("vqa",))
    return {str(folder / "captions"): 3, str(folder / "questions"): 1}


def test_each_source_gives_its_share_and_begins_anew_when_used_up(sources: dict[str, float]) -> None:
    data = ShardDataset(sources, samples=2048, batch_size=8)
    read = [row for batch in dataloader(data) for row in batch]
    assert Counter(row["task"] for row in read) == {"caption": 1536, "vqa": 512}
    captions = [row["key"] for row in read if row["task"] == "caption"]
    for first in range(0, 1536 - 80, 80):  # every pass over the 80 captions is whole, in an order of its own
        assert len(set(captions[first : first + 80])) == 80
    assert captions[:80] != captions[80:160]
    tasks = [row["task"] for row in read]
    assert 8 < tasks[:64].count("vqa") < 26  # mixed all along


@pytest.mark.parametrize(("stop", "workers", "ranks"), [(5, 0, 1), (7, 2, 2), (60, 1, 4)])
def test_a_mixture_goes_on_exactly_where_it_stood(
    sources: dict[str, float], stop: int, workers: int, ranks: int
) -> None:
    def keys(rank: int, world: int, batch: int, state: object = None, epoch: int = 0) -> list[list[str]]:
        data = ShardDataset(sources, samples=500, batch_size=batch, rank=rank, world_size=world, seed=3)
        data.set_epoch(epoch)
        if state is not None:
            data.load_state_dict(state)  # type: ignore[arg-type]
        return [[row["key"] for row in some] for some in dataloader(data, num_workers=workers)]

    whole = [key for batch in keys(0, 1, 4) for key in batch]
    state = ShardDataset(sources, samples=500, batch_size=4, seed=3).state_after(stop)
    parts = [keys(rank, ranks, 4, state) for rank in range(ranks)]
    rest = [key for batch in zip(*parts, strict=False) for some in batch for key in some]
    assert rest[: 4 * ranks] == whole[4 * stop : 4 * stop + 4 * ranks]
    assert sorted(key for part in parts for some in part for key in some) == sorted(whole[4 * stop :])
    assert [key for batch in keys(0, 1, 4, epoch=1) for key in batch] != whole


def test_the_next_epoch_goes_on_in_each_source(sources: dict[str, float]) -> None:
    data = ShardDataset(sources, samples=100)
    seen: Counter[str] = Counter()
    for epoch in range(8):
        data.set_epoch(epoch)
        seen.update(row["key"] for row in data if row["task"] == "vqa")
    assert sum(seen.values()) == pytest.approx(200, abs=30)
    assert max(seen.values()) - min(seen.values()) <= 1
    assert len(seen) >= min(200, sum(seen.values()))


def test_a_state_of_another_mixture_is_refused(sources: dict[str, float]) -> None:
    state = ShardDataset(sources, samples=500).state_dict()
    for other in (ShardDataset(sources, samples=400), ShardDataset(list(sources))):
        with pytest.raises(InputError, match="another digest"):
            other.load_state_dict(state)


def test_mixtures_that_make_no_sense_are_refused(sources: dict[str, float]) -> None:
    first = next(iter(sources))
    wrong: list[dict[str, Any]] = [{}, *({first: one} for one in (0, -1, float("nan"), "a", None))]
    for weights in wrong:
        with pytest.raises(InputError):
            ShardDataset(weights)
        if weights:
            with pytest.raises(InputError):
                ShardDataset(first, loss_weights=weights)
    for samples in (0, -1, 1.5, "9"):
        with pytest.raises(InputError, match="an epoch has at least one sample"):
            ShardDataset(sources, samples=samples)  # type: ignore[arg-type]
    with pytest.raises(InputError, match="give weights by path"):
        ShardDataset(first, samples=10)
    with pytest.raises(InputError, match="no path here"):
        ShardDataset(first, loss_weights={"elsewhere": 2})


def test_a_state_that_is_none_is_refused(sources: dict[str, float]) -> None:
    with pytest.raises(InputError, match="it lacks digest, epoch, origin, seed, seen"):
        ShardDataset(sources).load_state_dict({})


def test_a_folder_is_the_same_with_a_slash_at_its_end(sources: dict[str, float]) -> None:
    first, second = sources
    data = ShardDataset({f"{first}/": 1, second: 1}, samples=8, loss_weights={first: 3.0, f"{second}/": 2})
    assert {(row["task"], row["loss_weight"]) for row in data} == {("caption", 3.0), ("vqa", 2.0)}


def test_packs_are_mixed_with_packs_of_their_own_kind_alone(
    sources: dict[str, float], tmp_path: Path
) -> None:
    first, second = sources
    names = [("qwen2.5-vl", first), ("qwen2.5-vl:qwenvl-finetune", second), ("qwen3-vl", second)]
    out = [str(tmp_path / str(number)) for number in range(3)]
    for path, (name, shards) in zip(out, names, strict=True):
        pack([shards], path, PackSettings(seq_len=600, dialect=name))
    assert len(list(PackDataset({out[0]: 1, out[1]: 1}, samples=6))) == 6
    for several in ({out[0]: 1, out[2]: 1}, [out[0], out[2]]):
        with pytest.raises(
            InputError, match=r"is packed for qwen2.5-vl .* for qwen3-vl .* give packs of one dialect"
        ):
            PackDataset(several)
    with pytest.raises(InputError, match=r"no pack-\*.parquet in "):
        PackDataset({out[0]: 1, first: 1})


def test_shares_hold_in_every_block_however_many_sources_there_are() -> None:
    weights = [1.0, *np.random.default_rng(0).uniform(0.001, 1, 60)]
    made = Interleaving(weights, "name", shuffle=True)
    for block in (0, 1, 77):
        counts = np.bincount(made.sources_of(block), minlength=len(weights))
        assert counts.sum() == made.block
        assert (abs(counts - np.array(weights) / sum(weights) * made.block) <= len(weights)).all()
        assert (made.before(block) + counts == made.before(block + 1)).all()


def test_losses_are_weighed_by_sample_and_by_source(sources: dict[str, float], tmp_path: Path) -> None:
    packs = {}
    for path, weight in sources.items():
        pack([path], str(tmp_path / Path(path).name), PackSettings(seq_len=600))
        packs[str(tmp_path / Path(path).name)] = weight
    second = list(packs)[1]
    data = PackDataset(packs, samples=64, loss_weights={second: 4.0})
    read = list(data)
    assert {row["loss_weight"] for row in read if row["task"] == "vqa"} == {4.0}
    assert {row["loss_weight"] for row in read if row["task"] == "caption"} == {1.0}
    for per, power in (("token", 0), ("sample", 1), ("square_root", 0.5)):
        batch = CollatePacks(seq_len=600, loss_per=per)(read[:4])  # type: ignore[arg-type]
        assert ((batch["loss_weight"] > 0) == (batch["labels"] != -100)).all()
        for row, one in enumerate(read[:4]):
            start, stop = one["segments"][:2]
            learnt = int(one["loss_mask"][start:stop].sum())
            found = float(batch["loss_weight"][row, start:stop].sum())
            assert found == pytest.approx(one["loss_weight"] * learnt / learnt**power, rel=1e-4)
    assert "loss_weight" not in CollatePacks(seq_len=600)(read[:4])
