"""Find the pictures that a web page describes: the address of each `<img>` with an alternative text.

No browser is needed: the page is parsed by lexbor (`resiliparse`), in time that grows with its length.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any
from urllib.parse import urljoin, urlsplit

import pyarrow as pa
from resiliparse.parse.html import HTMLTree

from renderers import RenderError
from renderers.html.charset import decode

PICTURES = pa.schema(
    [
        ("url", pa.large_string()),  # absolute, http or https
        ("text", pa.large_string()),  # the alternative text, white space as one space each
        ("page_url", pa.large_string()),  # null where the page's own address is not known
        ("page_title", pa.large_string()),
    ]
)
SOURCES = (
    "data-src",
    "data-original",
    "data-lazy-src",
    "src",
)  # what is shown once a page is scrolled comes first
MAX_PICTURES = 10_000  # limit for a page; further pictures are left out
MAX_CHARS = 10_000  # limit for an alternative text or title; a longer one is cut
MAX_URL_CHARS = 8_000  # a longer address is ignored


def find_pictures(content: bytes, content_type: str | None, url: str | None) -> pa.RecordBatch:
    """The described pictures of a page (N rows of PICTURES), in the page's order.

    `content` is the page's HTML, `content_type` its header (None: not known), `url` its address (None: not known).

    Raises: RenderError(`no_alt_texts`) where the page has no such picture.
    """
    tree = HTMLTree.parse(decode(content, content_type)[0])
    title = _spaced(tree.title or "")[:MAX_CHARS] or None
    base = _base(tree, url)
    rows = [(found, text, url, title) for found, text in _pictures(tree, base)]
    if not rows:
        raise RenderError("no_alt_texts", "no <img> with an alternative text and an http(s) address")
    columns = zip(*rows, strict=True)
    return pa.record_batch(
        [pa.array(values, field.type) for values, field in zip(columns, PICTURES, strict=True)],
        schema=PICTURES,
    )


def _pictures(tree: HTMLTree, base: str | None) -> Iterator[tuple[str, str]]:
    count = 0
    for image in _named(tree, "img"):
        text = _spaced(image.getattr("alt") or "")[:MAX_CHARS]
        if not text:
            continue
        address = next((found for name in SOURCES if (found := _absolute(image.getattr(name), base))), None)
        if address is None:
            continue
        yield address, text
        count += 1
        if count == MAX_PICTURES:
            return


def _base(tree: HTMLTree, url: str | None) -> str | None:
    """The base address to which the page's relative addresses refer."""
    for element in _named(tree, "base"):
        if element.getattr("href"):
            return _absolute(element.getattr("href"), url) or url
    return url


def _named(tree: HTMLTree, tag: str) -> Iterator[Any]:
    """The elements of that name, in the page's order."""
    if tree.document is not None:
        yield from tree.document.get_elements_by_tag_name(tag)


def _absolute(address: str | None, base: str | None) -> str | None:
    """The address as an absolute http(s) address; None where it is none, or too long."""
    address = (address or "").strip()
    if not address or len(address) > MAX_URL_CHARS:
        return None
    try:
        whole = urljoin(base or "", address)
        parts = urlsplit(whole)
    except ValueError:
        return None
    return whole if parts.scheme in ("http", "https") and parts.netloc else None


def _spaced(text: str) -> str:
    return " ".join(text.split())
