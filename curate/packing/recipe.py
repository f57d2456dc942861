"""Recipes: the data of a stage of training, in `manifests/recipes/NAME.toml` or in a file of the user's own.

    name, title, from, notes     what the recipe is, and the source of its numbers
    image_side, trained          pixels of the images, and the parts that are trained (information for the trainer)
    [pack]                       settings of `curate pack`
    [[source]]                   a source of the mixture: data set, task (or a list of tasks), number of samples

`--scale` takes that share of every number of samples. If the data has fewer samples (each seen at most `max_epochs`
times), the whole mixture shrinks, so that the shares stay. Sources for which the data has no samples are left out.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import msgspec

from curate.errors import ManifestError, nearest
from curate.manifest import parsing
from curate.manifest.builtin_files import folder
from curate.manifest.declared import plain_fault
from curate.packing.mix import MixSource, ScaledMix, check_source

MAX_SCALE = 1000.0


class RecipeSource(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One `[[source]]`: so many samples of a data set (empty: of any) and task, each `max_epochs` times at most."""

    samples: float
    dataset: str | tuple[str, ...] = ""
    task: str | tuple[str, ...] = ""
    max_epochs: float = 1.0


class TrainingRecipe(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A recipe file."""

    name: str
    title: str
    image_side: int
    source_of_numbers: str = msgspec.field(name="from", default="")
    notes: str = ""
    trained: tuple[str, ...] = ()
    pack: dict[str, Any] = {}
    source: tuple[RecipeSource, ...] = ()

    def mix(self, scale: float) -> ScaledMix:
        """Return the mixture, with the share `scale` of every number of samples."""
        sources = [
            MixSource(one.dataset, one.task, weight=one.samples, max_epochs=one.max_epochs)
            for one in self.source
        ]
        return ScaledMix(source=tuple(sources), scale=scale)


def recipe_names() -> list[str]:
    """Return the names of the built-in recipes, sorted."""
    return sorted(path.stem for path in (folder() / "recipes").glob("*.toml"))


def load_recipe(name: str) -> TrainingRecipe:
    """Load a built-in recipe by its name, or a recipe from a `.toml` file.

    Raises:
        ManifestError: there is no such recipe, or a key or value in it is wrong.
    """
    path = Path(name) if name.endswith(".toml") else folder() / "recipes" / f"{name}.toml"
    if not name.endswith(".toml") and name not in recipe_names():
        raise ManifestError(f"no recipe {name!r}{nearest(name, recipe_names())}")
    try:
        recipe = msgspec.convert(parsing.read(path, f"the recipe {name}"), TrainingRecipe)
    except msgspec.ValidationError as error:
        raise ManifestError(f"recipe {name}: {plain_fault(str(error), TrainingRecipe)}") from None
    if not recipe.source:
        raise ManifestError(f"recipe {name} has no source")
    for number, source in enumerate(recipe.mix(1).source, 1):
        check_source(source, f"recipe {name}: source {number}", most=1e12)
    return recipe
