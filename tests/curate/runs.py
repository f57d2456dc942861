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
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from PIL import Image

ROOT = Path(__file__).parents[2]
# What libraries set in the environment of a process that has imported them: it changes nothing for commands
OF_LIBRARIES = {
    "LD_LIBRARY_PATH", "PYTEST_CURRENT_TEST", "PYTHONBREAKPOINT", "RAY_CLIENT_MODE",
    "RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER", "RAY_USAGE_STATS_ENABLED", "TOKENIZERS_PARALLELISM",
    "TORCHINDUCTOR_CACHE_DIR", "_RJEM_MALLOC_CONF",
}  # fmt: skip
READ_LATE = (
    "AWS_",
    "CLOUD_STORAGE_EMULATOR_",
    "CURATE_",
)  # begin what no library reads as soon as it is imported


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
    curate, which saves a second; with options of `subprocess.run` but `env`, `cwd` and `timeout`, or in an environment
    that libraries read as they are imported, in a process of its own. As soon as the option `until`, a function, is
    true, it is killed with all that it started.
    """
    changed = _forks().changed(options.get("env", os.environ))
    if not options.keys() - {"timeout", "env", "cwd", "until"} and all(
        name.startswith(READ_LATE) for name in changed
    ):
        job = {"arguments": [str(one) for one in arguments], "folder": str(options.get("cwd", ROOT))}
        return _forks().run(job | {"changed": changed}, options.get("timeout", 120), options.get("until"))
    command = [sys.executable, "-m", "curate", *map(str, arguments)]
    options = {"capture_output": True, "text": True, "timeout": 120, "cwd": ROOT} | options
    return subprocess.run(command, check=False, **options)


class Forks:
    """tests/curate/fork_server.py, running."""

    def __init__(self) -> None:
        self._environment = dict(os.environ)
        command = [sys.executable, str(ROOT / "tests" / "curate" / "fork_server.py")]
        self.process = subprocess.Popen(
            command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            cwd=ROOT,
            env=os.environ | {"PYTHONPATH": str(ROOT)},
        )

    def changed(self, environment: Mapping[str, str]) -> dict[str, str | None]:
        """The variables by which an environment differs from that of the forks, and their values; None: it lacks it."""
        names = self._environment.keys() | environment.keys()
        return {
            name: environment.get(name)
            for name in names - OF_LIBRARIES
            if environment.get(name) != self._environment.get(name)
        }

    def run(
        self, job: dict[str, Any], timeout: float, until: Callable[[], bool] | None
    ) -> subprocess.CompletedProcess[str]:
        """Like `subprocess.run` with text captured."""
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        with tempfile.NamedTemporaryFile("r") as out, tempfile.NamedTemporaryFile("r") as err:
            self.process.stdin.write(json.dumps(job | {"out": out.name, "err": err.name}) + "\n")
            self.process.stdin.flush()
            child, ended = int(self.process.stdout.readline()), threading.Event()
            with ThreadPoolExecutor(1) as pool:
                late = pool.submit(_end, child, ended, timeout, until)
                code = int(self.process.stdout.readline())
                ended.set()
            if late.result():
                raise subprocess.TimeoutExpired(job["arguments"], timeout, out.read(), err.read())
            return subprocess.CompletedProcess(job["arguments"], code, out.read(), err.read())


def _end(child: int, ended: threading.Event, timeout: float, until: Callable[[], bool] | None) -> bool:
    """Kill the process's group as soon as `until` is true, or it is late: then the result is true."""
    limit = time.monotonic() + timeout
    while (left := limit - time.monotonic()) > 0 and not (until and until()):
        if ended.wait(0.005 if until else left):
            return False
    os.killpg(child, signal.SIGKILL)
    return left <= 0


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


def written(folder: Path) -> int:
    """How many files lie in a folder and those in it; it may not be there yet."""
    return sum(len(names) for _, _, names in os.walk(folder))


def shards(folder: Path) -> pa.Table:
    """All kept rows."""
    return pa.concat_tables([pq.read_table(path) for path in sorted(folder.glob("shard-*.parquet"))])


def dropped(folder: Path) -> dict[str, str]:
    """The reason of every row that was dropped and written down, by its source."""
    tables = [pq.read_table(path) for path in sorted(folder.glob("_dropped/*.parquet"))]
    return {row["source"]: row["reason"] for table in tables for row in table.to_pylist()}
