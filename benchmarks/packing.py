"""Padding and speed of packing, per task, against next-fit, best-fit-decreasing and ms-swift's `binpacking`.

    python -m benchmarks.packing [samples]

Lengths are modelled on the formats: an image of 258 tokens, a prompt, and texts, boxes (19 tokens and 2 a
phrase) or quads. `7 images` is the padding that seven images a sequence force; `optimum` is the bound of the
cutting-stock relaxation by column generation (needs scipy), which no packing of these lengths can beat. CPU
seconds of one process.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable

import numpy as np
import numpy.typing as npt

from curate.packing.fit import best_fit_decreasing, fit

Ints = npt.NDArray[np.int64]

LENGTH = 2048
FEW = 5_000  # binpacking is too slow for more


def model(samples: int, seed: int = 0) -> dict[str, Ints]:
    """Lengths of each task's samples, in tokens."""
    rng = np.random.default_rng(seed)
    caption = np.clip(rng.lognormal(2.6, 0.5, samples), 3, 200)
    boxes = np.minimum(1 + rng.poisson(1.2, samples), 12)
    lines = rng.integers(2, 40, samples)
    lengths = {
        "caption": 265 + caption,
        "vqa": 262 + np.clip(rng.lognormal(2.4, 0.35, samples), 5, 60) + rng.integers(1, 4, samples),
        "grounded_caption": 268 + caption + 21 * boxes,
        "region_caption": 283 + np.clip(rng.lognormal(1.8, 0.5, samples), 1, 50),
        "ocr": np.minimum(264 + lines * rng.integers(38, 55, samples), LENGTH),
        "text": np.clip(rng.lognormal(5.5, 1, samples), 5, LENGTH),
    }
    return {task: values.astype(np.int64) for task, values in lengths.items()}


def next_fit(lengths: Ints) -> int:
    bins, space = 0, 0
    for length in lengths.tolist():
        if length > space:
            bins, space = bins + 1, LENGTH
        space -= length
    return bins


def binpacking(lengths: Ints) -> int:
    """As ms-swift calls it."""
    from binpacking import to_constant_volume

    return len(to_constant_volume(list(enumerate(lengths.tolist())), LENGTH, weight_pos=1))


def optimum(lengths: Ints) -> float:
    """A lower bound of the number of bins: Gilmore and Gomory's column generation, and Farley's bound."""
    from scipy.optimize import linprog

    values, demand = np.unique(lengths, return_counts=True)
    patterns = [np.eye(len(values))[n] * (LENGTH // value) for n, value in enumerate(values)]
    for _ in range(400):
        found = linprog(np.ones(len(patterns)), A_ub=-np.array(patterns).T, b_ub=-demand, method="highs")
        worth, pattern = knapsack(values, -found.ineqlin.marginals)
        if worth < 1 + 1e-4:
            break
        patterns.append(pattern)
    return float(found.fun / max(worth, 1))


def knapsack(values: Ints, worth: npt.NDArray[np.float64]) -> tuple[float, npt.NDArray[np.float64]]:
    """The most that a bin can be worth, and the pattern that is."""
    best, layers = np.zeros(LENGTH + 1), []
    for _ in range(LENGTH // int(values.min())):
        better, chosen = best.copy(), np.full(LENGTH + 1, -1)
        for number, value in enumerate(values):
            candidate = best[: LENGTH + 1 - value] + worth[number]
            more = candidate > better[value:] + 1e-12
            better[value:][more], chosen[value:][more] = candidate[more], number
        layers.append(chosen)
        if (better <= best + 1e-12).all():
            break
        best = better
    pattern, space = np.zeros(len(values)), LENGTH
    for chosen in reversed(layers):
        if (number := chosen[space]) >= 0:
            pattern[number] += 1
            space -= values[number]
    return float(best[LENGTH]), pattern


def padding(lengths: Ints, bins: float) -> float:
    """In points of a hundred."""
    return float(100 * (1 - lengths.sum() / (bins * LENGTH)))


def measure(pack: Callable[[Ints], int], lengths: Ints) -> tuple[float, float]:
    """Padding, and samples a CPU second."""
    start = time.process_time()
    bins = pack(lengths)
    return padding(lengths, bins), len(lengths) / (time.process_time() - start)


def main(samples: int) -> None:
    peers: dict[str, tuple[int, Callable[[Ints], int]]] = {
        "curate": (samples, lambda lengths: int(fit(lengths, LENGTH).max()) + 1),
        "next-fit": (samples, next_fit),
        "best-fit-decr": (samples, lambda lengths: int(best_fit_decreasing(lengths, LENGTH).max()) + 1),
        "binpacking": (FEW, binpacking),
        "curate of as few": (FEW, lambda lengths: int(fit(lengths, LENGTH).max()) + 1),
    }
    print(f"{'task':17}{'7 images':>9}{'optimum':>9}" + "".join(f"{name:>22}" for name in peers))
    for task, lengths in model(samples).items():
        seven = max(lengths.sum() / LENGTH, len(lengths) / 7 if lengths.min() > 258 else 0)
        few = len(np.unique(lengths)) < 300  # else the relaxation takes minutes
        bound = f"{padding(lengths, optimum(lengths)):9.2f}" if few else f"{'-':>9}"
        cells = []
        for size, pack in peers.values():
            points, speed = measure(pack, lengths[:size])
            cells.append(f"{points:8.2f} % {speed / 1e6:7.3f} M/s")
        print(f"{task:17}{padding(lengths, seven):9.2f}{bound}" + "".join(f"{cell:>22}" for cell in cells))


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 100_000)
