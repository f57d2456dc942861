"""Pairs from web pages: the address and the alternative text of each picture that a page shows with such a text.

Pages are loose files, members of tars and zips, or in a crawl's WARC files. They are parsed in child processes.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future
from functools import cached_property
from itertools import islice
from pathlib import Path
from typing import Any

import msgspec
import pyarrow as pa
import pyarrow.ipc as ipc

import filters
from curate.adapters import adapter
from curate.children.pool import Children, Limits, Outcome
from curate.errors import MachineError
from curate.manifest.settings import Manifest
from curate.origins import Kind, given
from curate.origins.collection import Collection, CollectionEntry, collect
from curate.origins.table_rows import ALWAYS
from curate.schema import SAMPLE
from curate.sources import DETAIL, PROBLEM, Input

SUFFIXES = (".html", ".htm", ".xhtml")
MEDIA_TYPES = ("text/html", "application/xhtml+xml")
ADAPTER = "pairs"
TOGETHER = 256  # pages whose pictures make one table
AHEAD = 16  # pages that are parsed ahead, for each child process

PICTURES = pa.schema(
    [
        ("url", pa.large_string()),
        ("text", pa.large_string()),
        ("page_url", pa.large_string()),
        ("page_title", pa.large_string()),
    ]
)
RAW = pa.schema([*PICTURES, (PROBLEM, pa.string()), (DETAIL, pa.string())])


class AltTexts:
    """The pages of one input, and the pictures on them."""

    def __init__(self, found: Input, manifest: Manifest, work: Path, children: int) -> None:
        """List the pages.

        Raises:
            InputError: it cannot be read, or holds none.
            MachineError: what reads pages is not installed.
        """
        _check_machine()
        self._manifest = msgspec.structs.replace(manifest, adapter=ADAPTER)
        self._adapt, self._count = adapter(ADAPTER), children
        self._pages = Collection(found, SUFFIXES, MEDIA_TYPES, work)
        self._archive = found.name  # empty where the input is a folder

    @property
    def size(self) -> int:
        """See `Origin.size`."""
        return len(self._pages.documents)

    @property
    def settled(self) -> Mapping[str, Mapping[str, Any]]:
        """See `Origin.settled`: none."""
        return {}

    def read(self, start: int, stop: int) -> Iterator[pa.Table]:
        """See `Origin.read`: a table has the pictures of up to TOGETHER pages; a page without any is a dropped row."""
        pages = self._parsed(self._pages.documents[start:stop])
        while some := list(islice(pages, TOGETHER)):
            yield self._samples(some)

    def judges(self, rule: str) -> bool:
        """See `Origin.judges`: rules may read the text, the URL, and the image's size."""
        columns = filters.find_rule(rule, self._manifest.active_rules()[rule]).needed
        return columns <= {"text", "url", "width", "height", *ALWAYS}

    def close(self) -> None:
        """See `Origin.close`."""
        self._pages.close()
        if "_children" in self.__dict__:
            self._children.close()

    @cached_property
    def _children(self) -> Children:
        documents = self._manifest.documents
        limits = Limits(timeout_s=documents.page_timeout_s, memory_bytes=documents.memory_bytes)
        return Children("curate.origins.alt_text_pages:parser", self._count, limits)

    def _parsed(self, entries: Sequence[CollectionEntry]) -> Iterator[tuple[CollectionEntry, pa.Table]]:
        """Each page with its pictures (rows of RAW), in order; some pages are parsed ahead."""
        flying: deque[tuple[CollectionEntry, Future[Outcome] | tuple[str, str]]] = deque()
        for entry in entries:
            content = self._content(entry)
            if isinstance(content, bytes):
                asked = msgspec.msgpack.encode((content, entry.content_type, entry.url))
                flying.append((entry, self._children.submit(asked)))
            else:
                flying.append((entry, content))
            if len(flying) >= AHEAD * self._count:
                yield _landed(*flying.popleft())
        while flying:
            yield _landed(*flying.popleft())

    def _content(self, entry: CollectionEntry) -> bytes | tuple[str, str]:
        """A page's bytes, or the reason and detail why there are none."""
        most = self._manifest.documents.max_bytes
        if entry.dropped is not None:
            return entry.dropped, entry.url or ""
        try:
            content = self._pages.content(entry, most)
        except Exception as error:  # whatever an archive may raise costs this page alone
            return str(getattr(error, "reason", "unreadable")), f"{type(error).__name__}: {error}"
        return content if len(content) <= most else ("too_large", f"more than {most} bytes")

    def _samples(self, pages: Sequence[tuple[CollectionEntry, pa.Table]]) -> pa.Table:
        """Return the samples of some pages; `source` is `PAGE#PICTURE` (from 0) or `ARCHIVE!PAGE#PICTURE`."""
        table = self._adapt(
            pa.concat_tables([found for _, found in pages]), self._manifest, pages[0][0].name, 0
        )
        names: list[str] = []
        for entry, found in pages:
            inside = self._archive and self._archive != entry.name
            name = f"{self._archive}!{entry.name}" if inside else entry.name
            names += [f"{name}#{number}" for number in range(found.num_rows)]
        column = pa.array(names, SAMPLE.field("source").type)
        return table.set_column(SAMPLE.get_field_index("source"), SAMPLE.field("source"), column)


def _landed(
    entry: CollectionEntry, found: Future[Outcome] | tuple[str, str]
) -> tuple[CollectionEntry, pa.Table]:
    if isinstance(found, tuple):
        return entry, _nothing(*found)
    outcome = found.result()
    if outcome.value is None:
        return entry, _nothing(outcome.reason or "crashed", outcome.detail or "")
    batch = ipc.read_record_batch(pa.py_buffer(outcome.value), PICTURES)
    table = pa.Table.from_batches([batch])
    nothing = pa.nulls(table.num_rows, pa.string())
    return entry, table.append_column(PROBLEM, nothing).append_column(DETAIL, nothing)


def _nothing(reason: str, detail: str) -> pa.Table:
    """Return the row (of RAW) of a page without pictures."""
    row = dict.fromkeys(PICTURES.names) | {PROBLEM: reason, DETAIL: detail}
    return pa.Table.from_pylist([row], RAW)


def parser(_: bytes) -> Callable[[bytes], bytes]:
    """Return the function that a child process calls for each page; it returns the pictures as an Arrow message."""
    from renderers.alt_texts import find_pictures

    def parse(asked: bytes) -> bytes:
        content, content_type, url = msgspec.msgpack.decode(asked)
        found: bytes = find_pictures(content, content_type, url).serialize().to_pybytes()
        return found

    return parse


def _check_machine() -> None:
    """Check that the packages that read pages are installed.

    Raises:
        MachineError: they are not.
    """
    try:
        import renderers.alt_texts
    except ImportError as error:
        raise MachineError(f"{error}: alt texts need pip install 'curate[html]' -c constraints.txt") from None
    assert renderers.alt_texts.PICTURES.equals(PICTURES)


def find_pages(manifest: Manifest, uris: Sequence[str]) -> list[Input]:
    """Find the folders and archives of pages at `uris` (see `Kind.find`)."""
    return collect(given(manifest, uris), SUFFIXES)


def open_pages(found: Input, manifest: Manifest, work: Path, children: int) -> AltTexts:
    """Open the pages of an input (see `open_origin`); `children` child processes parse them."""
    return AltTexts(found, manifest, work, children)


KIND = Kind(find_pages, open_pages)
