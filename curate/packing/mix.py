"""The mixture: how often the samples of each data set and task are seen, from a `mix.toml`.

    by = "tokens"                # what weights are shares of: samples (the default) or tokens

    [[source]]                   # the first source that matches a sample counts
    dataset = "grit"             # or a list; left out: any data set
    task = "grounded_caption"    # or a list; left out: any task
    weight = 2.0                 # its share of the mixture, beside the other sources' weights,
    max_epochs = 3.0             # and how often a sample may be seen for its sake (1 unless given)

    [[source]]
    task = "text"
    epochs = 0.5                 # or plainly how often; 0 leaves the source out

Weighted sources are seen as often as their shares and caps allow: the scarcest source, seen `max_epochs`
times, sets the size of the mixture. Without a mix every sample is seen once.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal, NamedTuple

import msgspec

from curate.errors import ManifestError
from curate.manifest import parsing
from curate.manifest.declared import plain_fault

Group = tuple[str, str]  # data set and task


class Amount(NamedTuple):
    """The size of a group (the samples of one data set and task)."""

    samples: int = 0
    tokens: int = 0


class MixSource(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One `[[source]]`."""

    dataset: str | tuple[str, ...] = ""
    task: str | tuple[str, ...] = ""
    weight: float | None = None
    epochs: float | None = None
    max_epochs: float = 1.0

    def matches(self, group: Group) -> bool:
        """Whether this source has the samples of a data set and task."""
        return _is_one_of(group[0], self.dataset) and _is_one_of(group[1], self.task)


def _is_one_of(name: str, wanted: str | tuple[str, ...]) -> bool:
    return wanted == "" or name == wanted or (isinstance(wanted, tuple) and name in wanted)


class Mix(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A `mix.toml`."""

    by: Literal["samples", "tokens"] = "samples"
    source: tuple[MixSource, ...] = (MixSource(epochs=1.0),)

    @property
    def needs_tokens(self) -> bool:
        """Whether tokens have to be counted before anything can be drawn."""
        return self.by == "tokens" and any(source.weight is not None for source in self.source)


class ScaledMix(Mix, frozen=True):
    """The mixture of a recipe; its weights are numbers of samples, of which at most the share `scale` is taken.

    Sources for which the data has no samples are left out, and the others keep their shares.
    """

    scale: float = 1.0


def load(path: str) -> Mix:
    """Read a `mix.toml`.

    Raises:
        ManifestError: it cannot be read, or a key, value or combination is wrong.
    """
    try:
        mix = msgspec.convert(parsing.read(Path(path), f"the mix {path}"), Mix)
    except msgspec.ValidationError as error:
        raise ManifestError(f"{path}: {plain_fault(str(error), Mix)}") from None
    for number, source in enumerate(mix.source, 1):
        check_source(source, f"{path}: source {number}")
    return mix


def check_source(source: MixSource, named: str, most: float = 1000) -> None:
    """Check the numbers of a source; `named` is its name in the error, `most` the highest weight.

    Raises:
        ManifestError: a number is out of its range, or there is not exactly one of weight and epochs.
    """
    if (source.weight is None) == (source.epochs is None):
        raise ManifestError(f"{named} needs either weight or epochs")
    given = {"weight": source.weight, "epochs": source.epochs, "max_epochs": source.max_epochs}
    for name, value in given.items():
        highest = most if name == "weight" else 1000
        if value is not None and not 0 <= value <= highest:
            raise ManifestError(f"{named}: {name} must be from 0 to {highest:g}, not {value}")


def epochs(mix: Mix, amounts: Mapping[Group, Amount]) -> dict[Group, float]:
    """Return how often the samples of each group are seen.

    Raises:
        ManifestError: no source matches a group, or a weighted source matches no samples.
    """
    owner, sizes = _sizes(mix, amounts)
    scale = _scale(mix, sizes)
    seen = [
        source.epochs if source.weight is None else scale * source.weight / max(size, 1)
        for source, size in zip(mix.source, sizes, strict=True)
    ]
    return {group: seen[number] or 0.0 for group, number in owner.items()}


def reached(mix: Mix, amounts: Mapping[Group, Amount]) -> dict[str, Any]:
    """Return the manifest's entry about a recipe; empty for a plain mix.

    It has the `scale` that was asked for, the `scale` that the data allows, and the sources without samples (`absent`).
    """
    if not isinstance(mix, ScaledMix):
        return {}
    sizes = _sizes(mix, amounts)[1]
    absent = [one for one, size in zip(mix.source, sizes, strict=True) if one.weight and not size]
    lacking = [{"dataset": one.dataset, "task": one.task} for one in absent]
    return {"recipe": {"asked": mix.scale, "scale": _scale(mix, sizes), "absent": lacking}}


def _sizes(mix: Mix, amounts: Mapping[Group, Amount]) -> tuple[dict[Group, int], list[int]]:
    """Return the source of each group (its number), and the size of each source in the mix's unit.

    Raises:
        ManifestError: no source matches a group.
    """
    sizes = [0] * len(mix.source)
    owner: dict[Group, int] = {}
    for group, amount in amounts.items():
        found = [number for number, source in enumerate(mix.source) if source.matches(group)]
        if not found:
            raise ManifestError(_unmatched(mix, f"{group[0]}'s {group[1]}"))
        owner[group] = found[0]
        sizes[found[0]] += amount.tokens if mix.by == "tokens" else amount.samples
    return owner, sizes


def _unmatched(mix: Mix, whose: str) -> str:
    if isinstance(mix, ScaledMix):
        return f"the recipe has no source for {whose}: pack without it, or give a .toml of your own with one"
    return f"no source of the mix matches {whose}: add one, with epochs = 0 to leave it out"


def _scale(mix: Mix, sizes: list[int]) -> float:
    """Return how many samples (or tokens) the mixture has for each unit of weight: as many as every source allows.

    Raises:
        ManifestError: a weighted source matches no samples.
    """
    allowed = [mix.scale] if isinstance(mix, ScaledMix) else []
    for number, (source, size) in enumerate(zip(mix.source, sizes, strict=True), 1):
        if source.weight:
            if not size:
                if isinstance(mix, ScaledMix):
                    continue
                raise ManifestError(f"source {number} of the mix has a weight, but the data has none of it")
            allowed.append(source.max_epochs * size / source.weight)
    return min(allowed, default=0.0)
