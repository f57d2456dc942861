"""What the plug-ins of a manifest bring together, and which installed ones bring what is missing."""

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
    """What some plug-ins bring, by name."""

    rules: Mapping[str, OwnRule]
    cleaners: Mapping[str, OwnCleaner]
    adapters: Mapping[str, OwnAdapter]


@lru_cache(64)
def registered(plugins: tuple[Plugin, ...]) -> Registered:
    """What these plug-ins bring together.

    Raises:
        ManifestError: one does not import, or registers what it may not; two bring the same name; the content of one
            is not at hand.
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
    """The installed plug-ins, beside those named, that bring a missing rule, cleaner or adapter.

    `missing` has names under `rules`, `cleaners` and `adapters`. A plug-in that does not load is passed over.
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
