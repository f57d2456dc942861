"""The labels of a web page come in the order in which a person reads what is seen."""

from __future__ import annotations

import re

import pytest

from renderers.html.render import Browser

STYLE = "<!DOCTYPE html><meta charset=utf-8><style>p{margin:0}body{margin:8px;width:900px;font:20px/1.5 'DejaVu Sans'}"
STYLE += "</style>"
WORDS = "many words that go on over some lines of the page " * 6

ORDER = {
    "foot of a table written first": (
        "<table><tfoot><tr><td>3</tfoot><tbody><tr><td>2</tbody><thead><tr><th>1</thead></table>",
        "1 2 3",
    ),
    "caption below its table": (
        "<table><caption style='caption-side:bottom'>3</caption><tr><td>1<td>2</table>",
        "1 2 3",
    ),
    "float beside a heading": ("<div><a style='float:right'>2</a></div><h2>1</h2><p>3", "1 2 3"),
    "float within a line": (
        "<p><span style='float:right'>2</span>1<p><b style='float:right'>4</b>3",
        "1 2 3 4",
    ),
    "floats from the right": (
        "<i style='float:right'>4</i><i style='float:right'>3</i>"
        "<b style='float:left'>1</b><b style='float:left'>2</b>",
        "1 2 3 4",
    ),
    "columns": (
        "<div style='float:right;width:30%'>5<p>6</div><div style='float:left;width:30%'>1<p>2</div>"
        "<div style='margin:0 35%'>3<p>4</div>",
        "1 2 3 4 5 6",
    ),
    "right-to-left columns": (
        "<div dir=rtl><div style='float:left;width:30%'>3<p>4</div>"
        "<div style='float:right;width:30%'>1<p>2</div></div>",
        "1 2 3 4",
    ),
    "right-to-left text without a direction": (
        "<div style='float:right;width:30%'>אחד<p>שתיים</div><div style='float:left;width:30%'>שלוש<p>ארבע</div>",
        "אחד שתיים שלוש ארבע",
    ),
    "positioned headline": (
        "<div style='position:relative;height:120px'><p style='position:absolute;bottom:0'>2</p>"
        "<p style='position:absolute;top:0'>1</p></div>",
        "1 2",
    ),
    "positioned caption": (
        "<div style='position:relative;padding-bottom:40px'><p style='position:absolute;bottom:0'>2</p><p>1</p></div>",
        "1 2",
    ),
    "banner at the foot": (
        "<div style='height:30px'>1<div style='position:fixed;bottom:0;left:0'>4</div></div><p>2<p>3",
        "1 2 3 4",
    ),
    "moved": (
        "<p style='position:relative;top:40px'>2</p><p style='position:relative;top:-40px'>1</p>",
        "1 2",
    ),
    "rows from below": (
        "<div style='display:flex;flex-wrap:wrap-reverse'>"
        + "".join(f"<p style='width:50%'>{i}</p>" for i in (3, 4, 1, 2))
        + "</div>",
        "1 2 3 4",
    ),
    "parts of an element without a box": (
        "<div style='display:flex'><div style='display:contents'><p style='order:3'>3</p><p>1</p></div><p>2</p></div>",
        "1 2 3",
    ),
    "positioned columns": (
        "<div style='position:relative;height:200px'>"
        + "".join(
            f"<p style='position:absolute;left:{x}px;top:{y}px'>{i}</p>"
            for i, x, y in ((2, 0, 60), (3, 0, 100), (4, 300, 60), (5, 300, 100), (1, 0, 0))
        )
        + "</div>",
        "1 2 3 4 5",
    ),
}


def read(browser: Browser, html: str) -> list[str]:
    (batch,) = browser.render((STYLE + html).encode())
    return [region["text"] for region in batch["regions"][0].as_py()]


@pytest.mark.parametrize(("html", "order"), ORDER.values(), ids=ORDER.keys())
def test_labels_follow_the_eye(browser: Browser, html: str, order: str) -> None:
    assert " ".join(read(browser, html)) == order


KEPT = {
    "columns of text": f"<div style='columns:2'><p>one {WORDS}<p>two {WORDS}</div>",
    "box that text flows around": (
        f"<table style='float:right'><tr><td>a<tr><td>b<tr><td>c</table><p>Some words<p>{WORDS}{WORDS}"
    ),
    "cards of unlike heights": "".join(
        f"<div style='float:left;width:280px'><p>{i}<p>{WORDS[: 50 + i * 7 % 3 * 90]}</div>" for i in range(7)
    ),
    "reading above its word": "<p>one <ruby>漢<rt>かん</rt></ruby>",
    "Hebrew words of a line": "<p><span>אחד</span> <i>שתיים</i> <b style='display:inline-block'>שלוש</b>",
    "beside the beginning of a column": (
        f"<p style='float:right'>one</p><div style='width:500px'>{WORDS}{WORDS}</div>"
    ),
    "labels of a drawing": "<svg><text y=80>one</text><text y=20>two</text></svg>",
    "columns of writing": "<div style='writing-mode:vertical-rl;height:200px'><p>one</p><p>two</p></div>",
}


@pytest.mark.parametrize("html", KEPT.values(), ids=KEPT.keys())
def test_where_the_documents_order_is_right_it_stays(browser: Browser, html: str) -> None:
    written = re.sub(r"<[^<>]*>", "", html)
    assert "".join(read(browser, html)).replace(" ", "") == written.replace(" ", "")
