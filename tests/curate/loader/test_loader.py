from __future__ import annotations

import itertools
import pickle
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

torch = pytest.importorskip("torch")

from torch.utils.data import DataLoader, RandomSampler  # noqa: E402

from curate.errors import InputError  # noqa: E402
from curate.loader import (  # noqa: E402
    Collate,
    CollatePacks,
    PackDataset,
    PackMap,
    ShardDataset,
    ShardMap,
    normalise,
    resume_state,
)
from curate.loader.shuffle import Order, share  # noqa: E402
from curate.packing import PackSettings, pack  # noqa: E402

ROWS = 630

pytestmark = [
    pytest.mark.filterwarnings("ignore:This DataLoader will create"),
    pytest.mark.filterwarnings("ignore:'set_vital' is deprecated"),
]


def source(shards: Path) -> dict[str, dict[str, Any]]:
    rows = pa.concat_tables([pq.read_table(path) for path in sorted(shards.glob("shard-*"))]).to_pylist()
    return {row["key"]: row for row in rows}


def keys(batches: Any) -> list[list[str]]:
    return [[sample["key"] for sample in batch] for batch in batches]


def rank_keys(
    shards: Path, world: int, batch: int, workers: int = 0, state: Any = None, **more: Any
) -> list[Any]:
    """Each global batch of an epoch, as all ranks get it together."""
    ranks = []
    for rank in range(world):
        data = ShardDataset(str(shards), batch_size=batch, rank=rank, world_size=world, **more)
        if state is not None:
            data.load_state_dict(state)
        ranks.append(keys(DataLoader(data, batch_size=batch, num_workers=workers, collate_fn=list)))
    return [list(itertools.chain(*parts)) for parts in itertools.zip_longest(*ranks, fillvalue=[])]


def test_samples_have_the_columns_and_the_bytes_of_their_rows(shards: Path) -> None:
    rows = source(shards)
    for sample in ShardDataset(str(shards), columns=["key", "text", "language"]):
        row = rows.pop(sample["key"])
        assert sample["image"] == (None if row["image"] is None else row["image"]["bytes"])
        assert (sample["text"], sample["language"]) == (row["text"], row["language"])
    assert not rows


@pytest.mark.parametrize("workers", [0, 1, 3])
def test_every_sample_comes_once_an_epoch_in_an_order_that_workers_do_not_change(
    shards: Path, workers: int
) -> None:
    batches = rank_keys(shards, 1, 16, workers, seed=4)
    assert Counter(itertools.chain(*batches)) == Counter(source(shards).keys())
    assert batches == rank_keys(shards, 1, 16, 0, seed=4)


def test_ranks_share_each_global_batch_whatever_their_number(shards: Path) -> None:
    whole = rank_keys(shards, 1, 16)
    assert rank_keys(shards, 4, 4) == whole
    assert rank_keys(shards, 16, 1) == whole


def test_the_last_batch_is_parted_evenly_and_can_be_left_out(shards: Path) -> None:
    sizes = [len(list(ShardDataset(str(shards), batch_size=4, rank=rank, world_size=8))) for rank in range(8)]
    assert sum(sizes) == ROWS
    assert max(sizes) - min(sizes) <= 1
    data = [ShardDataset(str(shards), batch_size=4, rank=r, world_size=8, drop_last=True) for r in range(8)]
    assert [len(list(d)) for d in data] == [len(d) for d in data] == [ROWS // 32 * 4] * 8


def test_eight_ranks_stopped_go_on_as_four_and_then_as_sixteen(shards: Path) -> None:
    whole = list(itertools.chain(*rank_keys(shards, 1, 1, seed=3)))
    seen: list[str] = []
    state = None
    for world, steps in ((8, 9), (4, 7), (16, None)):
        ranks = [
            ShardDataset(str(shards), batch_size=4, rank=r, world_size=world, seed=3) for r in range(world)
        ]
        if state is not None:
            for data in ranks:
                data.load_state_dict(state)
        parts = [list(itertools.islice(data, None if steps is None else steps * 4)) for data in ranks]
        seen += [parts[r][n]["key"] for n, r in in_batches([len(p) for p in parts], 4)]
        state = ranks[-1].state_dict()
    assert seen == whole
    assert state is not None
    assert state["seen"] == ROWS


def in_batches(sizes: list[int], batch: int) -> list[tuple[int, int]]:
    """(sample, rank) in global order."""
    steps = -(-max(sizes) // batch)
    return [
        (n, rank)
        for step in range(steps)
        for rank, size in enumerate(sizes)
        for n in range(step * batch, min((step + 1) * batch, size))
    ]


@pytest.mark.parametrize(("before", "after"), [(0, 3), (3, 0), (2, 3)])
def test_a_loader_stopped_mid_epoch_goes_on_under_another_number_of_workers(
    shards: Path, before: int, after: int
) -> None:
    stateful = pytest.importorskip("torchdata.stateful_dataloader").StatefulDataLoader
    whole = rank_keys(shards, 1, 8, seed=2)
    loader = stateful(
        ShardDataset(str(shards), batch_size=8, seed=2), batch_size=8, num_workers=before, collate_fn=list
    )
    first = keys(itertools.islice(loader, 23))
    state = resume_state(pickle.loads(pickle.dumps(loader.state_dict())))
    assert state["seen"] == 23 * 8
    data = ShardDataset(str(shards), batch_size=8, seed=2)
    data.load_state_dict(state)
    rest = keys(DataLoader(data, batch_size=8, num_workers=after, collate_fn=list))
    assert first + rest == whole


@pytest.mark.parametrize("workers", [0, 2])
def test_torchdatas_loader_resumes_from_its_own_state(shards: Path, workers: int) -> None:
    stateful = pytest.importorskip("torchdata.stateful_dataloader").StatefulDataLoader

    def loader() -> Any:
        data = ShardDataset(str(shards), batch_size=8, seed=2)
        return stateful(data, batch_size=8, num_workers=workers, collate_fn=list)

    one = loader()
    first = keys(itertools.islice(one, 23))
    state = one.state_dict()
    other = loader()
    other.load_state_dict(state)
    assert first + keys(other) == rank_keys(shards, 1, 8, seed=2)


def test_stopping_twice_loses_and_repeats_nothing(shards: Path) -> None:
    seen, state = [], None
    for steps in (5, 11, 100):
        data = ShardDataset(str(shards), batch_size=8)
        if state:
            data.load_state_dict(state)
        seen += keys([list(itertools.islice(data, steps * 8))])[0]
        state = data.state_dict()
    assert seen == list(itertools.chain(*rank_keys(shards, 1, 8)))


def test_epochs_differ_and_are_begun_by_set_epoch_in_workers_that_live_on(shards: Path) -> None:
    data = ShardDataset(str(shards), batch_size=8)
    loader = DataLoader(data, batch_size=8, num_workers=2, persistent_workers=True, collate_fn=list)
    orders = []
    for epoch in range(3):
        data.set_epoch(epoch)
        orders.append(list(itertools.chain(*keys(loader))))
    assert len({tuple(order) for order in orders}) == 3
    assert all(set(order) == set(source(shards)) for order in orders)
    again = ShardDataset(str(shards), batch_size=8)
    again.set_epoch(2)
    assert [sample["key"] for sample in again] == orders[2]


def test_an_epoch_after_a_resumed_one_is_whole(shards: Path) -> None:
    data = ShardDataset(str(shards), batch_size=8)
    list(itertools.islice(data, 160))
    other = ShardDataset(str(shards), batch_size=8)
    other.load_state_dict(data.state_dict())
    assert len(list(other)) == ROWS - 160
    other.set_epoch(1)
    assert len(list(other)) == ROWS


def test_a_state_of_other_data_or_another_seed_is_refused(shards: Path) -> None:
    state = ShardDataset(str(shards), seed=1).state_dict()
    with pytest.raises(InputError, match="another seed"):
        ShardDataset(str(shards)).load_state_dict(state)
    with pytest.raises(InputError, match="another digest"):
        ShardDataset(str(shards), seed=1).load_state_dict(state | {"digest": "x"})
    with pytest.raises(InputError, match="no state"):
        resume_state({"a": 1})


def test_without_shuffling_rows_come_in_their_order(shards: Path) -> None:
    assert [sample["key"] for sample in ShardDataset(str(shards), shuffle=False)] == list(source(shards))


def test_the_order_is_a_permutation_that_mixes_row_groups_of_a_block(shards: Path) -> None:
    rows = np.random.default_rng(0).integers(1, 300, 200)
    order = Order(rows, "digest", 1, 0)
    whole = order.take(np.arange(rows.sum()))
    assert np.array_equal(np.sort(whole), np.arange(rows.sum()))
    assert np.array_equal(
        np.concatenate(
            [order.take(part) for part in np.split(np.arange(len(whole)), range(0, len(whole), 777))]
        ),
        whole,
    )
    group = np.searchsorted(np.cumsum(rows), whole, side="right")
    assert len(set(group[:500])) > 50
    assert not np.array_equal(whole, Order(rows, "digest", 1, 1).take(np.arange(len(whole))))
    assert len(Order([], "digest", 1, 0).take(np.arange(0))) == 0


def test_the_order_never_changes_between_versions() -> None:
    assert Order([5, 3, 4], "digest", 7, 2).take(np.arange(12)).tolist() == [
        9,
        11,
        6,
        3,
        2,
        4,
        10,
        7,
        5,
        0,
        8,
        1,
    ]


def test_parts_of_a_batch_meet_without_gaps() -> None:
    for size, batch, world in itertools.product((0, 1, 7, 63, 64), (1, 4), (1, 3, 8)):
        number = np.arange(-(-size // (batch * world)))
        parts = [share(size, batch, rank, world, number) for rank in range(world)]
        assert all((one[1] == other[0]).all() for one, other in itertools.pairwise(parts))
        assert (parts[0][0] == number * batch * world).all()
        assert (parts[-1][1] == np.minimum(size, (number + 1) * batch * world)).all()


def test_the_map_gives_rows_by_number_and_batches_through_a_sampler(shards: Path) -> None:
    data, rows = ShardMap(str(shards)), list(source(shards))
    assert len(data) == ROWS
    assert [data[n]["key"] for n in (0, 209, 210, -1)] == [rows[n] for n in (0, 209, 210, -1)]
    with pytest.raises(IndexError):
        data[ROWS]
    sampler = RandomSampler(data, generator=torch.Generator().manual_seed(1))
    loader = DataLoader(data, batch_size=32, sampler=sampler, num_workers=2, collate_fn=Collate(32))
    seen = [key for batch in loader for key in batch["key"]]
    assert sorted(seen) == sorted(rows)
    assert seen != rows


def test_batches_are_ready_to_compute_on(shards: Path) -> None:
    data = ShardDataset(str(shards), batch_size=16)
    batch = next(iter(DataLoader(data, batch_size=16, collate_fn=Collate(56))))
    images = int(batch["has_image"].sum())
    assert batch["pixels"].shape == (images, 3, 56, 56)
    assert batch["pixels"].dtype == torch.uint8
    assert len(batch["prompt"]) == 16
    assert normalise(batch["pixels"]).mean().abs() < 1


def test_packs_are_padded_with_positions_and_segments_that_start_anew_at_each_sample(packs: Path) -> None:
    data = PackDataset(str(packs), batch_size=4)
    read = {
        tuple(row["keys"]): row for path in packs.glob("pack-*") for row in pq.read_table(path).to_pylist()
    }
    for batch in DataLoader(data, batch_size=4, collate_fn=CollatePacks(pad=9, side=28)):
        assert batch["tokens"].shape == (len(batch["keys"]), 2048)
        for n, names in enumerate(batch["keys"]):
            row = read.pop(tuple(names))
            size = len(row["tokens"])
            assert batch["tokens"][n].tolist() == row["tokens"] + [9] * (2048 - size)
            assert (batch["labels"][n] != -100).tolist() == row["loss_mask"] + [False] * (2048 - size)
            assert int((batch["position"][n, :size] == 0).sum()) == len(names)
            assert batch["segment"][n].max() == len(names)
            starts = batch["image_start"][batch["image_row"] == n].tolist()
            assert starts == [image["start"] for image in row["images"]]
    assert not read


def test_packs_by_number_have_the_bytes_of_their_images(packs: Path) -> None:
    rows = [row for path in sorted(packs.glob("pack-*")) for row in pq.read_table(path).to_pylist()]
    data = PackMap(str(packs))
    for number in (0, len(rows) // 2, len(rows) - 1):
        assert data[number]["images"] == rows[number]["images"]


def test_packs_that_name_their_images_only_are_read_too(shards: Path, tmp_path: Path) -> None:
    pack([str(shards)], str(tmp_path / "packs"), PackSettings(images="name"))
    images = [image for row in PackDataset(str(tmp_path / "packs")) for image in row["images"]]
    assert images
    assert all(image["bytes"] is None and image["path"] for image in images)
