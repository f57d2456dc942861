"""Prepare untrusted texts for display: cut them, and mark the characters that a rule dropped them for.

Invisible characters and those that change the writing direction (controls, bidi marks, zero width) are shown by their
code point; joiners within emoji are kept. RE2 finds the matches, in time linear in the text.
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
BEFORE = 120  # characters shown before the first mark, in a text that is cut
OPEN, CLOSE = "\ufdd0", "\ufdd1"  # noncharacters that enclose a match; texts cannot hold them
UNSEEN = re.compile(
    "[\x00-\x08\x0b-\x1f\x7f-\x9f\xad\u034f\u061c\u115f\u1160\u17b4\u17b5\u180b-\u180f\u200b\u200c\u200e\u200f\u2028-\u202e"
    "\u2060-\u206f\u3164\ufeff\uffa0\ufff9-\ufffc\ue000-\uf8ff"
    "\U000e0000-\U000e0fff\U000f0000-\U0010ffff]"
)


class TextPiece(NamedTuple):
    """A piece of text and its kind.

    Kinds: '' is plain text, 'mark' what the rule found, 'sign' an invisible character shown by its code point ('mark
    sign': both), 'more' a note on how many characters are left out.
    """

    kind: str
    text: str


def pieces(text: str, reason: str = "", settings: Mapping[str, Any] | None = None) -> list[TextPiece]:
    """Split a text into the pieces to show; `reason` and `settings` name the rule that dropped it, if one did."""
    text = text.replace(OPEN, "\ufffd").replace(CLOSE, "\ufffd")
    pattern = _pattern(reason, settings or {})
    if pattern:
        text = pc.replace_substring_regex(pa.array([text]), *pattern)[0].as_py()
    first = text.find(OPEN)
    start = max(0, first - BEFORE) if first > LONGEST - BEFORE else 0
    shown = text[start : start + LONGEST]
    made = [TextPiece("more", f"{start:,} characters … ")] if start else []
    made += _split(shown, inside=False)
    if rest := len(text) - start - len(shown):
        made.append(TextPiece("more", f" … {rest:,} more"))
    return made


def plain(text: str, longest: int = 200) -> str:
    """A text for a title or label: on one line, cut after `longest` characters, invisible ones as code points."""
    shown = visible(" ".join(text[:longest].split()))
    return f"{shown}…" if len(text) > longest else shown


def visible(text: str) -> str:
    """The text with invisible characters replaced by their code points."""
    return UNSEEN.sub(lambda found: f"[{_name(found[0])}]", text)


def _pattern(reason: str, settings: Mapping[str, Any]) -> tuple[str, str] | None:
    """The RE2 pattern that finds what a rule objects to, and its replacement, which adds the marks."""
    mark = rf"{OPEN}\1{CLOSE}"
    match reason:
        case "text_has_other_script":  # characters that belong to an emoji are not marked
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


def _split(text: str, inside: bool) -> Iterator[TextPiece]:
    """Split a text at the marks, and each part at its invisible characters."""
    for part in re.split(f"([{OPEN}{CLOSE}])", text):
        if part in (OPEN, CLOSE):
            inside = part == OPEN
            continue
        kind, last = "mark" if inside else "", 0
        for found in UNSEEN.finditer(part):
            if found.start() > last:
                yield TextPiece(kind, part[last : found.start()])
            yield TextPiece(f"{kind} sign".strip(), _name(found[0]))
            last = found.end()
        if part[last:]:
            yield TextPiece(kind, part[last:])


def _name(character: str) -> str:
    return f"U+{ord(character):04X}"
