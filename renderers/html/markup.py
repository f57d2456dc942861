"""What is asked of a page's markup before a browser parses it, each in time that grows with its length alone.

A hostile page is full of beginnings without an end: no end is looked for twice from overlapping places.
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
    """Where the doctype ends; 0 where something else than white space, comments and declarations comes first."""
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
    """The first place from `at` on without white space."""
    found = SPACES.match(text, at)
    assert found is not None  # it matches nothing, too
    return found.end()


def comment_end(markup: str, at: int) -> int:
    """Where the comment that begins at `at` ends, as browsers read it; 0 where it never does."""
    for short in ("<!-->", "<!--->"):
        if markup.startswith(short, at):
            return at + len(short)
    found = COMMENT_END.search(
        markup, at + 4
    )  # not one search for each form: the rarer one would go on for long
    return found.end() if found else 0


def names_base(markup: str) -> bool:
    """Does a `<base>` of the page give an address?"""
    at = 0
    while found := BASE.search(markup, at):
        at = markup.find(">", found.end()) + 1
        if at == 0:
            return False  # an unfinished tag counts for nothing, and neither does what follows
        if HREF.search(markup, found.end(), at):
            return True
    return False


def without_comments(head: bytes) -> bytes:
    """The beginning of a page without its comments; one that does not end hides what follows."""
    kept, at = [], 0
    while (begin := head.find(b"<!--", at)) >= 0:
        kept.append(head[at:begin])
        end = head.find(b"-->", begin)
        if end < 0:
            return b" ".join([*kept, head[begin:]])
        at = end + 3
    return b" ".join([*kept, head[at:]])


def tags_named(head: bytes, name: bytes) -> Iterator[bytes]:
    """What the tags of a name say, each as far as the next `>`; `name` is lower case."""
    lowered, at = head.lower(), 0
    while (begin := lowered.find(b"<" + name, at)) >= 0:
        at = lowered.find(b">", begin)
        if at < 0:
            yield head[begin:]
            return
        yield head[begin:at]


def without_markup(content: bytes) -> bytes:
    """What is left of a page without its scripts, styles and tags."""
    return TAG.sub(b" ", b" ".join(readable_parts(content)))


def readable_parts(content: bytes) -> Iterator[bytes]:
    """The stretches of a page that lie in no script or style; one that does not end hides nothing."""
    at, inside, name = 0, None, b""
    for mark in UNREAD.finditer(content):
        closing, found = bool(mark[1]), mark[2].lower()
        if inside is None and not closing:
            inside, name = mark.start(), found
        elif inside is not None and closing and found == name:
            yield content[at:inside]
            at, inside = mark.start(), None
    yield content[at:]
