"""How many images a second from a local HTTP server to shards, against img2dataset at its best thread count?

    python -m benchmarks.fetch FOLDER_OF_PHOTOGRAPHS --img2dataset PATH_OF_ITS_PROGRAM [--images 4000]

nginx serves JPEGs of about 85 KB on the same machine. Both sides fetch the same URLs with the same number of
cores, and keep bytes and captions, in two ways:

- shrunk to a short side of 256 px and encoded as JPEG at quality 95;
- as they came. We decode each one to find it whole and to know its size; so does img2dataset with
  `skip_reencode`, its nearest. With `disable_all_reencoding` it stores whatever arrived, unseen.

Rounds are interleaved, and a run of one image gives the start-up. Besides the time of each command there are
its CPU seconds, with all processes that it started: they hold on a busy machine too. img2dataset wants a
virtual environment of its own.
"""

from __future__ import annotations

import argparse
import ctypes
import io
import json
import os
import random
import resource
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from statistics import median

import psutil
import pyarrow as pa
import pyarrow.parquet as pq
from PIL import Image

MANIFEST = """
name = "bench"
title = "Images of a local server"
licence = "none"
homepage = "http://127.0.0.1/"
columns = { url = ["URL"], text = ["TEXT"] }
fetch = { allow_private = true, per_host = 256 }
"""
SHRINK = ["--set", "image.min_side=256", "--set", "image.quality=95"]
THEIR_SHRINK = ["--image_size", "256", "--resize_mode", "keep_ratio", "--encode_quality", "95"]
THEIR_KEEP = {
    "looked at": ["--resize_mode", "no", "--skip_reencode", "True"],
    "unseen": ["--disable_all_reencoding", "True"],
}
NGINX = """
daemon off; pid FOLDER/nginx.pid; error_log stderr error; worker_processes 1;
events { worker_connections 4096; }
http {
  access_log off; sendfile on; types { image/jpeg jpg; } keepalive_requests 1000000;
  client_body_temp_path FOLDER/t1; proxy_temp_path FOLDER/t2; fastcgi_temp_path FOLDER/t3;
  uwsgi_temp_path FOLDER/t4; scgi_temp_path FOLDER/t5;
  server { listen 127.0.0.1:PORT backlog=2048; root FOLDER/www; }
}
"""
PR_SET_CHILD_SUBREAPER = 36
REAP_S = 10.0
Command = Callable[[Path, Path], list[str | Path]]  # of a URL list and an output folder


@dataclass(frozen=True)
class Cost:
    """What a command took: seconds on the clock, and of all cores."""

    wall_s: float
    cpu_s: float


def main() -> None:
    options = arguments()
    ctypes.CDLL(None).prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)  # what a command leaves behind counts too
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        folder.chmod(0o755)  # nginx gives up root's rights
        mean = make_images(options.photographs, folder / "www", options.images)
        print(f"{options.images} JPEGs of {mean / 1e3:.0f} KB, {options.processes} cores", flush=True)
        with served(folder) as url:
            one, all_ = (url_list(folder, url, n) for n in (1, options.images))
            (folder / "bench.toml").write_text(MANIFEST)
            for mode in options.modes:
                commands = contenders(mode, folder / "bench.toml", options)
                print(f"\n{mode}:", flush=True)
                report(measure(commands, one, all_, options), options.images)


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("photographs", type=Path, help="a folder with photographs, searched in depth")
    parser.add_argument("--img2dataset", type=Path, required=True, help="its program")
    parser.add_argument("--images", type=int, default=4000)
    parser.add_argument("--processes", type=int, default=len(os.sched_getaffinity(0)))
    parser.add_argument("--threads", type=int, nargs="+", default=[4, 8, 16])
    parser.add_argument("--modes", nargs="+", default=["shrink", "keep"], choices=["shrink", "keep"])
    parser.add_argument("--workers", type=int, nargs="*", default=[0], help="ours, besides the default")
    parser.add_argument("--rounds", type=int, default=3)
    return parser.parse_args()


def contenders(mode: str, manifest: Path, options: argparse.Namespace) -> dict[str, Command]:
    """Every command to be compared, ours first, by its name."""
    ours = {"curate": curate(manifest, mode, [])}
    ours |= {f"curate --workers {n}": curate(manifest, mode, ["--workers", str(n)]) for n in options.workers}
    theirs = {"shrunk": THEIR_SHRINK} if mode == "shrink" else THEIR_KEEP
    return ours | {
        f"img2dataset, {what}, {n} threads": img2dataset(options, n, how)
        for what, how in theirs.items()
        for n in options.threads
    }


def make_images(photographs: Path, www: Path, count: int) -> float:
    """Random 640 × 427 views of the photographs, no two files alike; the mean size in bytes."""
    www.mkdir()
    files = [file for file in photographs.rglob("*") if file.suffix.lower() in (".jpg", ".jpeg", ".png")]
    sources = [image for file in sorted(files) if (image := photograph(file))]
    draw, total = random.Random(0), 0
    for n in range(count):
        image = draw.choice(sources)
        left, top = draw.randrange(image.width - 639), draw.randrange(image.height - 426)
        file = io.BytesIO()
        image.crop((left, top, left + 640, top + 427)).save(file, "JPEG", quality=88, comment=str(n).encode())
        total += (www / f"{n}.jpg").write_bytes(file.getvalue())
    return total / count


def photograph(file: Path) -> Image.Image | None:
    try:
        with Image.open(file) as opened:
            image = opened.convert("RGB")
    except (OSError, ValueError):
        return None
    image.thumbnail((1600, 1600))
    return image if image.width >= 640 and image.height >= 427 else None


@contextmanager
def served(folder: Path) -> Iterator[str]:
    """nginx over folder/www, for as long as the context lasts."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    config = folder / "nginx.conf"
    config.write_text(NGINX.replace("FOLDER", str(folder)).replace("PORT", str(port)))
    server = subprocess.Popen(["nginx", "-p", str(folder), "-c", str(config)])
    try:
        for _ in range(100):
            with socket.socket() as probe:
                if probe.connect_ex(("127.0.0.1", port)) == 0:
                    break
            time.sleep(0.05)
        yield f"http://127.0.0.1:{port}"
    finally:
        server.terminate()
        server.wait(10)


def url_list(folder: Path, url: str, count: int) -> Path:
    path = folder / f"urls-{count}.parquet"
    urls = [f"{url}/{n}.jpg" for n in range(count)]
    pq.write_table(pa.table({"URL": urls, "TEXT": [f"photograph number {n}" for n in range(count)]}), path)
    return path


def curate(manifest: Path, mode: str, more: list[str]) -> Command:
    def command(urls: Path, out: Path) -> list[str | Path]:
        run = [sys.executable, "-m", "curate", "run", manifest, "--input", urls, "--out", out, "--json"]
        return [*run, "--set", "shard.rows=1000", *(SHRINK if mode == "shrink" else []), *more]

    return command


def img2dataset(options: argparse.Namespace, threads: int, how: list[str]) -> Command:
    def command(urls: Path, out: Path) -> list[str | Path]:
        run = [options.img2dataset, "--url_list", urls, "--input_format", "parquet", "--url_col", "URL"]
        run += ["--caption_col", "TEXT", "--output_folder", out, "--output_format", "webdataset"]
        run += ["--number_sample_per_shard", "1000", "--enable_wandb", "False", *how]
        return [*run, "--processes_count", str(options.processes), "--thread_count", str(threads)]

    return command


def measure(
    commands: dict[str, Command], one: Path, all_: Path, options: argparse.Namespace
) -> dict[str, list[tuple[Cost, Cost]]]:
    """What one image and all images took each command in each round."""
    costs: dict[str, list[tuple[Cost, Cost]]] = {name: [] for name in commands}
    for _ in range(options.rounds):
        for name, command in commands.items():
            costs[name].append((timed(command, one, 1), timed(command, all_, options.images)))
    return costs


def timed(command: Command, urls: Path, expected: int) -> Cost:
    folder = Path(tempfile.mkdtemp())
    before, started = cpu_s(), time.perf_counter()
    try:
        environment = os.environ | {"NO_ALBUMENTATIONS_UPDATE": "1"}
        run = command(urls, folder / "run")
        subprocess.run(run, check=True, capture_output=True, env=environment)
        wall_s = time.perf_counter() - started
        reap()
        kept = images_in(folder / "run")
    finally:
        shutil.rmtree(folder)
    assert kept == expected, f"kept {kept} of {expected}"
    return Cost(wall_s, cpu_s() - before)


def cpu_s() -> float:
    """Seconds of all cores that went into ended children, theirs included."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def reap() -> None:
    """Wait for the processes that a command left behind; nginx, which never ends, is not waited for."""
    end = time.monotonic() + REAP_S
    while time.monotonic() < end and len(psutil.Process().children()) > 1:
        for child in psutil.Process().children():
            if child.status() == psutil.STATUS_ZOMBIE:
                os.waitpid(child.pid, 0)
        time.sleep(0.05)


def images_in(out: Path) -> int:
    """How many images the run says that it kept."""
    ours = out / "_manifest.json"
    if ours.exists():
        rows: int = json.loads(ours.read_text())["rows_out"]
        return rows
    return sum(json.loads(file.read_text())["successes"] for file in out.glob("*_stats.json"))


def report(costs: dict[str, list[tuple[Cost, Cost]]], images: int) -> None:
    """Medians of the rounds, and each side's best against ours by the medians of the rounds' ratios."""
    for name, rounds in costs.items():
        wall, cpu = (median(getattr(all_, key) for _, all_ in rounds) for key in ("wall_s", "cpu_s"))
        start, start_cpu = (median(getattr(one, key) for one, _ in rounds) for key in ("wall_s", "cpu_s"))
        more = median((all_.cpu_s - one.cpu_s) / (images - 1) for one, all_ in rounds)
        print(
            f"  {name:36} {images / wall:6.0f} images/s   CPU {cpu:5.1f} s, {more * 1e3:.2f} ms an image more"
            f"   one image {start:4.1f} s, CPU {start_cpu:.1f} s",
            flush=True,
        )
    for name in costs:
        if not name.startswith("curate"):
            wall, cpu = (ratio(costs, name, key) for key in ("wall_s", "cpu_s"))
            print(f"  curate / {name}: {wall:.2f} x, CPU {cpu:.2f} x", flush=True)


def ratio(costs: dict[str, list[tuple[Cost, Cost]]], name: str, key: str) -> float:
    """How many times as much as we the command takes for all images."""
    pairs = zip(costs[name], costs["curate"], strict=True)
    return median(getattr(theirs, key) / getattr(ours, key) for (_, theirs), (_, ours) in pairs)


if __name__ == "__main__":
    main()
