"""De-recursion and formatting of GRIT rows, in columns against row by row.

    python -m benchmarks.grounding [rows]

Rows are made as GRIT's are: captions of some 12 words, two to six noun chunks, each with a referring
expression that runs on over the words behind it. Both sides give the same targets, which is checked. CPU
seconds of one process, of the columns the best of several rounds.
"""

from __future__ import annotations

import itertools
import math
import re
import sys
import time
from typing import Any

import numpy as np
import pyarrow as pa

from curate.schema import SAMPLE
from curate.tasks import render
from filters.grounding import ground

TEXT = "a dog field of red flowers under an old tree by the sea man with hat and blue car on street 猫"
ROUNDS = 5
WORDS = re.findall(r"\S+", TEXT)


def make(rows: int, seed: int = 0) -> pa.Table:
    """Rows with GRIT's columns."""
    rng = np.random.default_rng(seed)
    found: dict[str, list[Any]] = {
        name: [] for name in ("caption", "width", "height", "noun_chunks", "ref_exps")
    }
    for _ in range(rows):
        words = [WORDS[i] for i in rng.integers(len(WORDS), size=int(rng.integers(6, 20)))]
        starts = np.cumsum([0, *(len(word) + 1 for word in words)])
        chunks, refs = [], []
        for _ in range(int(rng.integers(2, 7))):
            first = int(rng.integers(len(words)))
            last = min(first + int(rng.integers(1, 3)), len(words))
            x, y = np.sort(rng.random(2)), np.sort(rng.random(2))
            label = [float(x[0]), float(y[0]), float(x[1]), float(y[1]), float(np.float32(rng.random()))]
            chunks.append([float(starts[first]), float(starts[last] - 1), *label])
            far = min(last + int(rng.integers(0, 5)), len(words))
            refs.append([float(starts[first]), float(starts[far] - 1), *label])
        for name, value in zip(found, (" ".join(words), 1024, 693, chunks, refs), strict=True):
            found[name].append(value)
    return pa.table(found)


def in_columns(table: pa.Table) -> pa.Array:
    """Targets, by the code that runs in a pipeline."""
    regions = ground(*(table[name] for name in ("caption", "width", "height", "noun_chunks", "ref_exps")))
    rows = table.num_rows
    made = {
        "task": pa.repeat("grounded_caption", rows),
        "language": pa.repeat("en", rows),
        "text": table["caption"].cast(pa.large_string()),
        "question": pa.nulls(rows, pa.large_string()),
        "answer": pa.nulls(rows, pa.large_string()),
        "regions": regions.cast(SAMPLE.field("regions").type),
        "width": table["width"].cast(pa.int32()),
        "height": table["height"].cast(pa.int32()),
    }
    return render(pa.table(made), pa.repeat("grit/0.jpg", rows))[1]


def row_by_row(row: dict[str, Any]) -> str | None:
    """The same in plain Python."""
    text, width, height = row["caption"], row["width"], row["height"]
    seen, spans = set(), {}
    for label in itertools.chain(row["noun_chunks"], row["ref_exps"]):
        key = tuple(label[:6])
        x0, y0, x1, y1 = (min(max(v, 0), 1) for v in label[2:6])
        if key in seen or not all(map(math.isfinite, label)) or x1 <= x0 or y1 <= y0:
            continue
        seen.add(key)
        spans.setdefault((int(label[0]), int(label[1])), []).append((x0, y0, x1, y1, label[6]))
    ordered = sorted(spans, key=lambda span: (span[1], span[0]))
    best: list[tuple[tuple[int, int, int], list[tuple[int, int]]]] = [((0, 0, 0), [])]
    for number, span in enumerate(ordered):
        before = sum(other[1] <= span[0] for other in ordered[:number])
        (boxes, score, cover), chosen = best[before]
        mine = spans[span]
        gain = (
            boxes + len(mine),
            score + sum(round(min(max(box[4], 0), 1) * 2**20) for box in mine),
            cover + span[1] - span[0],
        )
        best.append((gain, [*chosen, span]) if gain > best[-1][0] else best[-1])
    out, done = " ", 0
    for start, end in sorted(best[-1][1]):
        marked = "".join(box_of(box, width, height) for box in spans[start, end])
        out += f"{text[done:start]}<ref>{text[start:end]}</ref>{marked}"
        done = end
    return out + text[done:] if best[-1][1] else None


def box_of(box: tuple[float, ...], width: int, height: int) -> str:
    sides = (width, height, width, height)
    x0, y0, x1, y1 = (
        step_of(np.float32(share * side), side) for share, side in zip(box[:4], sides, strict=True)
    )
    return f"<box>({x0},{y0}),({x1},{y1})</box>"


def step_of(pixel: np.float32, side: int) -> int:
    hundredths = round(float(pixel) * 100)
    exact = hundredths * 10 if np.float32(hundredths / 100) == pixel else float(pixel) * 1000
    return min(999, int(exact / side))


def main(rows: int) -> None:
    table = make(rows)
    times = []
    for _ in range(ROUNDS):
        start = time.process_time()
        columns = pa.concat_arrays([in_columns(table.slice(at, 10_000)) for at in range(0, rows, 10_000)])
        times.append(time.process_time() - start)
    fast = min(times)
    some = table.slice(0, min(rows, 20_000)).to_pylist()
    start = time.process_time()
    plain = [row_by_row(row) for row in some]
    slow = (time.process_time() - start) * rows / len(some)
    assert columns.slice(0, len(some)).to_pylist() == plain
    part = table.slice(0, 10_000)
    start = time.process_time()
    for _ in range(5):
        ground(*(part[name] for name in ("caption", "width", "height", "noun_chunks", "ref_exps")))
    alone = (time.process_time() - start) / 5
    print(f"columns     {rows / fast:>10,.0f} rows/s (de-recursion alone {part.num_rows / alone:,.0f})")
    print(f"row by row  {rows / slow:>10,.0f} rows/s")
    print(f"ratio       {slow / fast:>10.1f}")


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 100_000)
