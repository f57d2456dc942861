"""Runs in a child process: apply a head (an ONNX model) to an encoded image. Both may be hostile.

A head is an ONNX model with one input, float32 pixels of one image of a fixed size (N x height x width x 3 or
N x 3 x height x width), whose first output is N x K numbers. It runs on one thread of the CPU.
"""

from __future__ import annotations

import io
import json
import struct
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image, ImageFile

from curate.images.prepare import READERS, ImageError, damage, opaque
from curate.images.sniffing import sniff

TARGET = "curate.scorer.head_child:judge"
CHECK = "curate.scorer.head_child:describe"
VALUE = struct.Struct("<d")
MAX_PIXELS = 100_000_000
MAX_BYTES = 2**30  # of a model's file
SIDES = range(8, 1025)  # pixels: allowed width and height of a model's input
EXTERNAL = b"\n\x08location\x12"  # a model's file holds these bytes if its weights lie in another file


class UnfitError(Exception):
    """A model that cannot be used as a head; `reason` and `detail` are sent to the parent process."""

    reason = "unfit"

    def __init__(self, detail: str) -> None:
        super().__init__(detail)
        self.detail = detail


@dataclass(frozen=True)
class Head:
    """A model, and how an image becomes its input. Levels are 0 to 255, in the order red, green, blue."""

    session: Any
    side: tuple[int, int]  # width, height
    channels_first: bool
    settings: dict[str, Any]

    def value(self, body: bytes) -> float:
        """The model's number for an encoded image, after the activation that the settings name.

        Raises:
            ImageError: not_an_image, format_not_allowed, too_many_pixels, damaged.
        """
        pixels = (self._pixels(body) - np.float32(self.settings["mean"])) / np.float32(self.settings["std"])
        if self.settings["channels"] == "bgr":
            pixels = pixels[:, :, ::-1]
        if self.channels_first:
            pixels = pixels.transpose(2, 0, 1)
        asked = {self.session.get_inputs()[0].name: np.ascontiguousarray(pixels[None], np.float32)}
        numbers = np.asarray(self.session.run(None, asked)[0][0], np.float64)
        if self.settings["activation"] == "softmax":
            numbers = np.exp(numbers - numbers.max())
            numbers /= numbers.sum()
        elif self.settings["activation"] == "sigmoid":
            numbers = 1 / (1 + np.exp(-numbers))
        return float(numbers[self.settings["output"]])

    def _pixels(self, body: bytes) -> Any:
        """The upright image as the model sees it (height x width x 3)."""
        kind = sniff(body)
        if kind is None or kind not in READERS:
            raise ImageError("not_an_image" if kind is None else "format_not_allowed", kind or "")
        with damage():
            image = READERS[kind](io.BytesIO(body))
            if image.width * image.height > MAX_PIXELS:
                raise ImageError("too_many_pixels", f"{image.width}x{image.height}")
            (width, height), crop = self.side, self.settings["crop"]
            whole = (round(width / crop), round(height / crop))
            image.draft("RGB", (2 * whole[0], 2 * whole[1]))
            image.load()
            shown = opaque(image).convert("RGB").resize(whole, Image.Resampling.BILINEAR)
            left, top = (whole[0] - width) // 2, (whole[1] - height) // 2
            return np.asarray(shown.crop((left, top, left + width, top + height)), np.float32)


def describe(settings: bytes) -> Callable[[bytes], bytes]:
    """Make the handler that checks a model: it ignores its payload and returns the input's width and height as JSON.

    The handler raises `UnfitError` where the model cannot be used as a head.
    """
    return lambda _: json.dumps(open_head(json.loads(settings)).side).encode()


def judge(settings: bytes) -> Callable[[bytes], bytes]:
    """Make the handler that judges images: it takes an encoded image and returns the head's number, packed by VALUE.

    Raises:
        SystemExit: the model cannot be used as a head.
    """
    warnings.simplefilter("ignore")
    ImageFile.LOAD_TRUNCATED_IMAGES = False
    Image.MAX_IMAGE_PIXELS = MAX_PIXELS // 2
    try:
        head = open_head(json.loads(settings))
    except UnfitError as error:
        raise SystemExit(error.detail) from None
    return lambda body: VALUE.pack(head.value(body))


def open_head(settings: dict[str, Any]) -> Head:
    """Load the head that these settings describe (the keys of `[heads.NAME]`; `model` is a path).

    Raises:
        UnfitError: the file cannot be read, needs other files or custom operators, or its inputs and output do not fit.
    """
    import onnxruntime

    try:
        with Path(settings["model"]).open("rb") as file:
            content = file.read(MAX_BYTES + 1)
    except OSError as error:
        raise UnfitError(f"cannot be read: {error.strerror or error}") from None
    if len(content) > MAX_BYTES:
        raise UnfitError(f"has more than {MAX_BYTES >> 20} MiB")
    if EXTERNAL in content:
        raise UnfitError("has weights in other files: export it with its weights inside")
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    options.log_severity_level = 4
    try:
        session = onnxruntime.InferenceSession(content, options, providers=["CPUExecutionProvider"])
    except Exception as error:  # onnxruntime's errors have no base class in common
        said = " ".join(str(error).split())[:200]
        raise UnfitError(f"is no model that onnxruntime runs by itself: {said}") from None
    inputs, outputs = session.get_inputs(), session.get_outputs()
    side, channels_first = _side([(one.shape, one.type) for one in inputs])
    _check_output(outputs[0].shape, settings["output"])
    return Head(session, side, channels_first, settings)


def _side(inputs: Sequence[tuple[Sequence[Any], str]]) -> tuple[tuple[int, int], bool]:
    """Width and height of the one input, and whether the channels come first."""
    shape, kind = inputs[0] if inputs else ([], "none")
    said = ", ".join(f"{kind} {list(shape)}" for shape, kind in inputs) or "none"
    fits = len(inputs) == 1 and kind == "tensor(float)" and len(shape) == 4
    fits = fits and (not isinstance(shape[0], int) or shape[0] == 1)
    for at, first in ((slice(1, 3), False), (slice(2, 4), True)):
        sides = shape[at] if fits and shape[1 if first else 3] == 3 else ()
        if len(sides) == 2 and all(isinstance(one, int) and one in SIDES for one in sides):
            return (sides[1], sides[0]), first
    raise UnfitError(
        f"has the inputs {said[:200]}: a head has one, tensor(float) of N x height x width x 3 or N x 3 x "
        f"height x width, with sides from {SIDES[0]} to {SIDES[-1]}"
    )


def _check_output(shape: Sequence[Any], output: int) -> None:
    count = shape[1] if len(shape) == 2 and isinstance(shape[1], int) else 0
    if not count or not -count <= output < count:
        raise UnfitError(
            f"has an output of {list(shape)}: it should be N x K, and K more than output = {output}"
        )
