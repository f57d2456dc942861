"""Web pages, rendered by one browser of this process, and fetched if the run's settings allow it."""

from __future__ import annotations

import hashlib
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from functools import cached_property
from pathlib import Path
from typing import Any, TypeVar

from curate.fetch.crawl import Crawl, PageParts
from curate.manifest.settings import Manifest
from curate.origins.address_list import AddressList
from curate.origins.collection import Collection, CollectionEntry
from curate.origins.pages import DocumentFailure, Documents, Rendered, machine_at_fault
from curate.sources import Input

T = TypeVar("T")

WEB = "web"  # the folder, in the work folder, of what was fetched
PAGES_AHEAD = 6  # fetched while others are shown


class WebPages(Documents):
    """Web pages, rendered by a Chromium of this process that has no access to the network."""

    def __init__(self, found: Input, manifest: Manifest, work: Path, fetches: bool) -> None:
        super().__init__(found, manifest, work)
        self._web = Crawl(manifest.fetch, work / WEB, self._settings.resources_s) if fetches else None

    @property
    def goes_online(self) -> bool:
        """Whether reading its documents takes the network."""
        return isinstance(self._documents, AddressList)

    def close(self) -> None:
        """See `Origin.close`."""
        super().close()
        if "_browser" in self.__dict__:
            self._browser.close()
        if self._web is not None:
            self._web.close()

    @cached_property
    def _browser(self) -> Any:
        return self._module.Browser(self._settings)

    @cached_property
    def _assets(self) -> Mapping[str, tuple[str, bytes]]:
        """The parts of pages (images, stylesheets, …) in the archive: address -> (content type, bytes)."""
        if not isinstance(self._documents, Collection) or not self._documents.assets:
            return {}
        from renderers import warc

        entries = [
            warc.WarcEntry(one.place, one.url or "", one.content_type, 200, one.dropped)
            for one in self._documents.assets
        ]
        return warc.Assets(self._documents.open, entries)

    def _render(self, entries: Iterable[CollectionEntry]) -> Iterator[Rendered]:
        """Yield the documents in order; the unreadable ones are not given to the browser, but keep their place."""
        waiting: deque[tuple[CollectionEntry, Any]] = deque()
        for result in self._results(self._readable(entries, waiting)):
            if self._web is not None and self._web.trouble is not None:
                raise self._web.trouble
            yield from self._unreadable(waiting)
            entry, document = waiting.popleft()
            digest = hashlib.sha256(document.content).hexdigest()
            if isinstance(result, Exception):
                failure = DocumentFailure(getattr(result, "reason", "crashed"), getattr(result, "detail", ""))
                yield Rendered(entry, digest, [], failure)
            else:
                yield Rendered(entry, digest, result, None if result else DocumentFailure("no_pages"))
        yield from self._unreadable(waiting)

    def _results(self, documents: Iterator[Any]) -> Iterator[Any]:
        """Yield the browser's result for each document, in order: batches of pages, or an exception.

        Raises:
            MachineError: no browser starts.
        """
        with machine_at_fault():
            for _, result in self._browser.render_many(documents):
                yield result

    def _readable(
        self, entries: Iterable[CollectionEntry], waiting: deque[tuple[CollectionEntry, Any]]
    ) -> Iterator[Any]:
        ahead = PAGES_AHEAD if self.goes_online else 0
        for entry, document in ahead_of(self._document, entries, ahead):
            waiting.append((entry, document))
            if not isinstance(document, DocumentFailure):
                yield document

    def _document(self, entry: CollectionEntry) -> tuple[CollectionEntry, Any]:
        """Return an entry with the document for the browser, or with the reason why there is none."""
        if self.goes_online and entry.dropped is None:
            return entry, self._live(entry)
        content = self._content(entry)
        if isinstance(content, DocumentFailure):
            return entry, content
        parts = self._parts(f"{self._documents.input.name} {entry.name}")
        return entry, self._module.Document(entry.name, content, entry.content_type, entry.url, parts)

    def _live(self, entry: CollectionEntry) -> Any:
        """Fetch a page, or take the answer that its address gave earlier in this run."""
        assert self._web is not None
        found = self._web.page(entry.name)
        if found.body is None:
            return DocumentFailure(found.reason or "empty", found.detail or "")
        if len(found.body) > self._manifest.documents.max_bytes:
            return DocumentFailure("too_large", f"more than {self._manifest.documents.max_bytes} bytes")
        parts = self._parts(entry.name)
        return self._module.Document(entry.name, found.body, found.content_type, found.url, parts)

    def _parts(self, page: str) -> Mapping[str, tuple[str, bytes]]:
        """Return the parts that a page may load: those of the archive, and of the web if the run may fetch."""
        if self._web is None:
            return self._assets
        chosen = self._settings
        return PageParts(
            self._web,
            page,
            self._assets,
            most=chosen.max_resources,
            max_bytes=chosen.max_resource_bytes,
            within_s=chosen.resources_s,
        )

    def _unreadable(self, waiting: deque[tuple[CollectionEntry, Any]]) -> Iterator[Rendered]:
        while waiting and isinstance(waiting[0][1], DocumentFailure):
            entry, failure = waiting.popleft()
            yield Rendered(entry, "", [], failure)


def ahead_of(
    work: Callable[[CollectionEntry], T], entries: Iterable[CollectionEntry], count: int
) -> Iterator[T]:
    """Yield what `work` makes of each entry, in order; up to `count` further entries are worked on in threads."""
    flying: deque[Future[T]] = deque()
    with ThreadPoolExecutor(max(1, count)) as pool:
        for entry in entries:
            flying.append(pool.submit(work, entry))
            if len(flying) > count:
                yield flying.popleft().result()
        while flying:
            yield flying.popleft().result()
