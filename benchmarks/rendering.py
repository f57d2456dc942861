"""Samples a CPU second that `render` writes in each dialect, task by task, in columns; a dialogue has four turns.

    python -m benchmarks.rendering [rows]

Rows are as COCO's and GRIT's are: a caption of 12 words; two boxes a grounded caption, one a reference, eight lines a
page. Images are of 50 sizes. The best of five rounds, of one process.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from typing import Any

import numpy as np
import pyarrow as pa

from curate.schema import SAMPLE
from curate.tasks import Dialect, load_dialect, render
from curate.tasks.chat import dialogue_strings

DIALECTS = ("qwen-vl", "qwen2-vl", "qwen2.5-vl", "qwen3-vl", "internvl3", "llava")
TASKS = ("caption", "vqa", "grounded_caption", "referring", "region_caption", "ocr", "text")
TEXT = "a man with a red hat rides his horse over the old bridge"
PHRASES = (("a man", 0), ("his horse", 27))
ROUNDS = 5


def rows_of(task: str, count: int) -> pa.Table:
    """So many rows of a task."""
    rng = np.random.default_rng(0)
    sides = rng.integers(100, 2000, (50, 2)).tolist()
    boxes = np.sort(rng.uniform(0, 100, (count, 8, 2, 2)), axis=2).tolist()
    rows = []
    for number in range(count):
        width, height = sides[number % 50]
        quads = [[x1, y1, x2, y1, x2, y2, x1, y2] for (x1, y1), (x2, y2) in boxes[number]]
        rows.append(
            {"key": f"{number:032}", "dataset": "made", "task": task, "language": "en", "width": width,
             "height": height, "text": TEXT, "question": "What does he ride?", "answer": "a horse",
             "regions": regions_of(task, quads)}
        )  # fmt: skip
    return pa.Table.from_pylist(rows, SAMPLE)


def regions_of(task: str, quads: list[list[float]]) -> list[dict[str, Any]] | None:
    """What is where, as the task has it."""
    if task == "grounded_caption":
        return [
            {"text": phrase, "start": start, "end": start + len(phrase), "quad": quad}
            for (phrase, start), quad in zip(PHRASES, quads, strict=False)
        ]
    lines = {"referring": 1, "region_caption": 1, "ocr": 8}.get(task)
    return lines and [{"text": TEXT, "quad": quad} for quad in quads[:lines]]  # type: ignore[return-value]


def dialogues(count: int) -> tuple[pa.Array, pa.Array]:
    """So many dialogues of two questions about an image, and the images' paths."""
    said = [("user", "<image>\nWhat does he ride?"), ("assistant", "a horse")]
    said += [("user", "And where?"), ("assistant", "over the old bridge")]
    turns = [{"role": role, "content": content} for role, content in said]
    return pa.array([turns] * count), pa.array([["made/k.jpg"]] * count)


def speed(write: Callable[[], Any], count: int) -> float:
    """Samples a CPU second, in thousands."""
    best = np.inf
    for _ in range(ROUNDS):
        start = time.process_time()
        write()
        best = min(best, time.process_time() - start)
    return count / best / 1000


def main(count: int) -> None:
    """Print a table of thousands of samples a CPU second."""
    pa.set_cpu_count(1)
    tables = {task: rows_of(task, count) for task in TASKS}
    paths = pa.array([f"made/{number:032}.jpg" for number in range(count)])
    messages, shown = dialogues(count)
    print(f"{'thousands a CPU second':24}" + "".join(f"{task:>18}" for task in (*TASKS, "conversation")))
    for name in DIALECTS:
        dialect = load_dialect(name)

        def cell(task: str, dialect: Dialect = dialect) -> float:
            return speed(lambda: render(tables[task], paths, dialect), count)

        cells = [cell(task) for task in TASKS]
        cells.append(speed(lambda dialect=dialect: dialogue_strings(messages, shown, dialect), count))  # type: ignore[misc]
        print(f"{name:24}" + "".join(f"{one:18,.0f}" for one in cells), flush=True)


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 20_000)
