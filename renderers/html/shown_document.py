"""Turn a document's bytes into the markup that the browser is shown: unpacked, decoded, with a content policy.

This runs in a child process with a deadline (`renderers.html.reader_process`), because documents are hostile.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping
from typing import NamedTuple

from renderers import RenderError
from renderers.html.charset import decode
from renderers.html.markup import doctype_end, names_base
from renderers.html.restyle import restyle
from renderers.html.settings import FETCH, Document, HtmlSettings
from renderers.warc import is_mhtml, unpack_mhtml

HTML_TYPES = ("text/html", "application/xhtml+xml", "application/xml", "text/xml")
OTHERS = (b"%PDF", b"PK\x03\x04", b"\x89PNG", b"\xff\xd8\xff", b"GIF8", b"\x1f\x8b")
SHADOW = re.compile(r"\bshadowrootmode\b", re.IGNORECASE)
WEB = re.compile(r"https?://", re.IGNORECASE)


class ShownDocument(NamedTuple):
    """A document as the browser is shown it."""

    markup: str
    charset: str  # Python's name of it
    url: str | None
    resources: (
        Mapping[str, tuple[str, bytes]] | None
    )  # of an MHTML file, by address; null for other documents


def read(document: Document, settings: HtmlSettings, served: bool) -> ShownDocument:
    """Read a document; `served` says whether the browser is given images and styles by their address.

    Raises: RenderError.
    """
    resources = None
    if is_mhtml(document.content, document.content_type):
        document = unpack_mhtml(document)
        resources = dict(document.resources)
        served = bool(resources)
    check(document, settings)
    markup, charset = decode(document.content, document.content_type)
    markup = prepare(markup, document.url, settings, served)
    return ShownDocument(markup, charset, document.url, resources)


def read_anew(document: Document, settings: HtmlSettings, title: str) -> ShownDocument:
    """Read a document's main content, under a stylesheet that `restyle` draws from the document's id and bytes.

    Raises: RenderError.
    """
    found = read(document, settings, False)
    lot = hashlib.sha256(document.id.encode() + b"\0" + document.content).hexdigest()
    markup = prepare(restyle(found.markup, title, lot), None, settings, False)
    return found._replace(markup=markup, resources={})


def check(document: Document, settings: HtmlSettings) -> None:
    """Check that a document is a web page that can be laid out.

    Raises: RenderError, where it is not.
    """
    kind = (document.content_type or "").partition(";")[0].strip().lower()
    if kind and kind not in HTML_TYPES:
        raise RenderError("not_html", kind)
    if document.content.startswith(OTHERS):
        raise RenderError("not_html", f"begins with {document.content[:8]!r}")
    if len(document.content) > settings.max_bytes:
        raise RenderError("too_large", f"{len(document.content)} bytes")
    if not document.content.strip():
        raise RenderError("no_text", "empty document")


def prepare(markup: str, url: str | None, settings: HtmlSettings, served: bool) -> str:
    """Put the content policy into the markup, after the doctype, which decides whether quirks mode is used.

    Declarative shadow roots stay templates, which are not shown: the reader cannot look into a shadow tree.
    """
    base = ""
    if served and url and WEB.match(url) and not names_base(markup):
        base = f'<base href="{url.replace("&", "&amp;").replace(chr(34), "%22")}">'
    head = f'<meta http-equiv="Content-Security-Policy" content="{policy(settings, served)}">{base}'
    at = doctype_end(markup)
    return markup[:at] + head + SHADOW.sub("data-shadowroot", markup[at:])


def policy(settings: HtmlSettings, served: bool) -> str:
    """Return the page's content security policy: the browser refuses all requests beyond it."""
    web = " http: https:" if served else ""
    scripts = "; script-src 'unsafe-inline' 'unsafe-eval'" if settings.javascript else ""
    fonts = f"; font-src data:{web}" if served and settings.resources == FETCH else ""
    return (
        f"default-src 'none'; style-src 'unsafe-inline'{web}; img-src data:{web}; form-action 'none'"
        f"{fonts}{scripts}"
    )
