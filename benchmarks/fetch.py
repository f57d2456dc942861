"""How many images a second from a local HTTP server to shards, against img2dataset at its best thread count?

    python -m benchmarks.fetch FOLDER_OF_PHOTOGRAPHS --img2dataset PATH_OF_ITS_PROGRAM [--images 4000]

nginx serves JPEGs of about 57 KB on the same machine. Both sides fetch the same URLs with the same number of
processes, shrink to a short side of 256 px, encode JPEG at quality 95 and keep bytes and captions. A run of
one image gives the start-up time. img2dataset wants a virtual environment of its own.
"""

from __future__ import annotations

import argparse
import io
import json
import os
import random
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

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
image = { min_side = 256, quality = 95 }
"""
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
Run = Callable[[Path, Path], int]  # a URL list and an output folder; the images that it kept


def main() -> None:
    options = arguments()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        folder.chmod(0o755)  # nginx gives up root's rights
        mean = make_images(options.photographs, folder / "www", options.images)
        print(f"{options.images} JPEGs of {mean / 1e3:.0f} KB, {options.processes} processes", flush=True)
        with served(folder) as url:
            one, all_ = (url_list(folder, url, n) for n in (1, options.images))
            (folder / "bench.toml").write_text(MANIFEST)
            ours = {
                f"curate --workers {n}": curate(folder / "bench.toml", n)
                for n in sorted({0, options.processes})
            }
            theirs = {
                f"img2dataset, {n} threads": img2dataset(options.img2dataset, options.processes, n)
                for n in options.threads
            }
            rates = {name: measure(name, run, one, all_, options) for name, run in (ours | theirs).items()}
    best_ours, best_theirs = (max(side, key=lambda name: rates[name]) for side in (ours, theirs))
    print(f"{best_ours} / {best_theirs}: {rates[best_ours] / rates[best_theirs]:.2f} times")


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("photographs", type=Path, help="a folder with photographs, searched in depth")
    parser.add_argument("--img2dataset", type=Path, required=True, help="its program")
    parser.add_argument("--images", type=int, default=4000)
    parser.add_argument("--processes", type=int, default=len(os.sched_getaffinity(0)))
    parser.add_argument("--threads", type=int, nargs="+", default=[4, 8, 16])
    parser.add_argument("--repeats", type=int, default=2)
    return parser.parse_args()


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


def curate(manifest: Path, workers: int) -> Run:
    def run(urls: Path, out: Path) -> int:
        command = [sys.executable, "-m", "curate", "run", manifest, "--input", urls, "--out", out, "--json"]
        command += ["--workers", str(workers), "--set", "shard.rows=1000"]
        subprocess.run(command, check=True, capture_output=True)
        rows: int = json.loads((out / "_manifest.json").read_text())["rows_out"]
        return rows

    return run


def img2dataset(program: Path, processes: int, threads: int) -> Run:
    def run(urls: Path, out: Path) -> int:
        command = [program, "--url_list", urls, "--input_format", "parquet", "--url_col", "URL"]
        command += ["--caption_col", "TEXT", "--output_folder", out, "--output_format", "webdataset"]
        command += ["--number_sample_per_shard", "1000", "--image_size", "256", "--resize_mode", "keep_ratio"]
        command += ["--encode_quality", "95", "--enable_wandb", "False"]
        command += ["--processes_count", str(processes), "--thread_count", str(threads)]
        environment = os.environ | {"NO_ALBUMENTATIONS_UPDATE": "1"}
        subprocess.run(command, check=True, capture_output=True, env=environment)
        return sum(json.loads(file.read_text())["successes"] for file in out.glob("*_stats.json"))

    return run


def measure(name: str, run: Run, one: Path, all_: Path, options: argparse.Namespace) -> float:
    """Images a second of the whole command, the best of some runs."""
    start_s = min(timed(run, one, 1) for _ in range(options.repeats))
    total_s = min(timed(run, all_, options.images) for _ in range(options.repeats))
    rate, after = options.images / total_s, options.images / (total_s - start_s)
    print(
        f"{name}: {rate:.0f} images/s ({after:.0f} without start-up), one image in {start_s:.1f} s",
        flush=True,
    )
    return rate


def timed(run: Run, urls: Path, expected: int) -> float:
    out = Path(tempfile.mkdtemp())
    started = time.perf_counter()
    try:
        kept = run(urls, out / "run")
    finally:
        shutil.rmtree(out)
    taken = time.perf_counter() - started
    assert kept == expected, f"kept {kept} of {expected}"
    return taken


if __name__ == "__main__":
    main()
