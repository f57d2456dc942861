"""Reads a manifest: applies the command line's changes to the TOML file, checks it, and fills in all defaults."""

from __future__ import annotations

import copy
import re
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal, get_type_hints

import msgspec

import filters
from curate import plugins
from curate.errors import ManifestError, nearest
from curate.manifest import parsing
from curate.manifest.builtin_files import folder, samples
from curate.manifest.checks import check_models, check_near, check_values
from curate.manifest.declared import PART, keys, plain_fault, type_at
from curate.manifest.given_values import assignments, fitting
from curate.manifest.pinning import check_against, pin
from curate.manifest.settings import (
    DocumentSettings,
    DropSettings,
    FetchSettings,
    FlagSettings,
    HeadSettings,
    ImageSettings,
    InputSettings,
    JoinSettings,
    Manifest,
    Paper,
    ScorerSettings,
    ShardSettings,
)
from filters.rule import REQUIRED, Cleaner, Rule

SAMPLES = "samples:"  # stands for the samples' folder, so that a manifest does not depend on where curate is installed
PAPER = "paper"  # the preset that switches no rule on
NAME = re.compile(r"[a-z0-9][a-z0-9+_.-]{0,63}")


def on_sample(manifest: Manifest) -> Manifest:
    """Return the manifest for a run on its sample: images are looked up in the sample's folder, if it has one."""
    images = manifest.input.sample_images
    if not images or manifest.image.folder:
        return manifest
    image = msgspec.structs.replace(manifest.image, folder=f"{SAMPLES}{images}")
    return msgspec.structs.replace(manifest, image=image)


def image_folder(manifest: Manifest) -> Path | None:
    """Return the folder in which images are looked up by their paths in the rows; None if they are fetched."""
    name = manifest.image.folder
    if not name:
        return None
    return samples() / name.removeprefix(SAMPLES) if name.startswith(SAMPLES) else Path(name)


def builtin() -> list[str]:
    """The names of the built-in manifests, sorted."""
    return sorted(path.stem for path in folder().glob("*.toml"))


def load(
    name_or_path: str, settings: Sequence[str] | Mapping[str, Any] = (), preset: str = PAPER
) -> Manifest:
    """Load a manifest and apply changes to it.

    Args:
        name_or_path: the name of a built-in manifest, or the path of a `.toml` file.
        settings: the changes: texts `a.b.c=value`, or path -> value.
        preset: a preset of the manifest; its rules are switched on before the changes are applied. `paper` has none.

    Raises:
        ManifestError: unknown name or preset, unreadable file, unknown key, wrong type or value; the message names the
            nearest known one.
    """
    path = Path(name_or_path)
    if path.suffix != ".toml":
        if name_or_path not in builtin():
            raise ManifestError(f"no manifest {name_or_path!r}{_hint(name_or_path)}")
        path = folder() / f"{name_or_path}.toml"
    tree = parsing.read(path, f"manifest {name_or_path}")
    if "plugins" in tree:
        tree["plugins"] = plugins.read(tree["plugins"], path.parent)
    if preset != PAPER:
        _switch_on(tree, preset, name_or_path)
    pin(tree, path.parent)
    changes = settings if isinstance(settings, Mapping) else assignments(settings)
    for place, value in changes.items():
        value = fitting(tree, place, value, Manifest)
        assign(tree, place, plugins.read(value, Path()) if place == "plugins" else value)
    pin(tree, Path())
    _add_installed(tree)
    return parse(tree, origin=name_or_path)


def changed(manifest: Manifest, settings: Mapping[str, Any]) -> Manifest:
    """Return the manifest with changed values (path -> value), as `load` changes them.

    Raises:
        ManifestError: see `load`.
    """
    if not settings:
        return manifest
    tree = manifest.resolved()
    for place, value in settings.items():
        assign(tree, place, fitting(tree, place, value, Manifest))
    pin(tree, Path())
    return parse(tree, origin=manifest.name)


def _switch_on(tree: dict[str, Any], preset: str, origin: str) -> None:
    """Switch on the rules of a preset.

    Raises:
        ManifestError: the manifest has no such preset, or the preset names a rule that the manifest lacks.
    """
    presets, rules = tree.get("presets", {}), tree.get("rules", {})
    if not isinstance(presets, Mapping) or not isinstance(presets.get(preset), list):
        has = ", ".join([PAPER, *presets] if isinstance(presets, Mapping) else [PAPER])
        raise ManifestError(f"{origin} has no preset {preset!r} (it has: {has})")
    for name in presets[preset]:
        if not isinstance(rules, Mapping) or not isinstance(rules.get(name), dict):
            raise ManifestError(
                f"{origin}: preset {preset!r} names the rule {name!r}, and there is no such table"
            )
        rules[name]["on"] = True


def _hint(name: str) -> str:
    """Return the hint for an argument that is no manifest's name: that it is an input, or the nearest name."""
    if Path(name).exists() or "://" in name:
        return f": that is an input; write `curate run MANIFEST --input {name}`"
    return nearest(name, builtin())


def assign(tree: dict[str, Any], path: str, value: Any) -> None:
    """Set the value at a path such as `a.b.c` in a manifest's tree.

    Raises:
        ManifestError: the path is empty, or a part of it is a value and not a table.
    """
    *parents, last = path.split(".") if isinstance(path, str) else [""]
    if not last:
        raise ManifestError(f"setting {path!r}: write it as path.to.value")
    for parent in parents:
        child = tree.setdefault(parent, {})
        if child is False and parents[0] == "rules":
            child = tree[parent] = {}  # setting a value of a rule that is off (false) switches it on
        if not isinstance(child, dict):
            raise ManifestError(f"setting {path!r}: {parent!r} is a value, not a table")
        tree = child
    if value is True and parents == ["rules"] and isinstance(tree.get(last), dict) and "on" in tree[last]:
        tree[last]["on"] = True  # `rules.NAME=true` switches on a rule that has settings and `on = false`
        return
    as_list = isinstance(value, str) and _takes_list([*parents, last])
    tree[last] = [value] if as_list else copy.deepcopy(value)


def _takes_list(path: Sequence[str]) -> bool:
    """Whether the setting at a path is a list of strings, so that a single string may be given instead."""
    if path[:-1] in (["columns"], ["only"]):
        return True
    table = "flags.NAME" if path[0] == "flags" else ".".join(path[:-1])
    struct = TABLES.get(table)
    return struct is not None and get_type_hints(struct).get(path[-1]) == tuple[str, ...]


def parse(tree: Mapping[str, Any], origin: str) -> Manifest:
    """Check a manifest's tree and return the manifest, with the defaults of all rules and cleaners filled in.

    Raises:
        ManifestError: see `load`.
    """
    if beyond := parsing.beyond_64_bits(tree):
        raise ManifestError(f"{origin}: {beyond} is a whole number beyond 64 bits")
    for name, settings in tree["rules"].items() if isinstance(tree.get("rules"), Mapping) else ():
        if settings is not False and not isinstance(settings, Mapping):
            off = f"rules.{name} is {settings!r}: a rule is a table of its settings, or false"
            raise ManifestError(f"{origin}: {off}")
    try:
        manifest = msgspec.convert(tree, Manifest)
    except msgspec.ValidationError as error:
        raise ManifestError(f"{origin}: {_explain(str(error))}") from None
    if not NAME.fullmatch(manifest.name):
        raise ManifestError(f"{origin}: name {manifest.name!r} must be like 'laion-coco' (a-z, 0-9, + _ . -)")
    check_values(manifest, origin)
    own = plugins.registered(manifest.plugins)
    rules = {name: _rule(name, settings, own.rules, origin) for name, settings in manifest.rules.items()}
    given = {name: manifest.cleaners.get(name, {}) for name in (*manifest.clean, *manifest.cleaners)}
    cleaners = {
        name: _fill(f"cleaner {name!r}", known, settings, origin)
        for name, settings, known in _known("cleaner", given, {**filters.CLEANERS, **own.cleaners}, origin)
    }
    check_against(rules, origin)
    check_near(rules.get("near_duplicate"), manifest.scorer, origin)
    check_models(manifest, origin)
    return msgspec.structs.replace(manifest, rules=rules, cleaners=cleaners)


def _add_installed(tree: dict[str, Any]) -> None:
    """Add the installed plug-ins that bring a rule, cleaner or adapter that the manifest uses and does not have yet."""
    named, given = tree.get("plugins", []), {}
    for kind, key, known in (
        ("rules", "rules", {*filters.RULES, *_on_columns(tree.get("rules"))}),
        ("cleaners", "clean", filters.CLEANERS),
        ("adapters", "adapter", plugins.TAKEN),
    ):
        names = tree.get(key, ())
        names = [names] if isinstance(names, str) else names
        given[kind] = [n for n in names if n not in known] if isinstance(names, list | dict) else []
    try:
        entries = msgspec.convert(named, tuple[plugins.Plugin, ...])
    except msgspec.ValidationError:
        return  # `parse` says what is wrong
    own = plugins.registered(entries)
    missing = {kind: set(names) - set(getattr(own, kind)) for kind, names in given.items()}
    if found := plugins.offering(missing, [one.name for one in entries]):
        tree["plugins"] = [*named, *found]


def _on_columns(rules: Any) -> list[str]:
    """Return the names of the rules that judge a published column: they need no function of their own."""
    given = rules.items() if isinstance(rules, Mapping) else ()
    return [name for name, settings in given if isinstance(settings, Mapping) and "column" in settings]


def _rule(
    name: str, given: Mapping[str, Any] | Literal[False], own: Mapping[str, Rule], origin: str
) -> dict[str, Any] | Literal[False]:
    """Return a rule's settings with all defaults filled in; False if the rule is off.

    A rule that has no function of its name judges a published column, which its setting `column` names.
    """
    if given is False or (given.get("on") is False and set(given) == {"on"}):
        return False
    settings = {key: value for key, value in given.items() if key != "on"}
    if name not in {*filters.RULES, *own} and ("column" not in settings or not filters.SLUG.fullmatch(name)):
        hint = nearest(name, {*filters.RULES, *own}) or ": a rule of your own names the column that it judges"
        raise ManifestError(f"{origin}: no rule {name!r}{hint}")
    try:
        known = own[name] if name in own else filters.find_rule(name, plugins.without_owner(settings))
    except (TypeError, KeyError):  # a list; an empty name
        raise ManifestError(
            f"{origin}: rule {name!r}: 'column' is a name, not {settings['column']!r}"
        ) from None
    filled = _fill(f"rule {name!r}", known, settings, origin)
    if given.get("on", True) not in (True, False):
        raise ManifestError(f"{origin}: rule {name!r}: 'on' is true or false, not {given['on']!r}")
    return filled if given.get("on", True) else {"on": False, **filled}


def _known(
    kind: str, given: Mapping[str, Any], registry: Mapping[str, Any], origin: str
) -> Iterable[tuple[str, Any, Any]]:
    for name, settings in given.items():
        if name not in registry:
            raise ManifestError(f"{origin}: no {kind} {name!r}{nearest(name, registry)}")
        yield name, settings, registry[name]


def _fill(who: str, known: Rule | Cleaner, given: Mapping[str, Any], origin: str) -> dict[str, Any]:
    """Return the settings of a rule or cleaner in their declared order, with defaults, checked; `who` is its name."""
    if own := getattr(known, "owner", None):
        given = plugins.without_owner(given, own, f"{origin}: {who}")
    for name in given:
        if name not in known.settings:
            has = f" (it has: {', '.join(known.settings) or 'none'})"
            raise ManifestError(f"{origin}: {who} has no setting {name!r}{has}")
    filled = {}
    for name, setting in known.settings.items():
        value = given.get(name, setting.default)
        if value is REQUIRED:
            raise ManifestError(f"{origin}: {who} needs the setting {name!r}")
        try:
            filled[name] = msgspec.convert(value, setting.type)
        except msgspec.ValidationError as error:
            fault = plain_fault(str(error), setting.type)
            said = fault if repr(value) in fault else f"{fault} ({value!r})"
            raise ManifestError(f"{origin}: {who}, setting {name!r}: {said}") from None
        if filled[name] != filled[name]:
            raise ManifestError(f"{origin}: {who}, setting {name!r} must be a number, not {value!r}")
    try:
        known.check(**filled)
    except ValueError as error:
        raise ManifestError(f"{origin}: {who}: {error}") from None
    return {plugins.PLUGIN: own.sha256, **filled} if own else filled


def _explain(message: str) -> str:
    """Return msgspec's message in plain words; for a key that no manifest has, with the tables that have it."""
    found = re.fullmatch(r"Object contains unknown field `(.+?)`(?: - at `\$\.?(.*)`)?", message)
    if not found:
        return plain_fault(message, Manifest)
    key, table = found.groups()
    where = f"[{table}]" if table else "the manifest"
    if not table and (holders := _holders(key)):
        return f"{where} has no key {key!r}: write {' or '.join(holders)}"
    known = keys(type_at(Manifest, PART.findall(table or "")))
    return f"{where} has no key {key!r}{nearest(key, known)}"


def _holders(key: str) -> list[str]:
    """Return the paths of what is named `key`: `rules.clip_score_too_low.min_score`, `rules.unsafe`, say."""
    of_names = [f"{table}.{key}" for table in ("rules", "cleaners") if key in getattr(filters, table.upper())]
    of_rules = [f"rules.{name}.{key}" for name, rule in filters.RULES.items() if key in rule.settings]
    of_tables = [f"{name}.{key}" for name, of in TABLES.items() if name and key in of.__struct_fields__]
    return [*of_names, *of_rules, *(one for one in of_tables if ".NAME." not in one)]


TABLES: dict[str, type[msgspec.Struct]] = {
    "": Manifest,
    "paper": Paper,
    "input": InputSettings,
    "input.join.NAME": JoinSettings,
    "fetch": FetchSettings,
    "image": ImageSettings,
    "documents": DocumentSettings,
    "shard": ShardSettings,
    "drops": DropSettings,
    "scorer": ScorerSettings,
    "flags.NAME": FlagSettings,
    "heads.NAME": HeadSettings,
}


def scorer_settings(given: Mapping[str, Any]) -> ScorerSettings:
    """Return the settings of the table `[scorer]` for these values.

    Raises:
        ManifestError: a value has the wrong type, or is not among the allowed ones.
    """
    try:
        return msgspec.convert(given, ScorerSettings)
    except msgspec.ValidationError as error:
        raise ManifestError(f"[scorer]: {plain_fault(str(error), ScorerSettings)}") from None
