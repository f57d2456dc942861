"""Finds the declared types of settings, and says in plain words what is wrong with a value."""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable
from dataclasses import is_dataclass
from typing import Any, Literal, get_args, get_origin, get_type_hints

import msgspec

from curate.errors import nearest

AT = re.compile(r"(.*?)(?: - at `\$\.?(.*)`)?", re.DOTALL)  # msgspec's message, and the path of the value
WORDS = {  # msgspec's names of types
    "int": "a whole number",
    "float": "a number",
    "str": "text",
    "bool": "true or false",
    "array": "a list",
    "object": "a table",
    "null": "nothing",
}
PART = re.compile(r"\[[^\]]*\]|[^.\[\]]+")  # of a path: a name, or a place in a list or table


def type_at(root: Any, path: Iterable[str]) -> Any:
    """Return the declared type of the value at `path` below the type `root`; Any if none is declared."""
    found = root
    for name in path:
        found = next(
            (below for one in (found, *get_args(found)) if (below := _below(one, name)) is not Any), Any
        )
    return found


def choices(declared: Any) -> list[str]:
    """Return the values that a type allows, if it is a Literal or contains one; else an empty list."""
    parts = get_args(declared)
    if get_origin(declared) is Literal:
        return [str(one) for one in parts]
    return [*(name for one in parts for name in choices(one)), *(["a whole number"] if int in parts else [])]


def _below(kind: Any, name: str) -> Any:
    """Return the type of a key of a table, or of an item of a list; Any if none is declared."""
    if get_origin(kind) is dict:
        return get_args(kind)[1]
    if get_origin(kind) in (list, tuple) and name.startswith("["):
        return get_args(kind)[0]
    if isinstance(kind, type) and (issubclass(kind, msgspec.Struct) or is_dataclass(kind)):
        return get_type_hints(kind).get(name, Any)
    return Any


def plain_fault(message: str, root: Any) -> str:
    """Return msgspec's message of a value that is wrong, in plain words, such as `fetch.retries takes a whole number,
    not text`; where it can, it names what is allowed, and the nearest of that.

    Args:
        message: msgspec's message. One of another kind than those below is returned as it is.
        root: the type that was being read.
    """
    said, path = AT.fullmatch(message).groups(default="")  # type: ignore[union-attr]  # every text matches
    where = type_at(root, PART.findall(path))
    if found := re.fullmatch(r"Invalid enum value (.+)", said):
        known = choices(where)
        near = difflib.get_close_matches(found[1].strip("'"), known, n=1)
        hint = f"; did you mean {near[0]!r}?" if near else ""
        return f"{path} cannot be {found[1]} (it can be: {', '.join(known)}{hint})".lstrip()
    if found := re.fullmatch(r"Object contains unknown field `(.+)`", said):
        return f"{path or 'it'} has no key {found[1]!r}{nearest(found[1], keys(where))}"
    if found := re.fullmatch(r"Object missing required field `(.+)`", said):
        return f"{path or 'it'} lacks the key {found[1]!r}"
    if found := re.fullmatch(r"Expected `array` of length (\d+), got (\d+)", said):
        return f"{path or 'it'} takes {found[1]} values, not {found[2]}"
    if found := re.fullmatch(r"Expected `(.+)`, got `(.+)`", said):
        wanted = " or ".join(WORDS.get(one, one) for one in found[1].split(" | ") if one != "null")
        got = "a fraction" if (found[1], found[2]) == ("int", "float") else WORDS.get(found[2], found[2])
        return f"{path or 'it'} takes {wanted}, not {got}"
    return f"{path}: {said}".removeprefix(": ")


def keys(kind: Any) -> list[str]:
    """Return the keys of a table of that type, or of one inside it; empty if it is no table."""
    for one in (kind, *get_args(kind)):
        if isinstance(one, type) and (issubclass(one, msgspec.Struct) or is_dataclass(one)):
            return list(get_type_hints(one))
    return []
