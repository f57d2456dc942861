"""Find the lists of objects in JSON files and pickles, and the fields of each list's first object."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import ijson

from curate.children.pool import Children, Limits
from curate.errors import UnreadableInputError
from curate.manifest.settings import InputSettings
from curate.sources import input_index
from curate.sources.documents import JsonDocument, items, shape
from curate.sources.inputs import Input
from curate.sources.line_formats import json_row
from curate.sources.pickles import TARGET
from curate.sources.reading import PROBLEM
from curate.sources.streams import open_bytes, open_lines
from curate.storage.filesystems import one_line

PICKLES = (".p", ".pkl", ".pickle")
JOINED = (".json", *PICKLES)  # suffixes of files that are joined; others are inputs of their own
MAX_PICKLE = 128 * 2**20  # bytes; the largest of RefCOCO has 30 MB
LIMITS = Limits(timeout_s=300.0, max_answer_bytes=2**30)


@dataclass(frozen=True)
class Listing:
    """One list of objects within a file."""

    file: JsonDocument
    prefix: str  # where the list is in the file, as a prefix of ijson; empty for a file of JSON Lines
    fields: frozenset[str]  # of its first object

    def rows(self) -> Iterator[dict[str, Any]]:
        """Yield the list's objects, in order; `{}` for items that are no objects.

        Raises:
            UnreadableInputError: the file is damaged.
        """
        with named(self.file.uri):
            found = items(self.file, self.prefix) if self.prefix else _lines(self.file)
            yield from (row if isinstance(row, dict) else {} for row in found)


def listings(parts: Sequence[Input], settings: InputSettings, work: Path) -> list[Listing]:
    """Every list of objects in the files; a pickle is first written as JSON Lines in the folder `work`.

    Raises:
        UnreadableInputError: a file is damaged, or a pickle is too large or holds more than plain data.
    """
    found: list[Listing] = []
    for part in parts:
        if part.name.lower().endswith(PICKLES):
            lines = JsonDocument(_unpickled(part, settings, work), settings)
            found.append(Listing(lines, "", frozenset(next(iter(_lines(lines)), {}))))
        else:
            document = JsonDocument(part, settings)
            for prefix, fields in _shape(document).items():
                found.append(Listing(document, prefix, fields))
    return found


def _shape(part: JsonDocument) -> dict[str, frozenset[str]]:
    """The lists of objects of a JSON file: the ijson prefix of each, and the fields of its first object."""
    with named(part.uri):
        found = shape(part)
        lists = ["item"] if found is None else [f"{n}.item" for n, kind in found.items() if kind == "objects"]
        firsts = {prefix: next(items(part, prefix), None) for prefix in lists}
    return {prefix: frozenset(first) for prefix, first in firsts.items() if isinstance(first, dict)}


@contextmanager
def named(uri: str) -> Iterator[None]:
    """Turn errors of the JSON parser into errors that name the file.

    Raises:
        UnreadableInputError: the file's JSON is damaged.
    """
    try:
        yield
    except ijson.JSONError as error:
        raise UnreadableInputError(f"cannot read {uri}: {one_line(error)}") from None


def _lines(file: JsonDocument) -> Iterator[dict[str, Any]]:
    with open_lines(file.file, file.settings) as lines:
        while (line := lines.next()) is not None:
            row = json_row(line, file.settings.max_depth)
            yield {} if PROBLEM in row else row


def _unpickled(part: Input, settings: InputSettings, work: Path) -> Input:
    """Write a pickle's objects as a file of JSON Lines in the folder `work`.

    Raises:
        UnreadableInputError: the pickle is too large, damaged, or holds more than plain data.
    """
    if part.bytes > MAX_PICKLE:
        raise UnreadableInputError(
            f"{part.uri} has {part.bytes} bytes; at most {MAX_PICKLE} of a pickle are read"
        )

    def make(file: Any) -> None:
        with open_bytes(part, settings) as packed, Children(TARGET, 1, LIMITS) as children:
            outcome = children.submit(packed.read(MAX_PICKLE)).result()
        if outcome.value is None:
            raise UnreadableInputError(f"cannot read {part.uri}: {outcome.reason}: {outcome.detail}")
        file.write(outcome.value)

    path = input_index.made_once(input_index.place(work, part, "unpickled", None), make)
    return Input(str(path), path.name, path.stat().st_size, part.fingerprint)
