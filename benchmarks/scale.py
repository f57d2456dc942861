"""Does anything that is done once a unit, or once by the driver, grow with the number of units?

    python benchmarks/scale.py                    # 1,000 to 500,000 units; some five minutes on two cores
    python benchmarks/scale.py --units 1000 10000 --no-s3
    python benchmarks/scale.py --inputs 1000 3000 9000


Synthetic plans and journals, one after the other in processes of their own. Of each size: CPU a unit of ten rows, as
a worker spends it; resume and finish of an unfinished run, every request of whose store takes 20 ms; the driver's
memory. The growth is the exponent of the fitted power law: 0 is constant, 1 linear. Last the requests that a unit
takes on an S3 server of this machine, counted there.

With `--inputs`, instead: whole commands over so many Parquet files of four pairs each, in this process alone
(`--workers 0`). `run` drops all rows by a rule, so that nothing is fetched; `select` keeps three of four.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

ROOT = Path(__file__).parent.parent
sys.path.insert(0, str(ROOT))
DELAY_S = 0.02
INPUTS = 23_000  # at 500,000 units; fewer in proportion
STAGED_UNITS = 200  # that a worker really does, of each plan
FRESH = 2_000  # records that no segment holds yet when the driver is killed
PAGE = 1_000  # names in one answer of an object store
TEXTS = (  # of a small input
    "Boat {} at the pier of the bay", "Château №{} &amp; its garden - Stock Photo",
    "IMG_{}_harbour_at_night.jpg | Photo by J. Doe", "Лодка {} у причала",
)  # fmt: skip
COMMANDS = {"run": ["--set", "rules.text_too_short.min_chars=100000"], "select": []}


def plan_of(units: int, folder: Path) -> Any:
    """A run of text, ten rows a unit, over as many inputs as a plan of that size has (all of them one file)."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    from curate.engine.command import request
    from curate.engine.plan import Plan, Run
    from curate.manifest import load as manifests

    inputs = max(1, INPUTS * units // 500_000)
    rows = 10 * -(-units // inputs)
    path = folder / f"{rows}.parquet"
    pq.write_table(pa.table({"text": [f"Text {n} of the harbour and its boats" for n in range(rows)]}), path)
    active = manifests.load("text").active_rules()
    across = [f"rules.{name}=false" for name in active if name in ("duplicate_pair", "id_repeated")]
    asked = request(manifests.load("text", ["shard.rows=10", *across]), [str(path)])
    plan = Plan(asked.inputs * inputs, (rows,) * inputs, 10)
    return asked, Run(manifest=asked.manifest, out=str(folder / "out"), work=str(folder), plan=plan)


class Watcher:
    """A meter that nobody reads."""

    def add(self, **counts: int) -> None: ...


def cpu_of_a_unit(units: int, folder: Path) -> dict[str, float]:
    """CPU milliseconds of a unit, without reading ahead or starting anything; and of making a job of it."""
    from curate.engine.run_steps import unit_jobs
    from curate.engine.worker import Job, Worker

    _, run = plan_of(units, folder)
    worker = Worker(run, Watcher(), 1)
    numbers = np.linspace(0, run.plan.units - 1, STAGED_UNITS).astype(int).tolist()
    worker.do(Job("stage", (numbers[0],)))
    begun = time.process_time()
    for number in numbers:
        worker.do(Job("stage", (number,)))
    spent = time.process_time() - begun
    begun = time.process_time()
    jobs = sum(1 for _ in unit_jobs("stage", np.arange(run.plan.units), 1000))
    planned = time.process_time() - begun
    assert jobs
    return {"unit_ms": 1e3 * spent / STAGED_UNITS, "jobs_us_a_unit": 1e6 * planned / run.plan.units}


def slow_store(folder: Path, units: int) -> Any:
    """A store each of whose requests takes 20 ms; its records of units are made up when they are read."""
    import msgspec

    from curate.storage.store import Store

    class SlowStore(Store):
        requests: ClassVar[Counter[str]] = Counter()

        def _wait(self, kind: str, times: int = 1) -> None:
            self.requests[kind] += times
            time.sleep(DELAY_S * times)

        def read_bytes(self, name: str) -> bytes | None:
            self._wait("read")
            if name.startswith("_run/done/") and name.endswith(".json"):
                return msgspec.json.encode(made_up(int(name[-11:-5])))
            return super().read_bytes(name)

        def write(self, name: str, fill: Callable[..., object]) -> Any:
            self._wait("write")
            return super().write(name, fill)

        def names(self, of: str = "") -> list[str]:
            found = super().names(of)
            if of.startswith("_run/done/"):
                first = int(of.rsplit("/", 1)[-1], 16)
                found = [f"{number:06d}.json" for number in range(first, units - units // 10, 256)]
            self._wait("list", max(1, -(-len(found) // PAGE)))
            return found

        def folders(self, of: str) -> list[str]:
            self._wait("list")
            return [f"{of}/{number:02x}" for number in range(256)] if of == "_run/done" else []

    return SlowStore(str(folder / "journal"))


def made_up(unit: int) -> Any:
    """A finished unit's record, of the usual size."""
    from curate.engine.record import Stage, UnitRecord
    from curate.storage.shards import Shard, dropped_name, shard_name

    names = ("read", "rules", "seen", "fetch", "decode", "size", "score", "tasks", "write", "across")
    digest = f"{unit:064x}"
    return UnitRecord(
        unit=unit, inputs_in=10_000, rows_in=10_000, rows_out=2_800,
        dropped={"clip_score_too_low": 5_000, "text_too_short": 1_200, "http_404": 1_000},
        stages=tuple(Stage(name, 10_000, 2_800, 1.234) for name in names),
        shards=(Shard(shard_name(unit, 0), 2_800, 120_000_000, digest),),
        dropped_file=Shard(dropped_name(unit), 7_200, 900_000, digest),
    )  # fmt: skip


def journal_of(units: int, folder: Path) -> dict[str, float]:
    """Resume a run whose driver was killed with nine tenths done, do the rest at a stroke, and finish."""
    import msgspec

    from curate.engine import records
    from curate.engine.journal import SEGMENT_RECORDS, Journal
    from curate.engine.ledger import DONE_STATE
    from curate.engine.making import now
    from curate.engine.request import Begun
    from curate.storage.store import Store

    asked, run = plan_of(units, folder)
    units = run.plan.units
    plain = Store(str(folder / "journal"))
    plain.write_bytes("_run/run.json", msgspec.json.encode(Begun(asked.plain(), run.plan.rows, now())))
    done = units - units // 10
    gathered = max(0, done - FRESH)
    for number, first in enumerate(range(0, gathered, SEGMENT_RECORDS)):
        entries = [(DONE_STATE, made_up(n)) for n in range(first, min(first + SEGMENT_RECORDS, gathered))]
        records.write_segment(plain, number, entries)
    store = slow_store(folder, units)
    journal = Journal(store)
    # the run's own plan has many inputs, the request one: the journal is asked for the former
    journal._run = lambda *_: run  # type: ignore[method-assign]
    began, cpu = time.perf_counter(), time.process_time()
    journal.resume(asked, lambda: run.plan)
    resumed, resumed_cpu = time.perf_counter() - began, time.process_time() - cpu
    asking = sum(store.requests.values())
    left = journal.ledger.below(DONE_STATE)
    assert len(left) == units - done, len(left)
    for number in left.tolist():
        journal.keep(made_up(number), DONE_STATE)
    journal._scorer = lambda _: None  # type: ignore[method-assign]  # there are no shards to look into
    began = time.perf_counter()
    journal.finish(run)
    finished = time.perf_counter() - began
    memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    return {
        "resume_s": resumed, "resume_cpu_s": resumed_cpu, "resume_requests": asking,
        "finish_s": finished, "driver_mb": memory,
    }  # fmt: skip


def exponent(units: list[int], values: list[float]) -> float:
    """Of the power law through the largest half of the sizes."""
    if len(units) < 2:
        return float("nan")
    return float(np.polyfit(np.log(units[-2:]), np.log(np.maximum(values[-2:], 1e-9)), 1)[0])


def serve(port: int, log: str) -> None:
    """An S3 server on this machine that takes 20 ms a request, and writes each down."""
    from moto.server import DomainDispatcherApplication, create_backend_app
    from werkzeug.serving import make_server

    application, lock = DomainDispatcherApplication(create_backend_app), threading.Lock()

    def counted(environment: Any, start: Any) -> Any:
        time.sleep(DELAY_S)
        with lock, Path(log).open("a") as file:
            file.write(f"{environment['REQUEST_METHOD']} {environment['PATH_INFO']}\n")
        return application(environment, start)

    make_server("127.0.0.1", port, counted, threaded=True).serve_forever()


def requests_of_a_unit(folder: Path) -> dict[str, float]:
    """Requests a unit of a run on S3, with and without rules across the run: the slope between two sizes."""
    import boto3

    from tests.curate.runs import free_port, pair, write_pairs

    port, log = free_port(), folder / "requests"
    command = [sys.executable, __file__, "--serve", str(port), str(log)]
    server = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    os.environ |= {
        "AWS_ENDPOINT_URL": f"http://127.0.0.1:{port}", "AWS_ACCESS_KEY_ID": "t", "AWS_SECRET_ACCESS_KEY": "t",
        "AWS_DEFAULT_REGION": "us-east-1",
    }  # fmt: skip
    across = ["duplicate_pair", "placeholder_image"]
    off = [option for name in across for option in ("--set", f"rules.{name}=false")]
    found = {}
    try:
        client = boto3.client("s3")
        for _ in range(100):
            try:
                client.create_bucket(Bucket="shards")
                break
            except Exception:
                time.sleep(0.2)
        for said, options in (("requests_alone", off), ("requests_across", [])):
            counts = []
            for units in (4, 16):
                rows = [pair(n) for n in range(5 * units)]
                for n in range(1, 5 * units, 5):
                    rows[n]["TEXT"] = "no"  # each unit has a file of dropped rows
                client.upload_file(
                    str(write_pairs(folder / "in.parquet", rows)), "shards", f"in/{units}.parquet"
                )
                log.write_text("")
                out = f"s3://shards/{said}-{units}"
                done = subprocess.run(
                    [sys.executable, "-m", "curate", "run", "laion", "--input", f"s3://shards/in/{units}.parquet",
                     "--out", out, "--set", "shard.rows=5", "--workers", "0", *options],
                    check=True, capture_output=True, cwd=ROOT,
                )  # fmt: skip
                assert done.returncode == 0
                lines = log.read_text().splitlines()
                counts.append(sum("lease.json" not in line for line in lines))
            found[said] = (counts[1] - counts[0]) / 12
    finally:
        server.kill()
        server.wait()
    return found


def cpu_of_small_inputs(inputs: int, folder: Path) -> dict[str, float]:
    """CPU seconds of `run` and `select` over many small inputs; and milliseconds of each input."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    source = folder / "in"
    source.mkdir()
    for number in range(inputs):
        rows = [
            {
                "URL": f"https://photos.example/{number}/{row}.jpg", "TEXT": text.format(number),
                "WIDTH": 640, "HEIGHT": 480, "similarity": 0.4,
            }
            for row, text in enumerate(TEXTS)
        ]  # fmt: skip
        pq.write_table(pa.Table.from_pylist(rows), source / f"{number:06d}.parquet")
    spent = {}
    for command, options in COMMANDS.items():
        arguments = [
            command,
            "laion",
            "--input",
            str(source),
            "--out",
            str(folder / command),
            "--workers",
            "0",
        ]
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        subprocess.run(
            [sys.executable, "-m", "curate", *arguments, *options], check=True, capture_output=True, cwd=ROOT
        )
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        seconds = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
        spent |= {f"{command}_s": seconds, f"{command}_ms_an_input": 1e3 * seconds / inputs}
    return spent


def measured(sizes: list[int], kinds: list[str]) -> dict[int, dict[str, float]]:
    """Measure each kind of figure at each size, in processes of their own; print and return them."""
    rows: dict[int, dict[str, float]] = {size: {} for size in sizes}
    for size in sizes:
        for what in kinds:
            command = [sys.executable, __file__, "--one", what, str(size)]
            rows[size] |= json.loads(subprocess.run(command, check=True, capture_output=True).stdout)
    print(f"{'':20}" + "".join(f"{size:>12,}" for size in sizes) + "      growth")
    for name in rows[sizes[0]]:
        values = [rows[size][name] for size in sizes]
        print(
            f"{name:20}"
            + "".join(f"{value:12,.2f}" for value in values)
            + f"{exponent(sizes, values):+12.2f}"
        )
    return rows


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--units", type=int, nargs="+", default=[1_000, 10_000, 100_000, 500_000])
    parser.add_argument("--inputs", type=int, nargs="+", help="numbers of small inputs")
    parser.add_argument("--no-s3", action="store_true")
    parser.add_argument("--one", nargs=2, metavar=("WHAT", "UNITS"), help=argparse.SUPPRESS)
    parser.add_argument("--serve", nargs=2, metavar=("PORT", "LOG"), help=argparse.SUPPRESS)
    asked = parser.parse_args()
    if asked.serve:
        serve(int(asked.serve[0]), asked.serve[1])
        return
    if asked.one:
        measure = {"cpu": cpu_of_a_unit, "journal": journal_of, "small": cpu_of_small_inputs}[asked.one[0]]
        with tempfile.TemporaryDirectory() as folder:
            print(json.dumps(measure(int(asked.one[1]), Path(folder))))
        return
    if asked.inputs:
        measured(asked.inputs, ["small"])
        return
    rows = measured(asked.units, ["cpu", "journal"])
    first, last = (rows[units]["unit_ms"] for units in (asked.units[0], asked.units[-1]))
    print(f"CPU a unit at {asked.units[-1]:,} units: {last / first:.2f} of that at {asked.units[0]:,}")
    if not asked.no_s3:
        with tempfile.TemporaryDirectory() as folder:
            for name, count in requests_of_a_unit(Path(folder)).items():
                print(f"{name:16}{count:12.1f} a unit")


if __name__ == "__main__":
    main()
