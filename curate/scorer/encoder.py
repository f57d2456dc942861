"""Features from pixels and texts, in batches: what the device does, and how it is kept busy.

On a GPU images come as they were decoded, in pinned memory, and are resized, put into their frames and
normalised there, a batch at once; a batch is copied to it while the one before is computed, and its features
are copied back while the next one is. On a CPU they come framed, as Pillow resizes faster than torch there,
and each core takes a batch for itself: one thread a batch loses less on a busy machine than all threads on
one batch. Texts are tokenized in a thread of their own. A batch that does not fit into memory is halved, and
so are all that follow.
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

CPU_BATCH = 32  # on a GPU it is found by trial
LEAST = 2  # images a batch on a GPU: the compiled tower takes any number but one
LOST = re.compile("CUDA|cuBLAS|CUBLAS|cuDNN|CUDNN")  # in errors that leave the device of no more use
TEXT_STEP = 8  # tokens; a GPU likes few different lengths

Waiter = Callable[[], np.ndarray]


class DeviceLost(Halted):
    """The GPU does not answer any more, or not this process."""


class Encoder(Protocol):
    """Whoever makes features: here, or in another process."""

    identity: Identity
    framing: Framing
    batch: int  # images at a time
    in_flight: int  # batches that may be under way at once

    def room(self, rows: int) -> Room:
        """Where to put a batch of so many images, or as many of them as it takes, for `images`."""

    def images(self, room: Room) -> Waiter:
        """Begin with a batch of N images; the answer waits for its features, and the room is left alone.

        Features are N x dimension, float32, of length 1.

        Raises:
            MachineError: not even one image fits into memory.
            DeviceLost: a process that holds it is of no more use.
        """

    def texts(self, texts: Sequence[str]) -> Waiter:
        """Begin with texts; the answer waits for their features. All else: see `images`."""

    def close(self) -> None:
        """Let go of the device."""


class LocalEncoder:
    """The encoder of this process.

    Where `resizes`, the device resizes images, else Pillow does before they come; by default, a GPU does. The
    pixels are the same.
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
            held.clear()  # not before: their copy to the device may have been under way
            return found

        return wait

    def texts(self, texts: Sequence[str]) -> Waiter:
        """See `Encoder.texts`; the longest come last, so that short ones are not filled up to them."""
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
        """Tokenize texts and begin with them, a batch after the other; which rows each batch holds."""
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
        """Compile the image tower, and find a batch that fits."""
        self._copying = torch.cuda.Stream(self.model.device)
        half = self.identity.precision != "fp32"
        torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = half  # fp32 means fp32
        if half:
            self._guarded(self.compile)
        if batch is None:
            self._guarded(self.find_batch)

    def find_batch(self) -> None:
        """Set `batch` to the size that brings the most."""
        most = len(blank(self, MOST).parts)
        self.batch = best_batch(self._seconds, most)

    def _seconds(self, size: int) -> float:
        """How long a batch of so many images takes among others like it. Raises as torch does."""
        table, pixels = tensors(blank(self, size))
        return timed(lambda: self._image_features(table, pixels), self.model.device)

    def compile(self) -> None:
        """Have the image tower compiled, and see that memory suffices for it. Raises as torch does."""
        self._visual = Compiled(self.model.network.visual)
        sides = (LEAST, self.framing.height, self.framing.width, 3)
        self._frame_features(torch.zeros(sides, device=self.model.device))

    def _there(self, values: torch.Tensor) -> torch.Tensor:
        """Values on the device; on a GPU they are copied while the batch before is computed."""
        if not self._gpu:
            return values
        current = torch.cuda.current_stream(self.model.device)
        with torch.cuda.stream(self._copying):
            there = pinned(values).to(self.model.device, non_blocking=True)
        current.wait_stream(self._copying)
        there.record_stream(current)
        return there

    def _later(self, work: Callable[..., torch.Tensor], rows: torch.Tensor, *shared: torch.Tensor) -> Waiter:
        """Begin with rows; the answer waits for their features."""
        if self._gpu:
            return self._download(self._guarded(work, rows, *shared))
        future = self._pool.submit(self._guarded, work, rows, *shared)
        return lambda: np.asarray(future.result().numpy())

    def _download(self, features: torch.Tensor) -> Waiter:
        """Features on their way back."""
        host = torch.empty(features.shape, dtype=torch.float32, pin_memory=True)
        host.copy_(features, non_blocking=True)
        done = torch.cuda.Event()
        done.record(torch.cuda.current_stream(self.model.device))

        def wait() -> np.ndarray:
            self._guarded(done.synchronize)
            return np.asarray(host.numpy())

        return wait

    def _seen(self, length: int, context: int) -> int:
        """How many tokens to look at."""
        return min(context, -(-length // TEXT_STEP) * TEXT_STEP) if self._gpu else length

    def _guarded(self, work: Callable[..., Any], *values: torch.Tensor) -> Any:
        """Do the work; where its first values are too many rows, in halves.

        Raises:
            MachineError: it is one row, and too large.
            DeviceLost: as it says.
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
        """Of the images that the table names (see `layout`) among the pixels."""
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
        """N x height x width x 3 to features: divided by 255, less the mean, over the deviation."""
        if self._gpu and len(frames) < LEAST:
            frames = frames.repeat(LEAST, 1, 1, 1)
        samples = frames.permute(0, 3, 1, 2).float().div_(255)
        samples = samples.sub_(self._mean).div_(self._std).to(self.model.dtype)
        return _unit(_features(self._visual(samples.contiguous())))

    @torch.inference_mode()  # type: ignore[untyped-decorator]
    def _text_features(self, tokens: torch.Tensor) -> torch.Tensor:
        return _unit(_features(self.model.network.text(self._there(tokens))))


def blank(encoder: Encoder, rows: int) -> Room:
    """A batch of so many black images, or of as many of them as there is room for."""
    framing, room = encoder.framing, encoder.room(rows)
    image = framed(Image.new("RGB", (framing.width, framing.height)), framing)
    while room.takes(image):
        room.add(image)
    return room


def tensors(room: Room) -> tuple[torch.Tensor, torch.Tensor]:
    """A batch's `layout`, and the memory that holds its pixels."""
    return torch.from_numpy(layout(room.parts)), torch.from_numpy(room.memory)


def _features(found: Any) -> torch.Tensor:
    """A tower's features, where it gives tokens as well."""
    features: torch.Tensor = found[0] if isinstance(found, tuple) else found
    return features


def _unit(features: torch.Tensor) -> torch.Tensor:
    return torch.nn.functional.normalize(features.float(), dim=-1)
