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
from curate.manifest.load import samples
from curate.manifest.settings import Manifest
from curate.sources import FORMATS, JOINED, PICKLES, Input, expand, together


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
    if manifest.adapter == "text" and manifest.input.format == "auto":
        return _texts(given)
    if manifest.input.join:
        return _joined(expand(given, (*FORMATS, *PICKLES)))
    return expand(given)


def _texts(uris: Sequence[str]) -> list[Input]:
    """Tables of texts, and text files by their folder or archive."""
    from curate.origins.collection import collect
    from curate.origins.texts import SUFFIXES

    known = (*FORMATS, *SUFFIXES, *TEXT_ARCHIVES)
    found = {uri: expand([uri], known) for uri in uris}
    tables = {one.uri: one for files in found.values() for one in files if not is_texts(one)}
    loose = [uri for uri, files in found.items() if any(map(is_texts, files))]
    return [*tables.values(), *(one for one in collect(loose, SUFFIXES) if is_texts(one))]


def is_texts(found: Input) -> bool:
    """Whether an input holds text files, and not a table."""
    return not found.name or found.name.lower().endswith((".txt", *TEXT_ARCHIVES))


def _joined(files: Sequence[Input]) -> list[Input]:
    """The files whose lists are joined as one input, after those whose rows stand by themselves."""
    parts = [one for one in files if one.name.lower().removesuffix(".gz").endswith(JOINED)]
    return [one for one in files if one not in parts] + ([together(parts)] if parts else [])


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
    if manifest.adapter == "html":
        from curate.origins.pages import WebPages

        return WebPages(found, manifest, work)
    if manifest.adapter in DOCUMENTS:
        from curate.origins.pages import InChildren

        return InChildren(found, manifest, work, children)
    if manifest.adapter == "synthdog":
        from curate.origins.seeds import Seeds

        return Seeds(manifest, children)
    if manifest.adapter == "text" and manifest.input.format == "auto" and is_texts(found):
        from curate.origins.texts import Texts

        return Texts(found, manifest, work)
    from curate.origins.rows import Rows

    return Rows(found, manifest, work)


TEXT_ARCHIVES = (".tar", ".tar.gz", ".tgz", ".zip")  # of text files

DOCUMENTS: Mapping[str, tuple[str, ...]] = {
    "pdf": (".pdf",),
    "html": (".html", ".htm", ".xhtml", ".mhtml", ".mht"),
}
