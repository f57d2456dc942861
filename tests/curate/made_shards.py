"""Small real shards of every task, made as the engine makes them, for the tests of what reads shards."""

from __future__ import annotations

import hashlib
import io
import json
import re
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pyarrow as pa
from PIL import Image

from curate.manifest.settings import ShardSettings
from curate.schema import SAMPLE, SHARD, shard_metadata
from curate.storage.shards import image_path, shard_name, to_shard, write_tables
from curate.storage.store import Store
from curate.tasks import FORMATS, render

TASKS = tuple(name for name in FORMATS if name != "ocr_structured")  # whose target is HTML of a page's blocks
WORDS = re.findall(r"\S+", "a dog in the field of red flowers under some old trees by the sea 一只 猫 été")


def jpeg(number: int, side: int = 48) -> bytes:
    """A noisy picture, different for each number."""
    pixels = np.random.default_rng(number).integers(0, 255, (side // 2, side, 3), np.uint8)
    out = io.BytesIO()
    Image.fromarray(pixels).save(out, "JPEG", quality=80)
    return out.getvalue()


def sample(number: int, task: str, rng: np.random.Generator, side: int = 48) -> dict[str, Any]:
    """One row of SAMPLE of that task."""
    words = list(rng.choice(WORDS, int(rng.integers(3, 60 if task == "text" else 25))))
    text = " ".join(words)
    quads = rng.uniform(0, [side, side // 2] * 4, (min(3, len(words)), 8))
    ends = np.cumsum([len(word) + 1 for word in words])
    regions = [
        {"text": word, "start": int(end) - len(word) - 1, "end": int(end) - 1, "quad": quad}
        for word, end, quad in zip(words, ends, quads, strict=False)
    ]
    return {
        "key": hashlib.sha256(f"{task}{number}".encode()).hexdigest()[:32],
        "dataset": f"made-{task}".replace("_", "-"),
        "task": task,
        "language": "en",
        "source": f"made#{number}",
        "image": None if task == "text" else jpeg(number, side),
        "format": None if task == "text" else "jpeg",
        "width": None if task == "text" else side,
        "height": None if task == "text" else side // 2,
        "text": text,
        "question": "What is this?",
        "answer": text,
        "regions": regions if task in ("grounded_caption", "referring", "region_caption", "ocr") else None,
    }


def make_shards(
    folder: Path, rows: int = 200, shards: int = 3, tasks: tuple[str, ...] = TASKS, side: int = 48
) -> Path:
    """A finished run's folder with that many rows in each of its shards, row groups of at most 100 rows."""
    rng, store, settings = np.random.default_rng(0), Store(str(folder)), ShardSettings()
    files = []
    for unit in range(shards):
        start = unit * rows
        made = [sample(n, tasks[n % len(tasks)], rng, side) for n in range(start, start + rows)]
        table = pa.Table.from_pylist(made, SAMPLE)
        image = table["image"].combine_chunks().cast(pa.binary())
        shard = to_shard(table, image, *render(table, image_path(table)))
        parts = [shard.slice(first, 100) for first in range(0, rows, 100)]
        schema = SHARD.with_metadata(shard_metadata("made"))
        files.append(write_tables(store, shard_name(unit, 0), parts, schema, settings))
    manifest = {"shards": [msgspec.to_builtins(file) for file in files]}
    store.write_bytes("_manifest.json", json.dumps(manifest).encode())
    store.delete_folder("_run")
    return folder
