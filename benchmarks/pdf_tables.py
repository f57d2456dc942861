"""How exactly do tables in PDFs become HTML, where their HTML is known?

    python -m benchmarks.pdf_tables [--tables 60] [--seed 0] [--failing] [--keep FOLDER]

Tables are made by lot and written as HTML: ruled ones with cells that span rows and columns, wrapped and empty
cells, headings, Chinese; and plain ones without any rule. Chromium prints them to PDF, with the tags that it writes
and, once more, with the document's tags taken out. The measure is TEDS (tree edit distance based similarity, Zhong et
al. 2020): 1 - distance / nodes, of trees of rows and cells, where a cell's text counts by its edit distance. A table
that is not found counts 0; an extra one is named.
"""

from __future__ import annotations

import argparse
import html
import json
import random
import shutil
import statistics
import subprocess
import tempfile
from collections.abc import Iterator
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pymupdf
from apted import APTED, Config

from renderers.pdf.render import PdfSettings, render

WORDS = (
    "harbour",
    "ship",
    "month",
    "cargo",
    "tide",
    "north light",
    "of the",
    "and",
    "2026",
    "14.5",
    "x<y",
    "A&B",
)
CHINESE = "港口船舶货物潮汐灯塔记录风向年份"
RULED = "table{border-collapse:collapse;margin:0 0 24px}td,th{border:1px solid #333;padding:3px 7px}"
PLAIN = "table{margin:0 0 24px}td,th{padding:3px 12px;text-align:left}"
PAGE = "<!doctype html><meta charset=utf-8><style>body{{font:13px sans-serif;width:640px}}table{{break-inside:avoid;max-width:600px}}{style}</style>{body}"  # noqa: E501
KINDS = {"ruled": (RULED, True), "plain": (PLAIN, False)}


def said(draw: random.Random) -> str:
    """The text of a cell."""
    if draw.random() < 0.1:
        return ""
    if draw.random() < 0.15:
        return "".join(draw.choices(CHINESE, k=draw.randint(1, 12)))
    return " ".join(draw.choices(WORDS, k=draw.choice([1, 1, 2, 3, 12])))


def made_table(draw: random.Random, spans: bool) -> str:
    """A table by lot, each of whose rows and columns some cell begins: no ink tells of others."""
    while True:
        markup, rows, columns, starts = drawn_table(draw, spans)
        if {row for row, _ in starts} == set(range(rows)) and {c for _, c in starts} == set(range(columns)):
            return markup


def drawn_table(draw: random.Random, spans: bool) -> tuple[str, int, int, set[tuple[int, int]]]:
    """A table by lot, as HTML without white space between tags; its rows, columns and where cells begin."""
    starts = set()
    rows, columns = draw.randint(2, 8), draw.randint(2, 6)
    heads = draw.randint(0, 1)
    taken = [[False] * columns for _ in range(rows)]
    out = []
    for row in range(rows):
        cells = []
        for column in range(columns):
            if taken[row][column]:
                continue
            wide = high = 1
            if spans and draw.random() < 0.12:
                wide = draw.randint(1, min(3, columns - column))
                high = draw.randint(1, min(3, rows - row) if row >= heads else 1)
            part = [(r, c) for r in range(row, row + high) for c in range(column, column + wide)]
            if any(taken[r][c] for r, c in part):
                wide, high, part = 1, 1, [(row, column)]
            for r, c in part:
                taken[r][c] = True
            starts.add((row, column))
            tag = "th" if row < heads else "td"
            marks = f' rowspan="{high}"' * (high > 1) + f' colspan="{wide}"' * (wide > 1)
            text = said(draw) or ("head" if row < heads else "")
            cells.append(f"<{tag}{marks}>{html.escape(text, quote=False)}</{tag}>")
        out.append(f"<tr>{''.join(cells)}</tr>")
    return f"<table>{''.join(out)}</table>", rows, columns, starts


def printed(body: str, style: str, folder: Path) -> bytes:
    """The page as Chromium prints it."""
    source, target = folder / "page.html", folder / "page.pdf"
    source.write_text(PAGE.format(style=style, body=body), encoding="utf-8")
    browser = shutil.which("chromium") or "chromium"
    options = ["--headless", "--no-sandbox", "--disable-gpu", "--no-pdf-header-footer"]
    subprocess.run(
        [browser, *options, f"--print-to-pdf={target}", source.as_uri()], capture_output=True, check=True
    )
    return target.read_bytes()


def untagged(document: bytes) -> bytes:
    """The document without its tags."""
    with pymupdf.open(stream=document, filetype="pdf") as pdf:
        pdf.xref_set_key(pdf.pdf_catalog(), "StructTreeRoot", "null")
        data: bytes = pdf.tobytes()
    return data


def found_tables(document: bytes) -> list[str]:
    """The tables that we find in the document, in order."""
    out = []
    for batch in render(document, PdfSettings(structure=True)):
        for block in json.loads(batch["extra"][0].as_py()).get("blocks", ()):
            if block["type"] == "table":
                out.append(block["html"])
    return out


class Node:
    """An element of a table, and what it reads."""

    def __init__(self, tag: str, marks: tuple[Any, ...]) -> None:
        self.tag, self.marks, self.text = tag, marks, ""
        self.children: list[Node] = []

    def __len__(self) -> int:
        return 1 + sum(len(child) for child in self.children)


class Trees(HTMLParser):
    """Reads tables, rows and cells."""

    def __init__(self) -> None:
        super().__init__()
        self.path = [Node("root", ())]

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        node = Node(tag, tuple(sorted(attrs)))
        self.path[-1].children.append(node)
        self.path.append(node)

    def handle_endtag(self, tag: str) -> None:
        self.path.pop()

    def handle_data(self, data: str) -> None:
        self.path[-1].text += data


class Costs(Config):  # type: ignore[misc]
    """TEDS' costs: another tag or span costs 1, another text its normalised edit distance."""

    def rename(self, one: Node, other: Node) -> float:
        if (one.tag, one.marks) != (other.tag, other.marks):
            return 1.0
        longest = max(len(one.text), len(other.text))
        return distance(one.text, other.text) / longest if longest else 0.0

    def children(self, node: Node) -> list[Node]:
        return node.children


def distance(one: str, other: str) -> int:
    """Levenshtein's."""
    row = list(range(len(other) + 1))
    for i, a in enumerate(one, 1):
        last, row[0] = row[0], i
        for j, b in enumerate(other, 1):
            last, row[j] = row[j], min(row[j] + 1, row[j - 1] + 1, last + (a != b))
    return row[-1]


def tree(markup: str) -> Node:
    reader = Trees()
    reader.feed(markup)
    return reader.path[0].children[0]


def teds(found: str, truth: str) -> float:
    """How like two tables are, from 0 to 1."""
    one, other = tree(found), tree(truth)
    apart = APTED(one, other, Costs()).compute_edit_distance()
    return 1.0 - float(apart) / max(len(one), len(other))


def scores(truths: list[str], found: list[str]) -> Iterator[float]:
    """The score of each true table: of the tables found, in order, the best one left that is not before it."""
    start = 0
    for truth in truths:
        rated = [(teds(one, truth), -k) for k, one in enumerate(found[start : start + 2], start)]
        best, place = max(rated, default=(0.0, 1))
        yield best
        start = 1 - place if best > 0.5 else start


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--tables", type=int, default=60)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--failing", action="store_true", help="print the tables that are not exact")
    parser.add_argument("--keep", type=Path, help="where to put the PDFs")
    options = parser.parse_args()
    for kind, (style, spans) in KINDS.items():
        draw = random.Random(options.seed)
        truths = [made_table(draw, spans) for _ in range(options.tables)]
        body = "".join(
            f"<p>Text before the table with the number {k}.</p>{one}" for k, one in enumerate(truths)
        )
        with tempfile.TemporaryDirectory() as work:
            document = printed(body, style, Path(work))
        for tags, data in (("tagged", document), ("untagged", untagged(document))):
            if options.keep:
                (options.keep / f"{kind}-{tags}.pdf").write_bytes(data)
            found = found_tables(data)
            rated = list(scores(truths, found))
            exact = sum(score == 1.0 for score in rated)
            print(
                f"{kind}, {tags}: TEDS {statistics.mean(rated):.4f}, {exact} of {len(truths)} exact, {len(found)} found"
            )
            if options.failing:
                for truth, score in zip(truths, rated, strict=True):
                    if score < 1.0:
                        print(f"  {score:.3f} {truth}")


if __name__ == "__main__":
    main()
