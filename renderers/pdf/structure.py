"""What a page is made of: headings, paragraphs, lists, ruled tables and figures, in reading order, as HTML.

Told by rules, fonts and places alone. Where those are not sure, lines are a paragraph.
"""

from __future__ import annotations

import html
import re
from collections.abc import Container, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from renderers.pdf import initials
from renderers.pdf.frames import LEVEL, Box, View, turned, union
from renderers.pdf.grids import grids_of, row_labels
from renderers.pdf.initials import is_one_word
from renderers.pdf.line import Line
from renderers.pdf.list_marks import AWAY_EM, DASHES, is_mark, mark_of
from renderers.pdf.pieces import Piece, piece_of
from renderers.pdf.tables import RuledTable, html_of, joined_text, largest_first, table_of
from renderers.pdf.tags import Tag, TagTree, line_parts

LARGE = 1.15  # times the size of the page's running text: a heading
HEADING_LINES = 3  # it has at most so many
HEADING_CHARS = 200
LEVELS = 6
GAP_EM = 0.9  # between a paragraph's lines; more white space parts paragraphs
SAME_SIZE = 0.1
INDENT_EM = 0.5  # a line that begins so much further right is indented
FIGURE_SHARE = (0.01, 0.7)  # of the page, from smaller to larger images: neither an icon nor a ground
MOST_FIGURES = 100
BOLD = re.compile(r"bold|black|heavy|semibold|demi", re.IGNORECASE)
DRAWN = re.compile(r"Type3\b")  # how browsers write what they make bold by themselves, lacking a bold font
ENDS = (".", ":", ";", "!", "?", "。", "：", "；")  # of a sentence: what follows may begin an item


class PageBlock(NamedTuple):
    """A part of a page: its type, where it stands (its frame's box and turn), what it reads, and as HTML."""

    type: str  # heading, paragraph, list, table, figure
    box: Box
    turn: tuple[float, float]
    text: str
    html: str


class WrittenPart(NamedTuple):
    """Lines that belong together, before they are a block."""

    kind: str  # heading, paragraph, item of a list
    lines: list[Line]
    element: str = ""  # ul or ol, of an item; h1 to h6 of a tagged heading
    inside: int = 0  # the number of a tagged list

    @property
    def text(self) -> str:
        """What the lines read, as one."""
        return joined_lines(self.lines)


def joined_lines(lines: Sequence[Line]) -> str:
    """Lines as one text; an initial is a part of the word that goes on beside it."""
    texts = [line.text for line in lines]
    if len(lines) > 1 and initials.is_beside(*lines[:2]) and is_one_word(*texts[:2]):
        texts[:2] = [texts[0] + texts[1]]
    return joined_text(texts)


def blocks_of(
    lines: Sequence[Line], tree: TagTree | None, rules: Sequence[Box], pictures: Sequence[Box], page: Box
) -> list[PageBlock]:
    """The blocks of a page; `lines` are in reading order, rules and pictures in points of the page."""
    parts = line_parts(lines, tree)
    tags = [each[0][0] if len(each) == 1 else None for each in parts]
    tables = dict(found_tables(lines, rules))
    inside = {i: first for first, table in tables.items() for i in members_of(table)}
    by_tags = {} if tree is None else dict(tagged_tables(lines, parts, tree, inside))
    inside |= {i: first for first, (members, _) in by_tags.items() for i in members}
    out: list[PageBlock] = []
    run: list[int] = []
    body = body_size(lines)
    for index in range(len(lines)):
        first = inside.get(index)
        if first is None:
            run.append(index)
        elif first == index:
            out += written_blocks([lines[i] for i in run], [tags[i] for i in run], body)
            run = []
            if index in tables:
                out.append(table_block(tables[index], lines, tags))
            else:
                out.append(by_tags[index][1])
    out += written_blocks([lines[i] for i in run], [tags[i] for i in run], body)
    return with_figures(out, pictures, page)


def members_of(table: RuledTable) -> Iterator[int]:
    """The indices of a table's lines."""
    return (index for cell in table.cells for piece in cell.pieces for index in piece.members)


def tagged_tables(
    lines: Sequence[Line], parts: Sequence[Sequence[tuple[Tag, str]]], tree: TagTree, taken: Container[int]
) -> Iterator[tuple[int, tuple[set[int], PageBlock]]]:
    """The tables that tags alone tell, by their first lines: all rows have as many cells, so none spans several.

    All that is tagged as theirs must be in lines that are seen, and none of these in another element.
    """
    cells: dict[Tag, list[str]] = {}
    held: dict[int, set[int]] = {}  # by the number of the table: the lines in its cells
    for index, each in enumerate(parts):
        for tag, text in each:
            cells.setdefault(tag, []).append(text)
            held.setdefault(tag.inside, set()).add(index)
    wanted = {one.tag for one in tree.lines if one.text}
    for number, rows in tree.tables.items():
        every = [cell for row in rows for cell in row]
        members = held.get(number, set())
        even = len(rows) > 1 and len({len(row) for row in rows}) == 1 and len(rows[0]) > 1
        seen = all(cell in cells for cell in every if cell in wanted)
        own = {tag for index in members for tag, _ in parts[index]} <= set(every)
        if even and seen and own and members and not any(index in taken for index in members):
            inner = [lines[index] for index in sorted(members)]
            text = "\n".join(line.text for line in inner)
            yield (
                min(members),
                (members, PageBlock("table", around_lines(inner), LEVEL, text, tagged_html(rows, cells))),
            )


def tagged_html(rows: Sequence[Sequence[Tag]], cells: Mapping[Tag, Sequence[str]]) -> str:
    """A table of tagged cells as HTML."""
    made = (
        "".join(
            f"<{c.kind}>{html.escape(joined_text(cells.get(c, ())), quote=False)}</{c.kind}>" for c in row
        )
        for row in rows
    )
    return "<table>" + "".join(f"<tr>{row}</tr>" for row in made) + "</table>"


def found_tables(lines: Sequence[Line], rules: Sequence[Box]) -> Iterator[tuple[int, RuledTable]]:
    """The page's ruled tables, each with the index of the first line in it."""
    pieces = [
        piece_of(i, line.text, turned(line.box, (line.axis[0], -line.axis[1])), line.size)
        for i, line in enumerate(lines)
        if line.turn == line.axis
    ]
    level = [piece for piece in pieces if lines[piece.rank].turn == LEVEL]
    for grid in largest_first(list(grids_of(rules))):
        held = [piece for piece in pieces if grid.holds(piece)]
        labels = row_labels(grid, level) if held else []
        table = table_of(grid, held, labels) if held else None
        if table is not None:
            yield min(first_line_of([*labels, *held])), table


def first_line_of(pieces: Sequence[Piece]) -> Iterator[int]:
    """The indices of the pieces' lines."""
    return (index for piece in pieces for index in piece.members)


def table_block(table: RuledTable, lines: Sequence[Line], tags: Sequence[Tag | None]) -> PageBlock:
    """A table as a block. Headings are what tags say; without tags the rows from the top that are all bold."""
    text = [line.text for line in lines]
    marked = {tag.kind for index in members_of(table) if (tag := tags[index]) is not None}
    if marked & {"td", "th"}:
        heads = {cell for cell, members in numbered(table) if is_tagged(members, tags, "th")}
    else:
        heads = bold_heads(table, lines)
    said = "\n".join(joined_text([text[i] for i in members]) for _, members in numbered(table) if members)
    return PageBlock("table", table.box, LEVEL, said, html_of(table, text, heads))


def numbered(table: RuledTable) -> Iterator[tuple[int, list[int]]]:
    """Each cell's number in the table, and the indices of its lines."""
    for number, cell in enumerate(table.cells):
        yield number, [index for piece in cell.pieces for index in piece.members]


def is_tagged(members: Sequence[int], tags: Sequence[Tag | None], kind: str) -> bool:
    """True where all of some lines are tagged as of a kind."""
    return bool(members) and all(
        tag is not None and tag.kind == kind for tag in map(tags.__getitem__, members)
    )


def bold_heads(table: RuledTable, lines: Sequence[Line]) -> set[int]:
    """The numbers of the cells in the first rows whose every line is bold; none where all rows are such.

    A font of drawings is taken for bold too: where a document has no other, all rows are in such.
    """
    rows: dict[int, list[int]] = {}
    for number, members in numbered(table):
        rows.setdefault(table.cells[number].row, []).extend(members)
    heads = 0
    while heads in rows and rows[heads] and all(is_heavy(lines[index]) for index in rows[heads]):
        heads += 1
    if heads >= table.rows:
        return set()
    return {number for number, cell in enumerate(table.cells) if cell.row < heads}


def is_heavy(line: Line) -> bool:
    """True for a line in bold type, by its font."""
    return bool(BOLD.search(line.font) or DRAWN.match(line.font))


def body_size(lines: Sequence[Line]) -> float:
    """The size, in points, that most of the page's characters have."""
    counts: dict[float, int] = {}
    for line in lines:
        size = round(line.size, 1)
        counts[size] = counts.get(size, 0) + len(line.text)
    return max(counts, key=lambda size: (counts[size], -size), default=0.0)


def written_blocks(lines: Sequence[Line], tags: Sequence[Tag | None], body: float) -> list[PageBlock]:
    """Lines of no table as headings, paragraphs and lists."""
    out: list[PageBlock] = []
    parts = list(written(lines, tags, body))
    sizes = sorted({round(part.lines[0].size, 1) for part in parts if part.kind == "heading"}, reverse=True)
    items: list[WrittenPart] = []
    for part in [*parts, None]:
        if items and (part is None or (part.kind, *part[2:]) != (items[0].kind, *items[0][2:])):
            out.append(list_block(items))
            items = []
        if part is None:
            break
        if part.kind == "item":
            items.append(part)
            continue
        tag = "p"
        if part.kind == "heading":
            tag = part.element or f"h{min(1 + sizes.index(round(part.lines[0].size, 1)), LEVELS)}"
        said = html.escape(part.text, quote=False)
        box, turn = around_lines(part.lines), part.lines[0].turn
        out.append(PageBlock(part.kind, box, turn, part.text, f"<{tag}>{said}</{tag}>"))
    return out


def list_block(items: Sequence[WrittenPart]) -> PageBlock:
    """A list of its items, without their marks."""
    lines = [line for item in items for line in item.lines]
    tag = items[0].element
    said = "".join(f"<li>{html.escape(without_mark(item.text, tag), quote=False)}</li>" for item in items)
    text = "\n".join(item.text for item in items)
    return PageBlock("list", around_lines(lines), lines[0].turn, text, f"<{tag}>{said}</{tag}>")


def without_mark(text: str, kind: str) -> str:
    """The text without the mark of a list of its kind (ul or ol) at its beginning."""
    mark = mark_of(text)
    return mark.rest if mark is not None and mark.kind == kind else text


def written(lines: Sequence[Line], tags: Sequence[Tag | None], body: float) -> Iterator[WrittenPart]:
    """Lines put together to headings, paragraphs and items of lists."""
    group: list[Line] = []
    last: Tag | None = None
    for line, tag in zip(lines, tags, strict=True):
        goes_on = tag == last if tag is not None or last is not None else goes_on_below(group, line)
        if group and not goes_on:
            yield kind_of_lines(group, last, body)
            group = []
        group.append(line)
        last = tag
    if group:
        yield kind_of_lines(group, last, body)


def goes_on_below(group: Sequence[Line], line: Line) -> bool:
    """True where a line is the next one of the same paragraph, heading or item."""
    if not group:
        return False
    last = group[-1]
    if len(group) == 1 and (initials.is_beside(last, line) or (is_mark(last.text) and is_behind(last, line))):
        return True
    if (
        line.turn != last.turn
        or abs(line.size - last.size) > SAME_SIZE * last.size
        or begins_item(group, line)
    ):
        return False
    if bool(BOLD.search(line.font)) != bool(BOLD.search(last.font)) and len(group) == 1:
        return False
    gap = line.box[1] - last.box[3]
    close = -last.size < gap < GAP_EM * last.size
    return close and line.box[0] <= last.box[2] and line.box[2] >= last.box[0] and not ends_item(group, line)


def is_behind(mark: Line, line: Line) -> bool:
    """True for a line at the height of a mark, not far behind it."""
    level = line.turn == mark.turn and line.box[1] < (mark.box[1] + mark.box[3]) / 2 < line.box[3]
    return level and 0 <= line.box[0] - mark.box[2] < AWAY_EM * line.size


def begins_item(group: Sequence[Line], line: Line) -> bool:
    """True for a line with a list's mark; a dash may also stand in the midst of a sentence of the paragraph above."""
    if mark_of(line.text) is None:
        return False
    last = group[-1]
    flush = abs(line.box[0] - last.box[0]) < INDENT_EM * line.size
    inside = flush and mark_of(group[0].text) is None and not last.text.endswith(ENDS)
    return not (inside and line.text[0] in DASHES)


def ends_item(group: Sequence[Line], line: Line) -> bool:
    """True for a line that goes back to an item's mark where other lines are indented, or its first word fits above."""
    first, last = group[0], group[-1]
    if mark_of(first.text) is None or line.box[0] - first.box[0] >= INDENT_EM * line.size:
        return False
    word = (len(line.text.split(" ")[0]) + 1) / len(line.text) * (line.box[2] - line.box[0])
    return last.box[0] - first.box[0] > INDENT_EM * line.size or last.box[2] + word < line.box[2]


def kind_of_lines(lines: list[Line], tag: Tag | None, body: float) -> WrittenPart:
    """What a group of lines is: by their tag, else by their mark, size and weight."""
    mark = mark_of(joined_lines(lines[:2]))
    if tag is not None:
        if tag.kind == "li":
            return WrittenPart("item", lines, mark.kind if mark else "ul", tag.inside)
        return (
            WrittenPart("heading", lines, tag.kind)
            if tag.kind.startswith("h")
            else WrittenPart("paragraph", lines)
        )
    if mark:
        return WrittenPart("item", lines, mark.kind)
    chars = sum(len(line.text) for line in lines)
    large = all(line.size >= LARGE * body for line in lines)
    last = lines[-1].text.rstrip()
    ends = last.endswith((".", ":", ";", ","))
    # Above a table in small type running text is large, but ends as sentences do
    sentence = last.endswith(("。", "；", "，")) or (len(lines) > 1 and last.endswith((".", ";", ",")))
    bold = len(lines) == 1 and not ends and bool(BOLD.search(lines[0].font))
    if len(lines) <= HEADING_LINES and chars <= HEADING_CHARS and (bold or (large and not sentence)):
        return WrittenPart("heading", lines)
    return WrittenPart("paragraph", lines)


def around_lines(lines: Sequence[Line]) -> Box:
    """The box around lines of one turn."""
    box = lines[0].box
    for line in lines[1:]:
        box = union(box, line.box)
    return box


def with_figures(blocks: list[PageBlock], pictures: Sequence[Box], page: Box) -> list[PageBlock]:
    """The blocks with the page's figures, each before the first block that begins below it in its column."""
    whole = max((page[2] - page[0]) * (page[3] - page[1]), 1e-6)
    out = list(blocks)
    for box in pictures[:MOST_FIGURES]:
        share = (box[2] - box[0]) * (box[3] - box[1]) / whole
        if FIGURE_SHARE[0] <= share <= FIGURE_SHARE[1]:
            below = (k for k, one in enumerate(out) if one.turn == LEVEL and is_below(one.box, box))
            out.insert(next(below, len(out)), PageBlock("figure", box, LEVEL, "", "<figure></figure>"))
    return out


def is_below(box: Box, picture: Box) -> bool:
    """True where a box begins below the top of a picture and shares some of its width."""
    return box[1] >= picture[1] and box[0] < picture[2] and box[2] > picture[0]


def described(blocks: Sequence[PageBlock], view: View) -> list[dict[str, Any]]:
    """The blocks as `extra` has them: type, quad (8 numbers, px of the image), text, html."""
    quads = view.quads([block.box for block in blocks], [block.turn for block in blocks])
    places = quads.clip(0, view.size).reshape(-1, 8).round(1).tolist()
    return [
        {"type": block.type, "quad": quad, "text": block.text, "html": block.html}
        for block, quad in zip(blocks, places, strict=True)
    ]
