"""What checking and shrinking real photographs costs, against plain Pillow, and what the child process adds.

    python -m benchmarks.images [FOLDER OF JPEGS]

CPU seconds of one core, the best of several interleaved rounds: the ratios hold on a busy machine too.
"""

from __future__ import annotations

import io
import os
import sys
import time
from collections.abc import Callable
from pathlib import Path

import psutil
from PIL import Image

from curate.children.pool import Children, Limits
from curate.images import protocol
from curate.images.prepare import prepare
from curate.manifest.settings import ImageSettings

ROUNDS = 5
FOLDER = Path(__file__).parents[2] / "shared" / "data" / "coco" / "images"


def load(body: bytes) -> None:
    Image.open(io.BytesIO(body)).load()


def shrink(body: bytes) -> None:
    """What a plain script does: decode, resize, save."""
    image = Image.open(io.BytesIO(body)).convert("RGB")
    scale = 256 / max(image.size)
    size = (round(image.width * scale), round(image.height * scale))
    image.resize(size, Image.Resampling.LANCZOS).save(io.BytesIO(), "JPEG", quality=90)


def in_process(bodies: list[bytes], work: Callable[[bytes], object]) -> float:
    """CPU seconds an item."""
    start = time.process_time()
    for body in bodies:
        work(body)
    return (time.process_time() - start) / len(bodies)


def in_child(children: Children, bodies: list[bytes]) -> float:
    """CPU seconds an item, of the child and of this process together."""
    (child,) = psutil.Process().children()
    start = time.process_time() + sum(child.cpu_times()[:2])
    for future in [children.submit(body) for body in bodies]:
        assert future.result().value is not None
    return (time.process_time() + sum(child.cpu_times()[:2]) - start) / len(bodies)


def measure(bodies: list[bytes], plain: Callable[[bytes], None], settings: ImageSettings) -> None:
    """Print one comparison."""
    told = protocol.child_settings(settings, {})
    recipe = protocol.recipe(told)
    best = [float("inf")] * 3
    with Children(protocol.TARGET, 1, Limits(recycle_after=1_000_000), told) as children:
        children.submit(bodies[0]).result()
        for _ in range(ROUNDS):
            found = (
                in_process(bodies, plain),
                in_process(bodies, lambda body: prepare(body, recipe)),
                in_child(children, bodies),
            )
            best = [min(pair) for pair in zip(best, found, strict=True)]
    for name, cost in zip(("plain Pillow", "prepare", "prepare in a child"), best, strict=True):
        print(f"  {name:20} {cost * 1e3:7.3f} ms  {1 / cost:6.0f} images/s/core  {best[0] / cost:5.2f} x")


def echo(_settings: bytes) -> Callable[[bytes], bytes]:
    """What the children of `measure_children` do."""
    return lambda payload: payload


def measure_children(size: int, count: int) -> None:
    """Print what a payload costs that asks for nothing: wall time, one child, the best of several rounds."""
    payload, best = bytes(size), float("inf")
    with Children("benchmarks.images:echo", 1, Limits(recycle_after=1_000_000)) as children:
        for _ in range(ROUNDS):
            start = time.perf_counter()
            for future in [children.submit(payload) for _ in range(count)]:
                assert future.result().value == payload
            best = min(best, (time.perf_counter() - start) / count)
    print(f"  {size:9} bytes there and back {best * 1e3:7.3f} ms  {1 / best:6.0f} payloads/s")


def main() -> None:
    folder = Path(sys.argv[1]) if len(sys.argv) > 1 else FOLDER
    files = [path.read_bytes() for path in sorted(folder.rglob("*.jpg"))]
    if not files:
        sys.exit(f"no .jpg in {folder}")
    bodies = files * (1 + 400 // len(files))  # a child's CPU time is counted in hundredths of a second
    print(f"{len(files)} JPEGs of {sum(map(len, bodies)) // len(bodies)} bytes, {os.cpu_count()} cores")
    print("keep the bytes, check them whole (plain: open, load)")
    measure(bodies, load, ImageSettings())
    print("shrink to 256 px (plain: open, load, Lanczos, save)")
    measure(bodies, shrink, ImageSettings(max_side=256))
    print("a child process alone")
    for size, count in ((10, 5000), (100_000, 1000), (64 << 20, 3)):
        measure_children(size, count)


if __name__ == "__main__":
    main()
