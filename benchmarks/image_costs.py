"""What images cost in each dialect, beside transformers' own image processors: how many counts differ, and the speed.

    python -m benchmarks.image_costs [--sizes 10000]

Sizes are drawn log-uniformly from 1 to 20,000 pixels a side. The peers get no pixels either: they are the functions
that the processors size their images with, called size by size.
"""

from __future__ import annotations

import argparse
import math
import re
import sys
import time
from collections.abc import Callable
from importlib import import_module
from types import SimpleNamespace
from typing import Any

import numpy as np
import torch

from curate.tasks import image_costs, load_dialect

Peer = Callable[[int, int], int]  # width and height to tokens; -1 where the image is refused


def main() -> None:
    """Compare each dialect with its peer."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--sizes", type=int, default=10_000)
    count = parser.parse_args().sizes
    allow_torchvision()
    sides = np.exp(np.random.default_rng(0).uniform(0, math.log(20_000), (count, 2))).astype(np.int64) + 1
    differing = 0
    for name, peer in peers().items():
        cost = load_dialect(name).cost
        start = time.process_time()
        ours = image_costs(cost, sides[:, 0], sides[:, 1]).tokens
        took = time.process_time() - start
        start = time.process_time()
        theirs = np.array([peer(int(width), int(height)) for width, height in sides])
        ratio = (time.process_time() - start) / max(took, 1e-9)
        differ = int((ours != theirs).sum())
        differing += differ
        print(
            f"{name:28} {count} sizes, {differ} differ; {count / took / 1e6:.2f} M a CPU s, {ratio:.0f} x the peer"
        )
    raise SystemExit(differing > 0)


LIBRARIES: list[Any] = []  # their definitions last as long as they do


def allow_torchvision() -> None:
    """Let transformers import a torchvision of another build than torch's: name the operators that it lacks."""
    for _ in range(20):
        try:
            import_module("torchvision")
        except RuntimeError as error:
            lacking = re.search(r"torchvision::(\w+) does not exist", str(error))
            if lacking is None:
                raise
            LIBRARIES.append(torch.library.Library("torchvision", "FRAGMENT"))
            LIBRARIES[-1].define(f"{lacking[1]}(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
            for name in [name for name in sys.modules if name.split(".")[0] == "torchvision"]:
                del sys.modules[name]


def peers() -> dict[str, Peer]:
    """The counting of each dialect's own processor."""
    found = {
        name: _qwen(name) for name in ("qwen2-vl", "qwen2.5-vl", "qwen2.5-vl:qwenvl-finetune", "qwen3-vl")
    }
    found |= {name: _internvl(most) for name, most in (("internvl3", 12), ("internvl2.5:max6", 6))}
    return found | {"llava-next": _llava_next(), "llava-onevision": _llava_onevision()}


def _qwen(name: str) -> Peer:
    resize = import_module("transformers.models.qwen2_vl.image_processing_qwen2_vl").smart_resize
    cost = load_dialect(name).cost
    factor = cost.patch * cost.merge

    def tokens(width: int, height: int) -> int:
        try:
            h, w = resize(height, width, factor, cost.min_pixels, cost.max_pixels)
        except ValueError:
            return -1
        return int(h * w // factor**2)

    return tokens


def _internvl(most: int) -> Peer:
    canvas = import_module("transformers.models.got_ocr2.image_processing_got_ocr2").get_optimal_tiled_canvas

    def tokens(width: int, height: int) -> int:
        columns, rows = canvas((height, width), (448, 448), 1, most)
        tiles = columns * rows
        return 256 * int(tiles + (tiles > 1))

    return tokens


def _llava_next() -> Peer:
    kind = import_module("transformers.models.llava_next.processing_llava_next").LlavaNextProcessor
    pinpoints = [[336, 672], [672, 336], [672, 672], [1008, 336], [336, 1008]]
    holder = SimpleNamespace(
        image_processor=SimpleNamespace(image_grid_pinpoints=pinpoints),
        patch_size=14,
        num_additional_image_tokens=1,
    )
    holder._get_unpadded_features = kind._get_unpadded_features.__get__(holder)
    return lambda width, height: int(kind._get_number_of_features(holder, height, width, 336, 336)) - 1


def _llava_onevision() -> Peer:
    kind = import_module(
        "transformers.models.llava_onevision.processing_llava_onevision"
    ).LlavaOnevisionProcessor
    pinpoints = [[384 * rows, 384 * columns] for rows in range(1, 7) for columns in range(1, 7)]
    holder = SimpleNamespace(
        image_processor=SimpleNamespace(image_grid_pinpoints=pinpoints),
        num_image_tokens=729,
        vision_aspect_ratio="anyres_max_9",
    )
    holder._get_unpadded_features = kind._get_unpadded_features.__get__(holder)
    return lambda width, height: int(kind._get_number_of_features(holder, height, width, 384, 384))


if __name__ == "__main__":
    main()
