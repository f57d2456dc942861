"""Marks of lists: bullets, dashes, numbers and letters that begin an item."""

from __future__ import annotations

import re
from typing import NamedTuple

# Signs that begin items whether or not white space follows, and others that only do so before white space.
SIGNS = "•●○▪■◦‣·⁃∙▫□◆◇◊♦❑❒❏❐❖➢➤➣✓✔✗✘✦✧☐☑☒★☆►▶▸▹◘◙"
DASHES = "–—−→➔➜»*-"
BULLET = re.compile(rf"(?:[{SIGNS}]\s*|[{re.escape(DASHES)}]\s+)")
NUMBER = re.compile(r"(?:\(?(?:\d{1,3}|[a-z]|[ivx]{2,5})[.)]\s+|[①-⑳]\s*)")
AWAY_EM = 4.0  # from a mark that stands alone to its item's text, at most
LONGEST = 6  # characters of a mark


class ListMark(NamedTuple):
    """A list's mark at the beginning of a text: the kind of its list, as HTML has it, and what follows it."""

    kind: str  # ul or ol
    rest: str


def mark_of(text: str) -> ListMark | None:
    """The mark that a text begins with; None where it begins with none."""
    padded = f"{text} "
    for kind, pattern in (("ul", BULLET), ("ol", NUMBER)):
        if found := pattern.match(padded):
            return ListMark(kind, padded[found.end() :].rstrip())
    return None


def is_mark(text: str) -> bool:
    """True for a mark that stands alone."""
    mark = mark_of(text) if len(text) <= LONGEST else None
    return mark is not None and not mark.rest
