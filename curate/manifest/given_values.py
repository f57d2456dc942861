"""Reads the values of `--set`. Each is kept as a TOML value and as its text; the setting's type decides which is
used."""

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
    """A value that is no string, such as 1234, and its text, which is used if the setting takes a string."""

    value: Any
    text: str


def assignments(texts: Iterable[str]) -> dict[str, Any]:
    """Read several `a.b.c=value` (see `assignment`); return path -> value, in the order of the last mention."""
    made: dict[str, Any] = {}
    for path, value in map(assignment, texts):
        made.pop(path, None)  # so that a repeated path moves to its last place
        made[path] = value
    return made


def assignment(text: str) -> tuple[str, Any]:
    """Return the path and the value of one `a.b.c=value`.

    The value is read as TOML; text that is not valid TOML, such as a bare word, is a string. A number or boolean is
    returned as `Written`.

    Raises:
        ManifestError: there is no `=`, or the value is too large or too deep.
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
    """Return a value of `--set` as the setting at `path` takes it: as TOML, or as text.

    If it fits neither way, the TOML value is returned: reading the manifest will report the error.

    Args:
        tree: the manifest's tree.
        path: the setting, such as `image.max_side`.
        given: a value that `assignment` returned, or any other, which is returned as it is.
        root: the manifest's type.

    Raises:
        ManifestError: the path or the value holds a text that is no UTF-8, as no file and no shard could hold it.
    """
    if (wrong := parsing.not_utf8({path: given})) is not None:
        raise ManifestError(f"setting {wrong!r} is no UTF-8: write it without half characters (surrogates)")
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
    """Return the declared type of a setting; str for a list of strings, as one may stand for it; Any if unknown."""
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
    """Return what the tree's plug-ins register; nothing if `plugins` is invalid: reading the manifest reports that."""
    try:
        return plugins.registered(msgspec.convert(tree.get("plugins", ()), tuple[plugins.Plugin, ...]))
    except msgspec.ValidationError:
        return plugins.registered(())
