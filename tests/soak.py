"""Hours of bad luck: runs that are killed, run out of disk, lose their clock and their network, and go on.

    python -m tests.soak --minutes 60 --seed 1

Each round does one small run of images that a server of this machine gives, in pieces that end in accidents, then
to its end. Its bytes must be those of a run without accidents, and `curate verify` must find nothing. The first
round that differs ends it, names its seed, and leaves its folder.
"""

from __future__ import annotations

import argparse
import os
import random
import resource
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path
from typing import Any

from aiohttp import web

from tests.curate.runs import ROOT, curate, files, pair, picture, write_pairs
from tests.curate.web import Site

ROWS, UNIT = 40, 5
ACCIDENTS = ("kill", "interrupt", "disk", "clock", "network")
FAULTS = 2  # of one address in a row: one fewer than a fetch tries
JUMPY = """import random, time
_real, _by = time.time, random.choice([-1, 1]) * random.random() * 10**6
time.time = lambda: _real() + _by
"""


class FaultySite:
    """A site that gives each address's picture; while it is unwell, now and then not at once."""

    def __init__(self, chance: random.Random) -> None:
        self.site, self.is_well, self._chance, self._faults = Site(), True, chance, Counter[str]()
        for number in range(ROWS):
            self.site.handlers[f"/{number}.jpg"] = self._answer

    async def _answer(self, request: web.Request) -> web.StreamResponse:
        path = request.path
        if not self.is_well and self._faults[path] < FAULTS and self._chance.random() < 0.5:
            self._faults[path] += 1
            if self._chance.random() < 0.5:
                return web.Response(status=503)
            assert request.transport is not None
            request.transport.abort()
            return web.Response()
        self._faults[path] = 0
        return web.Response(body=picture(int(path[1:-4])), content_type="image/jpeg")


def command(source: Path, out: Path, workers: int) -> list[Any]:
    """The run; what it fetches is all on this machine."""
    settings = (
        "fetch.allow_private=true",
        f"shard.rows={UNIT}",
        "fetch.retries=2",
        "fetch.retry_wait_s=0.01",
    )
    more = [word for setting in settings for word in ("--set", setting)]
    return ["run", "laion", "--input", source, "--out", out, "--workers", workers, *more]


def meet(accident: str, arguments: list[Any], site: FaultySite, folder: Path, chance: random.Random) -> None:
    """Run the command until the accident, or its end."""
    site.is_well = accident != "network"
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    if accident == "clock":
        environment["PYTHONPATH"] = f"{folder}{os.pathsep}{ROOT}"
    size = chance.randrange(200_000) if accident == "disk" else None
    words = [sys.executable, "-m", "curate", *map(str, arguments)]
    running = subprocess.Popen(
        words, cwd=ROOT, env=environment, stderr=subprocess.PIPE, text=True, preexec_fn=lambda: _limit(size)
    )
    if accident in ("kill", "interrupt"):
        time.sleep(chance.random() * 6)
        running.send_signal(signal.SIGKILL if accident == "kill" else signal.SIGINT)
    _, said = running.communicate(timeout=600)
    site.is_well = True
    assert "Traceback" not in said or _came_early(said), said


def _came_early(said: str) -> bool:
    """Whether an interrupt came while Python itself was starting, before the first line of curate's `main`."""
    return said.rstrip().endswith("KeyboardInterrupt") and ", in main" not in said


def _limit(size: int | None) -> None:
    """No file of more bytes than this, as on a disk that is full."""
    if size is not None:
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (size, size))


def main() -> None:
    """Rounds until the time is over."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--minutes", type=float, default=60)
    parser.add_argument("--seed", type=int, default=0)
    asked = parser.parse_args()
    folder = Path(tempfile.mkdtemp(prefix="curate-soak-"))
    (folder / "sitecustomize.py").write_text(JUMPY)
    site, met = FaultySite(random.Random(asked.seed)), Counter[str]()
    rows = [pair(n) | {"URL": site.site.url(f"/{n}.jpg"), "image": None} for n in range(ROWS)]
    rows[4]["TEXT"] = "no"
    source = write_pairs(
        folder / "pairs.parquet", [{k: v for k, v in r.items() if v is not None} for r in rows]
    )
    assert curate(*command(source, folder / "whole", 0)).returncode == 0
    wanted, ends, number = files(folder / "whole"), time.monotonic() + 60 * asked.minutes, asked.seed
    while time.monotonic() < ends:
        chance, out = random.Random(number), folder / f"round-{number}"
        for _ in range(chance.randint(1, 4)):
            accident = chance.choice(ACCIDENTS)
            met[accident] += 1
            meet(accident, command(source, out, chance.choice((0, 0, 0, 2))), site, folder, chance)
        last = curate(*command(source, out, 0))
        assert last.returncode == 0, f"round {number}: {last.stderr}"
        assert files(out) == wanted, f"round {number}: other bytes in {out}"
        assert curate("verify", out).returncode == 0, f"round {number}: {out} is damaged"
        shutil.rmtree(out)
        number += 1
    site.site.close()
    shutil.rmtree(folder)
    print(f"{number - asked.seed} rounds, the same bytes after each: {dict(met)}")


if __name__ == "__main__":
    main()
