"""Small real inputs, and the command line run as users run it."""

from __future__ import annotations

import hashlib
import io
import json
import os
import signal
import socket
import subprocess
import sys
import tempfile
import threading
from collections.abc import Sequence
from functools import cache
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
    """Run the command line; never raises but for the time limit. It runs in a fork of a process that has imported
    curate, which saves a second; with options of `subprocess.run`, or a changed environment, in a process of its own.
    """
    if not options.keys() - {"timeout"} and _environment() == _forks().environment:
        return _forks().run([str(one) for one in arguments], options.get("timeout", 120))
    command = [sys.executable, "-m", "curate", *map(str, arguments)]
    options = {"capture_output": True, "text": True, "timeout": 120, "cwd": ROOT} | options
    return subprocess.run(command, check=False, **options)


class Forks:
    """tests/curate/fork_server.py, running."""

    def __init__(self) -> None:
        self.environment = _environment()
        command = [sys.executable, str(ROOT / "tests" / "curate" / "fork_server.py")]
        self.process = subprocess.Popen(
            command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            cwd=ROOT,
            env=os.environ | {"PYTHONPATH": str(ROOT)},
        )

    def run(self, arguments: list[str], timeout: float) -> subprocess.CompletedProcess[str]:
        """Like `subprocess.run` with text captured."""
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        with tempfile.NamedTemporaryFile("r") as out, tempfile.NamedTemporaryFile("r") as err:
            job = {"arguments": arguments, "out": out.name, "err": err.name}
            self.process.stdin.write(json.dumps(job) + "\n")
            self.process.stdin.flush()
            child = int(self.process.stdout.readline())
            late = threading.Event()
            limit = threading.Timer(timeout, lambda: (late.set(), os.kill(child, signal.SIGKILL)))
            limit.start()
            code = int(self.process.stdout.readline())
            limit.cancel()
            if late.is_set():
                raise subprocess.TimeoutExpired(arguments, timeout, out.read(), err.read())
            return subprocess.CompletedProcess(arguments, code, out.read(), err.read())


def _environment() -> dict[str, str]:
    return {name: value for name, value in os.environ.items() if name != "PYTEST_CURRENT_TEST"}


@cache
def _forks() -> Forks:
    return Forks()


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
