"""Padding and speed of packing, per task, against next-fit, best-fit-decreasing and ms-swift's `binpacking`.

    python -m benchmarks.packing [samples] [--uneven]

Lengths are modelled on the formats: an image of 258 tokens, a prompt, and texts, boxes (19 tokens and 2 a
phrase) or quads. `7 images` is the padding that seven images a sequence force; `optimum` is the bound of the
cutting-stock relaxation by column generation (needs scipy), which no packing of these lengths can beat. CPU
seconds of one process.

`--uneven`: images of uneven cost instead, one to three of them a sample with a text: log-normal sides (median 700 px,
from 28 to 8,000), priced by a dialect, in its sequences of up to 131,072 tokens. `floor` is the padding of as many
sequences as the tokens fill.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable

import numpy as np
import numpy.typing as npt

from curate.packing.fit import best_fit_decreasing, fit
from curate.tasks import image_costs, load_dialect

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


UNEVEN = (
    ("qwen2.5-vl:qwenvl-finetune", 4_096),
    ("internvl3", 16_384),
    ("qwen2.5-vl", 32_768),
    ("qwen2.5-vl", 131_072),
    ("qwen3-vl", 131_072),
)


def uneven(samples: int, dialect: str, length: int, seed: int = 0) -> Ints:
    """Lengths of samples of one to three images and a text, in a dialect's tokens; what is too long is left out."""
    rng = np.random.default_rng(seed)
    images = rng.choice([1, 1, 1, 1, 2, 3], samples)
    sides = np.clip(rng.lognormal(np.log(700), 0.6, (int(images.sum()), 2)), 28, 8_000).astype(np.int64)
    tokens = image_costs(load_dialect(dialect).cost, sides[:, 0], sides[:, 1]).tokens + 2
    starts = np.cumsum(images) - images
    text = np.clip(rng.lognormal(4.5, 1, samples), 10, 4_000).astype(np.int64)
    lengths = np.add.reduceat(tokens, starts) + text
    return lengths[lengths <= length]


def next_fit(lengths: Ints, length: int) -> int:
    bins, space = 0, 0
    for one in lengths.tolist():
        if one > space:
            bins, space = bins + 1, length
        space -= one
    return bins


def binpacking(lengths: Ints, length: int) -> int:
    """As ms-swift calls it."""
    from binpacking import to_constant_volume

    return len(to_constant_volume(list(enumerate(lengths.tolist())), length, weight_pos=1))


def curate(lengths: Ints, length: int) -> int:
    return int(fit(lengths, length).max()) + 1


def best_fit(lengths: Ints, length: int) -> int:
    return int(best_fit_decreasing(lengths, length).max()) + 1


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


def padding(lengths: Ints, bins: float, length: int) -> float:
    """In points of a hundred."""
    return float(100 * (1 - lengths.sum() / (bins * length)))


def measure(pack: Callable[[Ints, int], int], lengths: Ints, length: int) -> str:
    """Padding, and samples a CPU second."""
    start = time.process_time()
    bins = pack(lengths, length)
    took = time.process_time() - start
    return f"{padding(lengths, bins, length):8.2f} % {len(lengths) / took / 1e6:7.3f} M/s"


def compare(title: str, lengths: Ints, length: int, bounds: str) -> None:
    """Print a row of all peers."""
    cells = [measure(pack, lengths[: FEW if few else None], length) for _, few, pack in PEERS]
    print(f"{title:35}{bounds}" + "".join(f"{cell:>22}" for cell in cells), flush=True)


PEERS: list[tuple[str, bool, Callable[[Ints, int], int]]] = [
    ("curate", False, curate),
    ("next-fit", False, next_fit),
    ("best-fit-decr", False, best_fit),
    ("binpacking", True, binpacking),
    ("curate of as few", True, curate),
]


def even_images(samples: int) -> None:
    """The table of tasks, of images of 256 tokens."""
    print(f"{'task':35}{'7 images':>9}{'optimum':>9}" + "".join(f"{name:>22}" for name, *_ in PEERS))
    for task, lengths in model(samples).items():
        seven = max(lengths.sum() / LENGTH, len(lengths) / 7 if lengths.min() > 258 else 0)
        few = len(np.unique(lengths)) < 300  # else the relaxation takes minutes
        bound = f"{padding(lengths, optimum(lengths), LENGTH):9.2f}" if few else f"{'-':>9}"
        compare(task, lengths, LENGTH, f"{padding(lengths, seven, LENGTH):9.2f}{bound}")


def uneven_images(samples: int) -> None:
    """The table of dialects, of images that cost by their size."""
    print(f"{'dialect, tokens a sequence':35}{'floor':>9}" + "".join(f"{name:>22}" for name, *_ in PEERS))
    for dialect, length in UNEVEN:
        lengths = uneven(samples, dialect, length)
        floor = padding(lengths, -(-lengths.sum() // length), length)
        compare(f"{dialect}, {length:,}", lengths, length, f"{floor:9.3f}")


if __name__ == "__main__":
    given = [argument for argument in sys.argv[1:] if argument != "--uneven"]
    table = uneven_images if "--uneven" in sys.argv else even_images
    table(int(given[0]) if given else 100_000)
