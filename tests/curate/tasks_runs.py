"""Runs of the sets with questions and boxes, within this process, and small files in their forms."""

from __future__ import annotations

import io
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
from PIL import Image
from rich.console import Console

from curate.engine.command import Options, execute, request
from curate.engine.progress import Progress
from curate.manifest.load import load
from tests.curate.runs import shards


def curated(
    name: str, out: Path, inputs: Sequence[object] = (), sets: Sequence[str] = ()
) -> tuple[dict[str, Any], pa.Table]:
    """A finished run's manifest and the rows that it kept."""
    asked = request(load(name, sets), [str(one) for one in inputs])
    manifest = execute(asked, str(out), Options(workers=0), Progress(Console(stderr=True), quiet=True))
    return manifest, shards(out) if manifest["shards"] else pa.table({})


def write_json(path: Path, document: Any) -> Path:
    """The document as a file."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(document))
    return path


def write_picture(path: Path, width: int, height: int, orientation: int = 1) -> Path:
    """A grey JPEG of that size as stored, perhaps with an EXIF orientation."""
    path.parent.mkdir(parents=True, exist_ok=True)
    exif = Image.Exif()
    exif[0x0112] = orientation
    out = io.BytesIO()
    Image.new("L", (width, height), 128).save(out, "JPEG", **({"exif": exif} if orientation != 1 else {}))
    path.write_bytes(out.getvalue())
    return path


def corners(row: dict[str, Any]) -> list[list[float]]:
    """The boxes x0, y0, x1, y1 of a row's regions, in pixels."""
    quads = [region["quad"] for region in row["regions"]]
    return [[min(q[0::2]), min(q[1::2]), max(q[0::2]), max(q[1::2])] for q in quads]
