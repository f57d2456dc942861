"""How many images at a time a device takes best, found by trying; and when it says that it is full."""

from __future__ import annotations

import logging
import re
import time
from collections.abc import Callable

import torch

log = logging.getLogger("curate")

START, MOST = 64, 1024  # images; 256 MiB of photographs are no more
GAIN = 1.05  # twice the memory must bring as much
RUNS = 3  # timed at each size
PATIENCE_S = 2.0  # for one size
FULL = re.compile("out of memory|can't allocate memory|ALLOC_FAILED|unable to find an engine")


def is_full(error: Exception) -> bool:
    """Whether memory was too short, however torch, CUDA, cuBLAS or cuDNN put it."""
    return isinstance(error, torch.OutOfMemoryError) or FULL.search(str(error)) is not None


def timed(work: Callable[[], object], device: torch.device) -> float:
    """How long some work takes on a device among more of its kind, in seconds, once it is warm."""

    def now() -> float:
        if device.type == "cuda":
            torch.cuda.synchronize(device)
        return time.perf_counter()

    if device.type == "cuda":
        torch.cuda.empty_cache()  # what a larger try may have left
    work()
    begun = now()
    for _ in range(RUNS):
        work()
    return (now() - begun) / RUNS


def best_batch(seconds: Callable[[int], float], most: int = MOST) -> int:
    """The last size, of at most `most`, that brought GAIN over half of it.

    `seconds` tries a size and says how long one batch of it takes; it raises like torch where memory is too
    short. Then half of it is tried, and nothing larger.

    Raises:
        RuntimeError: what `seconds` raises for a single image, or for another reason.
    """
    tried: dict[int, float] = {}  # size to images a second
    best, size = 1, min(START, most)
    while size <= most:
        try:
            taken = seconds(size)
        except RuntimeError as error:
            if size == 1 or not is_full(error):
                raise
            size = most = size // 2
            continue
        before, tried[size] = tried.get(best, 0.0), size / taken
        if tried[size] < GAIN * before:
            break
        best = size
        if 2 * RUNS * taken > PATIENCE_S:
            break
        size *= 2
    said = ", ".join(f"{size}: {rate:.0f}/s" for size, rate in sorted(tried.items()))
    log.info("images at a time: %d (tried %s)", best, said)
    return best
