"""Web pages in archives: WARC and ARC files of crawls, and MHTML files that browsers save.

    for entry in scan(stream):                  # one pass over the file; later, offsets allow random access
        if entry.is_page:
            content = load(stream, entry, max_bytes=5 << 20)

The headers of a response say of which type it is. Images and styles in the same file can be served to its pages: see
`Assets`.
"""

from __future__ import annotations

import re
import threading
import zlib
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, replace
from email import message_from_bytes
from email.message import Message
from itertools import islice
from typing import Any, BinaryIO

from warcio.archiveiterator import ArchiveIterator
from warcio.exceptions import ArchiveLoadFailed

from renderers import RenderError
from renderers.html.settings import Document

PAGE_TYPES = frozenset({"text/html", "application/xhtml+xml"})
MHTML_TYPES = frozenset({"multipart/related", "message/rfc822", "application/x-mimearchive"})
UNNAMED = frozenset(
    {"application/octet-stream", "binary/octet-stream", "application/force-download", "application/download"}
)
PDF_TYPE = "application/pdf"
CODINGS = frozenset({"", "identity", "gzip", "x-gzip", "deflate", "br"})
MAX_ASSET = 16 << 20  # bytes of one image or style
SNIFFED = 512  # bytes
MARKUP = re.compile(rb"\s*(?:\xef\xbb\xbf)?\s*<(?:!doctype html|html|head|body|\?xml|!--)", re.IGNORECASE)
MHTML = re.compile(
    rb"(?:[\w-]+:[^\n]*\n(?:[ \t][^\n]*\n)*)*?content-type:\s*multipart/related", re.IGNORECASE
)
BROKEN = (ArchiveLoadFailed, zlib.error, EOFError, OSError, ValueError, UnicodeError, AttributeError)


@dataclass(frozen=True)
class WarcEntry:
    """One response or resource of a WARC file; `offset` is the byte at which its record begins."""

    offset: int
    url: str
    content_type: str | None  # the header, with its parameters
    status: int | None  # of HTTP; None for a resource, which has none
    dropped: str | None = None  # the reason why it gives no document: `http_404`, `revisit`, `damaged`

    @property
    def media_type(self) -> str:
        """The type without parameters, lower case."""
        return (self.content_type or "").partition(";")[0].strip().lower()

    @property
    def is_page(self) -> bool:
        """Whether it is a web page, by its headers."""
        return self.media_type in PAGE_TYPES

    @property
    def is_asset(self) -> bool:
        """Whether it is an image or a style that can be served to a page."""
        kind = self.media_type
        return self.dropped is None and (kind.startswith("image/") or kind == "text/css")


def scan(stream: BinaryIO) -> Iterator[WarcEntry]:
    """Yield every response and resource of a WARC file, compressed or not, in the file's order.

    If the file ends within a record, the entry of that record is `damaged`.

    Raises: RenderError(`damaged`), after the entries before, where the following bytes are no record.
    """
    records = ArchiveIterator(stream, arc2warc=True)
    end = 0
    while True:
        try:
            record = next(records, None)
            if record is None:
                break
            entry = describe(record)
            offset = records.get_record_offset()  # reads to the record's end
            end = offset + records.get_record_length()
        except BROKEN as error:
            raise RenderError("damaged", f"{type(error).__name__}: {error}"[:200]) from error
        if entry is not None:
            torn = getattr(record.raw_stream, "limit", 1) > 0  # the file ends within it, or it says no length
            yield replace(entry, offset=offset, dropped="damaged" if torn else entry.dropped)
    stream.seek(end)
    if stream.read(SNIFFED).strip():
        raise RenderError("damaged", f"no record at byte {end}")


def kinds(stream: BinaryIO, limit: int = 100) -> set[str]:
    """The record types of a WARC file's first `limit` records; fewer, or none, where it cannot be read."""
    found: set[str] = set()
    with suppress(*BROKEN):
        found |= {record.rec_type for record in islice(ArchiveIterator(stream, arc2warc=True), limit)}
    return found


def describe(record: Any) -> WarcEntry | None:
    """The entry of a record, with the offset 0; None for records that hold no response or resource of the web."""
    if record.rec_type not in ("response", "resource", "revisit"):
        return None
    url = (record.rec_headers.get_header("WARC-Target-URI") or "").strip("<>")
    if not url.lower().startswith(("http:", "https:")):  # of a crawl's name look-ups and notes
        return None
    http = record.http_headers
    code = (http.get_statuscode() or "") if http else ""
    status = int(code) if code.isdigit() else None
    content_type = (record.rec_headers if http is None else http).get_header("Content-Type")
    dropped = "revisit" if record.rec_type == "revisit" else None
    if status is not None and status != 200:
        dropped = dropped or f"http_{status}"
    coding = (http.get_header("Content-Encoding") or "").strip().lower() if http else ""
    if coding not in CODINGS:
        dropped = dropped or "damaged"
    elif dropped is None and (content_type is None or mime_of(content_type) in UNNAMED):
        content_type = sniff(record.content_stream().read(SNIFFED)) or content_type
    if record.rec_headers.get_header("WARC-Truncated") and mime_of(content_type or "") == PDF_TYPE:
        dropped = dropped or "truncated"  # a page without its end is still a page; a PDF is not
    return WarcEntry(0, url, content_type, status, dropped)


def mime_of(content_type: str) -> str:
    """The type without its parameters, lower case."""
    return content_type.partition(";")[0].strip().lower()


def sniff(start: bytes) -> str | None:
    """Guess the type of a response from its first bytes: a web page's, a PDF's, or None where it is unknown."""
    if start.startswith(b"%PDF-"):
        return PDF_TYPE
    return "text/html" if MARKUP.match(start) else None


def load(stream: BinaryIO, entry: WarcEntry, *, max_bytes: int) -> bytes:
    """The entry's payload, with the transfer and content encodings removed.

    Raises: RenderError: `too_large` beyond `max_bytes`; `damaged`; the entry's own `dropped`.
    """
    if entry.dropped is not None:
        raise RenderError(entry.dropped, entry.url)
    try:
        stream.seek(entry.offset)
        content: bytes = (
            next(iter(ArchiveIterator(stream, arc2warc=True))).content_stream().read(max_bytes + 1)
        )
    except (*BROKEN, StopIteration) as error:
        raise RenderError("damaged", f"{type(error).__name__}: {error}"[:200]) from error
    if len(content) > max_bytes:
        raise RenderError("too_large", f"more than {max_bytes} bytes")
    return content


class Assets(Mapping[str, tuple[str, bytes]]):
    """The images and styles of a WARC file, by address, read when they are asked for.

    `open_stream` gives a seekable stream of the file; it is called once, when the first one is read.
    """

    def __init__(self, open_stream: Callable[[], BinaryIO], entries: Iterable[WarcEntry]) -> None:
        self.open_stream = open_stream
        self.entries = {entry.url.partition("#")[0]: entry for entry in entries if entry.is_asset}
        self.stream: BinaryIO | None = None
        self.reading = threading.Lock()

    def __getitem__(self, url: str) -> tuple[str, bytes]:
        entry = self.entries[url]
        with self.reading:
            self.stream = self.stream or self.open_stream()
            try:
                return entry.content_type or "", load(self.stream, entry, max_bytes=MAX_ASSET)
            except RenderError as error:
                raise KeyError(url) from error

    def __iter__(self) -> Iterator[str]:
        return iter(self.entries)

    def __len__(self) -> int:
        return len(self.entries)

    def close(self) -> None:
        """Close the stream, if one was opened."""
        if self.stream is not None:
            self.stream.close()


def is_mhtml(content: bytes, content_type: str | None = None) -> bool:
    """Whether this is an MHTML file, which browsers save for a page with its images and styles."""
    kind = (content_type or "").partition(";")[0].strip().lower()
    return kind in MHTML_TYPES or MHTML.match(content[:8192]) is not None


def unpack_mhtml(document: Document) -> Document:
    """The page in an MHTML document, with the images and styles saved with it as its resources.

    Raises: RenderError(`damaged`), where there is no page in it.
    """
    whole = message_from_bytes(document.content)
    parts = [part for part in whole.walk() if not part.is_multipart()]
    page = next((part for part in parts if part.get_content_type() in PAGE_TYPES), None)
    if page is None:
        raise RenderError("damaged", "an MHTML file without a page")
    names = {name: f"https://cid.invalid/{i}" for i, part in enumerate(parts) if (name := content_id(part))}
    resources = {}
    for part in parts:
        kind = part.get_content_type()
        if part is page or not (kind.startswith("image/") or kind == "text/css"):
            continue
        content = payload(part)
        for address in (part.get("Content-Location"), names.get(content_id(part))):
            if address:
                resources[address.strip()] = kind, rename(content, names) if kind == "text/css" else content
    url = page.get("Content-Location") or whole.get("Snapshot-Content-Location") or document.url
    return Document(document.id, rename(payload(page), names), page.get("Content-Type"), url, resources)


def payload(part: Message) -> bytes:
    """A part's bytes."""
    content = part.get_payload(decode=True)
    return content if isinstance(content, bytes) else b""


def content_id(part: Message) -> str:
    """A part's name for other parts; empty where it has none."""
    return str(part.get("Content-ID") or "").strip().strip("<>")


def rename(content: bytes, names: Mapping[str, str]) -> bytes:
    """Content with `cid:NAME` as addresses that can be answered."""
    known = {name.encode(): address.encode() for name, address in names.items()}
    return re.sub(
        rb"cid:([^\"'()<>\s]+)",
        lambda match: known.get(match.group(1), match.group(0)),
        content,
        flags=re.IGNORECASE,
    )
