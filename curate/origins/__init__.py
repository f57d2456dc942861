"""Origins: where samples come from, such as rows of tables, pages of documents, or seeds.

An origin is one opened input. Its rows, documents or seeds are numbered, so that a unit of work is a range of them.
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
        """Yield the samples of the rows, documents or seeds `start` to before `stop`, in order, as tables of SAMPLE.

        Raises:
            UnitError: they cannot be read now, but perhaps later.
        """

    def judges(self, rule: str) -> bool:
        """Whether the rule `rule` can judge its samples: they have, or will get, the columns that the rule needs."""

    @property
    def settled(self) -> Mapping[str, Mapping[str, Any]]:
        """The rules that `curate select` applied to its rows before: name -> the settings that it used."""

    def close(self) -> None:
        """Close its files and end its processes."""


@dataclass(frozen=True)
class Kind:
    """The functions of one kind of origin; each module named in KINDS has one as `KIND`."""

    find: Callable[
        [Manifest, Sequence[str]], list[Input]
    ]  # finds the inputs at the URIs; without URIs see `given`
    open: Callable[[Input, Manifest, Path, int], Origin]  # see `open_origin`
    place: Callable[[Manifest], Manifest] = lambda manifest: (
        manifest
    )  # makes the paths of its settings absolute
    notice: Callable[[Manifest], str] = lambda manifest: ""  # what a run's first line says of its settings
    endless: int | None = None  # for an origin that never ends: the rows of a run without a limit
    limited: Callable[[Manifest, int], Manifest] = lambda manifest, limit: (
        manifest
    )  # changes the manifest for a limit, if what is limited is not what the origin numbers
    selects: bool = False  # whether inputs may be tables, so that `curate select` can keep their rows


KINDS: Mapping[str, str] = {  # an adapter that is not here takes the rows of tables
    **dict.fromkeys(RENDERERS, "curate.origins.pages"),
    "alt_texts": "curate.origins.alt_text_pages",
    "synthdog": "curate.origins.seeds",
    "text": "curate.origins.texts",
}


def kind_of(manifest: Manifest) -> Kind:
    """Return the kind of origin that belongs to the manifest's adapter.

    Raises:
        ManifestError: a plug-in brings an adapter with the name of a built-in one.
    """
    if manifest.adapter in KINDS and manifest.adapter in registered(manifest.plugins).adapters:
        raise ManifestError(f"adapter {manifest.adapter!r} is there already, built in: choose another name")
    kind: Kind = importlib.import_module(KINDS.get(manifest.adapter, "curate.origins.table_rows")).KIND
    return kind


def find(manifest: Manifest, uris: Sequence[str]) -> list[Input]:
    """Find the inputs at `uris`; if these are empty, the manifest's inputs, or else its sample.

    Raises:
        InputError: there is no input.
    """
    return kind_of(manifest).find(manifest, uris)


def given(manifest: Manifest, uris: Sequence[str]) -> Sequence[str]:
    """Return `uris`; if these are empty, the manifest's URIs, or else the path of its sample.

    Raises:
        InputError: there are no URIs and no sample.
    """
    return uris or manifest.input.uris or [str(sample(manifest))]


def sample(manifest: Manifest) -> Path:
    """Return the path of the manifest's sample.

    Raises:
        InputError: the manifest has no sample.
    """
    if not manifest.input.sample:
        raise InputError(f"manifest {manifest.name!r} has no sample: give it an --input")
    return samples() / manifest.input.sample


def open_origin(found: Input, manifest: Manifest, work: Path, children: int = 1) -> Origin:
    """Open an input as an origin. An input with damaged or empty content gives an `UnreadableInput`: one dropped row.

    Args:
        found: the input.
        manifest: the manifest of the run.
        work: a folder for files that the origin needs.
        children: number of child processes, if the origin uses any.

    Raises:
        InputError: the input cannot be read, or lacks a column.
        MachineError: what its adapter needs is not installed.
    """
    from curate.origins.lost_rows import UnreadableInput  # adapters, which are slow to import

    try:
        return kind_of(manifest).open(found, manifest, work, children)
    except UnreadableInputError as error:
        return UnreadableInput(found, manifest, error)
