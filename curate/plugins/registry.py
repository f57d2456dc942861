"""Combines the plug-ins of a manifest, and finds installed plug-ins that bring something it lacks."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

from curate.errors import CurateError, ManifestError
from curate.plugins.content import CODE, Plugin, installed, loaded, read
from curate.plugins.owned import OwnAdapter, OwnCleaner, OwnRule, said
from curate.plugins.packages import entries

log = logging.getLogger("curate")


@dataclass(frozen=True)
class Registered:
    """The rules, cleaners and adapters of some plug-ins, by name."""

    rules: Mapping[str, OwnRule]
    cleaners: Mapping[str, OwnCleaner]
    adapters: Mapping[str, OwnAdapter]


@lru_cache(64)
def registered(plugins: tuple[Plugin, ...]) -> Registered:
    """Run plug-ins and return all that they register.

    Raises:
        ManifestError: a plug-in does not import, registers something invalid, or its content is not known in this
            process; or two plug-ins register the same name.
        MachineError: see `loaded`.
    """
    rules, cleaners, adapters = dict[str, OwnRule](), dict[str, OwnCleaner](), dict[str, OwnAdapter]()
    for plugin in plugins:
        for one in loaded(plugin).all:
            kinds: dict[type[Any], dict[str, Any]] = {
                OwnRule: rules,
                OwnCleaner: cleaners,
                OwnAdapter: adapters,
            }
            into = kinds[type(one)]
            if one.name in into:
                raise ManifestError(f"{said(one)} is there already, from {into[one.name].owner.name}")
            into[one.name] = one
    return Registered(rules, cleaners, adapters)


def offering(missing: Mapping[str, Iterable[str]], named: Iterable[str]) -> list[dict[str, str]]:
    """Return the installed plug-ins that bring a missing rule, cleaner or adapter (name and SHA-256 of each).

    A plug-in that does not load is skipped with a warning.

    Args:
        missing: the missing names, under the keys `rules`, `cleaners` and `adapters`.
        named: the plug-ins that the manifest has already, which are skipped.
    """
    wanted = {kind: set(names) for kind, names in missing.items()}
    found: list[dict[str, str]] = []
    if not any(wanted.values()):
        return found
    for entry in sorted(entries(), key=lambda entry: entry.name):
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


def require(plugins: Sequence[Plugin], files: Sequence[str] = ()) -> None:
    """Check that this process has the content of a finished run's plug-ins, after reading the plug-in files `files`.

    Raises:
        ManifestError: a file is missing, or its content is not that of the run's plug-in.
    """
    read(list(files), Path())
    for plugin in plugins:
        if plugin.name.endswith(".py") and plugin.sha256 not in CODE:
            raise ManifestError(
                f"the run used the plug-in {plugin.name} (SHA-256 {plugin.sha256}): give that file with --plugin"
            )
    registered(tuple(plugins))
