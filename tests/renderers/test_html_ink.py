"""What is painted and what is labelled are the same: a page's ink lies in its quads, turned ones, too."""

from __future__ import annotations

import io
import json
import math

import numpy as np
import pytest
from PIL import Image, ImageDraw

from renderers import RenderError
from renderers.html.render import Browser

STYLE = "<!DOCTYPE html><meta charset=utf-8><style>body{margin:0;height:900px;font:20px/1.5 'DejaVu Sans'}"
STYLE += "b{font-weight:normal}div{position:absolute;left:500px;top:400px}"
STYLE += ".zh{font-family:Noto Sans CJK SC}</style>"
Row = dict[str, object]


def show(browser: Browser, html: str) -> Row:
    (batch,) = browser.render((STYLE + html).encode())
    (row,) = batch.to_pylist()
    return row  # type: ignore[no-any-return]


def texts(row: Row) -> list[str]:
    return [region["text"] for region in row["regions"]]  # type: ignore[attr-defined]


def quads(row: Row) -> list[list[tuple[float, float]]]:
    found = (region["quad"] for region in row["regions"])  # type: ignore[attr-defined]
    return [list(zip(quad[::2], quad[1::2], strict=True)) for quad in found]


def angle(one: tuple[float, float], other: tuple[float, float]) -> float:
    """Degrees clockwise from the direction of an upright line."""
    return math.degrees(math.atan2(other[1] - one[1], other[0] - one[0]))


def ink(row: Row) -> np.ndarray:
    return np.asarray(Image.open(io.BytesIO(row["image"])).convert("L")) < 128  # type: ignore[arg-type]


def inside(row: Row, quad: list[tuple[float, float]], grow: int) -> np.ndarray:
    """The pixels of a quad, and those up to `grow` px beside it."""
    mask = Image.new("1", (int(str(row["width"])), int(str(row["height"]))))
    ImageDraw.Draw(mask).polygon(quad, fill=1, outline=1, width=1)
    ImageDraw.Draw(mask).line([*quad, quad[0]], fill=1, width=2 * grow + 1)
    return np.asarray(mask)


def assert_ink_fits(row: Row) -> None:
    dark = ink(row)
    for quad in quads(row):
        assert dark[inside(row, quad, 0)].any()
        (x1, y1), (x2, y2), (x3, y3), (x4, y4) = quad
        half = [(x1, y1), ((x1 + x2) / 2, (y1 + y2) / 2), ((x3 + x4) / 2, (y3 + y4) / 2), (x4, y4)]
        assert (dark & inside(row, half, 0)).sum() > 0.2 * (dark & inside(row, quad, 0)).sum()
        dark[inside(row, quad, 2)] = False
    assert not dark.any(), "ink outside every quad"


@pytest.mark.parametrize("degrees", [-90, 90, 180, 12, -30, 45, -135])
def test_each_line_of_turned_text_has_a_quad_at_its_angle(browser: Browser, degrees: int) -> None:
    row = show(browser, f"<div style='width:260px;rotate:{degrees}deg'>Ågrjq two lines of<b> text, of which"
               " the</b> second goes on</div>")  # fmt: skip
    assert texts(row) == ["Ågrjq two lines of text, of", "which the second goes", "on"]
    for top_left, top_right, bottom_right, bottom_left in quads(row):
        assert math.cos(math.radians(angle(top_left, top_right) - degrees)) == pytest.approx(1, abs=1e-4)
        assert math.dist(top_left, bottom_left) == pytest.approx(24, abs=0.1)  # the font's own box
        assert math.dist(top_left, top_right) == pytest.approx(math.dist(bottom_left, bottom_right), abs=0.1)
    assert_ink_fits(row)


WAYS = {  # html → the directions of its lines' upper and left edges
    "inner": ("<div style='rotate:30deg'><p style='transform:rotate(-50deg) scale(2)'>In it</p>", -20, 70),
    "scale": ("<div style='scale:2 1.2;rotate:20deg'><p style='rotate:-20deg'>Nested</p></div>", 7.68, 78.76),
    "level": ("<div style='rotate:50deg'><p style='transform:rotate(-50deg)'>Nested</p></div>", 0, 90),
    "skew x": ("<div style='transform:skewX(-20deg)'>Slanted</div>", 0, 110),
    "skew y": ("<div style='transform:skewY(15deg)'>Slanted</div>", 15, 90),
    "upwards": ("<div style='writing-mode:vertical-rl;rotate:180deg'>Upwards</div>", -90, 0),
    "sideways": ("<div style='writing-mode:sideways-lr'>Upwards</div>", -90, 0),
    "downwards": ("<div style='writing-mode:vertical-rl;rotate:10deg'>Downwards</div>", 100, -170),
    "upright": ("<div style='writing-mode:vertical-rl;text-orientation:upright;rotate:9deg'>UP</div>", 9, 99),
    "Chinese": ("<div class=zh style='writing-mode:vertical-rl;rotate:-20deg'>竖排的文字</div>", -20, 70),
    "drawing": ("<svg style='rotate:10deg' viewBox='0 0 60 60' width=800><g transform='rotate(20)'>"
                "<text x=30 y=30 font-size=2 transform='rotate(-50)'>A<tspan>B</text></svg>", -20, 70),
    "right to left": ("<div dir=rtl style='rotate:33deg'>שלום עולם</div>", 33, 123),
}  # fmt: skip


@pytest.mark.parametrize("way", WAYS)
def test_a_quad_begins_where_its_text_is_read_from(browser: Browser, way: str) -> None:
    html, across, down = WAYS[way]
    row = show(browser, html)
    ((top_left, top_right, _, bottom_left),) = quads(row)
    assert math.cos(math.radians(angle(top_left, top_right) - across)) > 0.9999
    assert math.cos(math.radians(angle(top_left, bottom_left) - down)) > 0.9999
    assert_ink_fits(row)


def test_a_drawn_hyphen_and_a_turned_letter_in_a_line_fit(browser: Browser) -> None:
    row = show(browser, "<div style='rotate:-25deg;width:100px'>hyphen&shy;ation</div><p>one "
               "<span style='display:inline-block;rotate:90deg'>›</span> two")  # fmt: skip
    assert texts(row) == ["hyphen-", "ation", "one", "›", "two"]
    assert_ink_fits(row)


UNSEEN = {
    "mirrored": "<div style='transform:rotate(30deg) scaleX(-1)'>HIDDEN</div>",
    "mirrored upside down": "<div style='transform:scaleY(-1)'>HIDDEN</div>",
    "in space": "<div style='transform:rotateY(30deg)'>HIDDEN</div>",
    "about an axis": "<div style='rotate:1 1 0 30deg'>HIDDEN</div>",
    "along a path": "<div style='offset-path:path(\"M0 0L99 99\")'>HIDDEN</div>",
    "off the side": "<div style='left:-30px;rotate:20deg'>HIDDEN</div>",
    "above the page": "<div style='top:-20px;rotate:20deg;transform-origin:0 0'>HIDDEN</div>",
    "clipped": "<div style='width:60px;overflow:hidden;rotate:20deg'>HIDDEN</div>",
    "clipped above": "<div style='height:20px;overflow:hidden'><p style='rotate:20deg'>HIDDEN</div>",
    "covered": "<div style='rotate:-40deg'>HIDDEN</div><div style='padding:20px 99px;background:gold'></div>",
    "covered in part": "<div style='rotate:-40deg'>HIDDEN AND MORE<i style='position:absolute;left:60px;"
    "top:0;width:30px;height:30px;background:gold'></i></div>",
    "written over": "<div style='rotate:20deg'>HIDDEN</div><div style='rotate:-20deg'>HIDDEN</div>",
    "tiny": "<div style='rotate:20deg;scale:.2'>HIDDEN</div>",
    "squeezed": "<div style='transform:rotate(20deg) scaleY(.2)'>HIDDEN</div>",
    "faint": "<div style='rotate:20deg;opacity:.05'>HIDDEN</div>",
    "letters turned": "<svg width=300 height=100><text x=20 y=50 rotate=30>HIDDEN</text></svg>",
    "text on a path": "<svg width=300 height=100><path id=p fill=none d='M10 50 C 50 0 150 99 299 50'/>"
    "<text><textPath href=#p>HIDDEN</textPath></text></svg>",
    "drawing mirrored": "<svg width=300><text x=-90 y=50 transform='scale(-1,1)'>HIDDEN</text></svg>",
    "letters in one place": "<div style='letter-spacing:-1em'>HIDDEN</div>",
}


@pytest.mark.parametrize("html", UNSEEN.values(), ids=UNSEEN.keys())
def test_turned_text_that_nobody_can_read_is_neither_labelled_nor_painted(
    browser: Browser, html: str
) -> None:
    row = show(browser, f"<p>SHOWN</p>{html}<p style='position:absolute;top:800px'>END</p>")
    assert texts(row) == ["SHOWN", "END"]
    assert_ink_fits(row)


PAINTED = {  # html → the lines that are read; no ink may stand beside them
    "list markers": ("<ol start=7><li>one</ol><ul><li>two</ul>", ["7. one", "• two"]),
    "list markers inside": ("<ol style='list-style:inside upper-roman'><li>one<li>two</ol>", ["I. one", "II. two"]),
    "no list markers": ("<ol style='list-style:none'><li>one</ol>", ["one"]),
    "a marker's text": ("<style>li::marker{content:'MARKED '}</style><ul style='padding-left:200px'><li>one</ul>",
                        ["MARKED one"]),
    "before and after": ("<style>p p::before,i::before{content:'MORE '}i::after{content:' END'}</style>"
                         "<div><i style='font-style:normal'>one</i></div>", ["MORE one END"]),
    "counters": ("<style>b{counter-increment:c}b::before{content:counter(c) ') '}</style><p><b>a</b> <b>b</b>",
                 ["1) a 2) b"]),
    "generated across lines": ("<style>u::before{content:'some words that go on'}u{text-decoration:none}</style>"
                               "<p style='width:160px'><u> and on</u>", ["some words", "that go on and", "on"]),
    "quotes": ("<p><q>one <q>two</q></q>", ["“one ‘two’”"]),
    "controls": ("<style>section *{border:0!important;background:#fff}</style><p><input value=one> <input placeholder="
                 "two><p><input type=submit value=three> <button>four</button>", ["one", "two", "three", "four"]),
    "choices": ("<style>section *{border:0!important;background:#fff;resize:none}</style><select><option>one"
                "<option selected>two</select><p><textarea rows=3>three\nfour</textarea>", ["two", "three", "four"]),
    "capitals": ("<p style='text-transform:uppercase'>straße <p style='text-transform:capitalize'>don't go-on 2nd",
                 ["STRASSE", "Don't Go-On 2nd"]),
    "small capitals": ("<p style='font-variant:small-caps'>Small Capitals", ["Small Capitals"]),
    "ellipsis": ("<p style='width:90px;overflow:hidden;text-overflow:ellipsis;white-space:nowrap'>over<i>flowing</i> "
                 "<b>words</b>", ["overflo…"]),
    "ellipsis of wrapped text": ("<p style='width:50px;overflow:hidden;text-overflow:ellipsis'>overflowing", ["over"]),
    "line clamp": ("<p style='width:90px;display:-webkit-box;-webkit-box-orient:vertical;overflow:hidden;"
                   "-webkit-line-clamp:1'>first second", ["first …"]),
    "raised letter": ("<style>i::first-letter{font-size:60px}i{display:block;font-style:normal}</style>"
                      "<i style='width:150px'>One and two</i>", ["One and", "two"]),
    "at the page's upper edge": ("<p style='position:absolute;top:0;left:300px;margin:0;font-size:100px;line-height:1'>"
                                 "Huge", ["Huge"]),
    "right to left in a cut box": ("<p style='width:60px;overflow:hidden;white-space:nowrap'>שלום עולם", ["עולם"]),
    "begun beyond its box": ("<p style='width:160px;overflow:hidden;white-space:nowrap;text-indent:-40px'>overflowing",
                             ["flowing"]),
    "written over": ("<p>overflowing<b style='margin-left:-60px;font-weight:400'>one</b>", []),
    "a box with lines in a line": ("<p>one <b style='display:inline-block;width:60px;font-weight:400;"
                                   "vertical-align:middle'>two three</b> four", ["one", "two", "three", "four"]),
    "first line": ("<style>p::first-line{font-size:40px}</style><p style='width:120px'>One and two",
                   ["One and", "two"]),
    "emphasis marks": ("<p style='text-emphasis:\"x\"'>one", ["one"]),
    "a far shadow": ("<p style='text-shadow:200px 0 red'>one", ["one"]),
    "a shadow alone": ("<p style='text-shadow:0 0 red;color:transparent'>one", []),
    "an outline alone": ("<p style='-webkit-text-stroke:1px #000;color:transparent'>one", ["one"]),
    "a faint outline": ("<p style='-webkit-text-stroke:1px #fefefe;-webkit-text-fill-color:transparent'>one", []),
    "a reflection": ("<p style='-webkit-box-reflect:below'>one", ["one"]),
    "a shadow by a filter": ("<p style='filter:drop-shadow(0 60px red)'>one", ["one"]),
    "zoomed": ("<p style='zoom:2'>one <span style='display:inline-block;rotate:9deg'>two", ["one", "two"]),
    "scroll buttons": ("<style>p{overflow:auto;width:99px;white-space:nowrap;scroll-marker-group:after}"
                       "p::scroll-button(*){content:'MORE'}i::scroll-marker{content:'HERE'}</style>"
                       "<p>one <i style='margin-left:200px'>HIDDEN</i></p>", ["one"]),
    "ruby": ("<p>one <ruby>漢<rp>(</rp><rt>kan</rt><rp>)</rp>字<rt>ji</rt></ruby> two",
             ["one 漢字 two", "kan", "ji"]),
    "ruby in a column": ("<p class=zh style='writing-mode:vertical-rl'>竖排"
                         "<ruby>漢字<rt>かんじ</rt></ruby>文字",
                         ["竖排漢字文字", "かんじ"]),
    "a wide bracket": ("<math><mo>(</mo><mfrac><mn>1</mn><mn>2</mn></mfrac><mo>)</mo></math>",
                       ["(", "1", "2", ")"]),
    "half a formula": ("<math><mn>1</mn><mo>+</mo><mn style='font-size:3px'>2</mn><mfrac><mn>3</mn><mn>4</mn></mfrac>"
                       "</math>", []),
    "a root": ("<math><msqrt><mn>3</mn></msqrt></math>", []),
    "beyond its block": ("<p style='width:50px'>overflowing<p style='width:50px'>over&shy;flowing",
                         ["overflowing", "over-", "flowing"]),
    "beyond its block, cut": ("<div style='width:90px;contain:paint'><p style='width:50px'>overflowing",
                             ["overflow"]),
    "beyond its block, hidden": ("<p style='width:50px;position:relative'>overflowing<b style='position:"
                                  "absolute;left:80px;top:0;padding:30px;background:gold'></b>", []),
    "touched from above": ("<div style='position:relative;line-height:30px;padding-top:20px'>one<b style='position:"
                           "absolute;left:0;top:0;width:90px;height:27px;background:gold'></b></div>", ["one"]),
    "touched, letters too": ("<div style='position:relative;line-height:30px;padding-top:20px'>one<b style='position:"
                             "absolute;left:0;top:0;width:90px;height:36px;background:gold'></b></div>", []),
    "beyond its ground": ("<p style='background:#fe0;color:#fff;width:110px;white-space:nowrap'>"
                          "one two three four", []),
    "placed side by side": ("<style>b{position:absolute;top:40px;font-weight:400}</style><b>one</b>"
                            "<b style='left:90px'>two</b><b style='left:80px;width:30px;background:gold'>&nbsp;</b>",
                            ["one"]),
    "right to left, cut": ("<p dir=rtl style='width:60px;overflow:hidden;white-space:nowrap'>שלום עולם", ["שלום"]),
    "right to left": ("<p dir=rtl style='width:300px'>שלום 12 <b>עולם</b>", ["שלום 12 עולם"]),
    "a drawing's lines": ("<svg><text y=20>one<tspan x=-9 y=40>HIDDEN</tspan><tspan x=0 y=60>two</svg>",
                          ["one", "two"]),
    "a drawing used": ("<svg><symbol id=s><text y=20>HIDDEN</text></symbol><use href=#s /></svg>",
                       []),
    "raised and lowered": ("<p style='font-size:60px'>x<sup>2</sup> H<sub>2</sub>O", ["x2 H2O"]),
    "details": ("<details><summary>one</summary>HIDDEN</details><details open><summary>two</summary>three",
                ["▸ one", "▾ two", "three"]),
    "table": ("<table><caption>one</caption><tr><th>two<td>three</table>", ["one", "two", "three"]),
    "a column of zero advance": ("<p style='writing-mode:vertical-rl;letter-spacing:-1em'>一二三四", []),
}  # fmt: skip


@pytest.mark.parametrize("kind", PAINTED)
def test_what_is_painted_is_labelled(browser: Browser, kind: str) -> None:
    html, expected = PAINTED[kind]
    row = show(
        browser, f"<p>SHOWN</p><section>{html}</section><p style='position:absolute;top:800px'>END</p>"
    )
    assert texts(row) == ["SHOWN", *expected, "END"]
    assert_ink_fits(row)


RAISED = "<style>%s::first-letter{color:red;font-size:30px}</style>"
UNINKED = "<i style='color:#fff'>HIDDEN</i>"
LETTERS = {  # html → its lines, none of which may lose its first letter to text without a label
    "closed, bare": ("<details><summary>Hone</summary>HIDDEN</details>", ["▸ Hone"]),
    "closed, in parts": ("<details><summary>Hone</summary>\n <b>HIDDEN</b> HIDDEN</details>", ["▸ Hone"]),
    "closed, written above": ("<details>HIDDEN<summary>Hone</summary>HIDDEN</details>", ["▸ Hone"]),
    "open, written above": ("<details open>Htwo<summary>Hone</summary></details>", ["▾ Hone", "Htwo"]),
    "closed, no summary": ("<details>HIDDEN</details>", ["▸ Details"]),
    "open, no summary": ("<details open>Htwo<details>HIDDEN</details></details>", ["▾ Details", "Htwo", "▸ Details"]),
    "closed, raised": (RAISED % "details" + "<details><summary>Hone</summary>HIDDEN</details>", ["▸ Hone"]),
    "a blank below": ("<main><p>Hone</p><s>Htwo</s><i style='color:transparent'> </i><b>Hone</b></main>",
                      ["Hone", "Htwo Hone"]),
    "lifted out": (f"{RAISED % 'main'}<main><p style='position:absolute'>{UNINKED}</p>Hone</main>", ["Hone"]),
    "floating": (f"{RAISED % 'main'}<main><p style='float:right'>{UNINKED}</p>Hone</main>", ["Hone"]),
    "behind": (f"{RAISED % 'main'}<main>Hone {UNINKED}</main>", ["Hone"]),
    "in a cell": (f"{RAISED % 'main'}<main><table><td>Hone</table>{UNINKED}</main>", ["Hone"]),
    "in a row": (f"{RAISED % 'main'}<main><p style='display:flex'>Hone</p>{UNINKED}</main>", ["Hone"]),
    "its own": (f"{RAISED % 'main'}<main>{UNINKED}<br>Hone</main>", ["Hone"]),
}  # fmt: skip


@pytest.mark.parametrize("kind", LETTERS)
def test_no_text_without_a_label_takes_another_ones_first_letter(browser: Browser, kind: str) -> None:
    html, expected = LETTERS[kind]
    row = show(browser, f"<section style='padding:20px'>{html}</section>")
    assert texts(row) == expected
    assert_ink_fits(row)
    dark = ink(row)
    for text, quad in zip(texts(row), quads(row), strict=True):
        columns = np.flatnonzero((dark & inside(row, quad, 0)).any(axis=0))
        assert columns[0] < quad[0][0] + 6, f"{text} has lost its first letter"
        assert (np.diff(columns) < 18).all(), f"{text} has lost a letter"


def test_things_fixed_to_the_viewport_are_painted_once_on_a_page_in_pieces(browser: Browser) -> None:
    html = "<p style='position:fixed;top:0;left:400px'>FIXED</p><p style='position:sticky;top:0'>STICKY</p>"
    html += "".join(f"<p>line {i}</p>" for i in range(60))
    pages = [batch.to_pylist()[0] for batch in browser.render((STYLE + html).encode())]
    assert len(pages) > 1
    found = [text for row in pages for text in texts(row)]
    assert sorted(found) == sorted(["FIXED", "STICKY", *(f"line {i}" for i in range(60))])
    for row in pages:
        assert_ink_fits(row)


def test_shadow_trees_of_scripts_are_not_painted(scripted: Browser) -> None:
    html = "<p>SHOWN</p><section></section><p>END</p><script>const inner = document.querySelector('section')"
    html += ".attachShadow({mode:'closed'}); inner.innerHTML = 'HIDDEN <b style=visibility:visible>IN IT</b>'"
    html += "</script>"
    row = show(scripted, html)
    assert texts(row) == ["SHOWN", "END"]
    assert_ink_fits(row)


def test_turned_lines_beside_each_other_are_not_taken_for_one_over_the_other(browser: Browser) -> None:
    row = show(browser, "<div style='rotate:45deg'>A ribbon at the corner<br>in two lines</div>"
               "<div style='left:640px'>upright text</div>")  # fmt: skip
    assert texts(row) == ["A ribbon at the corner", "in two lines", "upright text"]


def test_no_cut_halves_a_turned_line(browser: Browser) -> None:
    lines = "".join(
        f"<p style=margin-left:400px>upright {i}</p><p style='width:300px;rotate:-40deg'>turned line {i}</p>"
        for i in range(40)
    )
    pages = [batch.to_pylist()[0] for batch in browser.render((STYLE + lines).encode())]
    assert len(pages) > 1
    found = [text for row in pages for text in texts(row)]
    assert sorted(found) == sorted(
        [f"upright {i}" for i in range(40)] + [f"turned line {i}" for i in range(40)]
    )
    for row in pages:
        assert_ink_fits(row)


ROOTS = {  # how the root or the body of a page goes on to the left of what is first seen, or above it
    "right to left": ("<html dir=rtl><a style='position:absolute;left:-9999px'>HIDDEN</a>", "שלום עולם"),
    "right to left body": ("<body dir=rtl><a style='position:absolute;left:-999px'>HIDDEN</a>", "שלום 12 עולם"),
    "left to right in it": ("<html dir=rtl><i style='position:absolute;left:-70px'>HIDDEN</i>", "12 words here"),
    "columns": ("<html style='writing-mode:vertical-rl'><i style='position:absolute;left:-3000px'>HIDDEN</i>", "words"),
    "columns of a body": ("<body style='writing-mode:vertical-rl'>", "竖排的文字"),
    "columns from the left": ("<html style='writing-mode:vertical-lr'><i style='height:3000px'></i>", "竖排的文字"),
    "columns upwards": ("<html style='writing-mode:sideways-lr'><i style='display:block;height:3000px'></i>", "up"),
    "columns from below": ("<html style='writing-mode:vertical-lr;direction:rtl'><i style='display:block;"
                           "height:3000px'></i>", "שלום"),
    "zoomed": ("<html style='zoom:1.7'><body style='zoom:.8'>", "words"),
    "moved": ("<html style='transform:translate(40px,30px)'>", "words"),
    "turned": ("<body style='transform:rotate(4deg);width:600px'>", "words"),
    "scaled": ("<html style='transform:scale(.7)'>", "words"),
    "scrolled body": ("<html style='overflow:hidden'><body style='overflow:auto;height:400px'>", "words"),
    "shifted": ("<html style='position:relative;left:60px;top:20px'><body style='margin-left:-30px'>", "words"),
}  # fmt: skip


@pytest.mark.parametrize("root", ROOTS)
def test_quads_lie_on_their_ink_whatever_way_the_root_goes(browser: Browser, root: str) -> None:
    html, words = ROOTS[root]
    lines = "".join(f"<p class=zh>{words}</p>" for _ in range(5))
    style = "<!doctype html><meta charset=utf-8><style>p{font:20px/1.5 'DejaVu Sans'}.zh{font-family:'DejaVu Sans',"
    (batch,) = browser.render(f"{style}'Noto Sans CJK SC'}}</style>{html}{lines}".encode())
    row = batch.to_pylist()[0]
    assert texts(row) == [words] * 5
    assert_ink_fits(row)


PARAGRAPHS = "".join(f"<p>Paragraph {number} of the page</p>" for number in range(4))
SCRIMS = {  # what lies over a page → whether its text can be read
    "a colour": ("<div style='position:fixed;inset:0;background:rgba(0,0,0,.5)'></div>", True),
    "a mixed colour": (
        "<div style='position:fixed;inset:0;background:color-mix(in srgb,black 50%,transparent)'></div>",
        True,
    ),
    "another colour space": (
        "<div style='position:fixed;inset:0;background:oklch(0 0 0/.5)'></div>",
        True,
    ),
    "a gradient": (
        "<div style='position:fixed;inset:0;background:linear-gradient(rgba(0,0,0,.5),rgba(0,0,0,.4))'></div>",
        True,
    ),
    "generated content": (
        "<style>body::after{content:'';position:fixed;inset:0;background:rgba(0,0,0,.5)}</style>",
        True,
    ),
    "generated content of an empty element": (
        "<style>i::after{content:'';position:fixed;inset:0;background:rgba(0,0,0,.97)}</style><i></i>",
        False,
    ),
    "an opaque gradient": (
        "<div style='position:fixed;inset:0;background:linear-gradient(#000,#000)'></div>",
        False,
    ),
    "an opaque colour of another space": (
        "<div style='position:fixed;inset:0;background:oklch(0 0 0)'></div>",
        False,
    ),
}


@pytest.mark.parametrize("kind", SCRIMS)
@pytest.mark.parametrize("ground", ["white", "#111"])
def test_text_under_a_scrim_is_labelled_as_long_as_it_can_be_read(
    browser: Browser, kind: str, ground: str
) -> None:
    scrim, readable = SCRIMS[kind]
    style = f"<style>body{{background:{ground};color:{'black' if ground == 'white' else '#ddd'}}}</style>"
    if readable:
        row = show(browser, style + PARAGRAPHS + scrim)
        assert len(texts(row)) == 4
        grey = np.asarray(Image.open(io.BytesIO(row["image"])).convert("L")).astype(int)  # type: ignore[arg-type]
        assert all(np.ptp(grey[inside(row, quad, 0)]) > 24 for quad in quads(row))
    else:
        with pytest.raises(RenderError, match="no_text"):
            show(browser, style + PARAGRAPHS + scrim)


def test_a_page_in_columns_without_a_language_is_read(browser: Browser) -> None:
    html = "<!doctype html><meta charset=utf-8><html style='writing-mode:vertical-rl'>"
    (batch,) = browser.render((html + "<p>這是一段直排的文字，由上而下讀。</p>" * 3).encode())
    row = batch.to_pylist()[0]
    assert texts(row) == ["這是一段直排的文字，由上而下讀。"] * 3
    assert_ink_fits(row)


RTL_ROOTS = {  # of pages that overflow to the left, or above
    "html": "<html dir=rtl>",
    "body": "<body dir=rtl>",
    "style": "<style>html{direction:rtl}</style>",
    "clipped": "<html dir=rtl style='overflow-x:hidden'>",
    "quirks": None,
}


@pytest.mark.parametrize("root", RTL_ROOTS)
def test_a_short_right_to_left_page_keeps_a_viewport_and_its_text_where_the_quads_are(
    browser: Browser, root: str
) -> None:
    begin = RTL_ROOTS[root]
    head = (
        "<html dir=rtl><meta charset=utf-8>"
        if begin is None
        else f"<!doctype html><meta charset=utf-8>{begin}"
    )
    away = "<a style='position:absolute;left:-9999px'>بعيد</a>"
    (batch,) = browser.render((head + away + "<p>هذه فقرة من النص العربي.</p>" * 2).encode())
    row = batch.to_pylist()[0]
    assert texts(row) == ["هذه فقرة من النص العربي."] * 2
    assert (row["width"], row["height"]) == (1280, 720)
    assert_ink_fits(row)


def test_what_lies_below_the_last_line_of_a_short_page_does_not_count_as_blank(browser: Browser) -> None:
    (batch,) = browser.render(b"<p>" + b"A line of words that goes right across the page. " * 3)
    row = batch.to_pylist()[0]
    assert row["height"] == 720
    assert json.loads(row["extra"])["blank"] < 0.8


@pytest.mark.parametrize("text", ["كتابٍ عظيمٍ", "اُردُو رِیِ", "Ẫ Ễ Ộ", "g\u0331 y\u0324 A\u030a\u0303"])
def test_a_quad_covers_the_marks_above_and_below_its_letters(browser: Browser, text: str) -> None:
    row = show(browser, f"<p style='margin:40px;font-size:40px;line-height:1'>{text}")
    dark = ink(row)
    rows = dark.any(axis=1).nonzero()[0]
    (((_, top), _, (_, bottom), _),) = quads(row)
    assert top - 1 <= rows.min()
    assert rows.max() <= bottom
