"""The mixture: how often the samples of each data set and task are seen, from a `mix.toml`.

    by = "tokens"                # what weights are shares of: samples (the default) or tokens

    [[source]]                   # the first source that matches a sample counts
    dataset = "grit"             # left out: any data set
    task = "grounded_caption"    # left out: any task
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
from typing import Literal, NamedTuple

import msgspec

from curate.errors import ManifestError
from curate.manifest import parsing

Group = tuple[str, str]  # data set and task


class Amount(NamedTuple):
    """How much there is of a group."""

    samples: int = 0
    tokens: int = 0


class MixSource(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One `[[source]]`."""

    dataset: str = ""
    task: str = ""
    weight: float | None = None
    epochs: float | None = None
    max_epochs: float = 1.0

    def matches(self, group: Group) -> bool:
        """Whether samples of that data set and task are this source's."""
        return self.dataset in ("", group[0]) and self.task in ("", group[1])


class Mix(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A `mix.toml`."""

    by: Literal["samples", "tokens"] = "samples"
    source: tuple[MixSource, ...] = (MixSource(epochs=1.0),)

    @property
    def needs_tokens(self) -> bool:
        """Whether tokens have to be counted before anything can be drawn."""
        return self.by == "tokens" and any(source.weight is not None for source in self.source)


def load(path: str) -> Mix:
    """The mixture in that file.

    Raises:
        ManifestError: it cannot be read, or a key, value or combination is wrong.
    """
    try:
        mix = msgspec.convert(parsing.read(Path(path), f"the mix {path}"), Mix)
    except msgspec.ValidationError as error:
        raise ManifestError(f"{path}: {error}") from None
    for number, source in enumerate(mix.source, 1):
        if (source.weight is None) == (source.epochs is None):
            raise ManifestError(f"{path}: source {number} needs either weight or epochs")
        given = {"weight": source.weight, "epochs": source.epochs, "max_epochs": source.max_epochs}
        for name, value in given.items():
            if value is not None and not 0 <= value <= 1000:
                raise ManifestError(f"{path}: source {number}: {name} must be from 0 to 1000, not {value}")
    return mix


def epochs(mix: Mix, amounts: Mapping[Group, Amount]) -> dict[Group, float]:
    """How often each group's samples are seen.

    Raises:
        ManifestError: a group that no source matches, or a weighted source that nothing matches.
    """
    sizes = [0] * len(mix.source)
    owner: dict[Group, int] = {}
    for group, amount in amounts.items():
        found = [number for number, source in enumerate(mix.source) if source.matches(group)]
        if not found:
            raise ManifestError(
                f"no source of the mix matches {group[0]}'s {group[1]}: "
                "add one, with epochs = 0 to leave it out"
            )
        owner[group] = found[0]
        sizes[found[0]] += amount.tokens if mix.by == "tokens" else amount.samples
    scale = _scale(mix, sizes)
    seen = [
        source.epochs if source.weight is None else scale * source.weight / max(size, 1)
        for source, size in zip(mix.source, sizes, strict=True)
    ]
    return {group: seen[number] or 0.0 for group, number in owner.items()}


def _scale(mix: Mix, sizes: list[int]) -> float:
    """The size of the mixture per unit of weight."""
    allowed = []
    for number, (source, size) in enumerate(zip(mix.source, sizes, strict=True), 1):
        if source.weight:
            if not size:
                raise ManifestError(f"source {number} of the mix has a weight, but the data has none of it")
            allowed.append(source.max_epochs * size / source.weight)
    return min(allowed, default=0.0)
