"""Where samples come from: rows of tables, pages of documents, seeds.

An origin is one input, opened. Whatever it holds, it is a numbered sequence of things that samples are made
of, so that a unit of work is a range of it.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import pyarrow as pa

from curate.errors import InputError, ManifestError, UnreadableInputError
from curate.manifest.builtin_files import samples
from curate.manifest.document_renderers import RENDERERS
from curate.manifest.settings import Manifest
from curate.plugins import registered
from curate.sources import Input


class Origin(Protocol):
    """One input, opened."""

    @property
    def size(self) -> int:
        """How many rows, documents or seeds it holds."""

    def read(self, start: int, stop: int) -> Iterator[pa.Table]:
        """The samples that [start, stop) of it gives, as tables of SAMPLE, in order.

        Raises:
            UnitError: they cannot be read now; they may be later.
        """

    def judges(self, rule: str) -> bool:
        """Whether it has, or will be given, the columns that a rule reads, or as many as the rule makes do with."""

    @property
    def settled(self) -> Mapping[str, Mapping[str, Any]]:
        """The rules by which `curate select` judged what it holds, with their settings then."""

    def close(self) -> None:
        """Let go of files and processes."""


@dataclass(frozen=True)
class Kind:
    """What one kind of origin does; each module named in KINDS holds one as `KIND`."""

    find: Callable[
        [Manifest, Sequence[str]], list[Input]
    ]  # the inputs at these URIs; none given: see `given`
    open: Callable[[Input, Manifest, Path, int], Origin]  # see `open_origin`
    place: Callable[[Manifest], Manifest] = lambda manifest: (
        manifest
    )  # makes the paths of its settings absolute
    notice: Callable[[Manifest], str] = lambda manifest: ""  # what a run's first line says of its settings
    endless: int | None = None  # inputs taken where it never runs out and no limit is given
    limited: Callable[[Manifest, int], Manifest] = lambda manifest, limit: (
        manifest
    )  # the manifest of a run that takes so many rows, where they are not those that are counted
    selects: bool = False  # whether they may be tables, whose rows `curate select` keeps as they are


KINDS: Mapping[str, str] = {  # an adapter that is not here takes the rows of tables
    **dict.fromkeys(RENDERERS, "curate.origins.pages"),
    "alt_texts": "curate.origins.alt_text_pages",
    "synthdog": "curate.origins.seeds",
    "text": "curate.origins.texts",
}


def kind_of(manifest: Manifest) -> Kind:
    """The kind of origin that the manifest's adapter takes its samples from.

    Raises:
        ManifestError: a plug-in brings an adapter of a built-in one's name.
    """
    if manifest.adapter in KINDS and manifest.adapter in registered(manifest.plugins).adapters:
        raise ManifestError(f"adapter {manifest.adapter!r} is there already, built in: choose another name")
    kind: Kind = importlib.import_module(KINDS.get(manifest.adapter, "curate.origins.table_rows")).KIND
    return kind


def find(manifest: Manifest, uris: Sequence[str]) -> list[Input]:
    """The inputs that were given, else the manifest's, else its sample.

    Raises:
        InputError: nothing is there.
    """
    return kind_of(manifest).find(manifest, uris)


def given(manifest: Manifest, uris: Sequence[str]) -> Sequence[str]:
    """The URIs that were given, else the manifest's, else its sample's.

    Raises:
        InputError: there are none, and no sample.
    """
    return uris or manifest.input.uris or [str(sample(manifest))]


def sample(manifest: Manifest) -> Path:
    """Where the manifest's sample lies.

    Raises:
        InputError: it has none.
    """
    if not manifest.input.sample:
        raise InputError(f"manifest {manifest.name!r} has no sample: give it an --input")
    return samples() / manifest.input.sample


def open_origin(found: Input, manifest: Manifest, work: Path, children: int = 1) -> Origin:
    """The input as samples, made by so many child processes where it takes any.

    One whose content is damaged or empty is an `UnreadableInput`: a single dropped row.

    Raises:
        InputError: it cannot be had, or lacks a column.
        MachineError: what its adapter needs is not installed.
    """
    from curate.origins.lost_rows import UnreadableInput  # adapters, which are slow to import

    try:
        return kind_of(manifest).open(found, manifest, work, children)
    except UnreadableInputError as error:
        return UnreadableInput(found, manifest, error)
