"""A plug-in and its content: read from a file or an installed package, carried to other processes, run when needed."""

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
MARK = "__curate__"  # a module's global: what its decorators registered, in order
CODE: dict[
    str, bytes | None
] = {}  # of the plug-in files read by this process, or carried to it, by their SHA-256


class Plugin(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One plug-in of a manifest; a file's name ends in `.py`, any other is an installed package's entry point."""

    name: str
    sha256: str

    def __reduce__(self) -> tuple[Any, ...]:
        """Pickled, it takes its content along."""
        return carried, (self.name, self.sha256, CODE.get(self.sha256))


class Own(Protocol):
    """What a plug-in registered: a rule, a cleaner or an adapter."""

    @property
    def name(self) -> str:
        """What a manifest calls it."""

    @property
    def owner(self) -> Plugin:
        """Whose it is."""


def read(named: Any, beside: Path) -> Any:
    """A manifest's `plugins`, each with its content's SHA-256; what is no list of names is left to be refused.

    Raises:
        ManifestError: a file that cannot be read or a package that is not installed; a name twice; content that
            is not what a SHA-256 beside its name says.
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
    """The plug-in, whose content this process has from now on; it is run when something of it is first used."""
    plugin = Plugin(name, sha256)
    if content is not None or not name.endswith(".py"):
        CODE.setdefault(sha256, content)
        OWN.setdefault(sha256, partial(loaded, plugin))
    return plugin


def installed(name: str) -> Plugin:
    """The plug-in of an installed package, by its entry point's name.

    Raises:
        ManifestError: there is none.
    """
    return carried(name, package_sha256(name), None)


@dataclass(frozen=True)
class Loaded:
    """One plug-in, run: what it registered, in order."""

    all: tuple[Own, ...]

    def rule(self, name: str) -> Rule:
        """Its rule of that name."""
        return next(one for one in self.all if isinstance(one, Rule) and one.name == name)

    def cleaner(self, name: str) -> Cleaner:
        """Its cleaner of that name."""
        return next(one for one in self.all if isinstance(one, Cleaner) and one.name == name)


@lru_cache(64)
def loaded(plugin: Plugin) -> Loaded:
    """The plug-in, run once in this process.

    Raises:
        ManifestError: it does not import, or what it registers is not in order.
        MachineError: an installed one is not here, or is another than the manifest's.
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
    """An exception on one line, with the plug-in's line that it came from: `KeyError: 'x' (my_rules.py, line 7)`."""
    places = [f.lineno for f in traceback.extract_tb(error.__traceback__) if f.filename == plugin.name]
    line = getattr(error, "lineno", None) if isinstance(error, SyntaxError) else (places or [None])[-1]
    words = " ".join(str(getattr(error, "msg", None) or error).split())
    return f"{type(error).__name__}: {words}" + (f" ({plugin.name}, line {line})" if line else "")
