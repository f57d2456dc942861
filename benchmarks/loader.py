"""Samples a second out of one process: curate's shards against WebDataset, MosaicML streaming and `datasets`.

    python -m benchmarks.loader [rows]

The same samples for all, shuffled as each does it, in two ways: bytes out, and decoded to 224 px. The others
read what `curate export` wrote (`datasets` reads the shards themselves), in the same run, in turn, five
times. The files are in the page cache. The best round counts, in CPU seconds of the process and its threads,
as the machine may be shared.
"""

from __future__ import annotations

import importlib
import importlib.util
import io
import sys
import tempfile
import time
import types
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from PIL import Image

from curate.export import export
from curate.loader import ShardDataset, ShardMap, decode
from curate.manifest import ShardSettings
from curate.schema import SHARD, shard_metadata
from curate.shards import write_tables
from curate.store import Store

SIDE = 224
ROUNDS = 5


def make(folder: Path, rows: int) -> None:
    """Shards of photographs' size (some 90 KB), four of them."""
    rng = np.random.default_rng(0)
    base = rng.integers(0, 255, (40, 30, 3), np.uint8)
    for shard in range(4):
        made = []
        for row in range(rows // 4):
            image = Image.fromarray(np.roll(base, row * 7 + shard, axis=0)).resize(
                (640, 480), Image.Resampling.BICUBIC
            )
            noisy = np.asarray(image).astype(np.int16) + rng.integers(-12, 12, (480, 640, 3))
            out = io.BytesIO()
            Image.fromarray(noisy.clip(0, 255).astype(np.uint8)).save(out, "JPEG", quality=80)
            key = f"{shard:04d}{row:028d}"
            made.append(
                {
                    "key": key,
                    "dataset": "made",
                    "task": "caption",
                    "language": "en",
                    "image": {"bytes": out.getvalue(), "path": f"made/{key}.jpg"},
                    "width": 640,
                    "height": 480,
                    "text": "a caption of some words",
                    "prompt": f"<img>made/{key}.jpg</img>Generate the caption in English:",
                    "target": " a caption of some words",
                }
            )
        schema = SHARD.with_metadata(shard_metadata("made"))
        table = pa.Table.from_pylist(made, schema)
        groups = [table.slice(start, 100) for start in range(0, table.num_rows, 100)]
        write_tables(Store(str(folder)), f"shard-{shard:06d}.parquet", groups, schema, ShardSettings())
    (folder / "_manifest.json").write_text('{"shards": []}')


def readers(folder: Path) -> dict[str, Callable[[], Iterable[bytes]]]:
    """Each yields the bytes of every image once, shuffled."""
    import datasets
    import webdataset

    local = streaming()
    tars = sorted(map(str, (folder / "webdataset").glob("*.tar")))
    shards = sorted(map(str, (folder / "shards").glob("shard-*.parquet")))

    def of_datasets() -> Iterable[bytes]:
        loaded = datasets.load_dataset("parquet", data_files=shards, split="train", streaming=True)
        images = loaded.select_columns(["image"]).cast_column("image", datasets.Image(decode=False))
        return (row["image"]["bytes"] for row in images.shuffle(seed=0, buffer_size=1000))

    def of_map() -> Iterable[bytes]:
        data = ShardMap(str(folder / "shards"))
        order = np.random.default_rng(0).permutation(len(data))
        return (
            row["image"]
            for n in range(0, len(order), 64)
            for row in data.__getitems__(order[n : n + 64].tolist())
        )

    def of_streaming() -> Iterable[bytes]:
        data = local.LocalDataset(str(folder / "mds"))
        return (data[int(n)]["image"] for n in np.random.default_rng(0).permutation(data.size))

    return {
        "curate": lambda: (row["image"] for row in ShardDataset(str(folder / "shards"))),
        "curate map": of_map,
        "webdataset": lambda: (
            row["jpg"] for row in webdataset.WebDataset(tars, shardshuffle=len(tars), seed=0).shuffle(1000)
        ),
        "streaming": of_streaming,
        "datasets": of_datasets,
    }


def streaming() -> Any:
    """mosaicml-streaming without its vision part, which wants a torchvision that goes with torch."""
    package = types.ModuleType("streaming")
    spec = importlib.util.find_spec("streaming")
    package.__path__ = list((spec and spec.submodule_search_locations) or [])
    sys.modules["streaming"] = package
    return importlib.import_module("streaming.base.local")


def speed(reader: Callable[[], Iterable[bytes]], rows: int, use: Callable[[bytes], Any]) -> float:
    """Samples a CPU second."""
    start = time.process_time()
    seen = sum(1 for body in reader() if use(body) is not None)
    assert seen == rows, f"{seen} of {rows} samples"
    return rows / (time.process_time() - start)


def main(rows: int) -> None:
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        make(folder / "shards", rows)
        for to in ("webdataset", "mds"):
            export(str(folder / "shards"), to, str(folder / to))
        found = readers(folder)
        for title, use in (("bytes out", len), (f"decoded to {SIDE} px", lambda body: decode(body, SIDE))):
            rates: dict[str, list[float]] = {name: [] for name in found}
            for _ in range(ROUNDS):
                for name, reader in found.items():
                    rates[name].append(speed(reader, rows, use))
            best = {name: max(values) for name, values in rates.items()}
            peer = max(rate for name, rate in best.items() if not name.startswith("curate"))
            print(title)
            for name, rate in best.items():
                print(f"  {name:12}{rate:>10,.0f} samples/CPU s   {rate / peer:5.2f} of the fastest peer")


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 2000)
