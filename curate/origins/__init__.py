"""Where samples come from: rows of tables, pages of documents, seeds.

An origin is one input, opened. Whatever it holds, it is a numbered sequence of things that samples are made
of, so that a unit of work is a range of it.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Protocol

import pyarrow as pa

from curate.errors import InputError
from curate.manifest import Manifest, samples
from curate.sources import Input, expand


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
        """Whether it has, or will be given, the columns that a rule reads."""

    def close(self) -> None:
        """Let go of files and processes."""


def find(manifest: Manifest, uris: Sequence[str]) -> list[Input]:
    """The inputs that were given, else the manifest's, else its sample.

    Raises:
        InputError: nothing is there.
    """
    if manifest.adapter == "synthdog":
        from curate.origins.seeds import seeds

        return [seeds(manifest, uris)]
    given = uris or manifest.input.uris or [str(sample(manifest))]
    if manifest.adapter in DOCUMENTS:
        from curate.origins.collection import collect

        return collect(given, DOCUMENTS[manifest.adapter])
    return expand(given)


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

    Raises:
        InputError: it cannot be read, or lacks a column.
        MachineError: what its adapter needs is not installed.
    """
    if manifest.adapter == "pdf":
        from curate.origins.pages import Pdfs

        return Pdfs(found, manifest, work, children)
    if manifest.adapter == "html":
        from curate.origins.pages import WebPages

        return WebPages(found, manifest, work)
    if manifest.adapter == "synthdog":
        from curate.origins.seeds import Seeds

        return Seeds(manifest, children)
    from curate.origins.rows import Rows

    return Rows(found, manifest, work)


DOCUMENTS: Mapping[str, tuple[str, ...]] = {
    "pdf": (".pdf",),
    "html": (".html", ".htm", ".xhtml", ".mhtml", ".mht"),
}
