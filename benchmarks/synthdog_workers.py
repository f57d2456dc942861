"""Do two processes make twice the synthetic documents of one? Whole runs of `curate`, shards and all.

    python -m benchmarks.synthdog_workers [--language zh] [--images 2000] [--rounds 2]

With `--workers 0` a run has a child process for each processor it may use; on Ray each worker has one. Both
are held to as many processors as they have processes, so the rate of one is what a processor gives, parent
and all. Start-up, the time of a run of one image, is taken off. Memory is the largest that any process of the
run had resident. A child is idle while it neither runs nor waits for a processor: on a machine that does
other work as well, that tells more of the pipeline than the rates do.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

import psutil

POLL_S = 0.5


@dataclass
class Taken:
    """What a run took, all of its processes together."""

    wall_s: float = 0.0
    cpu_s: dict[tuple[int, float], float] = field(default_factory=dict)  # by process
    peak_bytes: dict[str, int] = field(default_factory=dict)  # of one process, by what it does
    first: dict[int, tuple[float, float]] = field(default_factory=dict)  # children: when seen, seconds busy
    last: dict[int, tuple[float, float]] = field(default_factory=dict)

    def look(self, process: psutil.Process) -> None:
        """Note how a process stands."""
        times, name = process.cpu_times(), role(process)
        self.cpu_s[process.pid, process.create_time()] = times.user + times.system
        self.peak_bytes[name] = max(self.peak_bytes.get(name, 0), process.memory_info().rss)
        if name == "child":
            ran, waited, _ = Path(f"/proc/{process.pid}/schedstat").read_text().split()
            self.last[process.pid] = (time.monotonic(), (int(ran) + int(waited)) / 1e9)
            self.first.setdefault(process.pid, self.last[process.pid])

    def idle(self) -> float:
        """The share of their time in which the children had nothing to do."""
        spans = [(self.first[pid], self.last[pid]) for pid in self.first]
        wall, busy = (sum(end[part] - begin[part] for begin, end in spans) for part in (0, 1))
        return 1 - busy / wall if wall else 0.0


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--language", choices=("en", "zh"), default="en")
    parser.add_argument("--images", type=int, default=2000)
    parser.add_argument("--rounds", type=int, default=1)
    options = parser.parse_args()
    for _ in range(options.rounds):
        for on_ray in (False, True):
            rates = [rate(options.language, options.images, on_ray, count) for count in (1, 2)]
            print(f"{'Ray' if on_ray else 'children'}: two do {rates[1] / rates[0]:.2f} times what one does")


def rate(language: str, images: int, on_ray: bool, processes: int) -> float:
    """Images a second of a run on so many processors, which is printed."""
    start_up, whole = (run(language, count, on_ray, processes) for count in (1, images))
    wall_s = whole.wall_s - start_up.wall_s
    cpu_ms = 1e3 * (sum(whole.cpu_s.values()) - sum(start_up.cpu_s.values())) / images
    peaks = ", ".join(f"{name} {peak / 1e6:.0f} MB" for name, peak in sorted(whole.peak_bytes.items()))
    print(
        f"{language}, {processes} {'Ray worker' if on_ray else 'child'}: {images / wall_s:.1f} images/s, "
        f"{cpu_ms:.1f} CPU ms an image, children idle {whole.idle():.1%}; "
        f"start-up {start_up.wall_s:.1f} s; {peaks}",
        flush=True,
    )
    return images / wall_s


def run(language: str, images: int, on_ray: bool, processes: int) -> Taken:
    """One run into a folder that is removed again."""
    taken, start = Taken(), time.monotonic()
    shards = ("--set", f"shard.rows={max(min(500, images // 2), 1)}")  # so that either worker has some
    workers = str(processes if on_ray else 0)
    pinned = ["taskset", "-c", ",".join(map(str, range(processes)))]
    with tempfile.TemporaryDirectory() as out:
        command = ["run", f"synthdog-{language}", "--out", f"{out}/run", "--limit", str(images), *shards]
        process = subprocess.Popen(
            [*pinned, sys.executable, "-m", "curate", *command, "--workers", workers],
            stderr=subprocess.DEVNULL,
        )
        while process.poll() is None:
            for one in tree(process.pid):
                with suppress(psutil.Error, OSError):
                    taken.look(one)
            time.sleep(POLL_S)
    assert process.returncode == 0, f"curate ended with {process.returncode}"
    taken.wall_s = time.monotonic() - start
    return taken


def tree(pid: int) -> Iterator[psutil.Process]:
    with suppress(psutil.Error):
        parent = psutil.Process(pid)
        yield parent
        yield from parent.children(recursive=True)


def role(process: psutil.Process) -> str:
    """What a process of the run does."""
    line = " ".join(process.cmdline())
    if "curate.children.child" in line:
        return "child"
    if "-m curate" in line:
        return "parent"
    return "Ray worker" if line.startswith("ray::_do") else "other of Ray"


if __name__ == "__main__":
    main()
