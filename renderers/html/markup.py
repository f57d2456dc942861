"""Look things up in a page's markup before a browser parses it, in time linear in its length.

A hostile page has many beginnings of tags and comments without an end: no stretch is searched for an end twice.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

SPACES = re.compile(r"\s*+")
UNREAD = re.compile(rb"<(/?)(script|style)\b", re.IGNORECASE)  # elements whose content is no text
TAG = re.compile(rb"<[^<>]*+>")
BASE = re.compile(r"<base\b", re.IGNORECASE)
COMMENT_END = re.compile(r"--!?>")
HREF = re.compile(r"\bhref\b", re.IGNORECASE)


def doctype_end(markup: str) -> int:
    """Return where the doctype ends; 0 without one, or where more than blanks, comments and declarations precede it."""
    at = skip_spaces(markup, 0)
    while markup.startswith("<", at):
        if markup[at : at + 9].lower() == "<!doctype":
            return markup.find(">", at) + 1
        if markup.startswith("<!--", at):
            end = comment_end(markup, at)
        elif markup.startswith(("<!", "<?"), at):  # browsers take it for a comment
            end = markup.find(">", at) + 1
        else:
            return 0
        if end == 0:
            return 0
        at = skip_spaces(markup, end)
    return 0


def skip_spaces(text: str, at: int) -> int:
    """Return the first place from `at` on that is no white space."""
    found = SPACES.match(text, at)
    assert found is not None  # it also matches the empty string
    return found.end()


def comment_end(markup: str, at: int) -> int:
    """Return where the comment that begins at `at` ends for a browser; 0 where it has no end."""
    for short in ("<!-->", "<!--->"):
        if markup.startswith(short, at):
            return at + len(short)
    found = COMMENT_END.search(
        markup, at + 4
    )  # not one search for each form: the rarer one would go on for long
    return found.end() if found else 0


def names_base(markup: str) -> bool:
    """Tell whether a `<base>` of the page gives an address."""
    at = 0
    while found := BASE.search(markup, at):
        at = markup.find(">", found.end()) + 1
        if at == 0:
            return False  # a tag without an end is no tag, and nothing follows it
        if HREF.search(markup, found.end(), at):
            return True
    return False


def without_comments(head: bytes) -> bytes:
    """Return the beginning of a page without its comments; one without an end is kept, with all that follows."""
    kept, at = [], 0
    while (begin := head.find(b"<!--", at)) >= 0:
        kept.append(head[at:begin])
        end = head.find(b"-->", begin)
        if end < 0:
            return b" ".join([*kept, head[begin:]])
        at = end + 3
    return b" ".join([*kept, head[at:]])


def tags_named(head: bytes, name: bytes) -> Iterator[bytes]:
    """Yield the tags of a name, each as far as the next `>`; `name` is lower case."""
    lowered, at = head.lower(), 0
    while (begin := lowered.find(b"<" + name, at)) >= 0:
        at = lowered.find(b">", begin)
        if at < 0:
            yield head[begin:]
            return
        yield head[begin:at]


def without_markup(content: bytes) -> bytes:
    """Return a page without its scripts, styles and tags."""
    return TAG.sub(b" ", b" ".join(readable_parts(content)))


def readable_parts(content: bytes) -> Iterator[bytes]:
    """Yield the stretches of a page that lie in no script or style; one without an end is kept."""
    at, inside, name = 0, None, b""
    for mark in UNREAD.finditer(content):
        closing, found = bool(mark[1]), mark[2].lower()
        if inside is None and not closing:
            inside, name = mark.start(), found
        elif inside is not None and closing and found == name:
            yield content[at:inside]
            at, inside = mark.start(), None
    yield content[at:]
