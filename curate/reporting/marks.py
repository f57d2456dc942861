"""Texts that nobody vouches for, made safe to look at: cut short, with the characters marked that decided.

Characters that draw nothing or turn the line round (controls, bidi marks, zero width) are shown by their code
point; what joins emoji is left to them. Matches are found by RE2, whose time is linear whatever the text.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

import pyarrow as pa
import pyarrow.compute as pc

from curate.tasks.formats import CONTROL_TOKEN
from filters import text as rules

LONGEST = 480  # characters shown of a text
BEFORE = 120  # of them in front of the first mark
OPEN, CLOSE = "\ufdd0", "\ufdd1"  # noncharacters: they stand around a match, and nowhere else
UNSEEN = re.compile(
    "[\x00-\x08\x0b-\x1f\x7f-\x9f\xad\u034f\u061c\u115f\u1160\u17b4\u17b5\u180b-\u180f\u200b\u200c\u200e\u200f\u2028-\u202e"
    "\u2060-\u206f\u3164\ufeff\uffa0\ufff9-\ufffc\ue000-\uf8ff"
    "\U000e0000-\U000e0fff\U000f0000-\U0010ffff]"
)


class Piece(NamedTuple):
    """A stretch of text of one kind: '' plain, 'mark' what decided, 'sign' a character shown by its name."""

    kind: str
    text: str


def pieces(text: str, reason: str = "", settings: Mapping[str, Any] | None = None) -> list[Piece]:
    """A text as it is shown, `reason` being what it was dropped for."""
    text = text.replace(OPEN, "\ufffd").replace(CLOSE, "\ufffd")
    pattern = _pattern(reason, settings or {})
    if pattern:
        text = pc.replace_substring_regex(pa.array([text]), *pattern)[0].as_py()
    first = text.find(OPEN)
    start = max(0, first - BEFORE) if first > LONGEST - BEFORE else 0
    shown = text[start : start + LONGEST]
    made = [Piece("more", f"{start:,} characters … ")] if start else []
    made += _split(shown, inside=False)
    if rest := len(text) - start - len(shown):
        made.append(Piece("more", f" … {rest:,} more"))
    return made


def plain(text: str, longest: int = 200) -> str:
    """A text for a title or a label: one line, cut short, unseen characters by their names."""
    shown = visible(" ".join(text[:longest].split()))
    return f"{shown}…" if len(text) > longest else shown


def visible(text: str) -> str:
    """The text with unseen characters by their names."""
    return UNSEEN.sub(lambda found: f"[{_name(found[0])}]", text)


def _pattern(reason: str, settings: Mapping[str, Any]) -> tuple[str, str] | None:
    """RE2 that finds what decided, and what it is replaced by."""
    mark = rf"{OPEN}\1{CLOSE}"
    match reason:
        case "text_has_other_script":  # what belongs to an emoji is passed over
            script = rules.foreign(settings.get("allow", ""))
            return rf"({rules.EMOJI_SEQUENCE})|({script}+)", rf"\1{OPEN}\2{CLOSE}"
        case "text_has_emoji":
            return f"({rules.EMOJI_SEQUENCE})", mark
        case "text_has_latin_extended":
            return f"({rules.LATIN_EXTENDED})", mark
        case "text_has_private_use":
            return f"({rules.PRIVATE_USE})", mark
        case "text_has_replacement_character":
            return f"({rules.REPLACEMENT})", mark
        case "text_has_special_tag" if settings.get("tags"):
            return f"({rules.any_of(list(settings['tags']))})", mark
        case "text_has_control_token":
            return f"({CONTROL_TOKEN})", mark
    return None


def _split(text: str, inside: bool) -> Iterator[Piece]:
    """The pieces between the marks, each again between its unseen characters."""
    for part in re.split(f"([{OPEN}{CLOSE}])", text):
        if part in (OPEN, CLOSE):
            inside = part == OPEN
            continue
        kind, last = "mark" if inside else "", 0
        for found in UNSEEN.finditer(part):
            if found.start() > last:
                yield Piece(kind, part[last : found.start()])
            yield Piece(f"{kind} sign".strip(), _name(found[0]))
            last = found.end()
        if part[last:]:
            yield Piece(kind, part[last:])


def _name(character: str) -> str:
    return f"U+{ord(character):04X}"
