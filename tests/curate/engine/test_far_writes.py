"""An object store that stops taking writes at any point of a run, and what the same command makes of it."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from pyarrow import fs

import curate
from curate.engine.journal import Journal
from curate.storage import lease as leases
from curate.storage.store import Store
from tests.curate.runs import done, files, free_port, pair, write_pairs

moto = pytest.importorskip("moto.server")

STEP = int(os.environ.get("CURATE_STEP", "4"))  # every fourth write of the run; 1 tries them all
SETTINGS = {"shard.rows": 4}


class Bucket:
    """The bucket `shards` on an S3 server of this process, which counts requests and may refuse writes."""

    def __init__(self) -> None:
        self.port, self.requests = free_port(), list[tuple[str, str]]()
        self.writes_left: int | None = None  # None: any number
        self._app = moto.DomainDispatcherApplication(moto.create_backend_app)
        self._lock = threading.Lock()

    def __call__(self, environment: dict[str, Any], start: Any) -> Any:
        method, path = environment["REQUEST_METHOD"], environment["PATH_INFO"]
        with self._lock:
            self.requests.append((method, path))
            if method == "PUT" and "lease" not in path and self.writes_left is not None:
                self.writes_left -= 1
                if self.writes_left < 0:
                    start("403 Forbidden", [("Content-Type", "application/xml")])
                    return [b"<Error><Code>AccessDenied</Code></Error>"]
        return self._app(environment, start)

    def count(self, method: str, part: str = "") -> int:
        return sum(part in path and method == of for of, path in self.requests)


@pytest.fixture(scope="module")
def bucket() -> Iterator[Bucket]:
    from werkzeug.serving import make_server

    held = Bucket()
    server = make_server("127.0.0.1", held.port, held, threaded=True)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield held
    server.shutdown()


@pytest.fixture(autouse=True)
def there(bucket: Bucket, monkeypatch: pytest.MonkeyPatch) -> fs.FileSystem:
    for name, value in {
        "AWS_ENDPOINT_URL": f"http://127.0.0.1:{bucket.port}",
        "AWS_ACCESS_KEY_ID": "test",
        "AWS_SECRET_ACCESS_KEY": "test",
        "AWS_DEFAULT_REGION": "us-east-1",
    }.items():
        monkeypatch.setenv(name, value)
    store = fs.S3FileSystem(
        endpoint_override=f"127.0.0.1:{bucket.port}", scheme="http", region="us-east-1",
        allow_bucket_creation=True,
    )  # fmt: skip
    store.create_dir("shards")
    bucket.writes_left, bucket.requests = None, []
    return store


@pytest.fixture(scope="module")
def pairs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Twelve pairs: in the second unit one falls to a rule, in the third one to a picture met before."""
    rows = [pair(n) for n in range(12)]
    rows[5]["TEXT"] = "no"
    rows[9] |= {"TEXT": rows[1]["TEXT"], "image": rows[1]["image"]}
    return write_pairs(tmp_path_factory.mktemp("in") / "pairs.parquet", rows)


@pytest.fixture(scope="module")
def here(pairs: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    out = tmp_path_factory.mktemp("here")
    done("run", "laion", "--input", pairs, "--out", out, "--set", "shard.rows=4", "--workers", "0")
    return files(out)


def run_to(name: str, pairs: Path) -> None:
    curate.run("laion", f"s3://shards/{name}", [pairs], settings=SETTINGS, workers=0, progress=False)


def written(store: fs.FileSystem, name: str, to: Path) -> dict[str, str]:
    fs.copy_files(f"shards/{name}", str(to), source_filesystem=store)
    return files(to)


def test_whatever_write_an_object_store_refuses_the_same_command_ends_with_the_same_bytes(
    bucket: Bucket, there: fs.FileSystem, pairs: Path, here: dict[str, str], tmp_path: Path
) -> None:
    run_to("whole", pairs)
    writes = bucket.count("PUT") - bucket.count("PUT", "lease")
    assert written(there, "whole", tmp_path / "whole") == here
    for allowed in range(0, writes, STEP):
        bucket.writes_left = allowed
        with pytest.raises(curate.CurateError):
            run_to(f"torn-{allowed}", pairs)
        bucket.writes_left = None
        run_to(f"torn-{allowed}", pairs)
        assert written(there, f"torn-{allowed}", tmp_path / str(allowed)) == here, allowed


def test_nothing_is_copied_moved_or_written_twice_on_an_object_store(bucket: Bucket, pairs: Path) -> None:
    run_to("once", pairs)
    assert bucket.count("PUT", "shard-000000.parquet") == 1
    assert bucket.count("PUT", "shard-000002.parquet") == 2, "it lost a row to the rules across the run"
    assert bucket.count("PUT", "tmp") == bucket.count("POST", "tmp") == 0


def test_a_unit_takes_few_requests_on_an_object_store(bucket: Bucket, tmp_path: Path) -> None:
    counts = []
    for units in (2, 6):
        rows = [pair(n) for n in range(4 * units)]
        for first in range(0, len(rows), 4):
            rows[first]["TEXT"] = "no"  # each unit has a file of dropped rows
        bucket.requests = []
        run_to(f"units-{units}", write_pairs(tmp_path / f"{units}.parquet", rows))
        counts.append(sum("lease" not in path for _, path in bucket.requests))
    assert (counts[1] - counts[0]) / 4 <= 15, counts


def test_a_second_run_on_a_folder_of_an_object_store_is_refused(bucket: Bucket, pairs: Path) -> None:
    holder = Store("s3://shards/held")
    holder.lock()
    try:
        with pytest.raises(curate.OutputError, match=r"another run .* is writing to s3://shards/held"):
            run_to("held", pairs)
        assert bucket.count("PUT", "shard-") == 0
    finally:
        holder.unlock()
    run_to("held", pairs)


def test_a_driver_that_lost_its_lease_removes_nothing_of_the_other_run(
    bucket: Bucket, there: fs.FileSystem, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(leases, "BEAT_S", 0.1)
    journal = Journal(Store("s3://shards/taken"))
    with journal.locked():
        for name in ("lease.json", "keys/spill-000000.arrow"):  # another driver has begun here meanwhile
            with there.open_output_stream(f"shards/taken/_run/{name}") as stream:
                stream.write(b"{}")
        time.sleep(1.0)
        with pytest.raises(curate.CurateError, match="lost the lease"):
            journal.store.check_held()
    assert journal.store.exists("_run/keys/spill-000000.arrow")
    assert journal.store.read_bytes("_run/lease.json") == b"{}"
