"""How fast is `curate select` from Parquet to Parquet, against plainly reading and writing the same columns?

    python -m benchmarks.selecting --data ../shared/data [--rows 1000000]

One process, in seconds of CPU time with those of the child that reads Parquet, since the machine may be shared. Rows
are real LAION captions repeated with changes, with LAION's columns. Both are run on a quarter of the rows and on all;
what counts is the difference, so that start-up does not. The memory is the peak of the selecting process.

    python -m benchmarks.selecting --data ../shared/data --rows 200000 --run

The same of `curate run` on metadata alone, against its bare rules on rows in memory: every text is cleaned and judged,
and then falls, so that nothing is fetched. Once with the search for duplicates, which reads and judges all rows
before, and once without.
"""

from __future__ import annotations

import argparse
import json
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from benchmarks.rules import curated, realistic

NAMES = {"url": "URL", "text": "TEXT", "width": "WIDTH", "height": "HEIGHT", "clip_score": "similarity"}
SELECT = """
import sys, curate
curate.select("laion", out=sys.argv[2], inputs=sys.argv[1], workers=0, progress=False)
"""
RUN = """
import sys, curate
settings = {"rules.text_too_short.min_chars": 100_000} | dict.fromkeys(sys.argv[3:], False)
curate.run("laion", out=sys.argv[2], inputs=sys.argv[1], settings=settings, workers=0, progress=False)
"""
ACROSS = ("rules.duplicate_pair", "rules.placeholder_image")
PLAIN = """
import sys, pyarrow as pa, pyarrow.parquet as pq
pa.set_cpu_count(1)
pq.write_table(pq.read_table(sys.argv[1], use_threads=False), sys.argv[2], compression="zstd", compression_level=3)
"""


def laion(data: Path, rows: int) -> pa.Table:
    """Rows of LAION's schema."""
    table, chance = realistic(data, rows), np.random.default_rng(1)
    table = table.rename_columns([NAMES[name] for name in table.column_names])
    others = {
        "hash": chance.integers(-(2**62), 2**62, rows),
        "punsafe": chance.random(rows).astype("f4") ** 3,
    }
    for name, values in (others | {"pwatermark": chance.random(rows).astype("f4")}).items():
        table = table.append_column(name, pa.array(values))
    return table


def cpu(code: str, *arguments: object) -> tuple[float, float]:
    """Seconds of CPU time that a Python program takes with its children, and its peak memory in MB."""
    report = "\nimport resource, json, sys\nprint(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)"
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    done = subprocess.run(
        [sys.executable, "-c", code + report, *map(str, arguments)], capture_output=True, check=True
    )
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    seconds = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return seconds, int(done.stdout.split()[-1]) / 1024


def more(code: str, what: str, folder: Path, *arguments: object) -> tuple[float, float]:
    """Seconds of CPU time that all rows take more than some, and the peak memory in MB."""
    some, _ = cpu(code, folder / "some.parquet", folder / f"{what}-some", *arguments)
    whole, peak = cpu(code, folder / "all.parquet", folder / f"{what}-all", *arguments)
    return whole - some, peak


def measure_run(folder: Path, table: pa.Table, rows: int) -> None:
    """Print how fast a run on metadata is, of `rows` rows more."""
    ours = {there: name for name, there in NAMES.items()}
    bare = table.select(list(ours)).rename_columns(list(ours.values()))
    curated(bare.slice(0, 1_000))  # start-up, which does not count of the runs either
    began = time.process_time()
    curated(bare)
    rules = table.num_rows / (time.process_time() - began)
    print(f"bare rules: {rules:,.0f} rows a CPU second")
    for said, off in (("with duplicates", ()), ("without", ACROSS)):
        seconds, _ = more(RUN, said, folder, *off)
        print(
            f"run, {said}: {rows / seconds:,.0f} rows a CPU second, {rows / seconds / rules:.2f} of the rules"
        )


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--run", action="store_true")
    asked = parser.parse_args()
    rows = asked.rows - asked.rows // 4
    with tempfile.TemporaryDirectory() as name:
        folder, table = Path(name), laion(asked.data, asked.rows)
        for part, count in (("some", asked.rows // 4), ("all", asked.rows)):
            pq.write_table(table.slice(0, count), folder / f"{part}.parquet", row_group_size=100_000)
        if asked.run:
            measure_run(folder, table, rows)
            return
        seconds, memory = {}, 0.0
        for what, code in (("select", SELECT), ("plain", PLAIN)):
            seconds[what], peak = more(code, what, folder)
            memory = max(memory, peak if what == "select" else 0.0)
        told = json.loads((folder / "select-all" / "_manifest.json").read_text())
    print(f"{told['rows_in']:,} rows, {told['rows_out']:,} kept, {len(told['dropped'])} reasons")
    print(f"select: {rows / seconds['select']:,.0f} rows a CPU second, peak memory {memory:,.0f} MB")
    print(f"plainly read and written: {rows / seconds['plain']:,.0f} rows a CPU second")
    print(f"ratio: {seconds['select'] / seconds['plain']:.2f} x the time of plainly reading and writing")


if __name__ == "__main__":
    main()
