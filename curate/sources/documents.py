"""JSON documents become JSON Lines once, as a stream; then they are read like any other rows.

    [{…}, {…}]                                    each object is a row
    {"image_urls": […], "captions": […]}          parallel arrays, as SBU has them: the i-th values are row i
    {"images": [{…}], "annotations": [{…}]}       COCO's: each annotation is a row, with its image's fields
    {"info": …, "data": [{…}]}                    the one array of objects holds the rows
    {"a": {…}, "b": {…}}                          each object is a row, its name in the column `__key__`

Broken UTF-8 reads as U+FFFD, which the cleaners treat as the damage that it is; NaN and Infinity as null.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any, BinaryIO

import ijson
import msgspec

from curate.errors import InputError
from curate.sources import index
from curate.sources.columns import encode_json
from curate.sources.inputs import Input
from curate.sources.streams import open_bytes
from curate.sources.strict import Strict
from curate.storage.filesystems import one_line

KEY = "__key__"


def as_lines(source: Input, work: Path) -> Input:
    """The same rows as a JSON Lines file in the work folder.

    Raises:
        InputError: not JSON, or not of one of the shapes above.
    """
    path = index.place(work, source, "jsonl", None)
    try:
        index.made_once(path, lambda file: _write(source, file))
    except ijson.JSONError as error:
        raise InputError(f"cannot read {source.uri}: {one_line(error)}") from None
    return Input(str(path), path.name, path.stat().st_size, source.fingerprint)


def _write(source: Input, file: BinaryIO) -> None:
    count = 0
    for row in _rows(source):
        file.write(encode_json(row) + b"\n")
        count += 1
    if not count:
        raise InputError(f"{source.uri} holds no row")


def _rows(source: Input) -> Iterator[Any]:
    found = shape(source)
    if found is None:
        yield from items(source, "item")
        return
    objects = [name for name, kind in found.items() if kind == "objects"]
    parallel = [name for name, kind in found.items() if kind == "values"]
    if {"images", "annotations"} <= set(objects):
        yield from _coco(source)
    elif len(objects) == 1:
        yield from items(source, f"{objects[0]}.item")
    elif not objects and parallel:
        yield from _parallel(source, parallel)
    elif found and set(found.values()) == {"object"}:
        with _open(source) as file:
            yield from ({KEY: key, **row} for key, row in ijson.kvitems(file, "", use_float=True))
    else:
        has = ", ".join(f"{name!r} ({kind})" for name, kind in list(found.items())[:10]) or "nothing"
        raise InputError(f"{source.uri}: cannot tell which part of this JSON holds the rows; it has {has}")


def items(source: Input, prefix: str) -> Iterator[Any]:
    """The values at an ijson prefix, one by one."""
    with _open(source) as file:
        yield from ijson.items(file, prefix, use_float=True)


def shape(source: Input) -> dict[str, str] | None:
    """What each key of the document's object holds; None for an array.

    Raises:
        InputError: neither an object nor an array.
    """
    found: dict[str, str] = {}
    key, depth, before = "", 0, ""
    with _open(source) as file:
        for event, value in ijson.basic_parse(file, use_float=True):
            if depth == 0 and event != "start_map":
                if event == "start_array":
                    return None
                raise InputError(f"{source.uri} holds one JSON value, not rows")
            if depth == 1 and event == "map_key":
                key, found[value] = value, "value"
            elif depth == 1 and event in ("start_array", "start_map"):
                found[key] = "values" if event == "start_array" else "object"
            elif depth == 2 and before == "start_array" and event == "start_map" and found[key] == "values":
                found[key] = "objects"
            depth += event.startswith("start_") - event.startswith("end_")
            before = event
    return found


def _parallel(source: Input, names: Iterable[str]) -> Iterator[dict[str, Any]]:
    """Row i of every array; a shorter array's missing values are null."""
    names = list(names)
    with ExitStack() as stack:
        files = [stack.enter_context(_open(source)) for _ in names]
        arrays = [
            ijson.items(file, f"{name}.item", use_float=True) for name, file in zip(names, files, strict=True)
        ]
        for values in itertools.zip_longest(*arrays):
            yield dict(zip(names, values, strict=True))


def _coco(source: Input) -> Iterator[dict[str, Any]]:
    """Every annotation with its image's fields; the annotation's `id` wins, the image's is its `image_id`.

    The images' fields are held in memory, some 300 bytes an image.
    """
    images = {
        row.get("id"): encode_json(row) for row in items(source, "images.item") if isinstance(row, dict)
    }
    for row in items(source, "annotations.item"):
        if isinstance(row, dict) and isinstance(row.get("image_id"), (int, str)):
            image = images.get(row["image_id"])
            yield (msgspec.json.decode(image) if image else {}) | row
        else:
            yield row


@contextmanager
def _open(source: Input) -> Iterator[Strict]:
    with open_bytes(source) as file:
        yield Strict(file)
