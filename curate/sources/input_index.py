"""The index of an input: how many rows it has, which columns, and offsets where reading can begin.

Formats without a footer are read once from end to end to make it. The index is stored in the run's work folder, so
that a worker can begin reading near any row. A worker that does not share that folder makes the index again.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import Any, BinaryIO

import msgspec
import pyarrow as pa

from curate.errors import OutputError
from curate.sources.inputs import Input
from curate.storage.whole_files import whole_file

JSON = {b"curate": b"json"}  # field metadata: the strings are JSON texts, for values of several types
EXACT = 2**53  # larger integers are not exact as floats


class RowIndex(msgspec.Struct):
    """What one pass over an input found."""

    rows: int
    columns: dict[str, str]  # name → a key of TYPES
    marks: list[tuple[int, int]] = []  # (row, byte offset), rising: reading can begin there
    samples: list[tuple[str, dict[str, tuple[int, int]]]] = []  # WebDataset: key, suffix → (offset, bytes)


TYPES: dict[str, pa.Field] = {
    "string": pa.field("string", pa.string()),
    "int64": pa.field("int64", pa.int64()),
    "float64": pa.field("float64", pa.float64()),
    "bool": pa.field("bool", pa.bool_()),
    "strings": pa.field("strings", pa.list_(pa.string())),
    "binary": pa.field("binary", pa.large_binary()),
    "json": pa.field("json", pa.string(), metadata=JSON),
}


def schema(columns: Mapping[str, str]) -> pa.Schema:
    """The Arrow schema of columns given as name → a key of TYPES."""
    return pa.schema([TYPES[kind].with_name(name) for name, kind in columns.items()])


def place(work: Path, source: Input, what: str, settings: Any) -> Path:
    """The path, in the folder `work`, of a file that was made from this input under these settings.

    `what` names the kind of file, and is its suffix. Another content of the input, or other settings give another path.
    """
    identity = [source.uri, source.fingerprint, what, repr(settings)]
    name = hashlib.blake2b("\0".join(identity).encode(), digest_size=16).hexdigest()
    return work / f"{name}.{what}"


def made_once(path: Path, make: Callable[[BinaryIO], object]) -> Path:
    """Make the file at `path` if it does not exist: `make` writes its content. It is complete or absent, never partial.

    Raises:
        OutputError: the folder cannot be written.
    """
    if path.exists():
        return path
    with ExitStack() as stack:
        try:
            file = stack.enter_context(whole_file(path))
        except OSError as error:
            raise OutputError(f"cannot write to {path.parent}: {error.strerror or error}") from None
        make(file)
    return path


def remembered(path: Path, scan: Callable[[], RowIndex]) -> RowIndex:
    """The index at `path`; made with `scan` if there is none.

    Raises:
        OutputError: the folder cannot be written.
    """
    made_once(path, lambda file: file.write(msgspec.msgpack.encode(scan())))
    return msgspec.msgpack.decode(path.read_bytes(), type=RowIndex)


class Kinds:
    """The kinds of values seen in each column."""

    def __init__(self) -> None:
        self._seen: dict[str, set[str]] = {}

    def see(self, rows: Iterable[Mapping[str, Any]]) -> None:
        """Note the kinds of values in these rows."""
        columns: dict[str, list[Any]] = {}
        for row in rows:
            for name, value in row.items():
                columns.setdefault(name, []).append(value)
        for name, values in columns.items():
            seen = self._seen.setdefault(name, set())
            for kind in set(map(type, values)):
                seen.update(_kinds(kind, values))

    def columns(self) -> dict[str, str]:
        """For each column the key of TYPES that fits all its values.

        A column with texts and other values is `string`, one with floats and integers `float64` if that is exact. Any
        other mixture is `json`.
        """
        return {name: _column(frozenset(seen - {"null"})) for name, seen in self._seen.items()}


def _column(seen: frozenset[str]) -> str:
    return _COLUMN.get(seen, "string" if "string" in seen else "json")


def _kinds(kind: type, values: list[Any]) -> set[str]:
    if kind is int:
        ints = [value for value in values if type(value) is int]
        low, high = min(ints), max(ints)
        exact = low >= -EXACT and high <= EXACT
        return {"int"} if exact else {"long"} if low >= -(2**63) and high < 2**63 else {"other"}
    if kind is list:
        texts = all(type(item) is str for value in values if type(value) is list for item in value)
        return {"strings"} if texts else {"other"}
    return {{str: "string", float: "float", bool: "bool", type(None): "null"}.get(kind, "other")}


_COLUMN = {
    frozenset[str](): "string",
    frozenset({"string"}): "string",
    frozenset({"bool"}): "bool",
    frozenset({"strings"}): "strings",
    frozenset({"int"}): "int64",
    frozenset({"long"}): "int64",
    frozenset({"int", "long"}): "int64",
    frozenset({"float"}): "float64",
    frozenset({"int", "float"}): "float64",
}
