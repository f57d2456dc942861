"""Output to and input from an object store, and a cluster of several nodes."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from pyarrow import fs

from curate.cluster import alone
from tests.curate.runs import ROOT, curate, done, files, free_port, pair, write_pairs

FEW = ("--set", "shard.rows=5", "--workers", "0")


@pytest.fixture(scope="module")
def bucket() -> Iterator[tuple[fs.FileSystem, dict[str, str]]]:
    """A bucket `shards` on an S3 server of this machine, and the environment that finds it."""
    port = free_port()
    server = subprocess.Popen(
        [sys.executable, "-m", "moto.server", "-H", "127.0.0.1", "-p", str(port)],
        stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
    )  # fmt: skip
    environment = os.environ | {
        "AWS_ENDPOINT_URL": f"http://127.0.0.1:{port}",
        "AWS_ACCESS_KEY_ID": "test",
        "AWS_SECRET_ACCESS_KEY": "test",
        "AWS_DEFAULT_REGION": "us-east-1",
    }
    store = fs.S3FileSystem(
        access_key="test", secret_key="test", endpoint_override=f"127.0.0.1:{port}", scheme="http",
        region="us-east-1", allow_bucket_creation=True,
    )  # fmt: skip
    for attempt in range(100):
        try:
            store.create_dir("shards")
            break
        except OSError:
            if attempt == 99:
                raise
            time.sleep(0.2)
    yield store, environment
    server.kill()
    server.wait()


@pytest.fixture(scope="module")
def pairs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    rows = [pair(n) for n in range(20)]
    rows[3]["TEXT"] = "no"
    rows[17] |= {"TEXT": rows[1]["TEXT"], "image": rows[1]["image"]}
    return write_pairs(tmp_path_factory.mktemp("in") / "pairs.parquet", rows)


def copy_of(store: fs.FileSystem, folder: str, to: Path) -> Path:
    fs.copy_files(folder, str(to), source_filesystem=store)
    return to


def test_an_object_store_gets_the_same_bytes_as_a_folder(
    bucket: tuple[fs.FileSystem, dict[str, str]], pairs: Path, tmp_path: Path
) -> None:
    store, environment = bucket
    done("run", "laion", "--input", pairs, "--out", tmp_path / "here", *FEW)
    done("run", "laion", "--input", pairs, "--out", "s3://shards/there", *FEW, env=environment)
    assert files(copy_of(store, "shards/there", tmp_path / "there")) == files(tmp_path / "here")
    again = curate("run", "laion", "--input", pairs, "--out", "s3://shards/there", *FEW, env=environment)
    assert "nothing to do" in again.stderr
    assert done("verify", "s3://shards/there", env=environment)["damaged"] == {}


def test_a_killed_run_to_an_object_store_resumes_to_the_same_bytes(
    bucket: tuple[fs.FileSystem, dict[str, str]], pairs: Path, tmp_path: Path
) -> None:
    store, environment = bucket
    done("run", "laion", "--input", pairs, "--out", tmp_path / "here", *FEW)
    command = ["run", "laion", "--input", pairs, "--out", "s3://shards/killed", *FEW]

    def objects() -> int:
        return len(
            store.get_file_info(fs.FileSelector("shards/killed", recursive=True, allow_not_found=True))
        )

    for more in (2, 5):
        enough = objects() + more
        killed = curate(*command, env=environment, until=lambda: objects() >= enough)  # noqa: B023
        assert killed.returncode == -signal.SIGKILL
    done(*command, env=environment)
    assert files(copy_of(store, "shards/killed", tmp_path / "killed")) == files(tmp_path / "here")


def test_input_is_read_from_an_object_store(
    bucket: tuple[fs.FileSystem, dict[str, str]], pairs: Path, tmp_path: Path
) -> None:
    store, environment = bucket
    with store.open_output_stream("shards/in/pairs.parquet") as stream:
        stream.write(pairs.read_bytes())
    result = done("run", "laion", "--input", "s3://shards/in/", "--out", tmp_path, *FEW, env=environment)
    assert (result["rows_in"], result["dropped"]) == (20, {"duplicate_pair": 1, "text_too_short": 1})


def test_a_bucket_that_is_not_there_is_one_line(
    bucket: tuple[fs.FileSystem, dict[str, str]], pairs: Path
) -> None:
    refused = curate("run", "laion", "--input", pairs, "--out", "s3://nowhere/x", *FEW, env=bucket[1])
    assert refused.returncode == 2
    assert len(refused.stderr.strip().splitlines()) == 1


def test_a_node_that_dies_in_mid_run_costs_nothing_but_time(pairs: Path, tmp_path: Path) -> None:
    ray, cluster_utils = pytest.importorskip("ray"), pytest.importorskip("ray.cluster_utils")
    done(
        "run", "laion", "--input", pairs, "--out", tmp_path / "here", "--set", "shard.rows=1", "--workers", 0
    )
    with alone(ray):
        cluster = cluster_utils.Cluster(initialize_head=True, head_node_args={"num_cpus": 1})
        doomed = cluster.add_node(num_cpus=1)
    try:
        command = ["run", "laion", "--input", pairs, "--out", tmp_path / "there", "--set", "shard.rows=1"]
        process = subprocess.Popen(
            [sys.executable, "-m", "curate", *map(str, command), "--address", cluster.address],
            cwd=ROOT, stderr=subprocess.PIPE, text=True,
        )  # fmt: skip
        deadline = time.monotonic() + 120
        while (
            len(list((tmp_path / "there").glob("_run/staged/*/*.json"))) < 3 and time.monotonic() < deadline
        ):
            time.sleep(0.05)
        cluster.remove_node(doomed, allow_graceful=False)
        _, said = process.communicate(timeout=200)
        assert process.returncode == 0, said
    finally:
        cluster.shutdown()
    assert files(tmp_path / "there") == files(tmp_path / "here")


def test_a_version_on_an_object_store_shares_shards_without_reading_them(
    bucket: tuple[fs.FileSystem, dict[str, str]], pairs: Path, tmp_path: Path
) -> None:
    store, environment = bucket
    done("run", "laion", "--input", pairs, "--out", "s3://shards/removing", *FEW, env=environment)
    (tmp_path / "list.txt").write_text("https://pictures.example/2.jpg\n")
    command = (
        "remove",
        "s3://shards/removing",
        "--list",
        tmp_path / "list.txt",
        "--out",
        "s3://shards/removed",
    )
    found = done(*command, env=environment)
    assert (found["rows_removed"], found["rewritten"], found["shared"]) == (1, 1, 3)
    assert done(*command, env=environment) | {"unmatched_lines": []} == found
    assert done("verify", "s3://shards/removed", env=environment)["damaged"] == {}
    for name in ("shard-000001.parquet", "_dropped/dropped-000003.parquet"):
        with (
            store.open_input_stream(f"shards/removing/{name}") as before,
            store.open_input_stream(f"shards/removed/{name}") as after,
        ):
            assert before.read() == after.read()


def test_a_run_on_an_object_store_grows_to_the_bytes_of_one_on_all_inputs(
    bucket: tuple[fs.FileSystem, dict[str, str]], pairs: Path, tmp_path: Path
) -> None:
    store, environment = bucket
    added = [pair(30), pair(31, TEXT=pair(2)["TEXT"], image=pair(2)["image"])]
    more = write_pairs(tmp_path / "zz.parquet", added)
    both = ("--input", pairs, "--input", more)
    done("run", "laion", *both, "--out", tmp_path / "all", *FEW)
    done("run", "laion", "--input", pairs, "--out", "s3://shards/growing", *FEW, env=environment)
    done("run", "laion", *both, "--out", "s3://shards/growing", *FEW, env=environment)
    assert files(copy_of(store, "shards/growing", tmp_path / "there")) == files(tmp_path / "all")
    assert done("verify", "s3://shards/growing", env=environment)["damaged"] == {}
