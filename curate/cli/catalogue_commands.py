"""The commands that say what there is: list, show, doctor."""

from __future__ import annotations

import json
from typing import Annotated

import typer

from curate.cli.options import Json, Preset, Set


def list_manifests(as_json: Json = False) -> None:
    """The built-in manifests."""
    from curate.manifest import load as manifests

    loaded = [manifests.load(name) for name in manifests.builtin()]
    if as_json:
        print(json.dumps([{"name": m.name, "task": m.task, "title": m.title} for m in loaded]))
        return
    for one in loaded:
        print(f"{one.name:13} {one.task:16} {one.title}")


def show(
    manifest: Annotated[str, typer.Argument(help="A built-in name or the path of a .toml")],
    settings: Set = None,
    preset: Preset = "paper",
    as_json: Json = False,
) -> None:
    """One manifest with every default filled in, as TOML."""
    from curate.manifest import load as manifests
    from curate.manifest.toml import to_toml

    loaded = manifests.load(manifest, settings or [], preset)
    print(json.dumps(loaded.resolved()) if as_json else to_toml(loaded))


def doctor(as_json: Json = False) -> None:
    """Say what of this machine is ready, and how to mend what is not."""
    from curate.cli.doctor import checks, report

    found = checks()
    if as_json:
        print(json.dumps(found))
    else:
        report(found)
