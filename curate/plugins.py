"""Rules, cleaners and adapters of one's own, in files beside a manifest or in installed packages.

    plugins = ["my_rules.py"]  # at the top of a manifest

A plug-in is known by the SHA-256 of its content, never by its name alone: two manifests in one process may each bring
a rule of the same name, and neither sees the other's. Where a run goes (Ray workers too) the content of its plug-in
files goes along, as part of the manifest when that is pickled. Nothing is ever run that a finished run's folder holds:
there only name and SHA-256 are written down, and `curate retry` must be given the file again.
"""

from __future__ import annotations

import hashlib
import importlib
import importlib.metadata
import importlib.util
import inspect
import logging
import re
import sys
import traceback
import types
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache, partial
from pathlib import Path
from typing import Any, TypeVar

import msgspec
import pyarrow as pa
import pyarrow.compute as pc

import filters
from curate.errors import CurateError, MachineError, ManifestError, UnitError, nearest
from curate.schema import SAMPLE
from filters.rule import OWN, Cleaner, Rule, one_array, signature

log = logging.getLogger("curate")

GROUP = "curate.plugins"  # the entry points of installed packages
SLUG = re.compile(r"[a-z][a-z0-9_]{0,63}")
MARK = "__curate__"  # a module's global: what its decorators registered, in order
PLUGIN = "plugin"  # the setting that says whose a rule or cleaner is: the plug-in's SHA-256
READ = (
    *("key", "dataset", "task", "language", "url", "source", "image_path", "width", "height", "text"),
    *("question", "answer", "regions", "clip_score", "extra"),
)  # the columns that a rule may read: those that have their values when rules are judged
BASES = ("pairs", "questions", "regions", "text")  # the adapters that another may stand on
TAKEN = (*BASES, "grit", "pdf", "html", "synthdog")  # the names of built-in adapters

F = TypeVar("F", bound=Callable[..., Any])
Made = TypeVar("Made")
Reshape = Callable[[pa.Table], pa.Table]


class Plugin(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One plug-in of a manifest; a file's name ends in `.py`, any other is an installed package's entry point."""

    name: str
    sha256: str

    def __reduce__(self) -> tuple[Any, ...]:
        """Pickled, it takes its content along."""
        return carried, (self.name, self.sha256, CODE.get(self.sha256))


@dataclass(frozen=True)
class OwnRule(Rule):
    """A rule of a plug-in. Whatever it raises, and an answer of the wrong form, is a `UnitError` that names it."""

    owner: Plugin = field(kw_only=True)

    def check(self, **settings: Any) -> None:
        """Judge no row, and two whose values are null.

        Raises:
            ValueError: the rule itself says that the settings make no sense.
            ManifestError: it fails on such rows, or keeps them.
        """
        for rows in (0, 2):
            table = pa.table({name: pa.nulls(rows, SAMPLE.field(name).type) for name in self.columns})
            if pc.any(tried(self, partial(self._answer, table, settings))).as_py():
                raise ManifestError(f"{said(self)} keeps rows where {' and '.join(self.columns)} is null")

    def keep(self, table: pa.Table, **settings: Any) -> pa.BooleanArray:
        """See `Rule.keep`."""
        return guarded(self, lambda: self._answer(table, settings))

    def detail(self, table: pa.Table, **settings: Any) -> pa.StringArray:
        """See `Rule.detail`."""
        plain = without_owner(settings)
        return guarded(self, lambda: Rule.detail(self, table, **plain).cast(pa.string()))

    def _answer(self, table: pa.Table, settings: Mapping[str, Any]) -> pa.BooleanArray:
        kept = Rule.keep(self, table, **without_owner(settings))
        if not isinstance(kept, pa.BooleanArray) or len(kept) != table.num_rows:
            raise TypeError(f"it must give {table.num_rows} booleans, not {form(kept)}")
        return kept


@dataclass(frozen=True)
class OwnCleaner(Cleaner):
    """A cleaner of a plug-in; errors: see `OwnRule`."""

    owner: Plugin = field(kw_only=True)

    def check(self, **settings: Any) -> None:
        """Clean no text, and one that is null. Raises: see `OwnRule.check`."""
        for texts in ([], [None, "text"]):
            tried(self, partial(self._cleaned, pa.array(texts, pa.large_string()), settings))

    def clean(self, text: pa.Array | pa.ChunkedArray, **settings: Any) -> pa.Array:
        """See `Cleaner.clean`."""
        return guarded(self, lambda: self._cleaned(one_array(text), settings))

    def _cleaned(self, text: pa.Array, settings: Mapping[str, Any]) -> pa.Array:
        made = one_array(self.function(text, **without_owner(settings)))
        if not isinstance(made, pa.StringArray | pa.LargeStringArray) or len(made) != len(text):
            raise TypeError(f"it must give {len(text)} texts, not {form(made)}")
        if pc.any(pc.and_(pc.is_null(text), pc.is_valid(made))).as_py():
            raise TypeError("it must leave null what is null")
        return made.cast(text.type)


@dataclass(frozen=True)
class OwnAdapter:
    """A plug-in's function from published rows to rows that the built-in adapter `base` reads."""

    name: str
    function: Reshape
    base: str
    owner: Plugin

    def reshape(self, rows: pa.Table) -> pa.Table:
        """The rows (N in, N out) as `base` takes them.

        Raises:
            UnitError: the function raises, or gives no table of N rows.
        """
        return guarded(self, lambda: self._reshaped(rows))

    def schema(self, published: pa.Schema) -> pa.Schema:
        """What columns come of those.

        Raises:
            ManifestError: the function fails on a table without rows.
        """
        made: pa.Table = tried(self, lambda: self._reshaped(published.empty_table()))
        return made.schema

    def _reshaped(self, rows: pa.Table) -> pa.Table:
        made = self.function(rows)
        if not isinstance(made, pa.Table) or made.num_rows != rows.num_rows:
            raise TypeError(f"it must give a table of {rows.num_rows} rows, not {form(made)}")
        return made


Own = OwnRule | OwnCleaner | OwnAdapter


@dataclass(frozen=True)
class Registered:
    """What some plug-ins bring, by name."""

    rules: Mapping[str, OwnRule]
    cleaners: Mapping[str, OwnCleaner]
    adapters: Mapping[str, OwnAdapter]


def rule(name: str, *, describe: Callable[..., pa.StringArray] | None = None) -> Callable[[F], F]:
    """Make a function a plug-in's rule, under its reason slug; see `filters.rule` for its form.

    Args:
        name: the reason that dropped rows will bear for ever.
        describe: a function of the same signature that says what decided (N rows). Default: the columns' values.
    """
    return _decorator(lambda function, owner: _own_rule(name, function, describe, owner))


def cleaner(name: str) -> Callable[[F], F]:
    """Make a function from texts to texts (N rows, null stays null) a plug-in's cleaner, for a manifest's `clean`."""
    return _decorator(lambda function, owner: _own_cleaner(name, function, owner))


def adapter(name: str, *, base: str = "pairs") -> Callable[[F], F]:
    """Make a function a plug-in's adapter: from published rows to rows that the built-in adapter `base` reads.

    It takes and gives a `pyarrow.Table` of N rows, and is called with tables of no rows too.
    """
    return _decorator(lambda function, owner: _own_adapter(name, function, base, owner))


def _decorator(make: Callable[[Callable[..., Any], Plugin], Own]) -> Callable[[F], F]:
    """Leave the function as it is, and note in its module what it is to be made."""

    def register(function: F) -> F:
        if not inspect.isfunction(function):
            raise ManifestError(f"{function!r} is no function")
        function.__globals__.setdefault(MARK, []).append(partial(make, function))
        return function

    return register


def _own_rule(name: str, function: Callable[..., Any], describe: Any, owner: Plugin) -> OwnRule:
    columns, settings = _signature(f"rule {name!r}", function)
    if unknown := [column for column in columns if column not in READ]:
        raise ManifestError(
            f"rule {name!r} reads no such column as {unknown[0]!r}{nearest(unknown[0], READ)}"
        )
    if not columns:
        raise ManifestError(f"rule {name!r} reads no column: name some as positional parameters")
    if name in filters.RULES:
        raise ManifestError(f"rule {name!r} is there already, built in: choose another name")
    return OwnRule(name, function, columns, settings, describe, owner=owner)


def _own_cleaner(name: str, function: Callable[..., Any], owner: Plugin) -> OwnCleaner:
    columns, settings = _signature(f"cleaner {name!r}", function)
    if len(columns) != 1:
        raise ManifestError(f"cleaner {name!r} must take one positional parameter, the texts")
    if name in filters.CLEANERS:
        raise ManifestError(f"cleaner {name!r} is there already, built in: choose another name")
    return OwnCleaner(name, function, settings, owner=owner)


def _own_adapter(name: str, function: Reshape, base: str, owner: Plugin) -> OwnAdapter:
    if base not in BASES:
        raise ManifestError(f"adapter {name!r} cannot stand on {base!r}{nearest(str(base), BASES)}")
    if name in TAKEN:
        raise ManifestError(f"adapter {name!r} is there already, built in: choose another name")
    return OwnAdapter(name, function, base, owner)


def _signature(
    who: str, function: Callable[..., Any]
) -> tuple[tuple[str, ...], Mapping[str, filters.Setting]]:
    """A function's columns and settings.

    Raises:
        ManifestError: its parameters are not of the two kinds, or a setting has no type that TOML could give.
    """
    for parameter in inspect.signature(function).parameters.values():
        keyword = parameter.kind is parameter.KEYWORD_ONLY
        if not keyword and parameter.kind is not parameter.POSITIONAL_OR_KEYWORD:
            raise ManifestError(f"{who}: parameter {parameter.name!r} is neither a column nor a setting")
        if keyword and parameter.annotation is parameter.empty:
            raise ManifestError(f"{who}: setting {parameter.name!r} has no type")
        if keyword and parameter.name == PLUGIN:
            raise ManifestError(f"{who}: no setting may be called {PLUGIN!r}")
    columns, settings = signature(function)
    for name, setting in settings.items():
        try:
            msgspec.json.Decoder(setting.type)
        except TypeError:
            raise ManifestError(f"{who}: setting {name!r} is of a type that no manifest can give") from None
    return columns, settings


CODE: dict[
    str, bytes | None
] = {}  # of the plug-in files read by this process, or carried to it, by their SHA-256


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
            content = (beside / Path(name).expanduser()).read_bytes()
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
    known = {entry.name: entry.value for entry in importlib.metadata.entry_points(group=GROUP)}
    if name not in known:
        hint = nearest(name, known)
        raise ManifestError(f"no plug-in {name!r} is installed{hint}; the name of a file ends in .py")
    try:
        spec = importlib.util.find_spec(known[name])
    except (ImportError, ValueError) as error:
        raise ManifestError(f"plug-in {name!r} does not import: {error}") from None
    if spec is None or spec.origin is None:
        raise ManifestError(f"plug-in {name!r} does not import: there is no module {known[name]!r}")
    plugin = Plugin(name, _digest(known[name], Path(spec.origin)))
    return carried(plugin.name, plugin.sha256, None)


def _digest(module: str, origin: Path) -> str:
    """SHA-256 of the Python files of the package that a module belongs to, or of the lone module."""
    depth = module.count(".") + (origin.name == "__init__.py")
    folder = origin.parents[depth - 1] if depth else origin.parent
    digest = hashlib.sha256()
    for file in sorted(folder.rglob("*.py")) if depth else [origin]:
        digest.update(f"{file.relative_to(folder).as_posix()}\0".encode())
        digest.update(hashlib.sha256(file.read_bytes()).digest())
    return digest.hexdigest()


def offering(missing: Mapping[str, Iterable[str]], named: Iterable[str]) -> list[dict[str, str]]:
    """The installed plug-ins, beside those named, that bring a missing rule, cleaner or adapter.

    `missing` has names under `rules`, `cleaners` and `adapters`. A plug-in that does not load is passed over.
    """
    wanted = {kind: set(names) for kind, names in missing.items()}
    found: list[dict[str, str]] = []
    if not any(wanted.values()):
        return found
    for entry in sorted(importlib.metadata.entry_points(group=GROUP), key=lambda entry: entry.name):
        if entry.name in named:
            continue
        try:
            plugin = installed(entry.name)
            brings = registered((plugin,))
        except CurateError as error:
            log.warning("%s", error)
            continue
        if any(wanted[kind] & set(getattr(brings, kind)) for kind in wanted):
            found.append({"name": plugin.name, "sha256": plugin.sha256})
    return found


@lru_cache(64)
def registered(plugins: tuple[Plugin, ...]) -> Registered:
    """What these plug-ins bring together.

    Raises:
        ManifestError: one does not import, or registers what it may not; two bring the same name.
        InputError: the content of one is not at hand.
    """
    rules, cleaners, adapters = dict[str, OwnRule](), dict[str, OwnCleaner](), dict[str, OwnAdapter]()
    for plugin in plugins:
        for one in loaded(plugin).all:
            kinds: dict[type[Own], dict[str, Any]] = {
                OwnRule: rules,
                OwnCleaner: cleaners,
                OwnAdapter: adapters,
            }
            into = kinds[type(one)]
            if one.name in into:
                raise ManifestError(f"{said(one)} is there already, from {into[one.name].owner.name}")
            into[one.name] = one
    return Registered(rules, cleaners, adapters)


@dataclass(frozen=True)
class Loaded:
    """One plug-in, run: what it registered, in order."""

    all: tuple[Own, ...]

    def rule(self, name: str) -> OwnRule:
        """Its rule of that name."""
        return next(one for one in self.all if isinstance(one, OwnRule) and one.name == name)

    def cleaner(self, name: str) -> OwnCleaner:
        """Its cleaner of that name."""
        return next(one for one in self.all if isinstance(one, OwnCleaner) and one.name == name)


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
    (entry,) = importlib.metadata.entry_points(group=GROUP, name=plugin.name)
    return importlib.import_module(entry.value)


def require(plugins: Sequence[Plugin], files: Sequence[str] = ()) -> None:
    """See that the content of a finished run's plug-ins is at hand; `files` are plug-in files to take it from.

    Raises:
        ManifestError: a file is missing, or is another than the run's.
    """
    read(list(files), Path())
    for plugin in plugins:
        if plugin.name.endswith(".py") and plugin.sha256 not in CODE:
            raise ManifestError(
                f"the run used the plug-in {plugin.name} (SHA-256 {plugin.sha256}): give that file with --plugin"
            )
    registered(tuple(plugins))


def without_owner(settings: Mapping[str, Any], owner: Plugin | None = None, who: str = "") -> dict[str, Any]:
    """A rule's or cleaner's settings as its function takes them.

    Raises:
        ManifestError: they name another plug-in than `owner`.
    """
    if owner is not None and settings.get(PLUGIN, owner.sha256) != owner.sha256:
        raise ManifestError(f"{who} is of another plug-in here: {owner.name}, SHA-256 {owner.sha256}")
    return {name: value for name, value in settings.items() if name != PLUGIN}


def guarded(one: Own, work: Callable[[], Made]) -> Made:
    """What the work gives.

    Raises:
        UnitError: it raised something.
    """
    try:
        return work()
    except Exception as error:
        raise UnitError(f"{said(one)} of {one.owner.name} failed: {cause(one.owner, error)}") from error


def tried(one: Own, work: Callable[[], Made]) -> Made:
    """What the work gives, before anything is read.

    Raises:
        ValueError: it raised that: a setting makes no sense.
        ManifestError: it raised something else.
    """
    try:
        return work()
    except pa.ArrowException as error:  # some of them are ValueErrors
        raise ManifestError(f"{said(one)} fails without any row: {cause(one.owner, error)}") from None
    except ValueError:
        raise
    except Exception as error:
        raise ManifestError(f"{said(one)} fails without any row: {cause(one.owner, error)}") from None


def said(one: Own) -> str:
    """`rule 'text_speaks_of'`."""
    kind = {OwnRule: "rule", OwnCleaner: "cleaner", OwnAdapter: "adapter"}[type(one)]
    return f"{kind} {one.name!r}"


def cause(plugin: Plugin, error: BaseException) -> str:
    """An exception on one line, with the plug-in's line that it came from: `KeyError: 'x' (my_rules.py, line 7)`."""
    places = [f.lineno for f in traceback.extract_tb(error.__traceback__) if f.filename == plugin.name]
    line = getattr(error, "lineno", None) if isinstance(error, SyntaxError) else (places or [None])[-1]
    words = " ".join(str(getattr(error, "msg", None) or error).split())
    return f"{type(error).__name__}: {words}" + (f" ({plugin.name}, line {line})" if line else "")


def form(value: Any) -> str:
    """What a function gave instead of what it should have given."""
    if isinstance(value, pa.Array | pa.ChunkedArray):
        return f"{len(value)} of {value.type}"
    return f"a table of {value.num_rows} rows" if isinstance(value, pa.Table) else type(value).__name__
