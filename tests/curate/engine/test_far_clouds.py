"""Google's buckets and the Hugging Face Hub, played by servers of this machine."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from gcp_storage_emulator.server import create_server
from pyarrow import fs

from tests.curate.hub import hub
from tests.curate.runs import curate, done, files, free_port, pair, write_pairs

FEW = ("--set", "shard.rows=5", "--workers", "0")


@pytest.fixture(scope="module")
def bucket() -> Iterator[str]:
    """The address of an emulator of Google's storage that holds the bucket `shards`."""
    port = free_port()
    with create_server("127.0.0.1", port, in_memory=True, default_bucket="shards"):
        yield f"http://127.0.0.1:{port}"


@pytest.fixture(scope="module")
def pairs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    rows = [pair(n) for n in range(12)]
    rows[3]["TEXT"] = "no"
    return write_pairs(tmp_path_factory.mktemp("in") / "pairs.parquet", rows)


def test_a_google_bucket_gets_the_same_bytes_as_a_folder(
    bucket: str, pairs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    there = {"env": os.environ | {"CLOUD_STORAGE_EMULATOR_ENDPOINT": bucket}}
    done("run", "laion", "--input", pairs, "--out", tmp_path / "here", *FEW)
    done("run", "laion", "--input", pairs, "--out", "gs://shards/there", *FEW, **there)
    monkeypatch.setenv("CLOUD_STORAGE_EMULATOR_ENDPOINT", bucket)
    store = fs.GcsFileSystem(anonymous=True)
    for name, digest in files(tmp_path / "here").items():
        with store.open_input_stream(f"shards/there/{name}") as stream:
            assert hashlib.sha256(stream.read()).hexdigest() == digest
    again = curate("run", "laion", "--input", pairs, "--out", "gs://shards/there", *FEW, **there)
    assert "nothing to do" in again.stderr
    assert done("verify", "gs://shards/there", **there)["damaged"] == {}


def test_input_is_read_from_a_google_bucket(bucket: str, pairs: Path, tmp_path: Path) -> None:
    there = {"env": os.environ | {"CLOUD_STORAGE_EMULATOR_ENDPOINT": bucket}}
    done("run", "laion", "--input", pairs, "--out", "gs://shards/first", *FEW, **there)
    taken = ("--input", "gs://shards/first/shard-*.parquet", "--set", "rules.clip_score_too_low=false")
    result = done("run", "laion", *taken, "--out", tmp_path / "second", *FEW, **there)
    assert (result["rows_in"], result["rows_out"]) == (11, 11)


@pytest.mark.parametrize("where", ["/data/*.parquet", "/data/pairs-0.parquet", "/data", ""])
def test_input_is_read_from_the_hub(pairs: Path, tmp_path: Path, where: str) -> None:
    held = {"data/pairs-0.parquet": pairs.read_bytes(), "README.md": b"# pairs"}
    with hub("owner/pairs", held) as address:
        there = {"env": os.environ | {"HF_ENDPOINT": address, "HF_HOME": str(tmp_path / "home")}}
        uri = f"hf://datasets/owner/pairs{where}"
        result = done("run", "laion", "--input", uri, "--out", tmp_path / "out", *FEW, **there)
    assert (result["rows_in"], result["dropped"]) == (12, {"text_too_short": 1})


def test_a_repository_that_is_not_on_the_hub_is_one_line(tmp_path: Path) -> None:
    with hub("owner/pairs", {}) as address:
        there = {"env": os.environ | {"HF_ENDPOINT": address, "HF_HOME": str(tmp_path / "home")}}
        uri = "hf://datasets/owner/nothing/*.parquet"
        refused = curate("run", "laion", "--input", uri, "--out", tmp_path / "out", *FEW, **there)
    assert refused.returncode == 2
    assert len(refused.stderr.strip().splitlines()) == 1
    assert not (tmp_path / "out").exists()
