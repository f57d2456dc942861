"""Reads a plug-in from a file or an installed package, sends it to other processes, and runs it when it is needed."""

from __future__ import annotations

import hashlib
import importlib
import re
import sys
import traceback
import types
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache, partial
from pathlib import Path
from typing import Any, Protocol

import msgspec
import pyarrow as pa

from curate.errors import CurateError, MachineError, ManifestError
from curate.plain_files import open_plain
from curate.plugins.packages import entries, package_sha256
from filters.rule import OWN, Cleaner, Rule

SLUG = re.compile(r"[a-z][a-z0-9_]{0,63}")
MARK = "__curate__"  # the global variable of a plug-in's module that lists what its decorators registered, in order
CODE: dict[
    str, bytes | None
] = {}  # SHA-256 -> content of the plug-in files that this process has read or received


class Plugin(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One plug-in of a manifest: a file if its name ends in `.py`, else an entry point of an installed package."""

    name: str
    sha256: str

    def __reduce__(self) -> tuple[Any, ...]:
        """Pickle the content of the plug-in file, too."""
        return carried, (self.name, self.sha256, CODE.get(self.sha256))


class Own(Protocol):
    """What a plug-in registered: a rule, a cleaner or an adapter."""

    @property
    def name(self) -> str:
        """Its name in a manifest."""

    @property
    def owner(self) -> Plugin:
        """The plug-in that it belongs to."""


def read(named: Any, beside: Path) -> Any:
    """Read the plug-ins that a manifest's `plugins` names; return them with the SHA-256 of their contents.

    A value that is no list of names is returned as it is: the check of types will refuse it.

    Args:
        named: the value of `plugins`.
        beside: the folder of files with relative names.

    Raises:
        ManifestError: a file cannot be read, a package is not installed, a name occurs twice, or a content does not
            have the SHA-256 that the manifest gives.
    """
    if not isinstance(named, list | tuple):
        return named
    found = [_read(one, beside) for one in named]
    names = [one["name"] for one in found if isinstance(one, Mapping)]
    if twice := [name for name in names if names.count(name) > 1]:
        raise ManifestError(f"plug-in {twice[0]!r} is named twice")
    return found


def _read(one: Any, beside: Path) -> Any:
    name = one.get("name") if isinstance(one, Mapping) else one
    if not isinstance(name, str):
        return one
    if name.endswith(".py"):
        try:
            with open_plain(beside / Path(name).expanduser()) as file:
                content = file.read()
        except OSError as error:
            raise ManifestError(f"cannot read plug-in {name}: {error.strerror or error}") from None
        plugin = Plugin(name, hashlib.sha256(content).hexdigest())
        carried(plugin.name, plugin.sha256, content)
    else:
        plugin = installed(name)
    if isinstance(one, Mapping) and one.get("sha256") not in ("", None, plugin.sha256):
        raise ManifestError(f"plug-in {name} is another here: its SHA-256 is {plugin.sha256}")
    return {"name": name, "sha256": plugin.sha256}


def carried(name: str, sha256: str, content: bytes | None) -> Plugin:
    """Keep a plug-in's content in this process and return the plug-in; it is run when it is first used.

    `content` is None for an installed plug-in, or for a file whose content is not known.
    """
    plugin = Plugin(name, sha256)
    if content is not None or not name.endswith(".py"):
        CODE.setdefault(sha256, content)
        OWN.setdefault(sha256, partial(loaded, plugin))
    return plugin


def installed(name: str) -> Plugin:
    """Return the plug-in of an installed package, given the name of its entry point.

    Raises:
        ManifestError: there is no such entry point.
    """
    return carried(name, package_sha256(name), None)


@dataclass(frozen=True)
class Loaded:
    """What a plug-in registered when it was run, in order."""

    all: tuple[Own, ...]

    def rule(self, name: str) -> Rule:
        """Its rule of that name."""
        return next(one for one in self.all if isinstance(one, Rule) and one.name == name)

    def cleaner(self, name: str) -> Cleaner:
        """Its cleaner of that name."""
        return next(one for one in self.all if isinstance(one, Cleaner) and one.name == name)


@lru_cache(64)
def loaded(plugin: Plugin) -> Loaded:
    """Run a plug-in, once in this process, and return what it registered.

    Raises:
        ManifestError: it does not import, or registers something invalid.
        MachineError: the installed package has another content than the manifest says.
    """
    try:
        module = _run(plugin) if plugin.name.endswith(".py") else _import(plugin)
        marks = vars(module).get(MARK, [])
        if "pandas" in sys.modules:
            pa.table({}).to_pandas()  # pyarrow knows pandas again; `curate.children.no_pandas` hid it
        return Loaded(tuple(_sound(make(plugin)) for make in marks))
    except CurateError as error:
        raise type(error)(f"plug-in {plugin.name}: {error}") from None
    except (Exception, SystemExit) as error:
        raise ManifestError(f"plug-in {plugin.name} does not import: {cause(plugin, error)}") from None


def _sound(one: Own) -> Own:
    if not isinstance(one.name, str) or not SLUG.fullmatch(one.name):
        raise ManifestError(f"{one.name!r} is no name: it must be like 'text_speaks_of' (a-z, 0-9, _)")
    return one


def _run(plugin: Plugin) -> types.ModuleType:
    content = CODE.get(plugin.sha256)
    if content is None:
        raise ManifestError(f"its content is not at hand: give the file whose SHA-256 is {plugin.sha256}")
    module = types.ModuleType(f"curate_plugin_{plugin.sha256[:16]}")
    module.__file__ = plugin.name
    sys.modules[module.__name__] = module  # dataclasses and pickles look it up there
    exec(compile(content, plugin.name, "exec", dont_inherit=True), vars(module))
    return module


def _import(plugin: Plugin) -> types.ModuleType:
    here = installed(plugin.name)
    if here.sha256 != plugin.sha256:
        raise MachineError(f"another version is installed here: SHA-256 {here.sha256}, not {plugin.sha256}")
    (entry,) = entries().select(name=plugin.name)
    return importlib.import_module(entry.value)


def cause(plugin: Plugin, error: BaseException) -> str:
    """Describe an exception on one line, and name the plug-in's line: `KeyError: 'x' (my_rules.py, line 7)`."""
    places = [f.lineno for f in traceback.extract_tb(error.__traceback__) if f.filename == plugin.name]
    line = getattr(error, "lineno", None) if isinstance(error, SyntaxError) else (places or [None])[-1]
    words = " ".join(str(getattr(error, "msg", None) or error).split())
    return f"{type(error).__name__}: {words}" + (f" ({plugin.name}, line {line})" if line else "")
