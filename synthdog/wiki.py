"""Read the running text of a wiki's dump as a stream; headings, tables and templates are left out."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import IO
from xml.etree import ElementTree

LEAST_PARAGRAPH = 40  # characters; a shorter one is a caption or a list's item
MOST_MARKUP = 1 << 20  # at most so many characters of an article are read
MOST_PAGE = 1 << 24  # limit on the bytes of one page's XML: MediaWiki allows articles of 2 MB
ARTICLES = "0"  # the namespace
ASIDE = re.compile(r"(?:[|!{}*#:;=]|__[A-Z]+__|\w+\|)")  # the beginning of a line that is no running text
SPACES = re.compile(r"[ \t\xa0]+")


def paragraphs(stream: IO[bytes]) -> Iterator[str]:
    """Yield the paragraphs of a dump's articles, in order; redirects and pages of other namespaces are skipped.

    Raises:
        ValueError: the stream is no dump, its XML is broken, or a page is too large.
    """
    for markup in articles(stream):
        for paragraph in plain(markup).split("\n"):
            text = SPACES.sub(" ", paragraph).strip()
            if len(text) >= LEAST_PARAGRAPH and not ASIDE.match(text):
                yield text


def articles(stream: IO[bytes]) -> Iterator[str]:
    """Yield the wikitext of each article. Raises: see `paragraphs`."""
    root: ElementTree.Element | None = None
    metered = MeteredStream(stream)
    try:
        for event, element in ElementTree.iterparse(metered, ("start", "end")):
            if root is None:
                root = element
                if local(element) != "mediawiki":
                    raise ValueError(f"<{local(element)}> is no wiki's dump (<mediawiki>)")
            if event == "end" and local(element) == "page":
                markup = article(element)
                root.clear()  # else the whole dump would stay in memory
                metered.read_since = 0
                if markup:
                    yield markup
    except ElementTree.ParseError as problem:
        raise ValueError(f"broken XML: {problem}") from None


class MeteredStream:
    """A stream that raises an error if a page has more than MOST_PAGE bytes, because pages are held in memory."""

    def __init__(self, stream: IO[bytes]):
        self.stream = stream
        self.read_since = 0  # bytes since the last page ended

    def read(self, size: int = -1) -> bytes:
        """The next `size` bytes.

        Raises:
            ValueError: a page has more than MOST_PAGE bytes.
        """
        found = self.stream.read(size)
        self.read_since += len(found)
        if self.read_since > MOST_PAGE:
            raise ValueError(
                f"a page of more than {MOST_PAGE >> 20} MB: give the dump of articles as they are now"
            )
        return found


def article(page: ElementTree.Element) -> str:
    """A page's wikitext; empty where it is no article."""
    found = {local(element): element.text or "" for element in page.iter()}
    if found.get("ns", ARTICLES) != ARTICLES or "redirect" in found:
        return ""
    return found.get("text", "")[:MOST_MARKUP]


def local(element: ElementTree.Element) -> str:
    """An element's name without its name space."""
    return element.tag.rpartition("}")[2]


def plain(markup: str) -> str:
    """Wikitext as plain text: links as their text, without templates, tables, pictures, references and headings."""
    import mwparserfromhell

    lines = (line for line in markup.split("\n") if not is_item(line))
    code = mwparserfromhell.parse("\n".join(lines))
    for link in code.filter_wikilinks():
        if ":" in str(link.title):  # pictures, categories, other languages
            remove(code, link)
    for tag in code.filter_tags(
        matches=lambda node: str(node.tag).lower() in ("ref", "table", "gallery", "math")
    ):
        remove(code, tag)
    for heading in code.filter_headings():
        remove(code, heading)
    return str(code.strip_code(normalize=True, collapse=True, keep_template_params=False))


def is_item(line: str) -> bool:
    """Whether a line is a list's item in which no template begins or ends."""
    return line.startswith(("*", "#", ":", ";")) and line.count("{{") == line.count("}}")


def remove(code: "mwparserfromhell.wikicode.Wikicode", node: object) -> None:  # type: ignore[name-defined] # noqa: F821, UP037
    """Remove a node; a node within a removed one is gone already, and ignored."""
    try:
        code.remove(node)
    except ValueError:
        return
