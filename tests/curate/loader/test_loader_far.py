"""Loading from an object store: an S3 server of this machine."""

from __future__ import annotations

import itertools
import multiprocessing
import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from pyarrow import fs

torch = pytest.importorskip("torch")
pytest.importorskip("moto")

from torch.utils.data import DataLoader  # noqa: E402

from curate.errors import InputError  # noqa: E402
from curate.loader import CollatePacks, PackDataset, ShardDataset, ShardMap  # noqa: E402
from curate.packing import PackSettings, pack  # noqa: E402
from tests.curate.made_shards import make_shards  # noqa: E402

ROWS = 600

pytestmark = pytest.mark.filterwarnings("ignore:'set_vital' is deprecated")


@pytest.fixture(scope="module")
def here(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Shards and packs on this machine."""
    folder = tmp_path_factory.mktemp("made")
    make_shards(folder / "shards", rows=ROWS // 3)
    pack([str(folder / "shards")], str(folder / "packs"))
    return folder


@pytest.fixture(scope="module")
def there(here: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[fs.FileSystem]:
    """The same in the bucket `training` of an S3 server that this process and its workers find."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    server = subprocess.Popen(
        [sys.executable, "-m", "moto.server", "-H", "127.0.0.1", "-p", str(port)],
        stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
    )  # fmt: skip
    settings = {
        "AWS_ENDPOINT_URL": f"http://127.0.0.1:{port}",
        "AWS_ACCESS_KEY_ID": "test",
        "AWS_SECRET_ACCESS_KEY": "test",
        "AWS_DEFAULT_REGION": "us-east-1",
        "XDG_CACHE_HOME": str(tmp_path_factory.mktemp("cache")),
    }
    store = fs.S3FileSystem(
        access_key="test", secret_key="test", endpoint_override=f"127.0.0.1:{port}", scheme="http",
        region="us-east-1", allow_bucket_creation=True,
    )  # fmt: skip
    deadline = time.monotonic() + 60
    while True:
        try:
            store.create_dir("training")
            break
        except OSError:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.2)
    for name in ("shards", "packs"):
        fs.copy_files(str(here / name), f"training/{name}", destination_filesystem=store)
    with pytest.MonkeyPatch.context() as patch:
        for name, value in settings.items():
            patch.setenv(name, value)
        yield store
    server.kill()
    server.wait()


def same(one: dict[str, Any], other: dict[str, Any]) -> bool:
    return one.keys() == other.keys() and all(
        value.tolist() == other[name].tolist() if hasattr(value, "tolist") else value == other[name]
        for name, value in one.items()
    )


@pytest.mark.usefixtures("there")
def test_samples_from_a_store_are_those_of_a_disk_in_the_same_order(here: Path) -> None:
    far = list(ShardDataset("s3://training/shards", batch_size=8, seed=1))
    near = list(ShardDataset(str(here / "shards"), batch_size=8, seed=1))
    assert len(far) == ROWS
    assert all(map(same, far, near))
    assert any(sample["image"] for sample in far)


@pytest.mark.usefixtures("there")
def test_packs_from_a_store_are_those_of_a_disk(here: Path) -> None:
    far, near = list(PackDataset("s3://training/packs")), list(PackDataset(str(here / "packs")))
    assert far
    assert all(map(same, far, near))


@pytest.fixture
def forkserver() -> str:
    """Starts workers that know nothing of this process either, after imports that they share."""
    multiprocessing.set_forkserver_preload(["curate.loader", "pyarrow.fs"])
    return "forkserver"


@pytest.mark.usefixtures("there")
@pytest.mark.parametrize("workers", [1, 3])
def test_spawned_workers_read_a_store_and_go_on_mid_epoch_under_another_number(
    workers: int, forkserver: str
) -> None:
    def batches(workers: int, state: dict[str, Any] | None = None) -> tuple[Any, Iterator[Any]]:
        data = ShardDataset("s3://training/shards", batch_size=16, seed=2)
        if state:
            data.load_state_dict(state)
        context = {0: None, 1: "spawn"}.get(workers, forkserver)
        return data, iter(
            DataLoader(
                data,
                batch_size=16,
                num_workers=workers,
                collate_fn=list,
                multiprocessing_context=context,
            )
        )

    whole = [[sample["key"] for sample in batch] for batch in batches(0)[1]]
    data, first = batches(workers)
    begun = [[sample["key"] for sample in batch] for batch in itertools.islice(first, 11)]
    _, rest = batches(2, data.state_after(11))
    assert begun + [[sample["key"] for sample in batch] for batch in rest] == whole


@pytest.mark.usefixtures("there")
def test_packs_from_a_store_are_collated_in_a_spawned_worker(forkserver: str) -> None:
    data = PackDataset("s3://training/packs", batch_size=4)
    loader = DataLoader(
        data,
        batch_size=4,
        num_workers=1,
        collate_fn=CollatePacks(side=14),
        multiprocessing_context=forkserver,
    )
    seen = [tuple(keys) for batch in loader for keys in batch["keys"]]
    assert seen == [tuple(pack["keys"]) for pack in data]


@pytest.mark.usefixtures("there")
def test_the_index_of_a_store_is_kept_in_the_users_cache() -> None:
    assert ShardMap("s3://training/shards")[5]["key"]
    kept = list(Path(os.environ["XDG_CACHE_HOME"], "curate", "index").glob("*.arrow"))
    assert len(kept) >= 3
    before = {path: path.stat().st_mtime_ns for path in kept}
    assert ShardMap("s3://training/shards")[5]["key"]
    assert {path: path.stat().st_mtime_ns for path in kept} == before


def test_a_shard_that_is_gone_from_the_store_is_an_error_that_names_it(
    there: fs.FileSystem, here: Path
) -> None:
    fs.copy_files(str(here / "shards"), "training/shards-2", destination_filesystem=there)
    data = ShardMap("s3://training/shards-2")
    assert data[0]["key"]
    there.delete_file("training/shards-2/shard-000001.parquet")
    with pytest.raises(InputError, match=r"shard-000001\.parquet"):
        data[ROWS // 3 + 1]


def test_packs_here_refer_to_images_of_shards_there(there: fs.FileSystem, here: Path, tmp_path: Path) -> None:
    settings = PackSettings(images="reference")
    pack(["s3://training/shards"], str(tmp_path), settings)
    wanted = {tuple(one["keys"]): one["images"] for one in PackDataset(str(here / "packs"))}
    found = {tuple(one["keys"]): one["images"] for one in PackDataset(str(tmp_path))}
    assert found == wanted
