"""What `benchmarks.scorer` compares with: a plain open_clip + DataLoader loop, and clip-retrieval."""

from __future__ import annotations

import io
import json
import os
import subprocess
import tarfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import torch
from PIL import Image

from curate.scorer.scorer import Scorer
from curate.scorer.weights import CONFIG, open_clip_module

CORES = len(os.sched_getaffinity(0))
CLIP_RETRIEVAL = """
import json, sys
import open_clip
from all_clip import load_clip
from clip_retrieval.clip_inference import worker as inference

class Quiet:  # their process for statistics: it would take longer to start than a small run takes
    def __init__(self, **asked): pass
    def start(self): pass
    def end(self): pass
    def __call__(self, stats): pass

asked = json.loads(sys.argv[1])
inference.LoggerWriter = Quiet
open_clip.add_model_config(asked.pop("configs"))
batch, model = asked["batch_size"], asked["clip_model"]
# what this loads, the workers find in its cache
load_clip(clip_model=model, use_jit=False, warmup_batch_size=batch, clip_cache_path=None)
print("ready", flush=True)
for _ in sys.stdin:
    inference.worker([0], output_partition_count=1, input_format="webdataset", use_jit=False, **asked)
    print("ready", flush=True)
"""


class Rows(torch.utils.data.Dataset[tuple[torch.Tensor, torch.Tensor]]):
    """The shards' rows as a plain loop reads them."""

    def __init__(self, folder: str, shards: list[tuple[str, int]], preprocess: Any, tokenizer: Any) -> None:
        tables = [pq.read_table(f"{folder}/{path}", columns=["image", "text"]) for path, _ in shards]
        self._rows = pa.concat_tables(tables)
        self._preprocess, self._tokenizer = preprocess, tokenizer

    def __len__(self) -> int:
        return self._rows.num_rows

    def __getitem__(self, number: int) -> tuple[torch.Tensor, torch.Tensor]:
        body = self._rows["image"][number].as_py()["bytes"]
        image = Image.open(io.BytesIO(body)).convert("RGB")
        return self._preprocess(image), self._tokenizer([self._rows["text"][number].as_py()])[0]


def plain_loop(
    scorer: Scorer, folder: str, shards: list[tuple[str, int]], threads: int = CORES
) -> Callable[[], None]:
    """open_clip and a DataLoader on the scorer's device, with so many torch threads."""
    open_clip, model = open_clip_module(), scorer.encoder.model  # type: ignore[attr-defined]
    pre, tokenizer = model.network.visual.preprocess_cfg, model.tokenizer
    preprocess = open_clip.transform.image_transform_v2(
        open_clip.transform.PreprocessCfg(**pre), is_train=False
    )
    rows, gpu = Rows(folder, shards, preprocess, tokenizer), model.device.type == "cuda"

    def loop() -> None:
        torch.set_num_threads(threads)
        loader = torch.utils.data.DataLoader(rows, scorer.encoder.batch, num_workers=CORES, pin_memory=gpu)
        scores = []
        with torch.inference_mode():
            for images, texts in loader:
                there = images.to(model.device, model.dtype, non_blocking=True)
                seen = model.network.encode_image(there, normalize=True)
                said = model.network.encode_text(texts.to(model.device, non_blocking=True), normalize=True)
                scores.append((seen * said).sum(-1).float().cpu())
        assert sum(map(len, scores)) == len(rows)

    return loop


@contextmanager
def clip_retrieval(
    python: Path, scorer: Scorer, folder: str, shards: list[tuple[str, int]], weights: Path
) -> Iterator[Callable[[], None]]:
    """clip-retrieval's inference worker in an environment of its own, on WebDataset files with the same rows.

    The model is loaded and warm, as ours is; features are written as .npy. It has a DataLoader worker a core.
    """
    model = scorer.identity.model
    asked = {
        "input_dataset": [_webdataset(folder, path) for path, _ in shards],
        "output_folder": f"{folder}/clip-retrieval",
        "clip_model": f"open_clip:{Path(model).name}/{weights.absolute()}",
        "batch_size": scorer.encoder.batch,
        "num_prepro_workers": CORES,
        "configs": str(_configs(model, Path(folder, "configs"))),
    }
    command = [python, "-c", CLIP_RETRIEVAL, json.dumps(asked)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        said, told = process.stdout, process.stdin

        def ready() -> None:
            if "ready\n" not in iter(said.readline, ""):
                raise RuntimeError("clip-retrieval has ended")

        def run() -> None:
            told.write("\n")
            told.flush()
            ready()
            written = np.load(f"{asked['output_folder']}/img_emb/img_emb_0.npy", mmap_mode="r")
            assert len(written) == sum(rows for _, rows in shards)

        ready()
        yield run
        told.close()


def _webdataset(folder: str, path: str) -> str:
    """A shard's rows as a tar of pictures and captions, beside it."""
    target = f"{folder}/{path}.tar"
    with tarfile.open(target, "w") as tar:
        for row in pq.read_table(f"{folder}/{path}", columns=["key", "image", "text"]).to_pylist():
            for suffix, body in (("jpg", row["image"]["bytes"]), ("txt", row["text"].encode())):
                member = tarfile.TarInfo(f"{row['key']}.{suffix}")
                member.size = len(body)
                tar.addfile(member, io.BytesIO(body))
    return target


def _configs(model: str, folder: Path) -> Path:
    """A folder with the description of a model that open_clip does not know by name, in its own format."""
    folder.mkdir()
    if Path(model, CONFIG).is_file():
        told = json.loads(Path(model, CONFIG).read_text())["model_cfg"]
        if "hf_tokenizer_name" in told["text_cfg"]:
            told["text_cfg"]["hf_tokenizer_name"] = str(Path(model).absolute())
        (folder / f"{Path(model).name}.json").write_text(json.dumps(told))
    return folder
