"""The cleaner "html": removes mark-up, decodes entities, and keeps everything else.

Captions come from attributes. There, mark-up is text that somebody pasted, cut short or encoded twice, and `a < b` and
`I <3 you` are as likely. So only what looks like a tag and has a known element's name counts as a tag, while
`<PERSON>`, `<3` and `x<y` are text. Entities are read by the rules for attribute values.

What a tag then contains and where it ends is the parser's to say: the standard library's tokenizer, since no
tree is needed. Lexbor's took twice the time on captions, and 4 s and 1.6 GB for 38 KB of hostile nesting.
"""

from __future__ import annotations

import re
from functools import cache
from html import unescape
from html.entities import html5
from html.parser import HTMLParser

import pyarrow as pa
import pyarrow.compute as pc

from filters.row_kernels import containing, rewrite
from filters.rule import cleaner

GATE = r"<[A-Za-z/!?]|&(?:#[0-9xX]|[A-Za-z][A-Za-z0-9])"
MAX_ROUNDS = 5  # how often a text is decoded that was encoded several times; real captions need two rounds

BLOCKS = (
    "address|article|aside|blockquote|body|br|button|caption|center|col|colgroup|dd|details|dialog|dir|div|dl|dt"
    "|embed|fieldset|figcaption|figure|footer|form|frame|frameset|h[1-6]|head|header|hgroup|hr|html|iframe|img"
    "|input|legend|li|link|listing|main|map|menu|menuitem|meta|nav|noframes|noindex|noscript|object|ol|optgroup"
    "|option|p|param|plaintext|pre|script|search|section|select|source|style|summary|svg|table|tbody|td|template"
    "|textarea|tfoot|th|thead|title|tr|track|ul|video|xmp"
)
INLINE = (
    "a|abbr|acronym|applet|area|audio|b|base|basefont|bdi|bdo|bgsound|big|blink|canvas|cite|code|data|datalist|del"
    "|dfn|em|font|i|ins|kbd|keygen|label|mark|marquee|math|meter|nobr|noembed|output|path|picture|progress|q|rb|rp"
    "|rt|rtc|ruby|s|samp|slot|small|spacer|span|strike|strong|sub|sup|time|tspan|tt|u|var|wbr|xml"
)
BARE_ATTRIBUTES = (
    "allowfullscreen|async|autoplay|checked|clear|controls|defer|disabled|hidden|itemscope|loop|muted|noshade|nowrap"
    "|readonly|required|selected"
)


@cleaner("html")
def html(text: pa.StringArray) -> pa.StringArray:
    """Texts without tags, comments, scripts and styles, their entities decoded as often as they were encoded.

    Block elements separate words, inline ones do not. White space is collapsed in the texts that changed.
    """

    def change(rows: pa.StringArray) -> pa.StringArray:
        gate = pc.match_substring_regex(rows, GATE)
        return rewrite(rows, gate, lambda some: pa.array(map(plain, some.to_pylist()), some.type))

    return rewrite(text, containing(text, b"<&"), change)


def plain(text: str) -> str:
    """One text without mark-up; of mark-up that was encoded n times, for n below MAX_ROUNDS."""
    for _ in range(MAX_ROUNDS):
        before, text = text, decoded(stripped(text))
        if text == before:
            break
    return text


def stripped(text: str) -> str:
    """One text without tags, comments, scripts and styles; entities stay as they are."""
    if not _markup().search(text):
        return text
    reader = _WordCollector()
    # close() is never called: an unfinished tag at the end is dropped, as browsers do, and a round takes linear time.
    reader.feed(_other_signs().sub(lambda sign: "&amp;" if sign[0] == "&" else "&lt;", text))
    return " ".join("".join(reader.words).split())


def decoded(text: str) -> str:
    """One text with its entities decoded once, `&amp;amp;` at once; unknown ones stay."""
    if "&" not in text:
        return text
    result = _references().sub(_character, _ampersands().sub("&", text))
    return text if result == text else " ".join(result.split())


class _WordCollector(HTMLParser):
    """Collects the words of a text between its tags."""

    def __init__(self) -> None:
        super().__init__(convert_charrefs=True)
        self.words: list[str] = []
        self.hidden = False

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.hidden = tag in ("script", "style")
        self._separate(tag)

    def handle_endtag(self, tag: str) -> None:
        self.hidden = False
        self._separate(tag)

    def handle_data(self, data: str) -> None:
        if not self.hidden:
            self.words.append(data)

    def unknown_decl(self, data: str) -> None:
        if data.startswith("CDATA["):
            self.words.append(data.removeprefix("CDATA["))

    def _separate(self, tag: str) -> None:
        if _blocks().fullmatch(tag):
            self.words.append(" ")


@cache
def _blocks() -> re.Pattern[str]:
    return re.compile(BLOCKS)


@cache
def _markup() -> re.Pattern[str]:
    """A `<` that opens a tag of a known element, a comment, or a declaration."""
    name = rf"(?:{BLOCKS}|{INLINE}|[a-z]{{1,9}}:[a-z]\w{{0,30}})"
    attribute = r"[\s/]+[^\s/=<>][^\s=<>]*\s*="
    tag = rf"{name}(?:[\s/]+(?:{BARE_ATTRIBUTES}))*(?:[\s/\\]*>|{attribute}|[\s/]*[\"'])"
    return re.compile(
        rf"<(?=/?{tag}|/{name}\s*$|!--|!doctype\s|!\[(?:if\b|endif\b|cdata\[)|\?(?:xml|php)\b)", re.IGNORECASE
    )


@cache
def _other_signs() -> re.Pattern[str]:
    """A `&`, or a `<` that opens nothing."""
    return re.compile("&|" + _markup().pattern.replace("<(?=", "<(?!", 1), re.IGNORECASE)


@cache
def _ampersands() -> re.Pattern[str]:
    return re.compile(r"&(?:(?:amp|#0{0,5}38|#x0{0,5}26);)+", re.IGNORECASE)


@cache
def _references() -> re.Pattern[str]:
    """An entity with its semicolon, or without where no `=`, letter or digit follows: as in attributes."""
    return re.compile(
        r"&(?:#(?:\d{1,20}|[xX][0-9a-fA-F]{1,20})|[A-Za-z][A-Za-z0-9]{1,31})(?:;|(?![A-Za-z0-9=]))"
    )


def _character(reference: re.Match[str]) -> str:
    found = reference[0]
    return unescape(found) if found[1] == "#" or found[1:] in html5 else found
