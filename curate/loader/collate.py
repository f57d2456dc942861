"""Makes batches that a model can take: images resized to one size, and packed sequences padded to one length."""

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
    """Decode an encoded image to RGB pixels (3 x side x side, uint8).

    It is resized bicubically, and its ratio of sides is not kept, as in Qwen-VL. A JPEG is decoded at the smallest
    multiple of an eighth of its size that is large enough. Torch resizes four times as fast as Pillow, to the same
    pixels except for rounding.
    """
    with Image.open(io.BytesIO(image)) as opened:
        opened.draft("RGB", (side, side))
        pixels = torch.from_numpy(np.array(opened.convert("RGB"))).permute(2, 0, 1)[None]
    resized = torch.nn.functional.interpolate(pixels, (side, side), mode="bicubic", antialias=True)
    return resized[0].contiguous()


def normalise(pixels: torch.Tensor) -> torch.Tensor:
    """Normalise uint8 pixels (… x 3 x H x W) to floats by CLIP's mean and standard deviation.

    Do this on the model's device: bytes are a quarter of the data to copy.
    """
    mean, std = (torch.tensor(v, device=pixels.device).view(3, 1, 1) for v in (MEAN, STD))
    return (pixels.float() / 255 - mean) / std


@dataclass(frozen=True)
class Collate:
    """Makes a batch of samples of shards, also of rows read by other software, where `image` is a dictionary."""

    side: int = 448  # of the square that images are resized to, pixels

    def __call__(self, samples: Sequence[dict[str, Any]]) -> dict[str, Any]:
        """Return a batch of N samples that have K images together.

        A sample's images are its `image` and those of a dialogue's `images`. The batch has `pixels` (K x 3 x side x
        side, uint8), sample by sample; `image_count` (N, int64), the images of each sample; `has_image` (N, bool); and
        each other column as a list of N values.

        Raises:
            DamagedError: an image cannot be decoded.
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
    """Return the encoded images of a sample, without null ones."""
    images = [sample.get("image"), *(sample.get("images") or ())]
    bodies = [image["bytes"] if isinstance(image, dict) else image for image in images]
    return [body for body in bodies if body is not None]


@dataclass(frozen=True)
class CollatePacks:
    """Makes a batch of N packed sequences.

    With `names="hf"` the batch has the arguments of transformers' models: `input_ids`, `labels` (-100 where there is no
    loss, and at each sample's first token), `position_ids`, `mm_token_type_ids`, `pixel_values` as the model's
    processor gives them, `image_grid_thw`, and either `attention_mask` (N x 1 x `seq_len` x `seq_len`, for
    `attention="mask"`) or `cu_seqlens` (int32, of the N sequences one after another, for `attention="cu_seqlens"`).
    `position_ids` is 4 x N x `seq_len` if the dialect's images are grids of patches (the token's index, then M-RoPE's
    three positions), else N x `seq_len`. Pass everything except `keys` and `loss_weight` to the model.

    With `loss_per` the batch has `loss_weight` (N x `seq_len`, float32): multiply the loss of each token by it. Each of
    a sample's n tokens with a loss weighs 1 (`token`), 1/n (`sample`) or 1/√n (`square_root`), times the weight of its
    source if the data set has `loss_weights`; tokens without a loss weigh 0.
    """

    seq_len: int = 2048  # tokens to which sequences are padded
    pad: int = 0  # token of the padding
    side: int = 448  # pixels of the square that images are resized to; only with names="curate"
    names: Literal["curate", "hf"] = "curate"
    dialect: str = "qwen-vl"  # of the packs; with names="hf"
    dialect_settings: tuple[str, ...] = ()  # as given to `curate pack --dialect-set`
    attention: Literal["mask", "cu_seqlens"] = "mask"
    loss_per: Literal["token", "sample", "square_root"] | None = None

    def __call__(self, packs: Sequence[dict[str, Any]]) -> dict[str, Any]:
        """Return a batch of N sequences that have K images together; for `names="hf"` see the class.

        N x `seq_len` (int64) each: `tokens`; `labels`, -100 where there is no loss; `position`, which starts from 0 in
        each sample; `segment`, the number of the sample in its sequence, from 1, and 0 for padding, so that attention
        can be kept within a sample. Of the images: `pixels` (K x 3 x side x side, uint8), `image_row` (K, int64), the
        sequence of each image, and `image_start` (K, int64), the index of its first marker token. `keys` are the keys
        of the samples in each sequence.

        Raises:
            DamagedError: an image cannot be decoded.
            ManifestError: with `names="hf"`, `dialect` and `dialect_settings` are not those of the packs: an image has
                another number of pad tokens than it costs in them.
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
        """Return the weight of each token's loss (N x seq_len, float32); see the class."""
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
    """Decode images to pixels (K x 3 x side x side, uint8); `named` gives each a name for error messages.

    Raises:
        DamagedError: an image cannot be decoded.
    """
    if not named:
        return torch.zeros((0, 3, side, side), dtype=torch.uint8)
    return torch.stack([_decoded(name, body, side) for name, body in named])


def _decoded(name: str, body: bytes, side: int) -> torch.Tensor:
    try:
        return decode(body, side)
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError) as error:
        raise DamagedError(f"the image of {name} cannot be decoded: {error}") from None
