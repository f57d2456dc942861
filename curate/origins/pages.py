"""Pages of documents: each document is rendered in a child process or a browser, and each page is a sample."""

from __future__ import annotations

import hashlib
import importlib
import logging
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import asdict, fields
from functools import cached_property
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

import msgspec
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.ipc as ipc

import filters
from curate.adapters.row_keys import keys, languages
from curate.children.pool import Children, Limits
from curate.errors import MachineError, ManifestError, nearest
from curate.manifest.declared import plain_fault
from curate.manifest.document_renderers import RENDERERS
from curate.manifest.settings import Manifest
from curate.origins import Kind, given
from curate.origins.address_list import AddressList
from curate.origins.collection import SAVE, Collection, CollectionEntry, collect, is_list
from curate.schema import conform
from curate.sources import Input
from renderers import NotReadyError
from renderers.schema import PAGES

T = TypeVar("T")
log = logging.getLogger(__name__)

STAGE = "render"
COPIED = ("image", "format", "width", "height", "text", "regions", "extra", "dropped", "detail")
UNDRAWN = "beyond_max_pages"
MOST_LIMITED = 10_000  # pages that one unit may be asked for
AHEAD = 16  # documents under way, or done before their turn, for each child process
HELD_BYTES = 64 * 2**20


class DocumentFailure(NamedTuple):
    """Why a document gave no page, or no further pages."""

    reason: str
    detail: str = ""


class Rendered(NamedTuple):
    """A rendered document: batches of the renderer's PAGES, and the failure at which rendering ended, if any."""

    entry: CollectionEntry
    digest: str  # SHA-256 (hex) of its bytes; empty if these could not be read
    pages: list[pa.RecordBatch]
    failure: DocumentFailure | None = None


class Documents:
    """Base of the origins that render documents; a subclass renders them in its own way."""

    def __init__(self, found: Input, manifest: Manifest, work: Path) -> None:
        """List the documents.

        Raises:
            InputError: it cannot be read, or holds none.
            ManifestError: a setting of the renderer is wrong.
            MachineError: what the renderer needs is not here.
        """
        self._manifest, self._renderer = manifest, RENDERERS[manifest.adapter]
        self._archive = found.name  # empty where the input is a folder
        self._module = module(self._renderer.module, self._renderer.extra)
        self._settings = settings_of(manifest, getattr(self._module, self._renderer.settings))
        self._documents = self._listed(found, work)
        if hasattr(self._module, "check_machine"):
            with machine_at_fault():
                self._module.check_machine(self._settings)

    def _listed(self, found: Input, work: Path) -> Collection | AddressList:
        """The documents of an input."""
        if found.name and is_list(found, self._renderer.suffixes):
            return AddressList(found, self._manifest, work)
        limit = self._manifest.input.max_expansion
        return Collection(found, self._renderer.suffixes, self._renderer.media_types, work, limit)

    @property
    def settled(self) -> Mapping[str, Mapping[str, Any]]:
        """See `Origin.settled`: none."""
        return {}

    @property
    def size(self) -> int:
        """See `Origin.size`."""
        return len(self._documents.documents)

    def read(self, start: int, stop: int) -> Iterator[pa.Table]:
        """See `Origin.read`: a table for each document, with its pages and a dropped row if it failed."""
        rendered = self._render(self._documents.documents[start:stop])
        tables = (to_samples(one, self._manifest, self._archive) for one in rendered)
        most = self._manifest.documents.max_rows
        return tables if most is None else first_rows(tables, most)

    def judges(self, rule: str) -> bool:
        """See `Origin.judges`: pages have all columns except a CLIP score and published columns."""
        columns = filters.find_rule(rule, self._manifest.active_rules()[rule]).needed
        return not any(name == "clip_score" or name.startswith(filters.PREFIX) for name in columns)

    def close(self) -> None:
        """See `Origin.close`."""
        self._documents.close()

    def _render(self, entries: Iterable[CollectionEntry]) -> Iterator[Rendered]:
        raise NotImplementedError

    def _content(self, entry: CollectionEntry) -> bytes | DocumentFailure:
        """Return the bytes of a document, or the reason why they cannot be read."""
        most = self._manifest.documents.max_bytes
        if entry.dropped is not None:
            return DocumentFailure(entry.dropped, entry.url or "")
        try:
            content = self._documents.content(entry, most)
        except Exception as error:  # whatever an archive may raise costs this document alone
            return DocumentFailure(
                str(getattr(error, "reason", "unreadable")), f"{type(error).__name__}: {error}"
            )
        if len(content) > most:
            return DocumentFailure("too_large", f"more than {most} bytes")
        return content if content else DocumentFailure("empty")


class InChildren(Documents):
    """Documents rendered by child processes, each of which works on one document at a time."""

    def __init__(self, found: Input, manifest: Manifest, work: Path, children: int) -> None:
        super().__init__(found, manifest, work)
        self._count = children

    def close(self) -> None:
        """See `Origin.close`."""
        super().close()
        if "_children" in self.__dict__:
            self._children.close()

    @cached_property
    def _children(self) -> Children:
        documents = self._manifest.documents
        limits = Limits(
            timeout_s=documents.page_timeout_s,
            stream_timeout_s=documents.timeout_s,
            memory_bytes=documents.memory_bytes,
            memory_by="pss" if self._renderer.memory_by == "pss" else "rlimit",
        )
        settings = msgspec.json.encode(
            [self._renderer.module, self._renderer.settings, asdict(self._settings)]
        )
        return Children("curate.origins.pages:renderer", self._count, limits, settings)

    def _render(self, entries: Iterable[CollectionEntry]) -> Iterator[Rendered]:
        return in_order(self._one, entries, self._count)

    def _one(self, entry: CollectionEntry) -> Rendered:
        content = self._content(entry)
        if isinstance(content, DocumentFailure):
            return Rendered(entry, "", [], content)
        pages: list[pa.RecordBatch] = []
        most, counted = self._manifest.documents.max_rows, 0
        digest = hashlib.sha256(content).hexdigest()
        for outcome in self._children.stream(content):
            if outcome.value is None:
                return Rendered(
                    entry, digest, pages, DocumentFailure(outcome.reason or "crashed", outcome.detail or "")
                )
            pages.append(ipc.read_record_batch(pa.py_buffer(outcome.value), PAGES))
            counted += pages[-1]["dropped"][0].as_py() != UNDRAWN
            if counted == most:
                break
        return Rendered(entry, digest, pages, None if pages else DocumentFailure("no_pages"))


def renderer(settings: bytes) -> Callable[[bytes], Iterator[pa.Buffer]]:
    """Return the function that a child process calls for each document; it yields the pages as Arrow messages."""
    name, kind, values = msgspec.json.decode(settings)
    loaded = importlib.import_module(name)
    known = getattr(loaded, kind)(**values)
    if hasattr(loaded, "start"):
        loaded.start(
            known
        )  # an error here ends the process before it is ready, which counts as the machine's fault
    return lambda document: (page.serialize() for page in loaded.render(document, known))


def find_documents(manifest: Manifest, uris: Sequence[str]) -> list[Input]:
    """Find the folders and archives of documents at `uris`; for web pages that may be fetched, also address lists."""
    renderer = RENDERERS[manifest.adapter]
    advice = (
        SAVE if renderer.memory_by != "browser" else "" if fetches(manifest) else f"{FETCH_THEM}, or {SAVE}"
    )
    return collect(given(manifest, uris), renderer.suffixes, advice)


def fetches(manifest: Manifest) -> bool:
    """Whether web pages and their parts may be fetched from the web (`render.resources=fetch`)."""
    return RENDERERS[manifest.adapter].memory_by == "browser" and manifest.render.get("resources") == "fetch"


FETCH_THEM = (
    "set render.resources=fetch, and the pages are fetched and shown as they are, robots.txt respected"
)


def open_documents(found: Input, manifest: Manifest, work: Path, children: int) -> Documents:
    """Open the documents of an input (see `open_origin`).

    They are rendered by `children` child processes; web pages by one browser that this process starts.
    """
    if RENDERERS[manifest.adapter].memory_by == "browser":
        from curate.origins.web_pages import WebPages  # it imports this module

        return WebPages(found, manifest, work, fetches(manifest))
    return InChildren(found, manifest, work, children)


@contextmanager
def machine_at_fault() -> Iterator[None]:
    """Turn a renderer's NotReadyError into a MachineError: the machine lacks something, so no document would render."""
    try:
        yield
    except NotReadyError as error:
        raise MachineError(str(error)) from None


def in_order(
    work: Callable[[CollectionEntry], Rendered], entries: Iterable[CollectionEntry], workers: int
) -> Iterator[Rendered]:
    """Yield what `work` makes of each document, in the order of the documents.

    While one document takes long, later ones are done in other threads (`workers`), until their pages exceed
    HELD_BYTES.
    """
    flying: deque[Future[Rendered]] = deque()
    with ThreadPoolExecutor(workers) as pool:
        for entry in entries:
            flying.append(pool.submit(work, entry))
            while flying and (
                flying[0].done() or len(flying) >= AHEAD * workers or held(flying) > HELD_BYTES
            ):
                yield flying.popleft().result()
        while flying:
            yield flying.popleft().result()


def first_rows(tables: Iterator[pa.Table], most: int) -> Iterator[pa.Table]:
    """Yield the first `most` rows of the documents' tables, without rows for pages that were not drawn."""
    for table in tables:
        table = table.filter(pc.fill_null(pc.not_equal(table["dropped"], UNDRAWN), True))[:most]
        most -= table.num_rows
        if table.num_rows:
            yield table
        if not most:
            return


def limited(manifest: Manifest, limit: int) -> Manifest:
    """Return the manifest of a run that takes `limit` pages of each input: a single unit, which stops at the limit.

    The number of pages of a document is known only once it is rendered, so several units could not share a limit. A
    limit above MOST_LIMITED counts documents instead.
    """
    if limit > MOST_LIMITED:
        log.warning("--limit %d: more than %d, so documents are counted, not pages", limit, MOST_LIMITED)
        return manifest
    documents = msgspec.structs.replace(manifest.documents, max_rows=limit)
    shard = msgspec.structs.replace(manifest.shard, rows=max(limit, manifest.shard.rows))
    return msgspec.structs.replace(manifest, documents=documents, shard=shard)


def held(flying: Iterable[Future[Rendered]]) -> int:
    """Return the bytes of the pages of all documents that are done."""
    return sum(page.nbytes for one in flying if one.done() for page in one.result().pages)


def to_samples(rendered: Rendered, manifest: Manifest, archive: str = "") -> pa.Table:
    """Return the pages of a document as rows of SAMPLE, with a dropped row for its failure, if it failed.

    `source` is `FILE#PAGE`, or `ARCHIVE!MEMBER#PAGE` for a document in an `archive`. PAGE is the page's number in the
    document, from 1, and `PAGE.PART` for a long page in several images. So a row's key does not depend on which other
    pages were drawn.
    """
    pages, failure = pa.Table.from_batches(rendered.pages, PAGES), rendered.failure
    if failure is not None:
        empty = {name: pa.nulls(1, PAGES.field(name).type) for name in PAGES.names}
        last = empty | {"dropped": [failure.reason], "detail": [failure.detail]}
        pages = pa.concat_tables([pages, pa.table(last, schema=PAGES)])
    places = zip(pages["page"].to_pylist(), pages["part"].to_pylist(), strict=True)
    numbers = [number_of(page, part) for page, part in places]
    name, rows = rendered.entry.name, pages.num_rows
    file = f"{archive}!{name}" if archive and archive != name else name
    identity = [pa.array([value] * rows, pa.large_string()) for value in (name, rendered.digest)]
    return conform(
        pa.table(
            {
                "key": keys(manifest.name, [*identity, pa.array(numbers, pa.large_string())]),
                "dataset": pa.repeat(manifest.name, rows),
                "task": pa.repeat(manifest.task, rows),
                "language": languages(pages["text"].combine_chunks().fill_null("")),
                "url": pa.array([rendered.entry.url] * rows, pa.large_string()),
                "source": [f"{file}#{number}" if number else file for number in numbers],
                **{column: pages[column] for column in COPIED},
                "answer": pages["html"],
                "stage": pa.array(
                    [STAGE if d is not None else None for d in pages["dropped"].to_pylist()], pa.string()
                ),
            }
        )
    )


def number_of(page: int | None, part: int | None) -> str:
    """Return a page's number as text: `7`, or `7.2` for the second image of a long page; empty for no page.

    `page` counts from 0, `part` from 1.
    """
    if page is None:
        return ""
    return str(page + 1) if part is None else f"{page + 1}.{part}"


def settings_of(manifest: Manifest, kind: type[T]) -> T:
    """Return the manifest's table `render` as the renderer's settings (`kind` is their class).

    Raises:
        ManifestError: a setting is unknown or wrong.
    """
    known = [one.name for one in fields(kind)]  # type: ignore[arg-type]  # a dataclass
    asked = dict(manifest.render) | ({"structure": True} if manifest.task == "ocr_structured" else {})
    for name in asked:
        if name not in known:
            raise ManifestError(f"[render] has no key {name!r}{nearest(name, known)}")
    try:
        return msgspec.convert(asked, kind)
    except msgspec.ValidationError as error:
        raise ManifestError(f"[render]: {plain_fault(str(error), kind)}") from None


def module(name: str, extra: str) -> Any:
    """Import a renderer's module; `extra` is the extra of curate with the packages that it needs.

    Raises:
        MachineError: these packages are not installed.
    """
    try:
        return importlib.import_module(name)
    except ImportError as error:
        raise MachineError(f"{error}: pip install 'curate[{extra}]' -c constraints.txt") from None


KIND = Kind(find_documents, open_documents, limited=limited)
