"""What `--set` gives: a value as TOML, and the text it is written as. A setting takes the one that is of its type."""

from __future__ import annotations

import tomllib
from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

import msgspec

import filters
from curate import plugins
from curate.errors import ManifestError
from curate.manifest import parsing
from curate.manifest.declared import type_at
from curate.manifest.document_renderers import setting_types


class Written(NamedTuple):
    """A value that is no string, such as 1234, and its text: for a password it is the text that counts."""

    value: Any
    text: str


def assignments(texts: Iterable[str]) -> dict[str, Any]:
    """Values by their path, in the order in which they were given; see `assignment`."""
    made: dict[str, Any] = {}
    for path, value in map(assignment, texts):
        made.pop(path, None)  # the last one stands where it was given
        made[path] = value
    return made


def assignment(text: str) -> tuple[str, Any]:
    """The path and the value of one `a.b.c=value`: TOML, `Written` where it is no string; a bare word is a string.

    Raises:
        ManifestError: there is no `=`.
    """
    path, equals, literal = (part.strip() for part in text.partition("="))
    if not equals:
        raise ManifestError(f"--set {text!r}: write it as path.to.value=VALUE")
    try:
        value = parsing.loads(f"value = {literal}")["value"]
    except tomllib.TOMLDecodeError:
        return path, literal
    except ValueError as error:
        raise ManifestError(f"--set {path[:80]}=…: {error}") from None
    return path, value if isinstance(value, str | list | dict) else Written(value, literal)


def fitting(tree: Mapping[str, Any], path: str, given: Any, root: type) -> Any:
    """What of a value from `--set` is of the type that the setting at `path` of a manifest's tree has.

    `root` is the manifest's own type. What fits no way stays as TOML has it: reading the manifest says so.
    """
    if not isinstance(given, Written):
        return given
    declared = declared_at(tree, path.split("."), root)
    for value in (given.value, given.text) if declared is not Any else ():
        try:
            msgspec.convert(value, declared)
        except msgspec.ValidationError:
            continue
        return value
    return given.value


def declared_at(tree: Mapping[str, Any], path: list[str], root: type) -> Any:
    """The type of a setting of a manifest (of one text, where it is a list of such); Any where none is declared."""
    match path:
        case ["columns" | "only", _]:
            return str
        case ["rules", _, "column"]:
            return str
        case ["rules" | "cleaners" as kind, name, key]:
            built_in = filters.RULES if kind == "rules" else filters.CLEANERS
            known = {**built_in, **getattr(_own(tree), kind)}
            found = known[name].settings[key].type if name in known and key in known[name].settings else Any
        case ["render", key]:
            found = setting_types(str(tree.get("adapter", ""))).get(key, Any)
        case _:
            found = type_at(root, path)
    return str if found == tuple[str, ...] else found


def _own(tree: Mapping[str, Any]) -> Any:
    """The rules and cleaners of the tree's plug-ins; none where it is wrong about them, which reading it says."""
    try:
        return plugins.registered(msgspec.convert(tree.get("plugins", ()), tuple[plugins.Plugin, ...]))
    except msgspec.ValidationError:
        return plugins.registered(())
