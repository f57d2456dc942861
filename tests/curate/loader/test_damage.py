"""Data that were changed since they were written never reach a model unnoticed."""

from __future__ import annotations

import json
import logging
import pickle
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

torch = pytest.importorskip("torch")

from torch.utils.data import DataLoader  # noqa: E402

from curate.errors import DamagedError, InputError  # noqa: E402
from curate.loader import (  # noqa: E402
    Collate,
    PackDataset,
    PackMap,
    ShardDataset,
    ShardMap,
    dataloader,
    resume_state,
)
from curate.packing import PackSettings, pack  # noqa: E402
from curate.storage.image_index import KEY, LEAVES, checksum, read_index  # noqa: E402
from curate.storage.parquet_pages import chunk_range, value_places  # noqa: E402
from tests.curate.made_shards import make_shards  # noqa: E402

pytestmark = [
    pytest.mark.filterwarnings("ignore:This DataLoader will create"),
    pytest.mark.filterwarnings("ignore:'set_vital' is deprecated"),
]

FLIPS = 60
COLUMNS = ("key", "task", "prompt", "target", "width", "height", "text", "sha256")


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with small shards and packs of them."""
    folder = tmp_path_factory.mktemp("made")
    make_shards(folder / "shards", rows=90, shards=2)
    pack([str(folder / "shards")], str(folder / "packs"))
    return folder


def plain(value: Any) -> Any:
    """A sample in a form that can be compared."""
    if isinstance(value, dict):
        return {name: plain(of) for name, of in value.items()}
    if isinstance(value, list):
        return [plain(one) for one in value]
    return value.tolist() if isinstance(value, np.ndarray) else value


def flip(path: Path, place: int, bit: int) -> None:
    body = bytearray(path.read_bytes())
    body[place] ^= 1 << bit
    path.write_bytes(body)


def image_place(path: Path, number: int) -> tuple[int, int]:
    """Where the image of that number lies in a shard or pack: its first byte, and its bytes."""
    parquet = pq.ParquetFile(path)
    leaf = LEAVES[0] if path.name.startswith("shard") else LEAVES[1]
    index = read_index(parquet, leaf)
    assert index is not None
    offsets, sizes = (
        np.concatenate([getattr(group, name) for group in index]) for name in ("offset", "size")
    )
    return int(offsets[number]), int(sizes[number])


@pytest.mark.parametrize("indexed_before", [False, True])
@pytest.mark.parametrize("kind", ["shards", "packs"])
def test_a_bit_that_flipped_anywhere_is_named_or_does_no_harm(
    made: Path, tmp_path: Path, kind: str, indexed_before: bool
) -> None:
    folder = Path(shutil.copytree(made / kind, tmp_path / kind))
    path = sorted(folder.glob("*.parquet"))[0]
    read: Callable[..., Any] = ShardMap if kind == "shards" else PackMap
    columns = COLUMNS if kind == "shards" else None

    def samples() -> list[Any]:
        return [plain(sample) for sample in read(str(folder), columns=columns)]

    before, body, rng = samples(), path.read_bytes(), np.random.default_rng(4)
    index = {kept.name: kept.read_bytes() for kept in (folder / "_index").iterdir()}
    named = 0
    for _ in range(FLIPS):
        place, bit = int(rng.integers(len(body))), int(rng.integers(8))
        shutil.rmtree(folder / "_index", ignore_errors=True)
        flip(path, place, bit)
        if indexed_before:
            (folder / "_index").mkdir()
            for name, kept in index.items():
                (folder / "_index" / name).write_bytes(kept)
        try:
            assert samples() == before, f"byte {place}, bit {bit}"
        except DamagedError as error:
            assert path.name in str(error)  # noqa: PT017 - both ends are right
            named += 1
        path.write_bytes(body)
    assert named > FLIPS // 2
    assert samples() == before


def test_a_bit_that_flipped_in_the_index_is_found_and_the_index_made_anew(made: Path, tmp_path: Path) -> None:
    folder = Path(shutil.copytree(made / "shards", tmp_path / "shards"))
    before = [plain(sample) for sample in ShardMap(str(folder))]
    rng = np.random.default_rng(5)
    for _ in range(20):
        for kept in (folder / "_index").iterdir():
            flip(kept, int(rng.integers(kept.stat().st_size)), int(rng.integers(8)))
        assert [plain(sample) for sample in ShardMap(str(folder))] == before


@pytest.fixture
def damaged(made: Path, tmp_path: Path) -> tuple[Path, str, int]:
    """Shards of which one image has a flipped bit; the key and the row of that image."""
    folder = Path(shutil.copytree(made / "shards", tmp_path / "shards"))
    path = folder / "shard-000001.parquet"
    place, size = image_place(path, 20)
    flip(path, place + size // 2, 3)
    table = pq.read_table(made / "shards" / path.name)
    row = np.flatnonzero(table["image"].is_valid().to_numpy())[20]
    return folder, table["key"][int(row)].as_py(), int(row)


def test_the_error_names_shard_row_and_key(damaged: tuple[Path, str, int]) -> None:
    folder, key, row = damaged
    with pytest.raises(DamagedError, match=rf"shard-000001\.parquet, row {row}, key {key}: .*curate verify"):
        list(ShardDataset(str(folder), columns=["prompt"]))
    with pytest.raises(DamagedError, match=key):
        ShardMap(str(folder), columns=["prompt"])[90 + row]


def test_the_error_of_a_pack_names_its_row_and_the_keys_of_its_samples(made: Path, tmp_path: Path) -> None:
    folder = Path(shutil.copytree(made / "packs", tmp_path / "packs"))
    place, size = image_place(folder / "pack-000000.parquet", 5)
    flip(folder / "pack-000000.parquet", place + size - 1, 0)
    rows = pq.read_table(made / "packs/pack-000000.parquet", columns=["keys", "images"]).to_pylist()
    counts = np.cumsum([len(row["images"]) for row in rows])
    row = int(np.searchsorted(counts, 5, side="right"))
    with pytest.raises(DamagedError, match=rf"pack-000000\.parquet, row {row}, key {rows[row]['keys'][0]}"):
        list(PackDataset(str(folder)))


def test_what_is_not_checked_is_handed_out(damaged: tuple[Path, str, int], made: Path) -> None:
    folder, key, _ = damaged
    got = {sample["key"]: sample["image"] for sample in ShardDataset(str(folder), check=False)}
    right = {sample["key"]: sample["image"] for sample in ShardDataset(str(made / "shards"))}
    assert {name for name in right if got[name] != right[name]} == {key}


@pytest.mark.parametrize("workers", [0, 2])
def test_a_damaged_sample_is_left_out_by_setting_named_and_counted(
    damaged: tuple[Path, str, int], made: Path, workers: int, caplog: pytest.LogCaptureFixture
) -> None:
    folder, key, _ = damaged
    data = ShardDataset(str(folder), batch_size=8, damaged="skip")
    with caplog.at_level(logging.WARNING, logger="curate"):
        batches = [[one["key"] for one in batch] for batch in dataloader(data, num_workers=workers)]
    whole = ShardDataset(str(made / "shards"), batch_size=8)
    # another digest would be another order: the damaged folder lists the same hashes
    expected = [[one["key"] for one in batch] for batch in dataloader(whole)]
    assert batches == [[name for name in batch if name != key] for batch in expected]
    assert data.skipped == 1
    assert workers or key in caplog.text


def test_leaving_out_works_by_number_and_is_refused_where_batches_would_shift(
    damaged: tuple[Path, str, int],
) -> None:
    folder, key, row = damaged
    data = ShardMap(str(folder), damaged="skip")
    assert key not in [sample["key"] for sample in data.__getitems__(list(range(80, 180)))]
    assert data.skipped == 1
    with pytest.raises(DamagedError, match=key):
        data[90 + row]
    with pytest.raises(InputError, match=r"curate\.loader\.dataloader"):
        next(iter(DataLoader(ShardDataset(str(folder), batch_size=4, damaged="skip"), batch_size=4)))
    assert len(list(ShardDataset(str(folder), damaged="skip"))) == 179
    with pytest.raises(InputError, match="damaged"):
        ShardDataset(str(folder), damaged="ignore")
    with pytest.raises(InputError, match="needs check=True"):
        ShardMap(str(folder), damaged="skip", check=False)


def test_an_image_that_does_not_decode_is_named_by_its_key(made: Path) -> None:
    samples = [ShardMap(str(made / "shards"))[0] | {"image": b"no image at all"}]
    with pytest.raises(DamagedError, match=samples[0]["key"]):
        Collate(8)(samples)


def test_every_image_is_in_the_index_that_its_file_was_written_with(made: Path) -> None:
    for path in [*(made / "shards").glob("*.parquet"), *(made / "packs").glob("*.parquet")]:
        parquet, data = pq.ParquetFile(path), path.read_bytes()
        leaf, levels = (LEAVES[0], 1) if path.name.startswith("shard") else (LEAVES[1], 2)
        index = read_index(parquet, leaf)
        assert index is not None
        for group, found in enumerate(index):
            column, start, size = chunk_range(parquet.metadata.row_group(group), leaf)
            walked = value_places(memoryview(data)[start : start + size], column, levels)
            assert found.offset.tolist() == walked.offset.tolist()
            assert found.size.tolist() == walked.size.tolist()
            bodies = [data[o : o + s] for o, s in zip(found.offset, found.size, strict=True)]
            assert [checksum(body) for body in bodies] == found.sum.tolist()


def test_an_index_that_other_software_carried_into_another_file_is_not_believed(
    made: Path, tmp_path: Path
) -> None:
    table = pq.read_table(made / "shards/shard-000000.parquet")
    carried = pq.ParquetFile(made / "shards/shard-000000.parquet").metadata.metadata[KEY]
    table = table.replace_schema_metadata({KEY: carried})
    options = {"compression": "none", "use_dictionary": False, "write_statistics": False}
    pq.write_table(table.slice(7), tmp_path / "shard-000000.parquet", row_group_size=30, **options)
    right = table.slice(7)["image"].to_pylist()
    assert read_index(pq.ParquetFile(tmp_path / "shard-000000.parquet"), LEAVES[0]) is None
    assert [s["image"] for s in ShardMap(str(tmp_path))] == [image and image["bytes"] for image in right]


def test_a_shard_without_an_index_is_indexed_by_its_pages_whose_checksums_are_compared(
    made: Path, tmp_path: Path
) -> None:
    table = pq.read_table(made / "shards/shard-000000.parquet")
    table = table.replace_schema_metadata(None)
    options = {"compression": "none", "use_dictionary": False, "write_statistics": False}
    path = tmp_path / "shard-000000.parquet"
    pq.write_table(table, path, write_page_checksum=True, **options)
    assert len(list(ShardMap(str(tmp_path)))) == 90
    body = table["image"].to_pylist()[0]["bytes"]
    shutil.rmtree(tmp_path / "_index")
    flip(path, path.read_bytes().index(body) + 40, 0)
    with pytest.raises(
        DamagedError, match=r"cannot index .*shard-000000\.parquet: a page of image\.bytes is dam"
    ):
        list(ShardMap(str(tmp_path)))


@pytest.mark.parametrize(
    ("harm", "said"),
    [
        (lambda path: path.unlink(), "is missing, though the manifest lists it"),
        (lambda path: shutil.copy(path, path.with_name("shard-000077.parquet")), "is not in the manifest"),
        (lambda path: path.write_bytes(path.read_bytes()[:-9]), "bytes instead of"),
    ],
)
@pytest.mark.parametrize("use", ["load", "pack", "export"])
def test_a_folder_that_is_not_what_its_manifest_lists_is_refused(
    made: Path, tmp_path: Path, harm: Callable[[Path], None], said: str, use: str
) -> None:
    from curate.exporting import export

    folder = Path(shutil.copytree(made / "shards", tmp_path / "shards"))
    harm(folder / "shard-000001.parquet")
    does: dict[str, Callable[[], object]] = {
        "load": lambda: ShardDataset(str(folder)),
        "pack": lambda: pack([str(folder)], str(tmp_path / "out"), PackSettings()),
        "export": lambda: export(str(folder), "mds", str(tmp_path / "out")),
    }
    with pytest.raises(DamagedError, match=rf"shard-0000(01|77)\.parquet {said}|{said}") as found:
        does[use]()
    assert found.value.exit_code == 1
    assert not (tmp_path / "out").exists()


def test_only_one_file_is_opened_to_plan(made: Path, tmp_path: Path) -> None:
    """The others may be anything of their size: it is found out when they are read."""
    folder = Path(shutil.copytree(made / "shards", tmp_path / "shards"))
    (folder / "shard-000001.parquet").write_bytes(bytes((folder / "shard-000001.parquet").stat().st_size))
    assert len(ShardDataset(str(folder))) == 180


def test_the_dataloader_takes_the_batch_size_of_its_data_set(made: Path) -> None:
    data = ShardDataset(str(made / "shards"), batch_size=16, seed=3)
    loader = dataloader(data, num_workers=2, collate_fn=Collate(8))
    batches = list(loader)
    assert [len(batch["key"]) for batch in batches] == [16] * 11 + [4]
    assert len(loader) == 12
    plain_loader = DataLoader(data, batch_size=16, collate_fn=Collate(8))
    assert [batch["key"] for batch in batches] == [batch["key"] for batch in plain_loader]
    with pytest.raises(InputError, match="batch_size is the data set's"):
        dataloader(data, batch_size=8)
    with pytest.raises(InputError, match="takes a ShardDataset"):
        dataloader(ShardMap(str(made / "shards")))  # type: ignore[arg-type]


def test_a_batch_or_a_rank_that_cannot_be_is_named(made: Path) -> None:
    with pytest.raises(InputError, match="batch_size must be at least 1, not 0"):
        ShardDataset(str(made / "shards"), batch_size=0)
    with pytest.raises(InputError, match="rank must be from 0 to 1, below world_size, not 2"):
        ShardDataset(str(made / "shards"), rank=2, world_size=2)


def test_it_goes_on_mid_epoch_by_steps_and_by_its_own_state(made: Path) -> None:
    stateful = pytest.importorskip("torchdata.stateful_dataloader").StatefulDataLoader

    def data() -> ShardDataset:
        return ShardDataset(str(made / "shards"), batch_size=16, seed=3)

    def keys(loader: Any) -> list[list[str]]:
        return [[sample["key"] for sample in batch] for batch in loader]

    whole = keys(dataloader(data()))
    one = data()
    taken = [batch for _, batch in zip(range(5), dataloader(one), strict=False)]
    rest = data()
    rest.load_state_dict(json.loads(json.dumps(one.state_after(5))))
    assert keys(taken) + keys(dataloader(rest, num_workers=2)) == whole
    loader = dataloader(data(), num_workers=2, loader=stateful)
    taken = [batch for _, batch in zip(range(5), loader, strict=False)]
    state = pickle.loads(pickle.dumps(loader.state_dict()))
    again = dataloader(data(), num_workers=2, loader=stateful)
    again.load_state_dict(state)
    assert keys(taken) + keys(again) == whole
    other = data()
    other.load_state_dict(resume_state(state))
    assert keys(taken) + keys(dataloader(other)) == whole


def test_more_files_than_may_be_open_at_once_are_read(tmp_path: Path) -> None:
    import resource

    make_shards(tmp_path / "one", rows=4, shards=1, tasks=("caption",))
    (tmp_path / "many").mkdir()
    for number in range(200):
        shutil.copy(tmp_path / "one/shard-000000.parquet", tmp_path / f"many/shard-{number:06d}.parquet")
    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    used = len(list(Path("/proc/self/fd").iterdir()))
    resource.setrlimit(resource.RLIMIT_NOFILE, (used + 160, before[1]))
    try:
        assert len(list(ShardDataset(str(tmp_path / "many")))) == 800
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, before)


def test_the_order_of_an_epoch_is_of_rows_alone() -> None:
    from curate.loader.shuffle import RUN_ROWS, runs

    found = runs(np.array([5, RUN_ROWS + 1, 1, 3 * RUN_ROWS]))
    assert found.tolist() == [5, 512, 513, 1, RUN_ROWS, RUN_ROWS, RUN_ROWS]


def test_images_of_a_pack_that_only_names_them_need_no_checksum(made: Path, tmp_path: Path) -> None:
    pack([str(made / "shards")], str(tmp_path / "packs"), PackSettings(images="name"))
    images = [image for row in PackDataset(str(tmp_path / "packs")) for image in row["images"]]
    assert images
    assert all(image["bytes"] is None for image in images)


def test_the_index_holds_for_lists_rows_without_images_and_large_groups(tmp_path: Path) -> None:
    from curate.manifest.settings import ShardSettings
    from curate.schema import SHARD
    from curate.storage.shards import write_tables
    from curate.storage.store import Store

    rng = np.random.default_rng(0)
    rows = [
        {"key": f"{n:032x}", "dataset": "d" * (n % 3), "task": "caption", "text": None,
         "image": None if n % 3 else {"bytes": rng.bytes(int(rng.integers(0, 200_000))), "path": "p"}}
        for n in range(400)
    ]  # fmt: skip
    table = pa.Table.from_pylist(rows, SHARD)
    groups = [table.slice(0, 0), table.slice(0, 350), table.slice(350)]
    write_tables(Store(str(tmp_path)), "shard-000000.parquet", groups, SHARD, ShardSettings())
    shutil.rmtree(tmp_path / "_run")
    assert read_index(pq.ParquetFile(tmp_path / "shard-000000.parquet"), LEAVES[0]) is not None
    got = [sample["image"] for sample in ShardMap(str(tmp_path))]
    assert got == [row["image"] and row["image"]["bytes"] for row in rows]
