"""Does a run of many rows on several Ray nodes and an object store outlive what befalls it, with the same bytes?

    python -m benchmarks.large_run --data ../shared/data [--rows 20000000] [--rows-a-unit 10000] [--work DIR]

Real captions repeated with changes become texts (manifest `text`), in files of 100,000 rows. They are run twice: in
one command on this machine into a folder; and on three Ray nodes of this machine into an S3 server of this machine
that takes 20 ms a request. Of the second run a node is killed once a quarter of the units are there, a second driver
is tried after it, the driver is killed at half of the units, and the same command is repeated until it may go on.
Every shard and every file of dropped rows must then have the same SHA-256 in both.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from benchmarks.rules import realistic
from tests.curate.runs import ROOT, files, free_port

ROWS_A_FILE = 100_000
NODES = 3  # of one CPU each
LONGEST_S = 3600  # of a wait
MOST_REFUSED = 60
BUCKET = "shards"


def make_input(data: Path, folder: Path, rows: int) -> Path:
    """Files of texts that differ from file to file."""
    texts = realistic(data, min(rows, ROWS_A_FILE))["text"]
    folder.mkdir()
    for number in range(-(-rows // ROWS_A_FILE)):
        some = texts.slice(0, rows - number * ROWS_A_FILE)
        changed = pc.binary_join_element_wise(some, pa.scalar(f"({number})"), " ")
        pq.write_table(pa.table({"text": changed}), folder / f"{number:05}.parquet", compression="zstd")
    return folder


class Far:
    """An S3 server of this machine with a bucket, and what was asked of it."""

    def __init__(self, folder: Path) -> None:
        """Start it; what it is asked is written to a file in `folder`."""
        import boto3

        port, self._log = free_port(), folder / "requests"
        self._log.write_text("")
        serve = [sys.executable, str(ROOT / "benchmarks/scale.py"), "--serve", str(port), str(self._log)]
        self._server = subprocess.Popen(serve, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        os.environ |= {
            "AWS_ENDPOINT_URL": f"http://127.0.0.1:{port}", "AWS_ACCESS_KEY_ID": "t", "AWS_SECRET_ACCESS_KEY": "t",
            "AWS_DEFAULT_REGION": "us-east-1",
        }  # fmt: skip
        self._client = boto3.client("s3")
        for attempt in range(100):
            try:
                self._client.create_bucket(Bucket=BUCKET)
                return
            except Exception:
                if attempt == 99:
                    raise
                time.sleep(0.2)

    def requests(self) -> Counter[str]:
        """Requests by method, the lease's heartbeats apart."""
        lines = self._log.read_text().splitlines()
        return Counter("lease" if "lease.json" in line else line.split(" ")[0] for line in lines)

    def shards(self) -> int:
        """Shards that were written."""
        return self._log.read_text().count("/out/shard-")

    def files(self) -> dict[str, str]:
        """The SHA-256 of every shard and file of dropped rows."""
        found = {}
        for page in self._client.get_paginator("list_objects_v2").paginate(Bucket=BUCKET, Prefix="out/"):
            for one in page.get("Contents", ()):
                name = one["Key"].removeprefix("out/")
                if name.startswith(("shard-", "_dropped/")) and name.endswith(".parquet"):
                    body = self._client.get_object(Bucket=BUCKET, Key=one["Key"])["Body"].read()
                    found[name] = hashlib.sha256(body).hexdigest()
        return found

    def stop(self) -> None:
        """End the server."""
        self._server.kill()
        self._server.wait()


def run(source: Path, out: str, unit_rows: int, *options: str) -> subprocess.Popen[str]:
    """A run of texts that has begun."""
    command = [sys.executable, "-m", "curate", "run", "text", "--input", str(source), "--out", out]
    return subprocess.Popen(
        [*command, "--set", f"shard.rows={unit_rows}", "--json", *options],
        cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip


def outcome(process: subprocess.Popen[str], told: str, said: str) -> dict[str, Any]:
    """The result of a run that came to its end, by what it wrote to standard output and standard error."""
    if process.returncode:
        sys.exit(f"exit {process.returncode}: {said[-2000:]}")
    result: dict[str, Any] = json.loads(told)
    return result


def wait_for(far: Far, shards: int, driver: subprocess.Popen[str]) -> None:
    """Until so many shards are written."""
    deadline = time.monotonic() + LONGEST_S
    while far.shards() < shards:
        if driver.poll() is not None or time.monotonic() > deadline:
            sys.exit(f"the driver ended too early, or never: {driver.communicate()[1][-2000:]}")
        time.sleep(1)


def unlucky(source: Path, far: Far, units: int, unit_rows: int) -> dict[str, Any]:
    """The run that loses a node and its driver, and what came of it."""
    from ray.cluster_utils import Cluster

    cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 1, "include_dashboard": False})
    try:
        doomed, *_ = [cluster.add_node(num_cpus=1) for _ in range(NODES - 1)]
        on_it = (source, f"s3://{BUCKET}/out", unit_rows, "--address", cluster.address)
        driver = run(*on_it)
        wait_for(far, units // 4, driver)
        cluster.remove_node(doomed, allow_graceful=False)
        print(f"a node killed at {far.shards():,} shards", flush=True)
        second = run(*on_it)
        said = second.communicate(timeout=LONGEST_S)[1].strip()
        print(f"a second driver: exit {second.returncode}, {said}", flush=True)
        wait_for(far, units // 2, driver)
        driver.send_signal(signal.SIGKILL)
        driver.communicate()
        print(f"the driver killed at {far.shards():,} shards", flush=True)
        refused = 0
        while True:
            again = run(*on_it)
            told = again.communicate(timeout=LONGEST_S)
            if again.returncode != 2 or refused == MOST_REFUSED:
                break
            refused += 1
            time.sleep(5)
        result = outcome(again, *told)
        print(
            f"the same command: refused {refused} times while the lease was held, then complete", flush=True
        )
        return result
    finally:
        cluster.shutdown()


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--rows", type=int, default=20_000_000)
    parser.add_argument("--rows-a-unit", type=int, default=10_000)
    parser.add_argument("--work", type=Path, help="an empty folder that is kept; default: a temporary one")
    asked = parser.parse_args()
    units = -(-asked.rows // asked.rows_a_unit)
    with nullcontext(asked.work) if asked.work else tempfile.TemporaryDirectory() as work:
        folder = Path(work)
        source = make_input(asked.data, folder / "in", asked.rows)
        far = Far(folder)
        try:
            began = time.monotonic()
            result = unlucky(source, far, units, asked.rows_a_unit)
            print(f"on {NODES} nodes: {result['rows_out']:,} of {result['rows_in']:,} rows kept, "
                  f"{len(result['shards']):,} shards, {time.monotonic() - began:,.0f} s")  # fmt: skip
            asked_for = far.requests()
            told = ", ".join(f"{method} {count:,}" for method, count in asked_for.most_common())
            print(f"requests: {told}; {(asked_for.total() - asked_for['lease']) / units:.1f} a unit")
            there = far.files()
        finally:
            far.stop()
        began = time.monotonic()
        local = run(source, str(folder / "here"), asked.rows_a_unit)
        outcome(local, *local.communicate(timeout=LONGEST_S))
        here = files(folder / "here")
        print(f"on this machine, into a folder: {time.monotonic() - began:,.0f} s")
        differing = sum(there.get(name) != digest for name, digest in here.items()) + len(
            set(there) - set(here)
        )
        print(f"{len(here):,} files, {differing:,} differ")
        sys.exit(bool(differing))


if __name__ == "__main__":
    main()
