"""Finds the declared types of settings, and words the error for a value that is not among the allowed ones."""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable
from dataclasses import is_dataclass
from typing import Any, Literal, get_args, get_origin, get_type_hints

import msgspec

NO_CHOICE = re.compile(r"Invalid enum value (.+) - at `\$\.?(.*)`|Invalid enum value (.+)")
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


def no_choice(message: str, root: Any) -> str | None:
    """Return the message for a value that is not among the allowed ones; it names these and the nearest one.

    Args:
        message: msgspec's message; None is returned for any message about something else.
        root: the type that was being read.
    """
    found = NO_CHOICE.fullmatch(message)
    if found is None:
        return None
    value, path = found[1] or found[3], found[2] or ""
    known = choices(type_at(root, PART.findall(path)))
    near = difflib.get_close_matches(value.strip("'"), known, n=1)
    hint = f"; did you mean {near[0]!r}?" if near else ""
    return f"{path} cannot be {value} (it can be: {', '.join(known)}{hint})".lstrip()
