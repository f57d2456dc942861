"""Published boxes exported in each format and dialect, read back, and compared: how far they are off, in steps.

    python -m benchmarks.refcoco_exports FILE… [--rows 0]

FILEs are RefCOCO's questions as JSON lines (`img_id`, `sents`, `bbox`, `width`, `height`); pictures of the published
sizes are made grey. Every row goes through `run` and `export`; what a format's own file says is read by
`curate.tasks.parse` (ms-swift's `objects` as they are). A step is what one more in the written number stands for; at
the far edge of the picture Qwen2.5-VL and LLaVA write the last number that they have, which may be a step off.
"""

from __future__ import annotations

import argparse
import io
import json
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pyarrow.dataset as ds
from PIL import Image

import curate
from curate.tasks import Dialect, image_costs, load_dialect, parse

EXPORTS = (
    ("qwen-vl", "qwen-vl"), ("llama-factory", "qwen2-vl"), ("llama-factory", "qwen2.5-vl"), ("qwen3-vl", "qwen3-vl"),
    ("llama-factory", "internvl3"), ("llava", "llava"), ("ms-swift", ""),
)  # fmt: skip
HALF = 0.5 + 1e-6  # of a step, and what float32 loses


class Located(NamedTuple):
    """A published box and the size of its picture, in pixels."""

    box: tuple[float, float, float, float]  # x1, y1, x2, y2
    width: int
    height: int


def shards_of(lines: list[dict[str, Any]], work: Path) -> Path:
    """The rows as shards, with grey pictures of their published sizes."""
    for line in lines:
        path = work / "photos" / f"{line['img_id'].rpartition('_')[0]}.jpg"
        path.parent.mkdir(exist_ok=True)
        if not path.exists():
            out = io.BytesIO()
            Image.new("L", (line["width"], line["height"]), 128).save(out, "JPEG")
            path.write_bytes(out.getvalue())
    (work / "refs.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    settings = {"image.folder": str(work / "photos"), "only": {}}
    curate.run(
        "refcoco",
        out=work / "run",
        inputs=[work / "refs.jsonl"],
        settings=settings,
        workers=0,
        progress=False,
    )
    return work / "run"


def published(shards: Path, lines: list[dict[str, Any]]) -> dict[str, Located]:
    """The published box of each row that was kept, by key, clipped to its picture."""
    table = ds.dataset(shards, format="parquet").to_table(columns=["key", "source"])
    found = {}
    for key, source in zip(table["key"].to_pylist(), table["source"].to_pylist(), strict=True):
        line = lines[int(source.rpartition("#")[2])]
        (x, y, wide, high), width, height = line["bbox"], line["width"], line["height"]
        found[key] = Located(
            (max(x, 0), max(y, 0), min(x + wide, width), min(y + high, height)), width, height
        )
    return found


def answers(folder: Path) -> Iterator[tuple[str, dict[str, Any], str]]:
    """Key, row and last turn of each sample of an export."""
    listed = folder / "conversations.json"
    if listed.exists():
        for row in json.loads(listed.read_text()):
            yield row["id"], row, row["conversations"][-1]["value"]
        return
    for text in (folder / "messages.jsonl").read_text().splitlines():
        row = json.loads(text)
        yield row["id"], row, row["messages"][-1]["content"]


def read_back(row: dict[str, Any], answer: str, at: Located, dialect: Dialect | None) -> list[float]:
    """The box that a sample says, in pixels."""
    if dialect is None:
        (box,) = row["objects"]["bbox"]
        return list(box)
    quad = parse("referring", answer, at.width, at.height, dialect=dialect).regions[0].quad
    return [quad[0], quad[1], quad[4], quad[5]]


def steps(at: Located, dialect: Dialect | None) -> tuple[float, float]:
    """What a step is along and down, in pixels."""
    if dialect is None:
        return 0.01, 0.01  # as published
    if dialect.places.unit == "parts":
        return at.width / dialect.places.parts, at.height / dialect.places.parts
    if dialect.places.unit == "shares":
        return (max(at.width, at.height) / 10**dialect.places.decimals,) * 2
    cost = image_costs(dialect.cost, np.array([at.width]), np.array([at.height]))
    return at.width / float(cost.width[0]), at.height / float(cost.height[0])


def off(folder: Path, known: dict[str, Located], dialect: Dialect | None) -> tuple[np.ndarray, np.ndarray]:
    """How far each coordinate is off, in steps, and which lie in the last step before the far edge (rows x 4 each)."""
    apart, edge = [], []
    for key, row, answer in answers(folder):
        at = known[key]
        box, step = np.array(at.box), np.array(steps(at, dialect) * 2)
        apart.append(np.abs(read_back(row, answer, at, dialect) - box) / step)
        edge.append(box > np.array([at.width, at.height] * 2) - step)
    return np.array(apart), np.array(edge)


def main() -> None:
    """See above."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("files", nargs="+", type=Path)
    parser.add_argument("--rows", type=int, default=0, help="of each file; 0: all")
    asked = parser.parse_args()
    lines = [
        json.loads(text)
        for file in asked.files
        for text in file.read_text().splitlines()[: asked.rows or None]
    ]
    raise SystemExit(compare(lines) > HALF)


def compare(lines: list[dict[str, Any]]) -> float:
    """Print how far the boxes of each export are off; the most, in steps, of the far edge's coordinates by halves."""
    worst = 0.0
    with tempfile.TemporaryDirectory() as scratch:
        shards = shards_of(lines, Path(scratch))
        known = published(shards, lines)
        for number, (form, name) in enumerate(EXPORTS):
            out = Path(scratch) / f"export-{number}"
            done = curate.export(shards, form, out, **({"dialect": name} if form == "llama-factory" else {}))
            apart, edge = off(out, known, load_dialect(name) if name else None)
            most, last = float(apart[~edge].max()), float(apart[edge].max(initial=0))
            worst = max(worst, most, last / 2)
            print(
                f"{form:14}{name:12}{done.rows_out:6} rows, {len(apart)} read; at most {most:.3f} steps off, "
                f"{last:.3f} of {int(edge.sum())} at the far edge"
            )
    return worst


if __name__ == "__main__":
    main()
