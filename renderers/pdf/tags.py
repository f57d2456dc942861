"""What a tagged PDF says its lines are: headings, paragraphs, items of lists, cells of tables."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from renderers.page_text import normalise
from renderers.pdf.frames import LEVEL, Box
from renderers.pdf.line import Line
from renderers.pdf.lines import FLAGS, TEXT_BLOCK, structured
from renderers.pdf.mupdf import pymupdf

STRUCT_BLOCK = 2  # of MuPDF's dictionaries
HEADING = re.compile(r"H([1-6])?")
PARTS = {"P": "p", "Caption": "p", "LI": "li", "TD": "td", "TH": "th", "Title": "h"}
WHOLE = ("li", "td", "th")  # a paragraph in one of these is a part of it
SPAN = re.compile(r"/(?:Col|Row)Span (?!1\b)")
DEEPEST = 100  # tags within tags
MOST_COLUMNS = 100
MOST_OBJECTS = 20_000  # of a document whose tables' tags are trusted
MOST = 20_000  # tagged lines of a page


class Tag(NamedTuple):
    """One tagged element: its kind (h1 to h6, p, li, td, th), its number, and that of its table or list."""

    kind: str
    number: int
    inside: int


class TaggedLine(NamedTuple):
    """What stands on one base line in one element: where, what it reads, and the element."""

    box: Box
    text: str
    tag: Tag


def tagged_line(raw: dict[str, Any], tag: Tag) -> TaggedLine:
    """A line of MuPDF's dictionary."""
    return TaggedLine(tuple(raw["bbox"]), normalise("".join(span["text"] for span in raw["spans"])), tag)


@dataclass
class TagTree:
    """The tagged lines of a page, and its tables as rows of cells."""

    lines: list[TaggedLine] = field(default_factory=list)
    tables: dict[int, list[list[Tag]]] = field(default_factory=dict)
    count: int = 0

    def add(self, nodes: Sequence[dict[str, Any]], tag: Tag | None, inside: int, depth: int) -> None:
        """Take in nodes of MuPDF's tree below an element."""
        for node in nodes:
            if node["type"] == STRUCT_BLOCK and depth and len(self.lines) < MOST:
                place = int(node.get("index") or 0)
                below = self.entered(str(node.get("std", "")), tag, inside, place)
                self.add(node.get("blocks", ()), *below, depth - 1)
            elif node["type"] == TEXT_BLOCK and tag is not None:
                self.lines += [tagged_line(line, tag) for line in node["lines"]]

    def entered(self, name: str, tag: Tag | None, inside: int, place: int) -> tuple[Tag | None, int]:
        """The element, and the table or list, that what stands below an element belongs to.

        `place` is its number among its neighbours: MuPDF leaves out what is empty.
        """
        self.count += 1
        if name == "Table":
            self.tables[self.count] = []
            return None, self.count
        if name == "L":
            return None, self.count
        if name == "TR" and inside in self.tables:
            self.tables[inside].append([])
            return None, inside
        kind = PARTS.get(name, "")
        if found := HEADING.fullmatch(name):
            kind = f"h{found[1] or 1}"
        if not kind or (tag is not None and tag.kind in WHOLE and kind not in WHOLE):
            return tag, inside
        made = Tag(kind, self.count, inside)
        if kind in ("td", "th") and self.tables.get(inside):
            row = self.tables[inside][-1]
            while len(row) < min(place, MOST_COLUMNS):
                row.append(Tag(kind, -self.count, inside))
                self.count += 1
            row.append(made)
        return made, inside


def has_spans(pdf: pymupdf.Document) -> bool:
    """True where cells of the document's tables may span several rows or columns."""
    count = pdf.xref_length()
    if count > MOST_OBJECTS:
        return True
    objects = (pdf.xref_object(xref, compressed=True) for xref in range(1, count))
    return any(SPAN.search(one) for one in objects)


def tags_of(pdf: pymupdf.Document, display: pymupdf.DisplayList) -> TagTree | None:
    """What is tagged on a page; None where the document is not."""
    if pdf.xref_get_key(pdf.pdf_catalog(), "StructTreeRoot")[0] == "null":
        return None
    text = structured(display, 0.0, FLAGS | pymupdf.TEXT_COLLECT_STRUCTURE)
    tree = TagTree()
    tree.add(text.extractDICT()["blocks"], None, 0, DEEPEST)
    if tree.tables and has_spans(pdf):
        tree.tables = {}  # which cells span is not told
    return tree if tree.lines else None


def line_parts(lines: Sequence[Line], tree: TagTree | None) -> list[list[tuple[Tag, str]]]:
    """The elements that each line belongs to, with what of it is in each; none where it is not wholly tagged.

    Neighbouring cells of a table without rules may be one line.
    """
    if tree is None:
        return [[] for _ in lines]
    rows: dict[int, list[TaggedLine]] = {}
    for one in tree.lines:
        rows.setdefault(int((one.box[1] + one.box[3]) / 2), []).append(one)
    return [parts_of(line, sorted(near(line, rows))) for line in lines]


def parts_of(line: Line, found: Sequence[TaggedLine]) -> list[tuple[Tag, str]]:
    """A line's elements, from the left, each with its text."""
    tags = {one.tag for one in found}
    if len(tags) == 1:
        return [(found[0].tag, line.text)]
    whole = "".join("".join(one.text.split()) for one in found) == "".join(line.text.split())
    return [(one.tag, one.text) for one in found if one.text] if whole else []


def near(line: Line, rows: dict[int, list[TaggedLine]]) -> Iterator[TaggedLine]:
    """What stands in a line's box."""
    if line.turn != LEVEL:
        return
    u0, v0, u1, v1 = line.box
    for row in range(int(v0), int(v1) + 1):
        for one in rows.get(row, ()):
            x0, y0, x1, y1 = one.box
            if v0 <= (y0 + y1) / 2 <= v1 and (u0 <= (x0 + x1) / 2 <= u1 or x0 <= (u0 + u1) / 2 <= x1):
                yield one
