"""Plain text files, each of which is one sample: the loose files of a folder, or the members of a tar or zip."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa

import filters
from curate.adapters import adapter, check_task
from curate.manifest.settings import Manifest
from curate.origins import Kind, Origin, given
from curate.origins.collection import Collection, CollectionEntry, collect
from curate.origins.table_rows import ALWAYS, find_tables, open_rows
from curate.sources import DETAIL, FORMATS, PROBLEM, Input, expand

SUFFIXES = (".txt",)
TEXT_ARCHIVES = (".tar", ".tar.gz", ".tgz", ".zip")  # of text files
BATCH_BYTES = 32 * 2**20

RAW = pa.schema([("text", pa.binary()), ("name", pa.string()), (PROBLEM, pa.string()), (DETAIL, pa.string())])


class Texts:
    """The documents of a folder or archive."""

    def __init__(self, found: Input, manifest: Manifest, work: Path) -> None:
        """List the documents.

        Raises:
            InputError: it cannot be read, or holds none.
            ManifestError: the adapter has no such task.
        """
        check_task(manifest)
        self._documents = Collection(found, SUFFIXES, ("text/plain",), work, manifest.input.max_expansion)
        self._manifest, self._adapt = manifest, adapter(manifest.adapter)

    @property
    def settled(self) -> Mapping[str, Mapping[str, Any]]:
        """See `Origin.settled`: none."""
        return {}

    @property
    def size(self) -> int:
        """See `Origin.size`."""
        return len(self._documents.documents)

    def read(self, start: int, stop: int) -> Iterator[pa.Table]:
        """See `Origin.read`. A document that cannot be read is dropped as `unreadable` or `too_large`."""
        rows, size, at = [], 0, start
        for entry in self._documents.documents[start:stop]:
            rows.append(self._row(entry))
            size += len(rows[-1]["text"] or b"")
            if size >= BATCH_BYTES:
                yield self._samples(rows, at)
                rows, size, at = [], 0, at + len(rows)
        if rows:
            yield self._samples(rows, at)

    def judges(self, rule: str) -> bool:
        """See `Origin.judges`: rules may read the text, and nothing of an image."""
        return filters.find_rule(rule, self._manifest.active_rules()[rule]).needed <= {"text", *ALWAYS}

    def close(self) -> None:
        """See `Origin.close`."""
        self._documents.close()

    def _row(self, entry: CollectionEntry) -> dict[str, bytes | str | None]:
        row: dict[str, bytes | str | None] = {"text": None, "name": entry.name, PROBLEM: entry.dropped}
        if entry.dropped is not None:
            return row | {DETAIL: entry.url}
        limit = self._manifest.documents.max_bytes
        try:
            content = self._documents.content(entry, limit)
        except (OSError, ValueError, KeyError, RuntimeError) as error:
            return row | {PROBLEM: "unreadable", DETAIL: str(error)[:200]}
        if len(content) > limit:
            return row | {PROBLEM: "too_large", DETAIL: f"more than {limit} bytes"}
        return row | {"text": content.removeprefix(b"\xef\xbb\xbf")}

    def _source(self, name: str) -> str:
        """Return the value of `source` for a document: `NAME#0`, or `ARCHIVE!NAME#0`.

        An archive without documents is listed under its own name, which is then the value.
        """
        archive = self._documents.input.name
        if name == archive:
            return name
        return f"{archive}!{name}#0" if archive else f"{name}#0"

    def _samples(self, rows: list[dict[str, bytes | str | None]], at: int) -> pa.Table:
        names = pa.array([self._source(str(row["name"])) for row in rows], pa.string())
        table = self._adapt(pa.Table.from_pylist(rows, RAW), self._manifest, self._documents.input.name, at)
        return table.set_column(table.schema.get_field_index("source"), table.schema.field("source"), names)


def find_texts(manifest: Manifest, uris: Sequence[str]) -> list[Input]:
    """Find the tables of texts, and the folders and archives of text files, at `uris` (see `Kind.find`)."""
    if manifest.input.format != "auto":
        return find_tables(manifest, uris)
    known = (*FORMATS, *SUFFIXES, *TEXT_ARCHIVES)
    found = {uri: expand([uri], known) for uri in given(manifest, uris)}
    tables = {one.uri: one for files in found.values() for one in files if not is_texts(one)}
    loose = [uri for uri, files in found.items() if any(map(is_texts, files))]
    return [*tables.values(), *(one for one in collect(loose, SUFFIXES) if is_texts(one))]


def is_texts(found: Input) -> bool:
    """Whether an input holds text files, and not a table."""
    return not found.name or found.name.lower().endswith((".txt", *TEXT_ARCHIVES))


def open_texts(found: Input, manifest: Manifest, work: Path, children: int) -> Origin:
    """Open text files or a table of texts (see `open_origin`); neither uses child processes."""
    if manifest.input.format == "auto" and is_texts(found):
        return Texts(found, manifest, work)
    return open_rows(found, manifest, work, children)


KIND = Kind(find_texts, open_texts, selects=True)
