"""Read a manifest: the TOML file of a data set with what the command line changes, checked and filled in."""

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
from curate.manifest.declared import no_choice
from curate.manifest.given_values import assignments, fitting
from curate.manifest.pinning import pin
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

SAMPLES = "samples:"  # stands for their folder: a manifest resolves to the same wherever curate is installed
PAPER = "paper"  # the preset that switches nothing on: the manifest as it is
NAME = re.compile(r"[a-z0-9][a-z0-9+_.-]{0,63}")


def on_sample(manifest: Manifest) -> Manifest:
    """The manifest as it runs on its sample: local images are looked up among the sample's."""
    images = manifest.input.sample_images
    if not images or manifest.image.folder:
        return manifest
    image = msgspec.structs.replace(manifest.image, folder=f"{SAMPLES}{images}")
    return msgspec.structs.replace(manifest, image=image)


def image_folder(manifest: Manifest) -> Path | None:
    """The folder below which rows may name local images; None if they may not."""
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
    """The manifest of that name or file, changed by settings: `a.b.c=value` each, or values by their path.

    `preset` is one of the manifest's, whose rules are switched on before the settings are applied; `paper` has none.

    Raises:
        ManifestError: unknown name or preset, unreadable file, unknown key, wrong type or value; names the nearest
        known.
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
    """The manifest with values changed by their path, as `load` changes them.

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
    """What to do with an argument that is no manifest's name."""
    if Path(name).exists() or "://" in name:
        return f": that is an input; write `curate run MANIFEST --input {name}`"
    return nearest(name, builtin())


def assign(tree: dict[str, Any], path: str, value: Any) -> None:
    """Put a value at `a.b.c` of a manifest's tree.

    Raises:
        ManifestError: no path, or one through something that is not a table.
    """
    *parents, last = path.split(".") if isinstance(path, str) else [""]
    if not last:
        raise ManifestError(f"setting {path!r}: write it as path.to.value")
    for parent in parents:
        child = tree.setdefault(parent, {})
        if child is False and parents[0] == "rules":
            child = tree[parent] = {}  # a rule that was off is on again
        if not isinstance(child, dict):
            raise ManifestError(f"setting {path!r}: {parent!r} is a value, not a table")
        tree = child
    if value is True and parents == ["rules"] and isinstance(tree.get(last), dict) and "on" in tree[last]:
        tree[last]["on"] = True  # a rule that is ready and off
        return
    as_list = isinstance(value, str) and _takes_list([*parents, last])
    tree[last] = [value] if as_list else copy.deepcopy(value)


def _takes_list(path: Sequence[str]) -> bool:
    """Whether the setting at that path is a list of strings, for which a single one may stand."""
    if path[:-1] in (["columns"], ["only"]):
        return True
    table = "flags.NAME" if path[0] == "flags" else ".".join(path[:-1])
    struct = TABLES.get(table)
    return struct is not None and get_type_hints(struct).get(path[-1]) == tuple[str, ...]


def parse(tree: Mapping[str, Any], origin: str) -> Manifest:
    """Validate a manifest's tree; every rule and cleaner setting gets its default filled in.

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
    check_near(rules.get("near_duplicate"), manifest.scorer, origin)
    check_models(manifest, origin)
    return msgspec.structs.replace(manifest, rules=rules, cleaners=cleaners)


def _add_installed(tree: dict[str, Any]) -> None:
    """Add the installed plug-ins that bring a rule, cleaner or adapter which the manifest uses and nobody else has."""
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
    """The rules that judge a published column, and need no function of their name."""
    given = rules.items() if isinstance(rules, Mapping) else ()
    return [name for name, settings in given if isinstance(settings, Mapping) and "column" in settings]


def _rule(
    name: str, given: Mapping[str, Any] | Literal[False], own: Mapping[str, Rule], origin: str
) -> dict[str, Any] | Literal[False]:
    """A rule's settings, every default filled in; a rule on a published column names its `column`."""
    if given is False or (given.get("on") is False and set(given) == {"on"}):
        return False
    settings = {key: value for key, value in given.items() if key != "on"}
    if name not in {*filters.RULES, *own} and ("column" not in settings or not filters.SLUG.fullmatch(name)):
        hint = nearest(name, {*filters.RULES, *own}) or ": a rule of your own names the column that it judges"
        raise ManifestError(f"{origin}: no rule {name!r}{hint}")
    try:
        known = own[name] if name in own else filters.find_rule(name, plugins.without_owner(settings))
    except TypeError:
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
    """The settings in their declared order, given or default, each of its declared type, and tried out."""
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
            said = no_choice(str(error), setting.type) or f"{error}, not {value!r}"
            raise ManifestError(f"{origin}: {who}, setting {name!r}: {said}") from None
        if filled[name] != filled[name]:
            raise ManifestError(f"{origin}: {who}, setting {name!r} must be a number, not {value!r}")
    try:
        known.check(**filled)
    except ValueError as error:
        raise ManifestError(f"{origin}: {who}: {error}") from None
    return {plugins.PLUGIN: own.sha256, **filled} if own else filled


def _explain(message: str) -> str:
    """msgspec's message, with the nearest known key where one is unknown."""
    if said := no_choice(message, Manifest):
        return said
    found = re.fullmatch(r"Object contains unknown field `(.+?)`(?: - at `\$\.?(.*)`)?", message)
    if not found:
        return message.replace("`$.", "`")
    key, table = found.groups()
    struct = TABLES.get(table or "", Manifest)
    where = f"[{table}]" if table else "the manifest"
    if not table and (holders := _holders(key)):
        return f"{where} has no key {key!r}: write {' or '.join(holders)}"
    return f"{where} has no key {key!r}{nearest(key, struct.__struct_fields__)}"


def _holders(key: str) -> list[str]:
    """Where a setting of that name is: `rules.clip_score_too_low.min_score`, `image.max_side`."""
    of_rules = [f"rules.{name}.{key}" for name, rule in filters.RULES.items() if key in rule.settings]
    of_tables = [f"{name}.{key}" for name, of in TABLES.items() if name and key in of.__struct_fields__]
    return [*of_rules, *(one for one in of_tables if ".NAME." not in one)]


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
    """The `[scorer]` table that these values make.

    Raises:
        ManifestError: a value of the wrong type, or not among those it may be.
    """
    try:
        return msgspec.convert(given, ScorerSettings)
    except msgspec.ValidationError as error:
        said = no_choice(str(error), ScorerSettings) or error
        raise ManifestError(f"[scorer]: {said}") from None
