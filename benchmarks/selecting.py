"""How fast is `curate select` from Parquet to Parquet, against plainly reading and writing the same columns?

    python -m benchmarks.selecting --data ../shared/data [--rows 1000000]

One process, in seconds of CPU time with those of the child that reads Parquet, since the machine may be shared. Rows
are real LAION captions repeated with changes, with LAION's columns. Both are run on a quarter of the rows and on all;
what counts is the difference, so that start-up does not. The memory is the peak of the selecting process.
"""

from __future__ import annotations

import argparse
import json
import resource
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from benchmarks.rules import realistic

NAMES = {"url": "URL", "text": "TEXT", "width": "WIDTH", "height": "HEIGHT", "clip_score": "similarity"}
SELECT = """
import sys, curate
curate.select("laion", out=sys.argv[2], inputs=sys.argv[1], workers=0, progress=False)
"""
PLAIN = """
import sys, pyarrow as pa, pyarrow.parquet as pq
pa.set_cpu_count(1)
pq.write_table(pq.read_table(sys.argv[1], use_threads=False), sys.argv[2], compression="zstd", compression_level=3)
"""


def laion(data: Path, rows: int) -> pa.Table:
    """Rows of LAION's schema."""
    table, chance = realistic(data, rows), np.random.default_rng(1)
    table = table.rename_columns([NAMES[name] for name in table.column_names])
    more = {"hash": chance.integers(-(2**62), 2**62, rows), "punsafe": chance.random(rows).astype("f4") ** 3}
    for name, values in (more | {"pwatermark": chance.random(rows).astype("f4")}).items():
        table = table.append_column(name, pa.array(values))
    return table


def cpu(code: str, *arguments: Path) -> tuple[float, float]:
    """Seconds of CPU time that a Python program takes with its children, and its peak memory in MB."""
    report = "\nimport resource, json, sys\nprint(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)"
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    done = subprocess.run(
        [sys.executable, "-c", code + report, *map(str, arguments)], capture_output=True, check=True
    )
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    seconds = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return seconds, int(done.stdout.split()[-1]) / 1024


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--rows", type=int, default=1_000_000)
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder, table = Path(name), laion(asked.data, asked.rows)
        for part, rows in (("some", asked.rows // 4), ("all", asked.rows)):
            pq.write_table(table.slice(0, rows), folder / f"{part}.parquet", row_group_size=100_000)
        seconds, memory = {}, 0.0
        for what, code in (("select", SELECT), ("plain", PLAIN)):
            some, _ = cpu(code, folder / "some.parquet", folder / f"{what}-some")
            whole, peak = cpu(code, folder / "all.parquet", folder / f"{what}-all")
            seconds[what], memory = whole - some, max(memory, peak if what == "select" else 0.0)
        told = json.loads((folder / "select-all" / "_manifest.json").read_text())
    rows = asked.rows - asked.rows // 4
    print(f"{told['rows_in']:,} rows, {told['rows_out']:,} kept, {len(told['dropped'])} reasons")
    print(f"select: {rows / seconds['select']:,.0f} rows a CPU second, peak memory {memory:,.0f} MB")
    print(f"plainly read and written: {rows / seconds['plain']:,.0f} rows a CPU second")
    print(f"ratio: {seconds['select'] / seconds['plain']:.2f} x the time of plainly reading and writing")


if __name__ == "__main__":
    main()
