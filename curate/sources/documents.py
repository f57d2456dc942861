"""Rewrite a JSON document once, as a stream, as a file of JSON Lines, which is then read like any other rows.

    [{…}, {…}]                                    each object is a row; so is a list of turns (`role` or `from`)
    {"image_urls": […], "captions": […]}          parallel arrays, as SBU has them: the i-th values are row i
    {"images": [{…}], "annotations": [{…}]}       COCO's: each annotation is a row, with its image's fields
    {"info": …, "data": [{…}]}                    the one array of objects holds the rows
    {"a": {…}, "b": {…}}                          each object is a row, its name in the column `__key__`
    {"id": "x", "messages": [{"role": …}, …]}     a list of turns is one dialogue: the document itself is one row
    {"name": "x", "questions": {…}}               with a plain value among its keys, the document itself is one row

Broken UTF-8 is read as U+FFFD, which the cleaners treat as damage; NaN and Infinity are read as null.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

import ijson
import msgspec

from curate.errors import InputError, UnreadableInputError
from curate.manifest.settings import InputSettings
from curate.sources import input_index
from curate.sources.columns import encode_json, json_text
from curate.sources.inputs import Input
from curate.sources.line_formats import OURS, as_row, faulty, is_turn, limits, without_marked
from curate.sources.shallow import WRITTEN, Shallow
from curate.sources.streams import open_bytes
from curate.sources.strict import Strict
from curate.storage.filesystems import one_line

KEY = "__key__"
DIALOGUES = (
    "messages",
    "conversations",
    "conversation",
)  # names of lists that may be the turns of one dialogue


@dataclass(frozen=True)
class JsonDocument:
    """A JSON file and the limits under which it is read."""

    file: Input
    settings: InputSettings

    @property
    def uri(self) -> str:
        """The URI of the file."""
        return self.file.uri

    @contextmanager
    def open(self, row_depth: int = 2) -> Iterator[Strict]:
        """Open the content, repaired for a strict parser. A row lies within one bracket of depth `row_depth`."""
        shallow = Shallow(self.settings.max_depth, self.settings.max_value_bytes, row_depth)
        with open_bytes(self.file, self.settings) as file:
            yield Strict(file, shallow)


def as_lines(source: Input, settings: InputSettings, work: Path) -> Input:
    """Write the document's rows as a file of JSON Lines in the work folder `work`, each with its problem if it has one.

    Raises:
        UnreadableInputError: not JSON, or without rows.
        InputError: not of one of the shapes above.
    """
    path = input_index.place(work, source, "jsonl", limits(settings))
    try:
        input_index.made_once(path, lambda file: _write(source, settings, file))
    except ijson.JSONError as error:
        raise UnreadableInputError(f"cannot read {source.uri}: {one_line(error)}") from None
    return Input(str(path), path.name, path.stat().st_size, source.fingerprint)


def _write(source: Input, settings: InputSettings, file: BinaryIO) -> None:
    count = 0
    for row in _rows(JsonDocument(source, settings)):
        file.write(line(row) + b"\n")
        count += 1
    if not count:
        raise UnreadableInputError(f"{source.uri} holds no row", "empty")


def line(row: Any) -> bytes:
    """A row as a line of our own file; columns of problems that the input itself has are left out."""
    row = as_row(row)
    if isinstance(row, str):
        return encode_json(faulty("row_malformed", row))
    for name in OURS:
        row.pop(name, None)
    text = json_text(row).encode()
    return json_text(without_marked(row)).encode() if WRITTEN in text else text


def _rows(source: JsonDocument) -> Iterator[Any]:
    found = shape(source)
    if found is None:
        yield from items(source, "item")
        return
    objects = [name for name, kind in found.items() if kind == "objects"]
    parallel = [name for name, kind in found.items() if kind == "values"]
    if {"images", "annotations"} <= set(objects):
        yield from _coco(source)
    elif any(_is_dialogue(source, name) for name in objects if name.casefold() in DIALOGUES):
        with source.open(row_depth=1) as file:
            yield from ijson.items(file, "", use_float=True)
    elif len(objects) == 1:
        yield from items(source, f"{objects[0]}.item")
    elif not objects and parallel:
        yield from _parallel(source, parallel)
    elif found and set(found.values()) == {"object"}:
        with source.open() as file:
            yield from ({KEY: key, **row} for key, row in ijson.kvitems(file, "", use_float=True))
    elif not objects and "value" in found.values():
        with source.open(row_depth=1) as file:
            yield from ijson.items(file, "", use_float=True)
    else:
        has = ", ".join(f"{name!r} ({kind})" for name, kind in list(found.items())[:10]) or "nothing"
        raise InputError(f"{source.uri}: cannot tell which part of this JSON holds the rows; it has {has}")


def _is_dialogue(source: JsonDocument, name: str) -> bool:
    """Whether the first item of this list is a turn; a list of that name may also hold rows."""
    return is_turn(next(items(source, f"{name}.item"), None))


def items(source: JsonDocument, prefix: str) -> Iterator[Any]:
    """Yield the values at an ijson prefix, such as `data.item`, one by one."""
    with source.open(row_depth=prefix.count(".") + 2) as file:
        yield from ijson.items(file, prefix, use_float=True)


def shape(source: JsonDocument) -> dict[str, str] | None:
    """What each key of the document's object holds: `objects`, `values`, `object` or `value`; None for an array.

    `objects` is an array that begins with an object, `values` any other array, `value` neither array nor object.

    Raises:
        UnreadableInputError: the document is neither an object nor an array.
    """
    found: dict[str, str] = {}
    key, depth, before = "", 0, ""
    with source.open() as file:
        for event, value in ijson.basic_parse(file, use_float=True):
            if depth == 0 and event != "start_map":
                if event == "start_array":
                    return None
                raise UnreadableInputError(f"{source.uri} holds one JSON value, not rows")
            if depth == 1 and event == "map_key":
                key, found[value] = value, "value"
            elif depth == 1 and event in ("start_array", "start_map"):
                found[key] = "values" if event == "start_array" else "object"
            elif depth == 2 and before == "start_array" and event == "start_map" and found[key] == "values":
                found[key] = "objects"
            depth += event.startswith("start_") - event.startswith("end_")
            before = event
    return found


def _parallel(source: JsonDocument, names: Iterable[str]) -> Iterator[dict[str, Any]]:
    """Yield row i of all arrays together; where an array is shorter, its values are null."""
    names = list(names)
    with ExitStack() as stack:
        files = [stack.enter_context(source.open(row_depth=3)) for _ in names]
        arrays = [
            ijson.items(file, f"{name}.item", use_float=True) for name, file in zip(names, files, strict=True)
        ]
        for values in itertools.zip_longest(*arrays):
            yield dict(zip(names, values, strict=True))


def _coco(source: JsonDocument) -> Iterator[dict[str, Any]]:
    """Yield every annotation with its image's fields; where both have a field, as `id`, the annotation's is taken.

    An annotation names its image by `image_id`. The images' fields are held in memory, some 300 bytes an image.
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
