"""What a page's lines say is what a person reads there, in the order that it is read."""

from __future__ import annotations

import io
from typing import Any

import numpy as np
import pytest
from PIL import Image

from renderers.html.generated import Generated, generated
from renderers.html.render import Browser

STYLE = "<!DOCTYPE html><meta charset=utf-8><style>body{margin:8px;font:20px/1.5 'DejaVu Sans'}</style>"
LINK = "<link rel={} href=a.css onload=\"this.media='all'\"><p>SEEN"
CUT = "<div dir=rtl style='width:200px;white-space:nowrap;overflow:hidden;text-overflow:ellipsis'>"
FOX = "the quick brown fox jumps over the lazy dog"

READ = {
    "numbers of a right-to-left list": ("<ol dir=rtl><li>אחד<li>שתיים", ["1. אחד", "2. שתיים"]),
    "Arabic numbers": ("<ol dir=rtl style='list-style:arabic-indic'><li>واحد", ["١. واحد"]),
    "an address against harvesters": (
        "<p style='unicode-bidi:bidi-override;direction:rtl'>moc.b@a",
        ["a@b.com"],
    ),
    "override within a line": ("<p>to <bdo dir=rtl>moc.b@a</bdo> now", ["to a@b.com now"]),
    "override along a script's own way": ("<p><bdo dir=rtl>שלום", ["שלום"]),
    "override by a character": ("<p>SEEN<p>un\u202eder\u202cline", ["SEEN"]),
    "override over several elements": ("<p>SEEN<p><bdo dir=rtl>one <b>two</b></bdo>", ["SEEN", "owt"]),
    "outlines": ("<p style='color:transparent;-webkit-text-stroke:1px #000'>SEEN", ["SEEN"]),
    "raised first letter": (
        "<style>p::first-letter{initial-letter:3}</style><p style='width:200px'>One and two and three",
        ["One and two and", "three"],
    ),
    "floated first letter": (
        "<style>p::first-letter{float:left;font-size:60px;line-height:50px}</style><p style='width:250px'>"
        "One and two and three and four",
        ["One and two and", "three and four"],
    ),
    "floated word of a letter": (
        "<p style='width:250px'><b style='float:left;font-size:60px;line-height:50px'>A</b> man and two and three",
        ["A man and two and", "three"],
    ),
    "floated digit": (
        "<p style='width:250px'><b style='float:left;font-size:60px;line-height:50px'>4</b> men and two and three",
        ["4 men and two and", "three"],
    ),
    "space of another size": (
        "<p style='font-size:14px'><b style='font-size:40px'>One</b> <b style='font-size:40px'>two</b>",
        ["One two"],
    ),
    "floated Chinese character": (
        "<p style='width:160px'><b style='float:left;font-size:60px;line-height:60px'>从</b>前有一位国王他有",
        ["从前有一位国", "王他有"],
    ),
    "right to left with a stop at its other end": (
        "<p>شكرا على <a href=a>ثلاثة كتب</a> بالقرب من هنا.",
        ["شكرا على ثلاثة كتب بالقرب من هنا."],
    ),
    "text that fades out": (
        "<div style='position:relative'>one<br>two<br>three<br>four<b style='position:absolute;inset:0;"
        "background:linear-gradient(rgba(255,255,255,0) 30%, #fff 80%)'></b></div>",
        ["one", "two", "three"],
    ),
    "text that generated content fades out": (
        "<style>div{position:relative}div::after{content:'';position:absolute;bottom:0;left:0;width:100%;height:80px;"
        "background:linear-gradient(to top,#fff 50%,transparent)}</style><div>one<br>two<br>three<br>four</div>",
        ["one", "two"],
    ),
    "text under a gradient across": (
        "<p>SEEN<div style='position:relative'>one<b style='position:absolute;inset:0;"
        "background:linear-gradient(to right,transparent,#fff)'></b></div>",
        ["SEEN"],
    ),
    "letter that is no beginning": (
        "<div><p style='float:left;font-size:60px;line-height:50px;margin:0'>A</p></div><div>one of many",
        ["A", "one of many"],
    ),
    "dates": (
        "<input type=date value=2026-12-01><p><input type=time value=14:30><p><input type=time value=00:05:09>"
        "<p><input type=month value=2026-12><p>"
        "<input type=week value=2026-W49><p><input type=datetime-local value=2026-12-01T09:05><p><input type=date>",
        [
            "12/01/2026",
            "02:30 PM",
            "12:05:09 AM",
            "December 2026",
            "Week 49, 2026",
            "12/01/2026, 09:05 AM",
            "mm/dd/yyyy",
        ],
    ),
    "generated text that its box cuts off": (
        "<style>i::before{content:'Expand';display:inline-block;width:16px;height:16px;overflow:hidden;font-size:16px;"
        "line-height:1;word-break:break-all}</style><p><i></i>SEEN<p>BELOW",
        ["SEEN", "BELOW"],
    ),
    "first letter within a line's element": (
        "<style>p::first-letter{color:red}p{background:#eee}</style><p><b>SEEN</b> here",
        ["SEEN here"],
    ),
    "badge": (
        "<style>p::before{content:'NEW';background:#c00;color:#fff;padding:4px;margin-right:8px}</style><p>item",
        ["NEW item"],
    ),
    "ribbon": (
        "<style>p{position:relative}p::after{content:'SALE';position:absolute;right:0;background:#000;color:#fff}"
        "</style><p>item",
        ["item", "SALE"],
    ),
    "generated text like its ground": (
        "<style>p::before{content:'gone';background:#888;color:#888}</style><p>SEEN",
        ["SEEN"],
    ),
    "text on a generated ground": (
        "<style>a{position:relative;z-index:0;color:#fff}a::before{content:'';position:absolute;inset:0;z-index:-1;"
        "background:#06c}</style><p><a>SEEN</a><p style='color:#fff'>not seen",
        ["SEEN"],
    ),
    "generated text on a generated ground": (
        "<style>p{position:relative;padding:0 50px}p::before{content:'';position:absolute;left:0;width:30px;height:30px"
        ";background:#c00}p::after{content:'3';color:#fff;position:absolute;left:9px}</style><p>new",
        ["3", "new"],
    ),
    "text under its own generated ground": (
        "<style>p.a{position:relative}p.a::after{content:'';position:absolute;left:0;right:0;bottom:0;height:60%;"
        "background:#036}</style><p>SEEN<p class=a>not seen",
        ["SEEN"],
    ),
    "an inner shadow as ground": ("<p style='box-shadow:inset 0 0 0 99px #222;color:#fff'>SEEN", ["SEEN"]),
    "text of a row without cells": (
        "<div style='display:table'><div style='display:table-header-group'>head</div>"
        "<div style='display:table-row-group'>in <b>a</b> group</div><div style='display:table-row'>row</div></div>"
        "<details>shut<div style='display:table-row'>not seen</div></details>",
        ["head", "in a group", "row", "▸ Details"],
    ),
    "generated text that is shifted": (
        "<style>p{position:relative}p::after{content:'NEW';position:absolute;left:50%;top:50%;"
        "transform:translate(-50%,-50%)}</style><p>SEEN",
        ["SEEN", "NEW"],
    ),
    "a link in a drawing": ("<svg><text y=50><a href=#>SEEN</a> and more</text></svg>", ["SEEN and more"]),
    "list box": ("<select multiple><option>one<option>two<option>three</select>", ["one", "two", "three"]),
    "list box with groups": (
        "<select size=4><optgroup label=G><option>one</optgroup><option>two</select>",
        ["G", "one", "two"],
    ),
    "white on a half-transparent ground": ("<p style='background:rgba(0,0,0,.4);color:#fff'>SEEN", ["SEEN"]),
    "white on a bright ground": (
        "<p>SEEN<p style='background:rgba(0,0,0,.05);color:#fff'>not seen",
        ["SEEN"],
    ),
    "white letters with outlines": ("<p style='color:#fff;-webkit-text-stroke:1px #000'>SEEN", ["SEEN"]),
    "list box of two": ("<select size=2><option>one<option>two<option>three</select>", ["one", "two"]),
    "a page that waits for its script": ("<style>html{opacity:0}</style><p>SEEN", ["SEEN"]),
    "a page that breaks out of frames": ("<style>body{display:none!important}</style><p>SEEN", ["SEEN"]),
    "formula in a line": (
        "<p>if <math><mi>E</mi><mo>=</mo><mi>m</mi><msup><mi>c</mi><mn>2</mn></msup></math> holds",
        ["if E = mc2 holds"],
    ),
    "fraction in a line": (
        "<p>if <math><mfrac><mi>a</mi><mi>b</mi></mfrac></math> holds",
        ["if", "a", "b", "holds"],
    ),
    "reversed row": ("<div style='display:flex;flex-direction:row-reverse'><p>a<p>b<p>c", ["c", "b", "a"]),
    "parts put first": ("<div style='display:grid'><p>a<p style='order:-1'>b<p>c", ["b", "a", "c"]),
    "placed parts": (
        "<div style='display:grid'><p style='grid-area:2/2'>d<p style='grid-area:1/1'>a"
        "<p style='grid-area:2/1'>c<p style='grid-area:1/2'>b",
        ["a", "b", "c", "d"],
    ),
    "placed columns": (
        "<div style='display:grid'><p style='grid-area:1/1'>a<p style='grid-area:2/1'>b"
        "<p style='grid-area:1/2'>c<p style='grid-area:2/2'>d",
        ["a", "b", "c", "d"],
    ),
}


def lines(browser: Browser, html: str, **served: Any) -> list[str]:
    (batch,) = browser.render((STYLE + html).encode(), **served)
    (row,) = batch.to_pylist()
    return [region["text"] for region in row["regions"]]


@pytest.mark.parametrize(("html", "read"), READ.values(), ids=READ.keys())
def test_lines_are_read_as_a_person_reads_them(browser: Browser, html: str, read: list[str]) -> None:
    assert lines(browser, html) == read


def test_a_stylesheet_of_the_archive_parts_no_first_letter_from_its_line(browser: Browser) -> None:
    sheet = b"pre{background:#eee} div::first-letter{initial-letter:3}"
    html = "<link rel=stylesheet href=a.css><pre><code>SEEN</code></pre><div style='width:200px'>One and two and three"
    served = {"url": "http://a.example/", "resources": {"http://a.example/a.css": ("text/css", sheet)}}
    assert lines(browser, html, **served) == ["SEEN", "One and two and", "three"]


@pytest.mark.parametrize(
    ("html", "begins"),
    [
        (f"<input style='width:120px' value='{FOX}'>", "the quick"),
        (f"<select style='width:120px'><option>{FOX}</select>", "the qui"),
        (f"{CUT}{'שלום עולם ' * 9}", "שלום עולם"),
    ],
    ids=["value", "choice", "right to left"],
)
def test_what_its_box_cuts_off_ends_in_an_ellipsis(browser: Browser, html: str, begins: str) -> None:
    (line,) = lines(browser, html)
    assert line.startswith(begins)
    assert line.endswith("…")


@pytest.mark.parametrize(
    "html",
    [
        "<pre style='width:200px;overflow:auto;font:inherit'>{0}\nend</pre>",
        "<p style='width:200px;overflow:hidden;white-space:nowrap'>{0}</p><p>end",
        "<p style='margin-left:1060px;white-space:nowrap'>{0}</p><p>end",
        "<div style='width:200px;overflow:scroll'><table style='white-space:nowrap'><tr><td>{0}</table></div><p>end",
    ],
    ids=["code", "sentence", "edge of the page", "table"],
)
def test_a_line_that_goes_beyond_its_box_is_read_as_far_as_it_is_seen(browser: Browser, html: str) -> None:
    begins, end = lines(browser, html.format(FOX))
    assert FOX.startswith(begins)
    assert 15 < len(begins) < 24
    assert end == "end"


@pytest.mark.parametrize(
    ("html", "text"), [(CUT, FOX), (CUT.replace("dir=rtl", ""), "שלום לכולם זהו משפט ארוך שנחתך בקצה")]
)
def test_of_what_runs_against_its_box_the_end_is_read(browser: Browser, html: str, text: str) -> None:
    seen, end = lines(browser, f"{html}{text}</div><p>end")
    assert text.endswith(seen)
    assert 15 < len(seen) < 25
    assert end == "end"


def test_a_floated_letter_makes_its_line_no_higher(browser: Browser) -> None:
    style = "<style>p{width:250px}p::first-letter{float:right;font-size:60px}</style>"
    (batch,) = browser.render((STYLE + style + "<p dir=rtl>كان يا ما كان في قديم الزمان ملك").encode())
    first, *_ = [region["quad"] for region in batch.to_pylist()[0]["regions"]]
    assert first[7] - first[1] < 36


def test_a_field_stands_on_the_base_line_of_the_text_beside_it(browser: Browser) -> None:
    (batch,) = browser.render((STYLE + "<p>text <input style='font:inherit' value='text'>").encode())
    quads = [region["quad"] for region in batch.to_pylist()[0]["regions"]]
    assert [round(quad[1]) for quad in quads] == [round(quads[0][1])] * 2


def test_a_first_letter_without_a_label_is_not_painted(browser: Browser) -> None:
    style = "<style>p{color:#fff}p::first-letter{color:red;font-size:60px;float:left}</style>"
    (batch,) = browser.render((STYLE + style + "<div>SEEN</div><p>hidden").encode())
    pixels = np.asarray(Image.open(io.BytesIO(batch["image"][0].as_py())).convert("L"))
    assert pixels[40:].min() > 200


@pytest.mark.parametrize("rel", ["stylesheet media=print", "preload as=style"])
def test_a_stylesheet_that_a_script_switches_on_counts_as_lost(browser: Browser, rel: str) -> None:
    (batch,) = browser.render(("<!DOCTYPE html>" + LINK.format(rel)).encode())
    assert '"unstyled": true' in batch["extra"][0].as_py()


def test_a_page_of_code_counts_as_unstyled_too(browser: Browser) -> None:
    html = f"<!DOCTYPE html><link rel=stylesheet href=a.css><p>text<pre><code>{'code ' * 30}</code></pre>"
    (batch,) = browser.render(html.encode())
    assert '"unstyled": true' in batch["extra"][0].as_py()


def test_a_lone_bullet_has_its_whole_width(browser: Browser) -> None:
    (batch,) = browser.render((STYLE + "<p>text<ul style='font-size:60px'><li></ul>").encode())
    (_, bullet) = batch.to_pylist()[0]["regions"]
    pixels = np.asarray(Image.open(io.BytesIO(batch["image"][0].as_py())).convert("L"))
    dark = np.flatnonzero((pixels[60:] < 128).any(axis=0))
    assert bullet["quad"][0] <= dark[0] + 1
    assert bullet["quad"][2] >= dark[-1] - 1


def test_pieces_of_generated_text_come_in_the_order_of_their_text() -> None:
    strings = ["data-curate-owner", "7", "marker", "1. "]
    nodes = {
        "pseudoType": {"index": [1], "value": [2]},
        "parentIndex": [-1, 0],
        "attributes": [[0, 1], []],
    }
    boxes = {
        "layoutIndex": [1, 1],
        "bounds": [[0, 0, 6, 20], [6, 0, 10, 20]],  # from the left: the blank and the dot, then the number
        "start": [1, 0],
        "length": [2, 1],
    }
    layout = {"nodeIndex": [1, 1], "text": [-1, 3], "bounds": [[0, 0, 16, 20], [0, 0, 16, 20]]}
    document = {"nodes": nodes, "layout": layout, "textBoxes": boxes}
    found = generated({"strings": strings, "documents": [document]})
    pieces = [Generated(7, "marker", "1", 6, 0, 10, 20), Generated(7, "marker", ". ", 0, 0, 6, 20)]
    assert found == [*pieces, Generated(7, "marker", "", 0, 0, 16, 20)]
