"""Near duplicates among made features: speed, memory and what is missed, against bare faiss indexes.

    python -m benchmarks.near [rows] [max_similarity]

First all rows are judged by `filters.near_duplicate`. Then SAMPLE more are looked for among those that stayed: by the
index behind it, by a flat one, which is exact, and by one of clusters of about 2,048 rows at two bytes a
number. `found` is the share of the rows with a near duplicate for which one was found.

Features are topics of sizes by Zipf's law and of different tightness, in a narrow cone, with most of their
variance in few dimensions; a quarter of the rows is an earlier row (a fifth of these, a popular one of a
thousand) at a cosine of 0.8 to 1.
"""

from __future__ import annotations

import ctypes
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import faiss
import numpy as np
import numpy.typing as npt

from filters.near_duplicate import NOBODY, PART_ROWS, witnesses
from filters.near_duplicate_index import PROBES, Clusters, Matrix, NearIndex, Scratch, floor, unit

DIMENSION = 512
BLOCK = 50_000
SAMPLE = 10_000
POPULAR = 1000

Stored = npt.NDArray[np.float16]
Search = Callable[[Matrix], Matrix]  # the similarity of the most similar row, for each of a part


def made(rows: int, seed: int = 0) -> Stored:
    """So many features, as they are stored."""
    rng = np.random.default_rng(seed)
    scale = (np.arange(1, DIMENSION + 1) ** -0.35).astype(np.float32)
    scale /= np.linalg.norm(scale)
    turn = np.linalg.qr(rng.normal(size=(DIMENSION, DIMENSION)))[0].astype(np.float32)
    cone = 0.8 * unit(rng.normal(size=(1, DIMENSION)))
    topics = noise(rng, max(20, rows // 300), scale)
    share = np.cumsum(np.arange(1, len(topics) + 1) ** -0.8)
    spread = rng.uniform(0.35, 1, (len(topics), 1)).astype(np.float32)
    features = np.empty((rows, DIMENSION), np.float16)
    for first in range(0, rows, BLOCK):
        size = min(BLOCK, rows - first)
        topic = np.searchsorted(share, rng.random(size) * share[-1])
        block = unit(cone + topics[topic] + spread[topic] * noise(rng, size, scale)) @ turn
        if first:
            again = np.flatnonzero(rng.random(size) < 0.25)
            popular = rng.random(len(again)) < 0.2
            of = np.where(popular, rng.integers(0, POPULAR, len(again)), rng.integers(0, first, len(again)))
            block[again] = near(rng, unit(features[of]), noise(rng, len(again), scale) @ turn)
        features[first : first + size] = block
    return features


def noise(rng: np.random.Generator, rows: int, scale: Matrix) -> Matrix:
    return rng.standard_normal((rows, DIMENSION), dtype=np.float32) * scale


def near(rng: np.random.Generator, rows: Matrix, away: Matrix) -> Matrix:
    """Rows at a cosine of 0.8 to 1 to these."""
    cosine = rng.uniform(0.8, 1, (len(rows), 1)).astype(np.float32)
    away = unit(away - (away * rows).sum(axis=1, keepdims=True) * rows)
    return cosine * rows + np.sqrt(1 - cosine**2) * away


def memory() -> int:
    """Of this process, in bytes, but for what the disk caches."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith("RssAnon"))


def settled() -> int:
    """The same, once what is free has been given back."""
    ctypes.CDLL(None).malloc_trim(0)
    return memory()


class Peak(threading.Thread):
    """The most memory that was taken while it runs, beyond that of its start."""

    def __init__(self) -> None:
        super().__init__(daemon=True)
        self.start_bytes, self.bytes, self.on = memory(), 0, True
        self.start()

    def run(self) -> None:
        while self.on:
            self.bytes = max(self.bytes, memory() - self.start_bytes)
            time.sleep(0.05)


def parts(rows: npt.NDArray[Any]) -> Iterator[npt.NDArray[Any]]:
    return (rows[at : at + PART_ROWS] for at in range(0, len(rows), PART_ROWS))


def ours(features: Stored, stays: npt.NDArray[Any], most: float) -> Search:
    scratch = Scratch(len(features), DIMENSION)
    scratch.append(features)
    clusters = Clusters.trained(scratch.rows, DIMENSION, scratch.take)
    index = NearIndex(clusters, scratch.take, floor(most, DIMENSION))
    for rows in parts(stays):
        index.add(scratch.take(rows), rows)
    return lambda part: index.nearest(part)[1]


def flat(features: Stored, stays: npt.NDArray[Any], _: float) -> Search:
    index = faiss.IndexFlatIP(DIMENSION)
    for rows in parts(stays):
        index.add(unit(features[rows]))
    return lambda part: index.search(part, 1)[0][:, 0]


def half(features: Stored, stays: npt.NDArray[Any], _: float) -> Search:
    quantizer, clusters = faiss.IndexFlatIP(DIMENSION), max(1, len(features) // 2048)
    kind, inner = faiss.ScalarQuantizer.QT_fp16, faiss.METRIC_INNER_PRODUCT
    index = faiss.IndexIVFScalarQuantizer(quantizer, DIMENSION, clusters, kind, inner)
    index.nprobe = PROBES
    index.train(unit(features[:: max(1, len(features) // (clusters * 64))]))
    for rows in parts(stays):
        index.add(unit(features[rows]))
    return lambda part: index.search(part, 1)[0][:, 0]


def main(rows: int = 1_000_000, most: float = 0.9) -> None:
    features = made(rows + SAMPLE)
    features, sample = features[:rows], unit(features[rows:])
    peak, begun, cpu = Peak(), time.monotonic(), time.process_time()
    witness = np.concatenate([found for found, _ in witnesses(parts(features), rows, most)])
    seconds, cpu = time.monotonic() - begun, time.process_time() - cpu
    peak.on, stays = False, np.flatnonzero(witness == NOBODY)
    print(f"{rows} rows, {most}: {rows / seconds:.0f} a second, {rows / cpu:.0f} a CPU second")
    mebibytes, disk = peak.bytes / 2**20, features.nbytes / 1e9
    print(f"{1 - len(stays) / rows:.1%} fall, {mebibytes:.0f} MiB, {disk:.2f} GB of disk")
    alike = np.ones(SAMPLE, bool)
    rates: dict[str, float] = {}
    for way in (flat, half, ours):
        before = settled()
        search = way(features, stays, most)
        taken, begun = settled() - before, time.monotonic()
        found = np.concatenate([search(part) for part in parts(sample)]).round(6) > most
        rates[way.__name__] = SAMPLE / (time.monotonic() - begun)
        alike = found if way is flat else alike
        share = (found & alike).sum() / alike.sum()
        print(
            f"{way.__name__:5}{rates[way.__name__]:8.0f} a second,{taken / len(stays):6.0f} bytes a row, "
            f"found {share:.4f} of {alike.sum()}"
        )
        del search
    print(f"ours / flat {rates['ours'] / rates['flat']:.1f}, ours / half {rates['ours'] / rates['half']:.1f}")


if __name__ == "__main__":
    main(*(kind(word) for kind, word in zip((int, float), sys.argv[1:], strict=False)))
