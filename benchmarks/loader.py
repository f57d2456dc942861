"""Samples a second out of one process: curate's loader against WebDataset, MosaicML streaming and `datasets`.

    python -m benchmarks.loader [rows]

All have the same samples and the same columns, each in its own format, and shuffle as they do it. Bytes out;
then pixels (224 x 224, bicubic): curate's `decode` against what the peers' decoders do, Pillow on the whole
image; then curate's `decode` for all, which leaves the difference of the loaders. In the same run, in turn,
five rounds, the files in the page cache; the best round counts, in CPU seconds of the process and its
threads, as the machine may be shared. `random access` is apart: by number, without an epoch's order or a
state to resume from. Last, curate's loader with and without checking what it reads, in twenty rounds.
"""

from __future__ import annotations

import importlib
import importlib.util
import io
import json
import statistics
import sys
import tempfile
import time
import types
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pyarrow as pa
import torch
from PIL import Image

from curate.loader import ShardDataset, ShardMap, decode
from curate.manifest.settings import ShardSettings
from curate.schema import SHARD, shard_metadata
from curate.storage.shards import write_tables
from curate.storage.store import Store

SIDE = 224
ROUNDS = 5
CHECKING_ROUNDS = 20
LIGHT = {"key": "str", "task": "str", "prompt": "str", "target": "str", "width": "int", "height": "int"}

Readers = dict[str, Callable[[], Iterable[bytes]]]


def make(folder: Path, rows: int) -> list[dict[str, Any]]:
    """Shards of photographs' size (some 60 KB), four of them, and their rows."""
    rng = np.random.default_rng(0)
    base = rng.integers(0, 255, (40, 30, 3), np.uint8)
    everything, files = [], []
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
        name = f"shard-{shard:06d}.parquet"
        files.append(write_tables(Store(str(folder)), name, groups, schema, ShardSettings()))
        everything += made
    (folder / "_manifest.json").write_text(json.dumps({"shards": msgspec.to_builtins(files)}))
    return everything


def hand_out(rows: list[dict[str, Any]], folder: Path) -> None:
    """The rows' images and LIGHT columns in the peers' formats, written by their own writers."""
    import webdataset

    writer = streaming("format.mds.writer").MDSWriter
    with writer(out=str(folder / "mds"), columns=LIGHT | {"image": "bytes"}) as out:
        for row in rows:
            out.write({name: row[name] for name in LIGHT} | {"image": row["image"]["bytes"]})
    for shard in range(4):
        with webdataset.TarWriter(str(folder / f"{shard}.tar")) as out:
            for row in rows[shard * len(rows) // 4 : (shard + 1) * len(rows) // 4]:
                light = json.dumps({name: row[name] for name in LIGHT}).encode()
                out.write({"__key__": row["key"], "jpg": row["image"]["bytes"], "json": light})


def in_order(folder: Path) -> Readers:
    """Each yields the bytes of every image once, shuffled."""
    import datasets
    import webdataset

    whole = streaming("dataset").StreamingDataset(local=str(folder / "mds"), shuffle=True, batch_size=1)
    tars = sorted(map(str, folder.glob("*.tar")))
    shards = sorted(map(str, (folder / "shards").glob("shard-*.parquet")))

    def of_datasets() -> Iterable[bytes]:
        loaded = datasets.load_dataset("parquet", data_files=shards, split="train", streaming=True)
        images = loaded.select_columns(["image", *LIGHT]).cast_column("image", datasets.Image(decode=False))
        return (row["image"]["bytes"] for row in images.shuffle(seed=0, buffer_size=1000))

    return {
        "curate": lambda: (row["image"] for row in ShardDataset(str(folder / "shards"))),
        "webdataset": lambda: (
            row["jpg"] for row in webdataset.WebDataset(tars, shardshuffle=len(tars), seed=0).shuffle(1000)
        ),
        "streaming": lambda: (row["image"] for row in whole),
        "datasets": of_datasets,
    }


def by_number(folder: Path) -> Readers:
    """Each yields the bytes of every image once, by number, 64 at a time where that can be asked."""
    bare = streaming("local").LocalDataset(str(folder / "mds"))

    def of_curate() -> Iterable[bytes]:
        data = ShardMap(str(folder / "shards"))
        order = np.random.default_rng(0).permutation(len(data)).tolist()
        lots = (data.__getitems__(order[n : n + 64]) for n in range(0, len(order), 64))
        return (row["image"] for lot in lots for row in lot)

    return {
        "curate": of_curate,
        "streaming": lambda: (
            bare[number]["image"] for number in np.random.default_rng(0).permutation(bare.size).tolist()
        ),
    }


def streaming(name: str) -> Any:
    """A part of mosaicml-streaming without its vision part, which wants the torchvision of its torch."""
    if "streaming" not in sys.modules:
        spec = importlib.util.find_spec("streaming")
        package = types.ModuleType("streaming")
        package.__path__ = list((spec and spec.submodule_search_locations) or [])
        sys.modules["streaming"] = package
    return importlib.import_module(f"streaming.base.{name}")


def pillow(body: bytes) -> torch.Tensor:
    """Pixels as webdataset's `pilrgb`, streaming's `jpeg` and datasets' `Image` make them, then resized."""
    with Image.open(io.BytesIO(body)) as opened:
        pixels = opened.convert("RGB").resize((SIDE, SIDE), Image.Resampling.BICUBIC)
    return torch.from_numpy(np.asarray(pixels).transpose(2, 0, 1).copy())


def ours(body: bytes) -> torch.Tensor:
    return decode(body, SIDE)


def speed(reader: Callable[[], Iterable[bytes]], rows: int, use: Callable[[bytes], Any]) -> float:
    """Samples a CPU second."""
    start = time.process_time()
    seen = sum(1 for body in reader() if use(body) is not None)
    assert seen == rows, f"{seen} of {rows} samples"
    return rows / (time.process_time() - start)


def compare(title: str, readers: Readers, rows: int, mine: Callable[[bytes], Any], theirs: Any) -> None:
    """Print each reader's best of several rounds, and what it is of the fastest peer's."""
    best = dict.fromkeys(readers, 0.0)
    for _ in range(ROUNDS):
        for name, reader in readers.items():
            rate = speed(reader, rows, mine if name == "curate" else theirs)
            best[name] = max(best[name], rate)
    peer = max(rate for name, rate in best.items() if name != "curate")
    print(title)
    for name, rate in best.items():
        print(f"  {name:12}{rate:>10,.0f} samples/CPU s   {rate / peer:5.2f} of the fastest peer")


def checking(folder: str, rows: int) -> None:
    """Print what the checksums cost: by batch size, bytes out and decoded."""
    print("checked, as a share of the speed without checking")
    for title, size, use, rounds in (
        ("bytes out", 1, len, CHECKING_ROUNDS),
        ("bytes out", 32, len, CHECKING_ROUNDS),
        (f"decoded to {SIDE} px", 32, ours, 3),
    ):
        data = {check: ShardDataset(folder, batch_size=size, check=check) for check in (True, False)}
        rates: dict[bool, list[float]] = {True: [], False: []}
        for _ in range(rounds):
            for check, of in data.items():
                rates[check].append(speed(lambda of=of: (row["image"] for row in of), rows, use))  # type: ignore[misc]
        best = max(rates[True]) / max(rates[False])
        median = statistics.median(rates[True]) / statistics.median(rates[False])
        print(f"  {title:20} batches of {size:2}   best {best:.3f}   median {median:.3f}")


def main(rows: int) -> None:
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        made = make(folder / "shards", rows)
        hand_out(made, folder)
        some = [row["image"]["bytes"] for row in made[:50]]
        apart = np.mean([(ours(body).float() - pillow(body).float()).abs().mean() for body in some])
        readers = in_order(folder)
        compare("bytes out", readers, rows, len, len)
        compare(f"decoded to {SIDE} px, each as it does it", readers, rows, ours, pillow)
        print(f"  (curate's pixels differ from theirs by {apart:.2f} of 255 on average)")
        compare(f"decoded to {SIDE} px, all by curate's decode", readers, rows, ours, ours)
        compare("random access, bytes out", by_number(folder), rows, len, len)
        checking(str(folder / "shards"), rows)


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 2000)
