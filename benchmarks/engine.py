"""What does the engine itself cost? Ray against in-process on the same work, and memory against input size.

    python -m benchmarks.engine [--units 24] [--rows 500]

Both sides run the same command on the same pairs (images inside, of about 20 KB) with one worker and the
whole process tree held to one core, so that wall time is work; a run of one row gives the start-up that is
taken off. Then inputs of growing size are curated in-process, and the highest memory (PSS of all processes)
is printed beside the rows.
"""

from __future__ import annotations

import argparse
import io
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import psutil
import pyarrow as pa
import pyarrow.parquet as pq
from PIL import Image

REPEATS = 3


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--units", type=int, default=24)
    parser.add_argument("--rows", type=int, default=1000, help="of a unit")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        compare(folder, options.units, options.rows)
        grow(folder, options.rows)


def compare(folder: Path, units: int, rows: int) -> None:
    one, many = make(folder / "one.parquet", 1), make(folder / "many.parquet", units * rows)
    times: dict[int, list[float]] = {0: [], 1: []}
    for _ in range(REPEATS):
        for workers in times:
            started = timed(folder, one, rows, workers)[0]
            times[workers].append(timed(folder, many, rows, workers)[0] - started)
    here, ray = (statistics.median(times[workers]) for workers in (0, 1))
    print(f"{units} units of {rows} rows, one core, start-up taken off, median of {REPEATS}:")
    print(f"  in this process {here / units * 1e3:8.1f} ms a unit")
    print(f"  on Ray          {ray / units * 1e3:8.1f} ms a unit: {ray / here - 1:+.1%}")


def grow(folder: Path, rows: int) -> None:
    print("peak memory (PSS of all processes) against input size:")
    for count in (2_000, 8_000, 32_000):
        found = make(folder / f"{count}.parquet", count)
        _, peak = timed(folder, found, rows, 0, watch=True)
        print(f"  {count:7,} rows, {found.stat().st_size / 2**20:6.0f} MiB in: {peak / 2**20:6.0f} MiB")


def timed(folder: Path, found: Path, rows: int, workers: int, watch: bool = False) -> tuple[float, int]:
    """Wall seconds of a run on one core, and its peak memory in bytes where that is watched."""
    command = [
        sys.executable,
        "-m",
        "curate",
        "run",
        "laion",
        "--input",
        str(found),
        "--out",
        str(folder / "out"),
    ]
    command += ["--overwrite", "--workers", str(workers), "--set", f"shard.rows={rows}"]
    begun, peak = time.perf_counter(), 0
    process = subprocess.Popen(
        command, stderr=subprocess.DEVNULL, preexec_fn=None if watch else lambda: os.sched_setaffinity(0, {0})
    )
    while process.poll() is None:
        if watch:
            peak = max(peak, memory(process.pid))
        time.sleep(0.02)
    assert process.returncode == 0, command
    return time.perf_counter() - begun, peak


def memory(pid: int) -> int:
    """PSS of a process and all it started."""
    total = 0
    for process in [psutil.Process(pid), *psutil.Process(pid).children(recursive=True)]:
        try:
            total += process.memory_full_info().pss
        except psutil.Error:
            continue
    return total


def make(path: Path, rows: int) -> Path:
    """Pairs of LAION's schema with different images inside, written in bounded memory."""
    rng = np.random.default_rng(rows)
    with pq.ParquetWriter(path, SCHEMA) as writer:
        for start in range(0, rows, 1000):
            numbers = range(start, min(start + 1000, rows))
            table = {
                "URL": [f"https://pictures.example/{number}.jpg" for number in numbers],
                "TEXT": [f"A photograph of the old harbour, number {number}" for number in numbers],
                "WIDTH": [320 for _ in numbers],
                "HEIGHT": [240 for _ in numbers],
                "similarity": [0.4 for _ in numbers],
                "image": [picture(rng) for _ in numbers],
            }
            writer.write_table(pa.table(table, schema=SCHEMA))
    return path


def picture(rng: np.random.Generator) -> bytes:
    out = io.BytesIO()
    noise = rng.integers(0, 255, (60, 80, 3), dtype=np.uint8)
    Image.fromarray(noise).resize((320, 240)).save(out, "JPEG", quality=90)
    return out.getvalue()


SCHEMA = pa.schema(
    [
        ("URL", pa.string()),
        ("TEXT", pa.string()),
        ("WIDTH", pa.int32()),
        ("HEIGHT", pa.int32()),
        ("similarity", pa.float32()),
        ("image", pa.binary()),
    ]
)

if __name__ == "__main__":
    main()
