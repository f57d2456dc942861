"""Small real inputs, and the command line run as users run it."""

from __future__ import annotations

import hashlib
import io
import json
import socket
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from PIL import Image

ROOT = Path(__file__).parents[2]


def picture(seed: int, width: int = 240, height: int = 220, kind: str = "JPEG") -> bytes:
    """An encoded image of noise on a gradient, another one for every seed."""
    rng = np.random.default_rng(seed)
    gradient = np.linspace(0, 200, width)[None, :, None] * np.ones((height, 1, 3))
    noise = (
        rng.integers(0, 55, (height // 8 + 1, width // 8 + 1, 3)).repeat(8, 0).repeat(8, 1)[:height, :width]
    )
    out = io.BytesIO()
    Image.fromarray((gradient + noise).astype(np.uint8)).save(out, kind)
    return out.getvalue()


def pair(number: int, **changes: Any) -> dict[str, Any]:
    """A row of LAION's schema that every rule keeps, with its image inside."""
    row = {
        "URL": f"https://pictures.example/{number}.jpg",
        "TEXT": f"A photograph of the old harbour, number {number}",
        "WIDTH": 240,
        "HEIGHT": 220,
        "similarity": 0.4,
        "image": picture(number),
    }
    return row | changes


def write_pairs(path: Path, rows: Sequence[dict[str, Any]], **options: Any) -> Path:
    """The rows as a Parquet file."""
    pq.write_table(pa.Table.from_pylist(list(rows)), path, **options)
    return path


def curate(*arguments: object, **options: Any) -> subprocess.CompletedProcess[str]:
    """Run the command line; never raises."""
    command = [sys.executable, "-m", "curate", *map(str, arguments)]
    options = {"capture_output": True, "text": True, "timeout": 120, "cwd": ROOT} | options
    return subprocess.run(command, check=False, **options)


def done(*arguments: object, **options: Any) -> dict[str, Any]:
    """The JSON result of a command that must succeed."""
    finished = curate(*arguments, "--json", **options)
    assert finished.returncode == 0, finished.stderr
    result: dict[str, Any] = json.loads(finished.stdout)
    return result


def free_port() -> int:
    """A TCP port that nothing on this machine listens at."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def files(folder: Path) -> dict[str, str]:
    """The SHA-256 of every shard and file of dropped rows in a run's folder."""
    names = [*folder.glob("shard-*.parquet"), *folder.glob("_dropped/*.parquet")]
    return {str(n.relative_to(folder)): hashlib.sha256(n.read_bytes()).hexdigest() for n in sorted(names)}


def shards(folder: Path) -> pa.Table:
    """All kept rows."""
    return pa.concat_tables([pq.read_table(path) for path in sorted(folder.glob("shard-*.parquet"))])


def dropped(folder: Path) -> dict[str, str]:
    """The reason of every row that was dropped and written down, by its source."""
    tables = [pq.read_table(path) for path in sorted(folder.glob("_dropped/*.parquet"))]
    return {row["source"]: row["reason"] for table in tables for row in table.to_pylist()}
