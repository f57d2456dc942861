"""A page that lost its stylesheets, laid out anew: its main content under a stylesheet drawn by lot.

The lot depends on the document alone: a document looks the same in every run, and different ones differ.
"""

from __future__ import annotations

import html
import re
from collections.abc import Iterator, Sequence
from itertools import zip_longest
from random import Random

from renderers import RenderError

LEAST = 200  # characters of main content that are worth a page
SECTION = 2200  # characters of a section: its columns must fit on one page image
HEADING = re.compile(r"<h([1-6])>")
EMPTY_ITEM = re.compile(r"<li>\s*(?:</li>|(?=<li>|</[uo]l>))")  # a list of pictures, say, which are not kept
CELL_END = "\t\t"  # between the cells of a row, as Resiliparse writes them
WIDE = 4  # columns: such a table goes across all columns of the page
SERIF = (
    "DejaVu Serif",
    "Liberation Serif",
    "Noto Serif",
    "C059",
    "P052",
    "Nimbus Roman",
    "Linux Libertine O",
)
SANS = (
    "DejaVu Sans",
    "Liberation Sans",
    "Noto Sans",
    "Open Sans",
    "Lato",
    "Roboto",
    "Nimbus Sans",
    "URW Gothic",
)
CHINESE = ("Noto Sans CJK SC", "Noto Serif CJK SC", "WenQuanYi Micro Hei", "AR PL UMing CN")
PAPERS = (  # paper, ink, accent, frame
    ("#ffffff", "#1a1a1a", "#0a58ca", "#e3e8ef"),
    ("#fdfbf5", "#2b2620", "#8a3b12", "#e9dfc8"),
    ("#f4f6f8", "#1f2933", "#9b1c31", "#d5dce4"),
    ("#fffef9", "#111111", "#00695c", "#dfe9e2"),
    ("#f7f2f8", "#241b2f", "#6a1b9a", "#e4d6ea"),
    ("#1e2227", "#e6e6e6", "#7cb7ff", "#353c45"),
    ("#14213d", "#f1f1f1", "#fca311", "#2a3a5e"),
    ("#ffffff", "#333333", "#c2185b", "#f3e3ea"),
)


def restyle(markup: str, title: str, lot: str) -> str:
    """Lay out the main content of `markup` as a page of its own; `lot` seeds the draw of its looks.

    Raises: RenderError(`no_text`), where there is next to no main content.
    """
    blocks = list(main_blocks(markup))
    if sum(map(len, blocks)) < LEAST:
        raise RenderError("no_text", "no main content")
    random = Random(lot)
    if not any("<h1>" in block for block in blocks[:3]) and title.strip():
        blocks.insert(0, f"<h1>{html.escape(title.strip()[:200])}</h1>")
    style = stylesheet(random)
    frames = random.random() < 0.7
    sections = "\n".join(
        f"<section>{frame(random) if frames and random.random() < 0.5 else ''}{''.join(part)}</section>"
        for part in in_sections(blocks)
    )
    head = f"<!doctype html><meta charset=utf-8><title>{html.escape(title)}</title><style>{style}</style>"
    return f"{head}<main>{sections}</main>"


def main_blocks(markup: str) -> Iterator[str]:
    """Yield the main content as headings, paragraphs, lists and tables, in HTML with its text escaped."""
    from resiliparse.extract.html2text import extract_plain_text

    found = extract_plain_text(
        markup, preserve_formatting="minimal_html", main_content=True, alt_texts=False, links=False
    )
    rows: list[str] = []
    for block in found.split("\n\n"):
        if "\t" in block and not block.lstrip().startswith("<"):
            lines = block.split("\n")
            at = next((i for i, line in enumerate(lines) if line.lstrip().startswith("<")), len(lines))
            rows += lines[:at]
            block = "\n".join(lines[at:])  # a list below the table
            if not block:
                continue
        if rows:
            yield table(rows)
            rows = []
        block = EMPTY_ITEM.sub("", block)
        if block.strip():
            yield block if block.lstrip().startswith("<") else f"<p>{block}</p>"
    if rows:
        yield table(rows)


def table(rows: Sequence[str]) -> str:
    """Make an HTML table of rows whose cells are parted by two tabs; columns without text are left out."""
    found = [[cell.strip() for cell in row.rstrip().split(CELL_END)] for row in rows if row.strip()]
    kept = [any(column) for column in zip_longest(*found)]
    cells = ("".join(f"<td>{cell}" for cell, shown in zip(row, kept, strict=False) if shown) for row in found)
    return (
        f"<table{' class=wide' if sum(kept) >= WIDE else ''}>{''.join(f'<tr>{row}' for row in cells)}</table>"
    )


def in_sections(blocks: Sequence[str]) -> Iterator[list[str]]:
    """Yield the blocks by section; a heading begins a new section where the last is half full."""
    part: list[str] = []
    length = 0
    for block in blocks:
        full = SECTION / 2 if HEADING.match(block) else SECTION
        if part and length + len(block) > full:
            yield part
            part, length = [], 0
        part.append(block)
        length += len(block)
    if part:
        yield part


def frame(random: Random) -> str:
    """Draw a frame that stands for a missing picture."""
    side, width = random.choice(("left", "right")), random.choice((24, 30, 38))
    ratio, turn = random.choice(("3/2", "4/3", "1/1", "16/9")), random.randrange(360)
    return (
        f'<div class=frame style="float:{side};width:{width}%;aspect-ratio:{ratio};--turn:{turn}deg"></div>'
    )


def stylesheet(random: Random) -> str:
    """Draw a stylesheet: typefaces, sizes, columns, margins, colours, paper and the frames of pictures."""
    drawn = dict(zip(("paper", "ink", "accent", "shade"), random.choice(PAPERS), strict=True))
    last = random.choice(CHINESE)
    for name in ("body", "heads"):
        typefaces = (*random.sample(random.choice((SERIF, SANS)), 2), last)
        drawn[name] = ",".join(f"'{typeface}'" for typeface in typefaces)
    drawn |= {name: random.choice(values) for name, values in DRAWN.items()}
    drawn["columns"] = random.choice(("1", "1", "1", "2", "2", "3"))
    drawn["width"] = random.choice(WIDTHS[drawn["columns"] == "1"])
    drawn["heading"] = random.choice((drawn["ink"], drawn["accent"]))
    root = "".join(f"--{name}:{value};" for name, value in drawn.items())
    return f":root{{{root}}}{STYLE}{''.join(map(random.choice, VARIANTS))}"


WIDTHS = (("960px", "1080px", "1200px"), ("640px", "720px", "800px", "900px"))  # of columns, of one column
DRAWN = {
    "size": ("14px", "15px", "16px", "17px", "18px", "20px"),
    "leading": ("1.35", "1.45", "1.55", "1.7"),
    "side": ("0 auto", "0 auto", "0 0 0 60px", "0 60px 0 auto"),
    "inset": ("16px", "28px", "44px", "64px"),
    "gap": ("24px", "32px", "44px"),
    "large": ("1.7em", "2em", "2.4em"),
    "align": ("left", "left", "justify"),
    "round": ("0", "0", "6px", "18px"),
    "edge": ("0", "1px solid var(--ink)", "8px solid var(--shade)"),
}
STYLE = """
body { margin: 0; background: var(--paper); color: var(--ink); font: var(--size)/var(--leading) var(--body) }
main { width: var(--width); max-width: 92%; margin: var(--side); padding: var(--inset) 20px }
section { columns: var(--columns); column-gap: var(--gap); padding: .5em 0; text-align: var(--align) }
section::after { content: ''; display: block; clear: both }
h1, h2, h3, h4, h5, h6 { font-family: var(--heads); line-height: 1.2; margin: .9em 0 .5em; color: var(--heading) }
h1, h2, h3, h4, h5, h6 { text-align: left; break-after: avoid }
h1 { font-size: var(--large); column-span: all }
table { border-collapse: collapse; margin: .6em 0; max-width: 100% }
td { border: 1px solid var(--shade); padding: .25em .6em; overflow-wrap: anywhere; text-align: left; text-indent: 0 }
.wide { column-span: all }
.wide td { overflow-wrap: break-word; font-size: .9em }
pre { background: var(--shade); padding: .7em; white-space: pre-wrap; overflow-wrap: break-word; font-size: .85em }
.frame { margin: .3em 1em .7em; background: linear-gradient(var(--turn), var(--accent), var(--shade)) }
.frame { border: var(--edge); border-radius: var(--round) }
"""
VARIANTS = (
    ("p { margin: 0 0 .9em }", "p { margin: 0; text-indent: 1.6em }", "p { margin: 0 0 .5em }"),
    (
        "",
        "h1, h2 { border-bottom: 2px solid var(--accent) }",
        "section { border-top: 1px solid var(--shade) }",
    ),
    (
        "",
        "",
        "h1 { background: var(--accent); color: var(--paper); padding: .5em .7em }",
        "h1 { text-align: center }",
    ),
)
