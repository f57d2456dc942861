"""Find by trial the batch size with which a device is fastest, and recognise errors that mean: memory is full."""

from __future__ import annotations

import logging
import re
import time
from collections.abc import Callable

import torch

log = logging.getLogger("curate")

START, MOST = 64, 1024  # images; BATCH_BYTES of photographs are about that many
GAIN = 1.05  # a doubled batch must raise the throughput at least by this factor
RUNS = 3  # batches timed at each size
MAX_TRIAL_S = 2.0  # stop doubling once a size takes that long to time
FULL = re.compile("out of memory|can't allocate memory|ALLOC_FAILED|unable to find an engine")


def is_full(error: Exception) -> bool:
    """Whether the error means that memory ran out; torch, CUDA, cuBLAS and cuDNN have different texts for it."""
    return isinstance(error, torch.OutOfMemoryError) or FULL.search(str(error)) is not None


def timed(work: Callable[[], object], device: torch.device) -> float:
    """Seconds that one call of `work` takes on a warm device when calls follow each other."""

    def now() -> float:
        if device.type == "cuda":
            torch.cuda.synchronize(device)
        return time.perf_counter()

    if device.type == "cuda":
        torch.cuda.empty_cache()  # free the memory that a larger trial may have kept
    work()
    begun = now()
    for _ in range(RUNS):
        work()
    return (now() - begun) / RUNS


def best_batch(seconds: Callable[[int], float], most: int = MOST) -> int:
    """Double the batch size from `START` while the throughput rises by `GAIN`; returns the last size that did.

    `seconds` returns the seconds that one batch of a size takes. Where it raises an error that means that memory ran
    out, half that size is tried next, and nothing larger. No size above `most` is tried.

    Raises:
        RuntimeError: `seconds` raised it for a single image, or for another reason than memory.
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
        if 2 * RUNS * taken > MAX_TRIAL_S:
            break
        size *= 2
    said = ", ".join(f"{size}: {rate:.0f}/s" for size, rate in sorted(tried.items()))
    log.info("images at a time: %d (tried %s)", best, said)
    return best
