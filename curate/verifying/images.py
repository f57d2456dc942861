"""Check that the images of a shard are what its columns say, by decoding them in disposable child processes."""

from __future__ import annotations

import hashlib
from collections import deque
from collections.abc import Iterator, Mapping
from concurrent.futures import Future
from typing import Any

import msgspec
import pyarrow as pa

from curate.children.pool import Children, Limits, Outcome
from curate.images import protocol
from curate.manifest.settings import ImageSettings

AHEAD = 32  # images that are decoded ahead
COLUMNS = ("image", "width", "height", "sha256")


def decoders(image: Mapping[str, Any], count: int) -> Children:
    """Start `count` child processes that decode images; `image` holds the manifest's settings of images."""
    known = {name: image[name] for name in ("max_pixels", "timeout_s", "memory_bytes")}
    settings = msgspec.convert(known | {"formats": protocol.STORED}, ImageSettings)
    limits = Limits(timeout_s=settings.timeout_s, memory_bytes=settings.memory_bytes)
    return Children(protocol.TARGET, count, limits, protocol.child_settings(settings, {}))


def image_problems(table: pa.Table, first: int, children: Children) -> Iterator[str]:
    """Yield what is wrong with the images of N rows of SHARD, which begin at row `first` of their file."""
    flying: deque[tuple[int, dict[str, Any], Future[Outcome]]] = deque()
    for place, row in enumerate(_rows(table)):
        if row["image"] is None:
            continue
        if hashlib.sha256(row["image"]["bytes"]).hexdigest() != row["sha256"]:
            yield f"row {first + place}: the image is not the one of its sha256"
        flying.append((first + place, row, children.submit(row["image"]["bytes"])))
        while len(flying) > AHEAD:
            yield from _landed(*flying.popleft())
    while flying:
        yield from _landed(*flying.popleft())


def dialogue_image_problems(table: pa.Table, first: int, children: Children) -> Iterator[str]:
    """Yield what is wrong with the dialogues' images of N rows of SHARD, which begin at row `first` of their file."""
    flying: deque[tuple[str, bytes, Future[Outcome]]] = deque()
    for place, images in enumerate(_image_lists(table)):
        for number, image in enumerate(images or (), 1):
            where, body = f"row {first + place}, image {number}", image["bytes"]
            if body is None:
                yield f"{where}: the image has no bytes"
                continue
            flying.append((where, body, children.submit(body)))
            while len(flying) > AHEAD:
                yield from _landed_of_dialogue(*flying.popleft())
    while flying:
        yield from _landed_of_dialogue(*flying.popleft())


def _image_lists(table: pa.Table) -> Iterator[list[dict[str, Any]] | None]:
    for batch in table.select(["images"]).to_batches(max_chunksize=AHEAD):
        yield from batch["images"].to_pylist()


def _landed_of_dialogue(where: str, body: bytes, future: Future[Outcome]) -> Iterator[str]:
    outcome = future.result()
    if outcome.value is None:
        yield f"{where}: the image cannot be decoded ({outcome.reason})"
        return
    answer = protocol.read_answer(outcome.value, body)
    if answer.reason is not None or answer.reencoded:
        yield f"{where}: the image is not one that any reader decodes to upright RGB"


def _rows(table: pa.Table) -> Iterator[dict[str, Any]]:
    for batch in table.select(COLUMNS).to_batches(max_chunksize=AHEAD):
        yield from batch.to_pylist()


def _landed(number: int, row: Mapping[str, Any], future: Future[Outcome]) -> Iterator[str]:
    outcome = future.result()
    if outcome.value is None:
        yield f"row {number}: the image cannot be decoded ({outcome.reason})"
        return
    answer = protocol.read_answer(outcome.value, row["image"]["bytes"])
    if answer.reason is not None or answer.reencoded:
        yield f"row {number}: the image is not one that any reader decodes to upright RGB"
    elif (answer.width, answer.height) != (row["width"], row["height"]):
        there, said = f"{answer.width}x{answer.height}", f"{row['width']}x{row['height']}"
        yield f"row {number}: the image is {there} instead of {said}"
