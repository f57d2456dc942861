"""Shards of plain shapes with their captions, made by the engine, and a model that knows shapes."""

from __future__ import annotations

import io
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
from PIL import Image

from curate.manifest.settings import ScorerSettings, ShardSettings
from curate.scoring.command import ScoreSettings
from curate.storage.shards import write_tables
from curate.storage.store import Store
from tests.curate.runs import ROOT, done, write_pairs
from tests.models.train_shapes import FOLDER, caption, draw, picture

MODEL = str(FOLDER.relative_to(ROOT))
SCORER = ScorerSettings(model=str(FOLDER), device="cpu")
HELD_OUT = 10_000  # seeds from here on were not trained on


def encoded(image: Image.Image, kind: str = "JPEG") -> bytes:
    """An encoded picture."""
    out = io.BytesIO()
    image.save(out, kind, quality=95)
    return out.getvalue()


def shape(number: int, side: int = 256, language: str = "en") -> tuple[bytes, str]:
    """A picture that the model has not seen, and its caption."""
    rng = np.random.default_rng(HELD_OUT + number)
    shown = draw(rng)
    return encoded(picture(rng, *shown, side=side)), caption(rng, *shown, language=language)


def plain_features(
    bodies: list[bytes], texts: list[str], model: str = SCORER.model
) -> tuple[np.ndarray, np.ndarray]:
    """What open_clip itself makes of images and texts, one by one."""
    import torch

    from curate.scorer.weights import open_clip_module

    open_clip, name = open_clip_module(), f"local-dir:{model}"
    network, _, preprocess = open_clip.create_model_and_transforms(name)
    network.eval()
    tokens = open_clip.get_tokenizer(name)
    with torch.inference_mode():
        pictures = [preprocess(Image.open(io.BytesIO(body))) for body in bodies]
        images = [network.encode_image(one[None], normalize=True)[0].numpy() for one in pictures]
        said = [network.encode_text(tokens([text]), normalize=True)[0].numpy() for text in texts]
    return np.stack(images), np.stack(said)


def cosines(one: np.ndarray, other: np.ndarray) -> np.ndarray:
    """Of each row with its counterpart (N)."""
    return np.asarray((one * other).sum(1) / np.linalg.norm(one, axis=1) / np.linalg.norm(other, axis=1))


def run_shapes(folder: Path, rows: int = 24, unit: int = 12) -> Path:
    """A finished run over so many pictures; every third caption is another picture's."""
    pairs = []
    for number in range(rows):
        image, text = shape(number)
        text = shape(number + 500)[1] if number % 3 == 2 else text
        pairs.append(
            {"URL": f"https://shapes.example/{number}.jpg", "TEXT": f"{text} {number:03d}", "image": image}
            | {"WIDTH": 256, "HEIGHT": 256, "similarity": 0.4}
        )
    source = write_pairs(folder.parent / f"{folder.name}.parquet", pairs)
    done("run", "laion", "--input", source, "--out", folder, "--set", f"shard.rows={unit}", "--workers", "0")
    return folder


def asked(**changes: Any) -> ScoreSettings:
    """What a test asks for: the shapes' model."""
    of_scorer = {key: changes.pop(key) for key in list(changes) if key in ScorerSettings.__struct_fields__}
    settings = ScorerSettings(**({"model": SCORER.model, "device": "cpu"} | of_scorer))
    return ScoreSettings(scorer=settings, **changes)


def change_rows(folder: Path, change: Callable[[list[dict[str, Any]]], None]) -> None:
    """Alter the first shard's rows, and the manifest to fit."""
    path = "shard-000000.parquet"
    reader = pq.ParquetFile(folder / path)
    schema = reader.schema_arrow
    rows = reader.read().to_pylist()
    change(rows)
    import pyarrow as pa

    table = pa.Table.from_pylist(rows, schema)
    written = write_tables(Store(str(folder)), path, [table], schema, ShardSettings())
    manifest = json.loads((folder / "_manifest.json").read_text())
    for one in manifest["shards"]:
        if one["path"] == path:
            one |= {"bytes": written.bytes, "sha256": written.sha256}
    (folder / "_manifest.json").write_text(json.dumps(manifest))
