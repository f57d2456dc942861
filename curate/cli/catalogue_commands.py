"""The commands list and show, about manifests and recipes, and doctor, about this machine."""

from __future__ import annotations

import json
import sys
from typing import Annotated

import typer

from curate.cli.options import Json, Preset, Set
from curate.cli.showing import write_result


def list_manifests(
    recipes: Annotated[bool, typer.Option("--recipes", help="List the recipes for `pack --recipe`.")] = False,
    as_json: Json = False,
) -> None:
    """List the built-in manifests; with --recipes the built-in recipes of training stages."""
    listed = _recipes() if recipes else _manifests()
    if as_json:
        write_result(json.dumps(listed))
        return
    widths = {name: max(len(str(one[name])) for one in listed) for name in listed[0]}
    for one in listed:
        write_result("  ".join(f"{one[name]:{width}}" for name, width in widths.items()).rstrip())
    if not recipes:
        print("recipes of training stages, for `curate pack`: `curate list --recipes`", file=sys.stderr)


def _manifests() -> list[dict[str, str]]:
    from curate.manifest import load as manifests

    loaded = [manifests.load(name) for name in manifests.builtin()]
    return [{"name": one.name, "task": one.task, "title": one.title} for one in loaded]


def _recipes() -> list[dict[str, str]]:
    from curate.packing.recipe import load_recipe, recipe_names

    loaded = [load_recipe(name) for name in recipe_names()]
    return [{"name": one.name, "title": one.title} for one in loaded]


def show(
    manifest: Annotated[str, typer.Argument(help="A built-in name or the path of a .toml")],
    settings: Set = None,
    preset: Preset = "paper",
    as_json: Json = False,
) -> None:
    """Print one manifest as TOML, with every default filled in."""
    from curate.manifest import load as manifests
    from curate.manifest.toml import to_toml

    loaded = manifests.load(manifest, settings or [], preset)
    write_result(json.dumps(loaded.resolved()) if as_json else to_toml(loaded))


def doctor(as_json: Json = False) -> None:
    """Check what this machine has and lacks for curate, and say how to install what is missing."""
    from curate.cli.doctor import checks, report

    found = checks()
    if as_json:
        write_result(json.dumps(found))
    else:
        report(found)
