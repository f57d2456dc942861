"""Pages of documents: each document is rendered where it can do no harm and becomes a sample a page."""

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
from curate.manifest.declared import no_choice
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
    """Why a document gave no page, or no more of them."""

    reason: str
    detail: str = ""


class Rendered(NamedTuple):
    """What a document gave: batches of the renderer's PAGES, then perhaps a failure."""

    entry: CollectionEntry
    digest: str  # of its bytes; empty where they could not be had
    pages: list[pa.RecordBatch]
    failure: DocumentFailure | None = None


class Documents:
    """What rendering documents has in common, whatever renders them."""

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
        """See `Origin.read`: one table a document, its pages and what it failed of."""
        rendered = self._render(self._documents.documents[start:stop])
        tables = (to_samples(one, self._manifest, self._archive) for one in rendered)
        most = self._manifest.documents.max_rows
        return tables if most is None else first_rows(tables, most)

    def judges(self, rule: str) -> bool:
        """See `Origin.judges`: a page has a text and a size, and no score."""
        columns = filters.find_rule(rule, self._manifest.active_rules()[rule]).columns
        return not any(name == "clip_score" or name.startswith(filters.PREFIX) for name in columns)

    def close(self) -> None:
        """See `Origin.close`."""
        self._documents.close()

    def _render(self, entries: Iterable[CollectionEntry]) -> Iterator[Rendered]:
        raise NotImplementedError

    def _content(self, entry: CollectionEntry) -> bytes | DocumentFailure:
        """A document's bytes, or why there are none."""
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
    """What a child process does with each document: its pages as Arrow messages, one by one."""
    name, kind, values = msgspec.json.decode(settings)
    loaded = importlib.import_module(name)
    known = getattr(loaded, kind)(**values)
    if hasattr(loaded, "start"):
        loaded.start(known)  # an error ends this process before it was ready: the machine is at fault
    return lambda document: (page.serialize() for page in loaded.render(document, known))


def find_documents(manifest: Manifest, uris: Sequence[str]) -> list[Input]:
    """Documents by their folder or archive; web pages by lists of addresses, too, where they are to be fetched."""
    renderer = RENDERERS[manifest.adapter]
    advice = (
        SAVE if renderer.memory_by != "browser" else "" if fetches(manifest) else f"{FETCH_THEM}, or {SAVE}"
    )
    return collect(given(manifest, uris), renderer.suffixes, advice)


def fetches(manifest: Manifest) -> bool:
    """Whether web pages may have what they ask for from the web."""
    return RENDERERS[manifest.adapter].memory_by == "browser" and manifest.render.get("resources") == "fetch"


FETCH_THEM = (
    "set render.resources=fetch, and the pages are fetched and shown as they are, robots.txt respected"
)


def open_documents(found: Input, manifest: Manifest, work: Path, children: int) -> Documents:
    """The documents of an input, rendered by so many child processes, or by one browser of this process."""
    if RENDERERS[manifest.adapter].memory_by == "browser":
        from curate.origins.web_pages import WebPages  # which is made of what stands here

        return WebPages(found, manifest, work, fetches(manifest))
    return InChildren(found, manifest, work, children)


@contextmanager
def machine_at_fault() -> Iterator[None]:
    """Turn a renderer's NotReadyError into a MachineError: no document is to blame, and no other will fare better."""
    try:
        yield
    except NotReadyError as error:
        raise MachineError(str(error)) from None


def in_order(
    work: Callable[[CollectionEntry], Rendered], entries: Iterable[CollectionEntry], workers: int
) -> Iterator[Rendered]:
    """What `work` makes of each document, in their order.

    A long one keeps nobody waiting: others are done meanwhile, as many as HELD_BYTES of their pages allow.
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
    """The first rows of documents, without the pages that were not drawn."""
    for table in tables:
        table = table.filter(pc.fill_null(pc.not_equal(table["dropped"], UNDRAWN), True))[:most]
        most -= table.num_rows
        if table.num_rows:
            yield table
        if not most:
            return


def limited(manifest: Manifest, limit: int) -> Manifest:
    """The manifest of a run that takes so many pages of an input: one unit does, which stops there.

    How many pages documents have is known once they are rendered, so several units could not share a limit.
    """
    if limit > MOST_LIMITED:
        log.warning("--limit %d: more than %d, so documents are counted, not pages", limit, MOST_LIMITED)
        return manifest
    documents = msgspec.structs.replace(manifest.documents, max_rows=limit)
    shard = msgspec.structs.replace(manifest.shard, rows=max(limit, manifest.shard.rows))
    return msgspec.structs.replace(manifest, documents=documents, shard=shard)


def held(flying: Iterable[Future[Rendered]]) -> int:
    """Bytes of the pages that are done."""
    return sum(page.nbytes for one in flying if one.done() for page in one.result().pages)


def to_samples(rendered: Rendered, manifest: Manifest, archive: str = "") -> pa.Table:
    """A document's pages as SAMPLE, a row each, and a dropped row for what it failed of.

    `source` is `FILE#PAGE`, of a document in an `archive` `ARCHIVE!MEMBER#PAGE`, with the page's number in the
    document, from 1; of a long page in several images `FILE#PAGE.PART`. So a key does not hang on which other
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
    """What a page is called in its document: `7`, and `7.2` for the second image of a long one; empty for none."""
    if page is None:
        return ""
    return str(page + 1) if part is None else f"{page + 1}.{part}"


def settings_of(manifest: Manifest, kind: type[T]) -> T:
    """The manifest's `render` table as the renderer's settings.

    Raises:
        ManifestError: an unknown or wrong setting.
    """
    known = [one.name for one in fields(kind)]  # type: ignore[arg-type]  # a dataclass
    asked = dict(manifest.render) | ({"structure": True} if manifest.task == "ocr_structured" else {})
    for name in asked:
        if name not in known:
            raise ManifestError(f"[render] has no key {name!r}{nearest(name, known)}")
    try:
        return msgspec.convert(asked, kind)
    except msgspec.ValidationError as error:
        said = no_choice(str(error), kind) or error
        raise ManifestError(f"[render]: {said}") from None


def module(name: str, extra: str) -> Any:
    """A renderer's module.

    Raises:
        MachineError: the packages that it needs are not installed.
    """
    try:
        return importlib.import_module(name)
    except ImportError as error:
        raise MachineError(f"{error}: pip install 'curate[{extra}]' -c constraints.txt") from None


KIND = Kind(find_documents, open_documents, limited=limited)
