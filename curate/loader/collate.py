"""Batches that a model can take: pixels of one size, and packed sequences padded to one length."""

from __future__ import annotations

import io
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import torch
from PIL import Image

from curate.errors import DamagedError
from curate.loader import hf
from curate.tasks.dialect import load_with

MEAN = (0.48145466, 0.4578275, 0.40821073)  # of CLIP's training images, as Qwen-VL uses them
STD = (0.26862954, 0.26130258, 0.27577711)


def decode(image: bytes, side: int) -> torch.Tensor:
    """An image as RGB pixels (3 x side x side, uint8), bicubic; its ratio is not kept, as in Qwen-VL.

    A JPEG is decoded at the nearest eighth above. Torch resizes bytes four times as fast as Pillow, to the
    same pixels but for roundings.
    """
    with Image.open(io.BytesIO(image)) as opened:
        opened.draft("RGB", (side, side))
        pixels = torch.from_numpy(np.array(opened.convert("RGB"))).permute(2, 0, 1)[None]
    resized = torch.nn.functional.interpolate(pixels, (side, side), mode="bicubic", antialias=True)
    return resized[0].contiguous()


def normalise(pixels: torch.Tensor) -> torch.Tensor:
    """uint8 pixels (… x 3 x H x W) as floats of CLIP's mean and deviation; best done where the model is."""
    mean, std = (torch.tensor(v, device=pixels.device).view(3, 1, 1) for v in (MEAN, STD))
    return (pixels.float() / 255 - mean) / std


@dataclass(frozen=True)
class Collate:
    """Samples of shards to a batch; also rows as others read them, where `image` is a dictionary."""

    side: int = 448

    def __call__(self, samples: Sequence[dict[str, Any]]) -> dict[str, Any]:
        """`pixels` (K x 3 x side x side, uint8) of the K images, sample by sample; `image_count` (N, int64), how
        many each sample has; `has_image` (N, bool); and each other column as a list of N.

        A sample's images are its own one, or a dialogue's.
        """
        names = [name for name in samples[0] if name not in ("image", "images")]
        batch: dict[str, Any] = {name: [sample[name] for sample in samples] for name in names}
        bodies = [_bodies(sample) for sample in samples]
        count = torch.tensor([len(some) for some in bodies], dtype=torch.int64)
        named = [
            (sample.get("key", "unknown"), body)
            for sample, some in zip(samples, bodies, strict=True)
            for body in some
        ]
        counts = {"image_count": count, "has_image": count > 0}
        return batch | counts | {"pixels": _stack(named, self.side)}


def _bodies(sample: dict[str, Any]) -> list[bytes]:
    """The images of a sample that are there."""
    images = [sample.get("image"), *(sample.get("images") or ())]
    bodies = [image["bytes"] if isinstance(image, dict) else image for image in images]
    return [body for body in bodies if body is not None]


@dataclass(frozen=True)
class CollatePacks:
    """Sequences of packs to a batch.

    With `names="hf"` it has what transformers' models take: `input_ids`, `labels` (-100 where there is no loss, and at
    each sample's first token), `position_ids` (4 x N x `seq_len` where the dialect's images are grids of patches: the
    plain one and M-RoPE's three), `mm_token_type_ids`, `pixel_values` as the model's processor gives them,
    `image_grid_thw`, and either `attention_mask` (N x 1 x `seq_len` x `seq_len`, for `attention="mask"`) or
    `cu_seqlens` (int32, of the batch laid end to end, for `attention="cu_seqlens"`). Pass on
    all but `keys` and `loss_weight`.

    With `loss_per` there is `loss_weight` (N x `seq_len`, float32), by which the loss of each token is to be
    multiplied: each of a sample's n learnt tokens counts 1 (`token`), 1/n (`sample`) or 1/√n (`square_root`), times its
    source's weight where the data set has `loss_weights`; 0 where nothing is learnt.
    """

    seq_len: int = 2048
    pad: int = 0
    side: int = 448
    names: Literal["curate", "hf"] = "curate"
    dialect: str = "qwen-vl"  # of the packs; with names="hf"
    dialect_settings: tuple[str, ...] = ()  # as given to `curate pack --dialect-set`
    attention: Literal["mask", "cu_seqlens"] = "mask"
    loss_per: Literal["token", "sample", "square_root"] | None = None

    def __call__(self, packs: Sequence[dict[str, Any]]) -> dict[str, Any]:
        """N x `seq_len` each: `tokens`; `labels`, -100 where there is no loss; `position`, from 0 in a
        sample; `segment`, from 1 in each sequence and 0 for padding, so that attention stays within a sample.
        And of the K images `pixels`, `image_row` and `image_start`: at which token an image's first marker
        stands.
        """
        weights = {} if self.loss_per is None else {"loss_weight": self._loss_weight(packs, self.loss_per)}
        if self.names == "hf":
            dialect = load_with(self.dialect, self.dialect_settings)
            return hf.batch(packs, dialect, self.seq_len, self.pad, self.attention) | weights
        tokens = np.full((len(packs), self.seq_len), self.pad, np.int64)
        labels = np.full_like(tokens, -100)
        position, segment = np.zeros_like(tokens), np.zeros_like(tokens)
        for row, pack in enumerate(packs):
            size, edges = len(pack["tokens"]), np.asarray(pack["segments"])
            lengths = np.diff(edges)
            tokens[row, :size] = pack["tokens"]
            labels[row, :size] = np.where(pack["loss_mask"], pack["tokens"], -100)
            position[row, :size] = np.arange(size) - np.repeat(edges[:-1], lengths)
            segment[row, :size] = np.repeat(np.arange(1, len(edges)), lengths)
        images = [(row, image) for row, pack in enumerate(packs) for image in pack["images"]]
        arrays = {"tokens": tokens, "labels": labels, "position": position, "segment": segment}
        batch: dict[str, Any] = {name: torch.from_numpy(array) for name, array in arrays.items()}
        batch["image_row"] = torch.tensor([row for row, _ in images], dtype=torch.int64)
        batch["image_start"] = torch.tensor([image["start"] for _, image in images], dtype=torch.int64)
        bodies = [(image["path"], image["bytes"]) for _, image in images if image["bytes"] is not None]
        batch |= {"pixels": _stack(bodies, self.side), "keys": [pack["keys"] for pack in packs]}
        return batch | weights

    def _loss_weight(self, packs: Sequence[dict[str, Any]], per: str) -> torch.Tensor:
        """What the loss of each token counts; see the class."""
        power = {"token": 0.0, "sample": 1.0, "square_root": 0.5}[per]
        found = np.zeros((len(packs), self.seq_len), np.float32)
        for row, pack in enumerate(packs):
            learnt, edges = np.asarray(pack["loss_mask"], bool), np.asarray(pack["segments"])
            sample = np.repeat(np.arange(len(edges) - 1), np.diff(edges))
            count = np.bincount(sample, weights=learnt, minlength=len(edges) - 1)
            each = pack.get("loss_weight", 1.0) / np.maximum(count, 1) ** power
            found[row, : len(learnt)] = np.where(learnt, each[sample], 0)
        return torch.from_numpy(found)


def _stack(named: Sequence[tuple[str, bytes]], side: int) -> torch.Tensor:
    """The pixels of images, each with its row's key or its path.

    Raises:
        DamagedError: one cannot be decoded.
    """
    if not named:
        return torch.zeros((0, 3, side, side), dtype=torch.uint8)
    return torch.stack([_decoded(name, body, side) for name, body in named])


def _decoded(name: str, body: bytes, side: int) -> torch.Tensor:
    try:
        return decode(body, side)
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError) as error:
        raise DamagedError(f"the image of {name} cannot be decoded: {error}") from None
