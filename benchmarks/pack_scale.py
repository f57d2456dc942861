"""What does packing many samples take, step by step: CPU, memory, and whether either grows faster than the samples?

    python -m benchmarks.pack_scale --samples 1000000 10000000 [--images reference] [--work DIR]

Captioned images, their bytes too few to be any (packing looks at none): shards of 100,000 rows, written as a run writes
them, packed by one process. Of each step its CPU seconds, and the most memory that the process had while it lasted. The
growth is the exponent of the power law through the last two sizes: 1 is linear. Each size is a process of its own.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from rich.console import Console

from benchmarks.scale import exponent
from curate.engine.progress import Progress
from curate.manifest.settings import ShardSettings
from curate.packing import PackSettings, pack
from curate.schema import SHARD, shard_metadata
from curate.storage.listing import SHARDS, files_table, write_files
from curate.storage.shards import shard_name, write_tables
from curate.storage.store import Store

ROWS_A_SHARD = 100_000
GROUP_ROWS = 10_000
IMAGE_BYTES = 64
TEXT = "a dog in the field of red flowers under some old trees by the sea before rain two boats near stones"
WORDS = TEXT.split(" ")
STATUS = Path("/proc/self/status")


def made(first: int, rows: int) -> pa.Table:
    """Rows of SHARD: captions of 4 to 20 words, each with an image."""
    rng = np.random.default_rng(first)
    words = np.array(WORDS)[rng.integers(0, len(WORDS), (rows, 20))]
    counts = rng.integers(4, 21, rows)
    text = pa.array(
        [" ".join(row[:count]) for row, count in zip(words.tolist(), counts.tolist(), strict=True)]
    )
    key = pa.array([f"{number:032x}" for number in range(first, first + rows)])
    path = pc.binary_join_element_wise("made/", key, ".jpg", "")
    body = pa.array([rng.bytes(IMAGE_BYTES) for _ in range(rows)], pa.binary())
    columns = {
        "key": key,
        "dataset": pa.array(np.full(rows, "made")),
        "task": pa.array(np.full(rows, "caption")),
        "language": pa.array(np.full(rows, "en")),
        "image": pa.StructArray.from_arrays([body, path], names=["bytes", "path"]),
        "width": pa.array(np.full(rows, 256, np.int32)),
        "height": pa.array(np.full(rows, 256, np.int32)),
        "text": text,
        "prompt": pc.binary_join_element_wise("<img>", path, "</img>Generate the caption in English:", ""),
        "target": pc.binary_join_element_wise("", text, " "),
        "source": key,
        "sha256": key,
    }
    return pa.table(
        [columns.get(field.name, pa.nulls(rows, field.type)) for field in SHARD], SHARD.names
    ).cast(SHARD)


def make_shards(folder: Path, samples: int) -> None:
    """A finished run's folder."""
    store, files = Store(str(folder)), []
    schema = SHARD.with_metadata(shard_metadata("made"))
    for unit, first in enumerate(range(0, samples, ROWS_A_SHARD)):
        groups = (made(at, GROUP_ROWS) for at in range(first, first + ROWS_A_SHARD, GROUP_ROWS))
        files.append(write_tables(store, shard_name(unit, 0), groups, schema, ShardSettings()))
    write_files(store, SHARDS, files_table(files))
    store.write_bytes(
        "_manifest.json", json.dumps({"shards": [msgspec.to_builtins(file) for file in files]}).encode()
    )
    store.delete_folder("_run")


class Watch(Progress):
    """Notes what each step took."""

    def __init__(self) -> None:
        super().__init__(Console(stderr=True), quiet=True)
        self.took: dict[str, dict[str, float]] = {}

    @contextmanager
    def step(self, kind: str, phase: str, numbers: int) -> Iterator[None]:
        """See `Progress.step`."""
        Path("/proc/self/clear_refs").write_text("5")  # the peak begins anew
        begun, cpu = time.perf_counter(), time.process_time()
        with super().step(kind, phase, numbers):
            yield
        (peak,) = (line.split()[1] for line in STATUS.read_text().splitlines() if line.startswith("VmHWM"))
        took = {"parts": numbers, "cpu_s": time.process_time() - cpu, "s": time.perf_counter() - begun}
        self.took[kind] = {**took, "peak_mb": int(peak) / 1024}


def measure(samples: int, images: str, work: Path) -> dict[str, Any]:
    """Pack so many samples; what each step took, and all together."""
    shards = work / f"shards-{samples}"
    if not (shards / "_manifest.json").exists():
        make_shards(shards, samples)
    watch, begun, cpu = Watch(), time.perf_counter(), time.process_time()
    with tempfile.TemporaryDirectory(dir=work) as out:
        told = pack([str(shards)], out, PackSettings(images=images), workers=0, progress=watch)
    everything = {
        "parts": len(told["shards"]),
        "cpu_s": time.process_time() - cpu,
        "s": time.perf_counter() - begun,
    }
    assert told["rows_out"] == samples, told["dropped"]
    return {**watch.took, "all": everything}


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--samples", type=int, nargs="+", default=[1_000_000])
    parser.add_argument("--images", default="reference", choices=["reference", "embed", "name"])
    parser.add_argument(
        "--work", type=Path, help="where shards lie, and are found again (default: a temporary folder)"
    )
    parser.add_argument("--one", type=int, help=argparse.SUPPRESS)
    asked = parser.parse_args()
    if asked.one:
        print(json.dumps(measure(asked.one, asked.images, asked.work)))
        return
    found = []
    with tempfile.TemporaryDirectory(dir=asked.work) as temporary:
        for samples in asked.samples:
            more = ["--one", str(samples), "--images", asked.images, "--work", str(asked.work or temporary)]
            command = [sys.executable, "-m", "benchmarks.pack_scale", *more]
            found.append(json.loads(subprocess.run(command, check=True, capture_output=True).stdout))
            for kind, took in found[-1].items():
                print(
                    f"{samples:>12,} {kind:10}"
                    + "".join(f"{name}{value:10,.1f}  " for name, value in took.items())
                )
    if len(found) > 1:
        for kind in found[-1]:
            grown = exponent(asked.samples, [one[kind]["cpu_s"] for one in found])
            print(f"growth of CPU, {kind}: {grown:.2f}")


if __name__ == "__main__":
    main()
