"""Makes batches of packed sequences with the arguments of transformers' models: positions, masks, image patches.

Positions start from 0 in every sample. If the dialect's images are grids of patches (Qwen2-VL and later), each token
has four positions: its index in the sample, by which a model tells samples apart, and M-RoPE's frame, row and column.
"""

from __future__ import annotations

import io
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from PIL import Image

from curate.errors import ManifestError
from curate.tasks.dialect import Dialect
from curate.tasks.image_cost import Costs, image_costs

Ints = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float32]

FRAMES = 2  # frames of a patch; for an image both frames are the image itself


def mrope(size: int, edges: Ints, pads: Ints, grids: Ints, merge: int) -> Ints:
    """Return frame, row and column of each token of a sequence (3 x size); they start from 0 in each sample.

    Args:
        size: tokens of the sequence.
        edges: index of the first token of each sample, then the end of the last sample (S + 1).
        pads: index of the first pad token of each image (K), ascending.
        grids: rows and columns of each image's patches, before `merge` x `merge` of them become one token (K x 2).
        merge: side of a token in patches.
    """
    found = np.zeros((3, size), np.int64)
    image = 0
    for start, stop in zip(edges[:-1].tolist(), edges[1:].tolist(), strict=True):
        at, position = start, 0
        while image < len(pads) and pads[image] < stop:
            height, width = (grids[image] // merge).tolist()
            before, count = int(pads[image]) - at, height * width
            found[:, at : at + before] = position + np.arange(before)
            at, position = at + before, position + before
            cells = np.arange(count)
            found[:, at : at + count] = position
            found[1, at : at + count] += cells // width
            found[2, at : at + count] += cells % width
            at, position, image = at + count, position + max(1, height, width), image + 1
        found[:, at:stop] = position + np.arange(stop - at)
    return found


def batch(
    packs: Sequence[dict[str, Any]], dialect: Dialect, seq_len: int, pad: int, attention: str
) -> dict[str, Any]:
    """Make a batch of N packed sequences, as `CollatePacks` describes for `names="hf"`.

    Args:
        packs: the sequences: rows of packs with their images' bytes.
        dialect: the dialect of the packs.
        seq_len: tokens to which sequences are padded.
        pad: token of the padding.
        attention: `mask` or `cu_seqlens`.

    Raises:
        ManifestError: an image has another number of pad tokens than the dialect and its cost give it.
    """
    images = [image for pack in packs for image in pack["images"] if image["bytes"] is not None]
    opened = [_open(image["bytes"]) for image in images]
    none = np.zeros(0, np.int64)
    shown = [(none, none), *(_shown(pack, dialect) for pack in packs)]
    together, pads = (np.concatenate(both) for both in zip(*shown, strict=True))
    costs = _costs(opened, dialect, together)
    _check_pads(images, pads, costs, dialect)
    made = _padded(packs, dialect, seq_len, pad)
    found: dict[str, Any] = {
        name: torch.from_numpy(array) for name, array in made.items() if name != "segment"
    }
    if attention == "mask":
        found["attention_mask"] = _mask(made["segment"])
    else:
        found["cu_seqlens"] = _edges(packs, seq_len)
    found |= _pixels(opened, costs, dialect)
    return found | {"keys": [pack["keys"] for pack in packs]}


def _shown(pack: dict[str, Any], dialect: Dialect) -> tuple[Ints, Ints]:
    """Return of each image with bytes (K) how many images its sample has, and how many pad tokens follow its start."""
    starts = np.array([image["start"] for image in pack["images"]], np.int64)
    whose = np.searchsorted(np.asarray(pack["segments"]), starts, "right")
    places = np.flatnonzero(np.asarray(pack["tokens"]) == dialect.tokens[dialect.image.pad])
    pads = np.diff(np.searchsorted(places, [*starts.tolist(), len(pack["tokens"])]))
    there = np.array([image["bytes"] is not None for image in pack["images"]], bool)
    return np.bincount(whose)[whose][there] if len(whose) else whose, pads[there]


def _check_pads(images: Sequence[dict[str, Any]], pads: Ints, costs: Costs, dialect: Dialect) -> None:
    """Check that each image has as many pad tokens as the dialect gives it.

    Raises:
        ManifestError: one has not; the message names the dialect and its cost.
    """
    wrong = np.flatnonzero(pads != costs.tokens)
    if not len(wrong):
        return
    first = int(wrong[0])
    cost = " ".join(f"cost.{name}={value}" for name, value in dialect.describe()["cost"].items() if value)
    raise ManifestError(
        f"the image {images[first]['path']} has {pads[first]} pad tokens in its pack, but costs "
        f"{costs.tokens[first]} in CollatePacks' dialect {dialect.name} ({cost}): give it the dialect and the "
        "dialect_settings that the packs were made with; their _manifest.json names dialect and cost"
    )


def _padded(
    packs: Sequence[dict[str, Any]], dialect: Dialect, seq_len: int, pad: int
) -> dict[str, npt.NDArray[Any]]:
    """Return `input_ids`, `labels`, `segment`, `mm_token_type_ids`, `position_ids` (N x seq_len each; 4 x N x seq_len
    for the `position_ids` of images that are grids).

    The first token of a sample has no label, because the token before it belongs to another sample.
    """
    ids = np.full((len(packs), seq_len), pad, np.int64)
    labels, segment = np.full_like(ids, -100), np.zeros_like(ids)
    grid = dialect.cost.rule == "smart_resize"
    position = np.zeros((4 if grid else 1, *ids.shape), np.int64)
    image_pad = dialect.tokens[dialect.image.pad]
    for row, pack in enumerate(packs):
        size, edges = len(pack["tokens"]), np.asarray(pack["segments"], np.int64)
        ids[row, :size] = pack["tokens"]
        labels[row, :size] = np.where(pack["loss_mask"], pack["tokens"], -100)
        labels[row, edges[:-1]] = -100
        segment[row, :size] = np.repeat(np.arange(1, len(edges)), np.diff(edges))
        position[0, row, :size] = np.arange(size) - np.repeat(edges[:-1], np.diff(edges))
        if grid:
            shown = ids[row, :size] == image_pad
            grids = np.asarray(list(pack["image_grid_thw"]), np.int64).reshape(-1, 3)[:, 1:]
            pads = _first_pads(shown, edges, np.array([image["start"] for image in pack["images"]], np.int64))
            position[1:, row, :size] = mrope(size, edges, pads, grids, dialect.cost.merge)
    shown = (ids == image_pad) & (segment > 0)
    made = {
        "input_ids": ids,
        "labels": labels,
        "segment": segment,
        "mm_token_type_ids": shown.astype(np.int64),
    }
    return made | {"position_ids": position if grid else position[0]}


def _first_pads(shown: npt.NDArray[np.bool_], edges: Ints, starts: Ints) -> Ints:
    """Return the index of the first pad token at or after each image's marker (K)."""
    places = np.flatnonzero(shown)
    return places[np.searchsorted(places, starts)] if len(starts) else starts


def _mask(segment: Ints) -> torch.Tensor:
    """Return which tokens each token attends to (N x 1 x L x L, bool).

    A token attends to the tokens of its own sample up to itself; a padding token attends to itself only.
    """
    own = torch.from_numpy(segment)
    same = (own[:, :, None] == own[:, None, :]) & (own[:, :, None] > 0)
    length = own.shape[1]
    causal = torch.tril(torch.ones(length, length, dtype=torch.bool))
    alone = torch.eye(length, dtype=torch.bool)
    return ((same & causal) | alone)[:, None]


def _edges(packs: Sequence[dict[str, Any]], seq_len: int) -> torch.Tensor:
    """Return where each sample begins if the sequences are joined into one, and where that ends (int32).

    The padding of a sequence counts as a sample.
    """
    edges = [0]
    for row, pack in enumerate(packs):
        edges += [row * seq_len + int(edge) for edge in pack["segments"][1:]]
        edges += [(row + 1) * seq_len] if edges[-1] < (row + 1) * seq_len else []
    return torch.tensor(edges, dtype=torch.int32)


def pixels(bodies: Sequence[bytes], dialect: Dialect) -> dict[str, torch.Tensor]:
    """Return `pixel_values` of K images as the dialect's processor gives them; for grids also `image_grid_thw` (K x 3).

    The shape of `pixel_values` depends on the dialect. Grids: patches x (3 · 2 · patch · patch). Tiles: tiles x 3 x
    side x side, with the thumbnail of an image of several tiles after them. Else K x 3 x height x width. Images are
    resized by Pillow, bicubically.
    """
    opened = [_open(body) for body in bodies]
    return _pixels(opened, _costs(opened, dialect), dialect)


def _costs(opened: Sequence[Image.Image], dialect: Dialect, together: Ints | None = None) -> Costs:
    """Return the costs of K images; `together` (K) are the images in the sample of each (default 1)."""
    sides = np.array([image.size for image in opened], np.int64).reshape(-1, 2)
    return image_costs(dialect.cost, sides[:, 0], sides[:, 1], together)


def _pixels(opened: Sequence[Image.Image], costs: Costs, dialect: Dialect) -> dict[str, torch.Tensor]:
    grid = dialect.cost.rule == "smart_resize"
    parts = [part for number, image in enumerate(opened) for part in _parts(image, costs, number, dialect)]
    shape = (0, 3 * FRAMES * dialect.cost.patch**2) if grid else (0, 3, 1, 1)
    values = np.concatenate(parts) if parts else np.zeros(shape, np.float32)
    found = {"pixel_values": torch.from_numpy(values)}
    if grid:
        thw = np.stack([np.ones(len(opened), np.int64), costs.rows, costs.columns], axis=1)
        found["image_grid_thw"] = torch.from_numpy(thw)
    return found


def _parts(image: Image.Image, costs: Costs, number: int, dialect: Dialect) -> Iterator[Floats]:
    """Yield the arrays of one image: its patches; or its tiles and their thumbnail; or the whole image."""
    cost, size = dialect.cost, (int(costs.width[number]), int(costs.height[number]))
    whole = _values(image, size, dialect)
    if cost.rule == "smart_resize":
        yield _patches(whole, cost.patch, cost.merge)
        return
    if cost.rule == "constant":
        yield whole[None]
        return
    rows, columns, tile = int(costs.rows[number]), int(costs.columns[number]), cost.tile
    cut = whole.reshape(3, rows, tile, columns, tile).transpose(1, 3, 0, 2, 4)
    yield np.ascontiguousarray(cut.reshape(-1, 3, tile, tile))
    if rows * columns > 1:
        yield _values(image, (tile, tile), dialect)[None]


def _open(body: bytes) -> Image.Image:
    with Image.open(io.BytesIO(body)) as opened:
        return opened.convert("RGB")


def _values(image: Image.Image, size: tuple[int, int], dialect: Dialect) -> Floats:
    """Return an image resized to `size` (width, height) and normalised (3 x height x width)."""
    resized = image if image.size == size else image.resize(size, Image.Resampling.BICUBIC)
    mean, std = (np.array(three, np.float32)[:, None, None] for three in (dialect.mean, dialect.std))
    scaled = np.asarray(resized, np.float32).transpose(2, 0, 1) / np.float32(255)
    values: Floats = ((scaled - mean) / std).astype(np.float32)
    return values


def _patches(values: Floats, patch: int, merge: int) -> Floats:
    """Cut an image into patches (rows · columns x 3 · 2 · patch · patch); the patches of one token are adjacent."""
    _, height, width = values.shape
    rows, columns = height // patch, width // patch
    cut = values.reshape(3, rows // merge, merge, patch, columns // merge, merge, patch)
    cut = cut.transpose(1, 4, 2, 5, 0, 3, 6).reshape(rows * columns, 3, 1, patch, patch)
    return np.repeat(cut, FRAMES, axis=2).reshape(rows * columns, -1)
