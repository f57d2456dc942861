"""Compute features from pixels and texts in batches, and keep the device busy.

On a GPU, images arrive decoded but not resized, in pinned memory; the GPU resizes, crops and normalises a whole batch
at once. A batch is copied to the GPU while the one before is computed, and features are copied back while the next
batch is computed. On a CPU, images arrive resized and cropped, because Pillow resizes faster than torch there. Each
core computes a batch of its own with one thread, which loses less time on a busy machine than many threads on one
batch. Texts are tokenized in a separate thread. When a batch does not fit into memory, the batch size is halved, for
this batch and all later ones.
"""

from __future__ import annotations

import logging
import math
import re
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import Any, Protocol

import numpy as np
import torch
from PIL import Image

from curate.errors import Halted, MachineError
from curate.scorer.batch import Room, room_bytes
from curate.scorer.batch_size import MOST, best_batch, is_full, timed
from curate.scorer.compiled import Compiled
from curate.scorer.framing import Framing, framed
from curate.scorer.identity import Identity
from curate.scorer.model import Model
from curate.scorer.resample import layout, pinned, resample
from curate.storage.filesystems import one_line

log = logging.getLogger("curate")

CPU_BATCH = 32  # images; a GPU's batch size is found by trial
LEAST = 2  # images in a batch on a GPU: a compiled image tower needs a second compilation for a batch of 1
LOST = re.compile("CUDA|cuBLAS|CUBLAS|cuDNN|CUDNN")  # found in errors after which the device cannot be used
TEXT_STEP = 8  # tokens: on a GPU text lengths are rounded up to a multiple; each new length costs time

Waiter = Callable[[], np.ndarray]


class DeviceLost(Halted):
    """The GPU can no longer be used, at least by this process."""


class Encoder(Protocol):
    """Computes features of images and texts, in this process or in another one."""

    identity: Identity
    framing: Framing
    batch: int  # images at a time
    in_flight: int  # batches that may be computed at the same time

    def room(self, rows: int) -> Room:
        """An empty batch for up to `rows` images; it takes fewer if their pixels exceed `BATCH_BYTES`."""

    def images(self, room: Room) -> Waiter:
        """Start computing a batch of N images; the returned function waits for the features.

        Features are N x dimension, float32, of length 1. Leave `room` unchanged until the function has returned.

        Raises:
            MachineError: not even one image fits into memory.
            DeviceLost: the GPU can no longer be used; the process must be restarted.
        """

    def texts(self, texts: Sequence[str]) -> Waiter:
        """Start computing the features of texts; see `images`."""

    def close(self) -> None:
        """Release the device."""


class LocalEncoder:
    """An encoder in this process.

    With `resizes` the device resizes the images, else Pillow does so in the child processes; the pixels are the same.
    The default is true on a GPU and false on a CPU. `cores` is the number of batches that a CPU computes at once.
    `batch` is the batch size in images; by default it is found by trial on a GPU, and CPU_BATCH on a CPU.
    """

    def __init__(
        self, model: Model, cores: int, batch: int | None = None, resizes: bool | None = None
    ) -> None:
        self.model, self.identity = model, model.identity
        self._gpu = model.device.type == "cuda"
        wanted = self._gpu if resizes is None else resizes
        self.framing = replace(model.framing, raw=wanted and not model.framing.exact)
        self._visual: Callable[[torch.Tensor], Any] = model.network.visual
        statistics = [model.identity.preprocessing[name] for name in ("mean", "std")]
        self._mean, self._std = (
            torch.tensor(values, device=model.device).view(1, 3, 1, 1) for values in statistics
        )
        self.batch = batch or CPU_BATCH
        self.in_flight = 2 if self._gpu else cores
        self._reader = ThreadPoolExecutor(1, "tokenizer")
        if self._gpu:
            self._prepare_gpu(batch)
        else:
            self._pool = ThreadPoolExecutor(self.in_flight, "scorer", torch.set_num_threads, (1,))

    def room(self, rows: int) -> Room:
        """See `Encoder.room`."""
        size = room_bytes(self.framing, rows)
        return Room(rows, torch.empty(size, dtype=torch.uint8, pin_memory=self._gpu).numpy(), self.framing)

    def images(self, room: Room) -> Waiter:
        """See `Encoder.images`."""
        waiter, held = self._later(self._image_features, *tensors(room)), [room]

        def wait() -> np.ndarray:
            found = waiter()
            held.clear()  # not earlier: the copy to the device may still read the room's memory
            return found

        return wait

    def texts(self, texts: Sequence[str]) -> Waiter:
        """See `Encoder.texts`; texts are batched by length, so that short ones are not padded to the longest."""
        begun = self._reader.submit(self._begin_texts, texts)

        def wait() -> np.ndarray:
            found = np.zeros((len(texts), self.identity.dimension), np.float32)
            for rows, waiter in begun.result():
                found[rows] = waiter()
            return found

        return wait

    def close(self) -> None:
        """See `Encoder.close`."""
        self._reader.shutdown(cancel_futures=True)
        if not self._gpu:
            self._pool.shutdown(cancel_futures=True)

    def _begin_texts(self, texts: Sequence[str]) -> list[tuple[np.ndarray, Waiter]]:
        """Tokenize texts and start their batches; returns each batch's row numbers and its waiting function."""
        waiting: list[tuple[np.ndarray, Waiter]] = []
        if not texts:
            return waiting
        tokens = self.model.tokens(texts)
        lengths = self.model.lengths(tokens)
        order = np.argsort(lengths, kind="stable")
        for first in range(0, len(order), self.batch):
            rows = order[first : first + self.batch]
            seen = torch.from_numpy(tokens[rows, : self._seen(int(lengths[rows[-1]]), tokens.shape[1])])
            waiting.append((rows, self._later(self._text_features, seen)))
        return waiting

    def _prepare_gpu(self, batch: int | None) -> None:
        """Compile the image tower (not in fp32), and find the best batch size if none was given."""
        self._copying = torch.cuda.Stream(self.model.device)
        half = self.identity.precision != "fp32"
        torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = half  # fp32 means fp32
        if half:
            self._guarded(self.compile)
        if batch is None:
            self._guarded(self.find_batch)

    def find_batch(self) -> None:
        """Set `batch` to the size with the highest throughput on this device. Raises what torch raises."""
        most = len(blank(self, MOST).parts)
        self.batch = best_batch(self._seconds, most)

    def _seconds(self, size: int) -> float:
        """Seconds for a batch of `size` images when batches follow each other. Raises what torch raises."""
        table, pixels = tensors(blank(self, size))
        return timed(lambda: self._image_features(table, pixels), self.model.device)

    def compile(self) -> None:
        """Compile the image tower, and run it once on blank images. Raises what torch raises."""
        self._visual = Compiled(self.model.network.visual)
        sides = (LEAST, self.framing.height, self.framing.width, 3)
        self._frame_features(torch.zeros(sides, device=self.model.device))

    def _there(self, values: torch.Tensor) -> torch.Tensor:
        """The values on the device; a GPU copies them while it computes the batch before."""
        if not self._gpu:
            return values
        current = torch.cuda.current_stream(self.model.device)
        with torch.cuda.stream(self._copying):
            there = pinned(values).to(self.model.device, non_blocking=True)
        current.wait_stream(self._copying)
        there.record_stream(current)
        return there

    def _later(self, work: Callable[..., torch.Tensor], rows: torch.Tensor, *shared: torch.Tensor) -> Waiter:
        """Start `work` on rows; the returned function waits for their features."""
        if self._gpu:
            return self._download(self._guarded(work, rows, *shared))
        future = self._pool.submit(self._guarded, work, rows, *shared)
        return lambda: np.asarray(future.result().numpy())

    def _download(self, features: torch.Tensor) -> Waiter:
        """Start copying features to the host; the returned function waits for them."""
        host = torch.empty(features.shape, dtype=torch.float32, pin_memory=True)
        host.copy_(features, non_blocking=True)
        done = torch.cuda.Event()
        done.record(torch.cuda.current_stream(self.model.device))

        def wait() -> np.ndarray:
            self._guarded(done.synchronize)
            return np.asarray(host.numpy())

        return wait

    def _seen(self, length: int, context: int) -> int:
        """The number of tokens to which texts of up to `length` tokens are padded, at most `context`."""
        return min(context, -(-length // TEXT_STEP) * TEXT_STEP) if self._gpu else length

    def _guarded(self, work: Callable[..., Any], *values: torch.Tensor) -> Any:
        """Call `work`; where memory does not suffice, call it for each half of the rows of `values[0]`.

        Raises:
            MachineError: memory does not suffice for a single row.
            DeviceLost: the GPU can no longer be used.
        """
        try:
            return work(*values)
        except RuntimeError as error:
            rows = len(values[0]) if values else 1
            if not is_full(error):
                if self._gpu and LOST.search(str(error)):
                    what = f"the GPU is lost: {one_line(error)}; the same command goes on"
                    raise DeviceLost(what) from None
                raise
            if rows == 1:
                raise MachineError(f"out of memory with a batch of one: {one_line(error)}") from None
        if self._gpu:
            torch.cuda.empty_cache()
        half = -(-rows // 2)
        if half < self.batch:
            self.batch = half
            log.warning("out of memory: going on with batches of %d", half)
        return torch.cat([self._guarded(work, part, *values[1:]) for part in values[0].split(half)])

    @torch.inference_mode()  # type: ignore[untyped-decorator]
    def _image_features(self, table: torch.Tensor, pixels: torch.Tensor) -> torch.Tensor:
        """The features of the images that `table` (see `layout`) names among the pixels."""
        first, *size = table[-1, :3].int().tolist()
        end = first + 3 * size[0] * size[1] + 3 * self.framing.longest[0]
        there = self._there(pixels[int(table[0, 0]) : end])
        if self.framing.raw:
            frames = resample(there, table, self.framing)
        else:
            sides = (len(table), self.framing.height, self.framing.width, 3)
            frames = there[: math.prod(sides)].view(sides)
        return self._frame_features(frames)[: len(table)]

    @torch.inference_mode()  # type: ignore[untyped-decorator]
    def _frame_features(self, frames: torch.Tensor) -> torch.Tensor:
        """The features of frames (N x height x width x 3, levels 0 to 255), normalised by mean and deviation."""
        if self._gpu and len(frames) < LEAST:
            frames = frames.repeat(LEAST, 1, 1, 1)
        samples = frames.permute(0, 3, 1, 2).float().div_(255)
        samples = samples.sub_(self._mean).div_(self._std).to(self.model.dtype)
        return _unit(_features(self._visual(samples.contiguous())))

    @torch.inference_mode()  # type: ignore[untyped-decorator]
    def _text_features(self, tokens: torch.Tensor) -> torch.Tensor:
        return _unit(_features(self.model.network.text(self._there(tokens))))


def blank(encoder: Encoder, rows: int) -> Room:
    """A batch of black images, as many as fit into a room for `rows` images."""
    framing, room = encoder.framing, encoder.room(rows)
    image = framed(Image.new("RGB", (framing.width, framing.height)), framing)
    while room.takes(image):
        room.add(image)
    return room


def tensors(room: Room) -> tuple[torch.Tensor, torch.Tensor]:
    """A batch's `layout` (N x 11), and the memory that holds its pixels (uint8)."""
    return torch.from_numpy(layout(room.parts)), torch.from_numpy(room.memory)


def _features(found: Any) -> torch.Tensor:
    """The features in what a tower returned; some towers return a tuple of the features and their tokens."""
    features: torch.Tensor = found[0] if isinstance(found, tuple) else found
    return features


def _unit(features: torch.Tensor) -> torch.Tensor:
    return torch.nn.functional.normalize(features.float(), dim=-1)
