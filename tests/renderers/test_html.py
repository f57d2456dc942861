from __future__ import annotations

import io
import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import psutil
import pyarrow as pa
import pytest
from PIL import Image

from renderers import RenderError
from renderers.html.installed_fonts import drawable_codes
from renderers.html.render import Browser, Document, HtmlSettings
from renderers.schema import PAGES

ROOT = Path(__file__).parents[2]
SAMPLES = ROOT / "manifests" / "samples" / "html"
REAL = ROOT / ".." / "shared" / "data" / "html"
STYLE = "<!DOCTYPE html><meta charset=utf-8><style>body{margin:20px;font:20px/1.5 'DejaVu Sans'}</style>"


def rows(pages: list[pa.RecordBatch]) -> list[dict[str, object]]:
    return pa.Table.from_batches(pages, PAGES).to_pylist()


def show(browser: Browser, html: str, **options: object) -> list[dict[str, object]]:
    return rows(browser.render((STYLE + html).encode(), **options))  # type: ignore[arg-type]


def pixels(row: dict[str, object]) -> np.ndarray:
    return np.asarray(Image.open(io.BytesIO(row["image"])).convert("RGB"))  # type: ignore[arg-type]


def test_every_line_is_a_region_with_its_place(browser: Browser) -> None:
    (row,) = show(
        browser, "<div style='position:absolute;left:100px;top:200px'>one<br>two and <b>three</b></div>"
    )
    assert row["text"] == "one\ntwo and three"
    one, two = row["regions"]  # type: ignore[misc]
    x1, y1, x2, y2, x3, y3, x4, y4 = one["quad"]
    assert (x1, x4) == (100, 100)
    assert y1 == y2 < y3 == y4
    assert abs((y1 + y3) / 2 - 215) < 2  # lines of 30 px from y=200
    assert abs((two["quad"][1] + two["quad"][5]) / 2 - 245) < 2
    assert x2 == x3 < two["quad"][2]
    assert (row["width"], row["height"]) == Image.open(io.BytesIO(row["image"])).size  # type: ignore[arg-type]


def test_offsets_count_code_points_and_not_utf16(browser: Browser) -> None:
    (row,) = show(browser, "<p>𠮷𠮷 one</p><p>two</p>")
    text = str(row["text"])
    assert [text[r["start"] : r["end"]] for r in row["regions"]] == ["𠮷𠮷 one", "two"]  # type: ignore[attr-defined]


def test_the_ink_of_a_line_lies_in_its_quad(browser: Browser) -> None:
    words = "".join(f"<p>Ågrjq {i} 国語</p>" for i in range(12))
    (row,) = show(browser, f"<div style='line-height:1.2;font-family:serif'>{words}</div>")
    dark = pixels(row).min(axis=2) < 128
    for region in row["regions"]:  # type: ignore[attr-defined]
        x1, y1, _, _, x2, y2, _, _ = (round(value) for value in region["quad"])
        assert dark[y1:y2, x1:x2].any()
        dark[max(0, y1 - 2) : y2 + 2, max(0, x1 - 2) : x2 + 2] = False
    assert not dark.any()


UNSEEN = {
    "display": "<p style='display:none'>HIDDEN</p>",
    "visibility": "<p style='visibility:hidden'>HIDDEN</p>",
    "opacity": "<div style='opacity:.2'><p style='opacity:.2'>HIDDEN</p></div>",
    "transparent": "<p style='color:transparent'>HIDDEN</p>",
    "ink like its ground": "<p style='background:#333;color:#303030'>HIDDEN</p>",
    "white on a missing picture": "<p style='background:url(http://x/y.png);color:#fff'>HIDDEN</p>",
    "black on a picture of nowhere": "<p style='background:#000 url(y.png);color:#000'>HIDDEN</p>",
    "white in another space": "<p style='color:oklch(100% 0 0)'>HIDDEN</p>",
    "inverted away": "<p style='filter:invert(1)'>HIDDEN</p>",
    "black on shades of black": "<p style='background:linear-gradient(#000,#080808);color:#000'>HIDDEN</p>",
    "behind a blur": "<div style='position:relative'>HIDDEN"
    "<i style='position:absolute;inset:0;backdrop-filter:blur(5px)'></i></div>",
    "left of the page": "<p style='text-indent:-9999px'>HIDDEN</p>",
    "right of the page": "<p style='position:absolute;left:1250px'>HIDDEN</p>",
    "above the page": "<p style='position:absolute;top:-300px'>HIDDEN</p>",
    "clip": "<p style='position:absolute;clip:rect(0,0,0,0)'>HIDDEN</p>",
    "clip path": "<p style='clip-path:inset(50%)'>HIDDEN</p>",
    "overflow": "<div style='height:10px;overflow:hidden'><p style='margin-top:40px'>HIDDEN</p></div>",
    "half a line": "<div style='height:15px;overflow:hidden'><p style='margin:0'>HIDDEN</p></div>",
    "cut at the side": "<div style='width:40px;overflow:hidden;white-space:nowrap'>HIDDEN AND MORE</div>",
    "no size": "<p style='font-size:0'>HIDDEN</p>",
    "tiny": "<p style='font-size:3px'>HIDDEN</p>",
    "scaled down": "<p style='transform:scale(.01)'>HIDDEN</p>",
    "covered": "<div style='position:relative'>HIDDEN"
    "<i style='position:absolute;inset:0;background:red'></i></div>",
    "covered without events": "<div style='position:relative'>HIDDEN<i style='position:absolute;inset:0;"
    "background:red;pointer-events:none'></i></div>",
    "details": "<details><summary>more</summary>HIDDEN</details>",
    "covered in the middle": "<div style='position:relative;width:600px'>HIDDEN and some more words to read"
    "<i style='position:absolute;top:0;bottom:0;left:50px;width:30px;background:red'></i></div>",
    "squeezed": "<p style='transform:scaleX(.01)'>HIDDEN</p>",
    "filtered away": "<div style='filter:opacity(0)'><p>HIDDEN</p></div>",
    "blurred": "<p style='filter:blur(9px)'>HIDDEN</p>",
    "masked": "<p style='mask-image:linear-gradient(transparent,transparent)'>HIDDEN</p>",
    "blended": "<p style='mix-blend-mode:screen'>HIDDEN</p>",
    "mirrored": "<p style='transform:scaleX(-1)'>HIDDEN</p>",
    "template": "<template>HIDDEN</template>",
    "script": "<script>HIDDEN</script>",
    "style": "<style>.HIDDEN{}</style>",
    "title": "<title>HIDDEN</title>",
    "frame": "<iframe srcdoc='<p>HIDDEN'></iframe>",
    "alt text": "<img src=http://x/y.png alt=HIDDEN>",
    "password": "<input type=password value=HIDDEN>",
    "generated and turned": "<style>.g::before{content:'HIDDEN';display:block;rotate:9deg}</style><p class=g></p>",
    "generated and clipped": "<style>.g::before{content:'HIDDEN'}</style><p class=g style='width:9px;overflow:hidden'>",
    "under a dark scrim": "<p>HIDDEN</p><i style='position:fixed;inset:80px 0 0 0;background:rgba(0,0,0,.95)'></i>",
    "a choice that is not made": "<select><option selected>chosen<option>HIDDEN</select>",
    "cut off with an ellipsis": "<p style='width:99px;overflow:hidden;white-space:nowrap;text-overflow:ellipsis'>"
    "words before HIDDEN</p>",
    "beyond the last line": "<p style='width:99px;overflow:hidden;display:-webkit-box;-webkit-box-orient:vertical;"
    "-webkit-line-clamp:2'>words before it, some more HIDDEN</p>",
    "shadow root": "<div><template shadowrootmode=open>HIDDEN</template></div>",
    "one over the other": "<p style='position:absolute;top:400px'>HIDDEN</p>"
    "<p style='position:absolute;top:402px'>HIDDEN</p>",
}


@pytest.mark.parametrize("html", UNSEEN.values(), ids=UNSEEN.keys())
def test_text_that_nobody_sees_is_not_labelled(browser: Browser, html: str) -> None:
    (row,) = show(browser, f"<p>SHOWN</p>{html}")
    assert "HIDDEN" not in str(row["text"])
    assert str(row["text"]).startswith("SHOWN")


@pytest.mark.parametrize(
    "kind",
    [
        "cut at the side",
        "half a line",
        "mirrored",
        "alt text",
        "generated and turned",
        "generated and clipped",
    ],
)
def test_what_is_not_labelled_is_not_painted(browser: Browser, kind: str) -> None:
    (row,) = show(browser, f"<p>SHOWN</p><style>* {{border:0!important}}</style>{UNSEEN[kind]}<p>END</p>")
    image = pixels(row).astype(int)
    for region in row["regions"]:  # type: ignore[attr-defined]
        x1, y1, _, _, x2, y2, _, _ = (round(value) for value in region["quad"])
        image[y1 - 1 : y2 + 1, x1 - 1 : x2 + 1] = 255
    assert image.min() > 90, "ink outside every region"  # the frames of form fields are grey


SEEN = {
    "opaque enough": "<p style='opacity:.6'>SEEN</p>",
    "under a transparent link": "<div style='position:relative'>SEEN"
    "<a href=# style='position:absolute;inset:0'></a></div>",
    "without events": "<p style='pointer-events:none'>SEEN</p>",
    "open details": "<details open><summary>more</summary>SEEN</details>",
    "white on black": "<p style='background:#000;color:#fff'>SEEN</p>",
    "filled by a gradient": "<p style='background:linear-gradient(red,blue);background-clip:text;"
    "color:transparent'>SEEN</p>",
    "inert": "<p inert>SEEN</p>",
    "contents": "<div style='display:contents'>SEEN</div>",
    "stuck": "<div style='position:fixed;bottom:0'>SEEN</div>",
    "far down": "<p style='margin-top:3000px'>SEEN</p>",
    "in a moment": "<style>@keyframes f{from{opacity:0}}</style><p style='animation:f 9s forwards'>SEEN</p>",
    "turned": "<p style='width:200px;transform:rotate(20deg)'>SEEN</p>",
    "table": "<table><tr><td>SEEN</table>",
    "drawing": "<svg width=100 height=30><text x=5 y=20>SEEN</text></svg>",
    "capitals": "<p style='text-transform:uppercase'>seen</p>",
    "form value": "<input value=SEEN>",
    "hint": "<input type=search placeholder=SEEN>",
    "hint of many lines": "<textarea placeholder=SEEN></textarea>",
    "text area": "<textarea>SEEN</textarea>",
    "button": "<button>SEEN</button>",
    "button with a value": "<input type=submit value=SEEN>",
    "choice": "<select><option>HIDDEN<option selected>SEEN</select>",
    "generated": "<style>.g::before{content:'SEEN'}</style><p class=g></p>",
    "generated from an attribute": "<style>.g::after{content:attr(title)}</style><p class=g title=SEEN></p>",
    "under a half-transparent scrim": "<p>SEEN</p><i style='position:fixed;inset:0;background:rgba(0,0,0,.6)'></i>",
    "clobbered names": "<img name=createTreeWalker><img name=elementsFromPoint><img name=body><form>"
    "<input name=parentNode><input name=localName><input name=style>"
    "<p style='position:fixed'>SEEN</p></form>",
}


@pytest.mark.parametrize("html", SEEN.values(), ids=SEEN.keys())
def test_text_that_everybody_sees_is_labelled(browser: Browser, html: str) -> None:
    seen = show(browser, f"<p>SHOWN</p>{html}")
    assert "SEEN" in "\n".join(str(row["text"]) for row in seen)


def test_a_quad_begins_and_ends_with_ink(browser: Browser) -> None:
    (row,) = show(browser, "<p>\u3000\u3000indented<b> </b></p><p><a>&nbsp; link </a><img width=9 height=9>")
    for region, left in zip(row["regions"], ("indented", "link"), strict=True):  # type: ignore[call-overload]
        assert region["text"] == left
        x1, y1, x2, _, _, y2, *_ = (round(value) for value in region["quad"])
        ink = np.flatnonzero((pixels(row)[y1:y2, x1 - 5 : x2 + 5].min(axis=2) < 128).any(axis=0))
        assert (ink[0], ink[-1]) == (pytest.approx(5, abs=4), pytest.approx(x2 - x1 + 5, abs=4))


def test_a_soft_hyphen_that_is_drawn_ends_its_line(browser: Browser) -> None:
    (row,) = show(browser, "<p style='width:100px'>hyphen&shy;ation soft&shy;ly")
    regions = row["regions"]
    assert [region["text"] for region in regions] == ["hyphen-", "ation", "softly"]  # type: ignore[attr-defined]
    tops = [region["quad"][1] for region in regions]  # type: ignore[attr-defined]
    assert np.diff(tops) == pytest.approx([30, 30], abs=3)


@pytest.mark.parametrize(
    ("clip", "read"), [("visible", ["top", "hyphen-", "ation"]), ("hidden", ["top", "hyphe", "ation"])]
)
def test_a_hyphen_beyond_its_block_is_in_the_label_where_it_is_drawn(
    browser: Browser, clip: str, read: list[str]
) -> None:
    (row,) = show(browser, f"<p>top</p><div style='width:74px;overflow:{clip}'>hyphen&shy;ation</div>")
    assert [region["text"] for region in row["regions"]] == read  # type: ignore[attr-defined]


def test_the_hyphen_of_a_word_that_is_not_read_is_not_painted(browser: Browser) -> None:
    (row,) = show(browser, "<p>top</p><div style='width:100px;opacity:.99;overflow:hidden'>"
                  "<p style='width:70px;mix-blend-mode:darken'>hyphen&shy;ation</p></div>")  # fmt: skip
    assert [region["text"] for region in row["regions"]] == ["top"]  # type: ignore[attr-defined]
    assert (pixels(row)[60:] > 200).all()


def test_lines_of_upright_chinese_columns_are_regions(browser: Browser) -> None:
    (row,) = show(
        browser,
        "<div style='writing-mode:vertical-rl;height:200px;font-family:Noto Sans CJK SC'>"
        "一二三四五六七八九十甲乙丙丁戊己</div>",
    )
    first, second = row["regions"]  # type: ignore[misc]
    assert (first["text"] + second["text"]) == "一二三四五六七八九十甲乙丙丁戊己"
    assert first["quad"][0] > second["quad"][0]  # the first column is the right one
    assert first["quad"][5] - first["quad"][1] > 150


def test_long_pages_are_cut_between_lines(browser: Browser) -> None:
    html = "".join(f"<p style='font-size:{14 + i % 9}px'>line {i} of many</p>" for i in range(300))
    pages = show(browser, html)
    assert len(pages) > 5
    found = [line for row in pages for line in str(row["text"]).split("\n")]
    assert found == [f"line {i} of many" for i in range(300)]
    for row in pages:
        image = pixels(row)
        assert image[0].min() > 200, "ink at the upper edge"
        assert image[-1].min() > 200, "ink at the lower edge"


def test_columns_without_a_common_gap_lose_no_line_and_show_none_twice(browser: Browser) -> None:
    column = "<div style='float:left;width:300px;padding-top:{}px'>{}</div>"
    left, right = ("".join(f"{name}{i}<br>" for i in range(120)) for name in ("left", "right"))
    pages = show(browser, column.format(0, left) + column.format(15, right))
    found = [line for row in pages for line in str(row["text"]).split("\n")]
    assert sorted(found) == sorted(f"{name}{i}" for name in ("left", "right") for i in range(120))
    for row in pages:
        ink = pixels(row).min(axis=2) < 200
        for region in row["regions"]:  # type: ignore[attr-defined]
            x1, y1, _, _, x2, y2, _, _ = (round(value) for value in region["quad"])
            ink[max(0, y1 - 2) : y2 + 2, x1 - 2 : x2 + 2] = False
        assert not ink.any(), "ink that no region names"


def test_a_page_budget_ends_very_long_documents(ready: None) -> None:
    with Browser(HtmlSettings(tabs=1, max_pages=2, page_height=400, widths=(640, 320))) as browser:
        every = show(browser, "<p>line</p>" * 500)
    pages = [row for row in every if row["dropped"] is None]
    assert {row["dropped"] for row in every[len(pages) :]} == {"beyond_max_pages"}
    assert [row["page"] for row in pages] == [0, 1, 2, 3]
    assert [row["width"] for row in pages] == [640, 640, 320, 320]
    assert all(int(str(row["height"])) <= 400 for row in pages)


def test_a_scale_multiplies_pixels_and_quads(browser: Browser, sharp: Browser) -> None:
    (twice,) = show(sharp, "<p>scaled</p>")
    (once,) = show(browser, "<p>scaled</p>")
    assert twice["width"] == 2 * int(str(once["width"]))
    assert twice["format"] == "png"
    assert np.allclose(
        twice["regions"][0]["quad"],  # type: ignore[index]
        np.multiply(once["regions"][0]["quad"], 2),  # type: ignore[index]
        atol=1,
    )


def test_a_character_that_no_font_has_is_neither_painted_nor_labelled(browser: Browser) -> None:
    missing = next(
        chr(code) for code in range(0x10280, 0x1FFFF) if code not in drawable_codes() and chr(code).isalpha()
    )
    (row,) = show(browser, f"<p>SHOWN</p><p>HIDDEN {missing}</p>")
    assert row["text"] == "SHOWN"


def test_the_samples_come_out_right(browser: Browser) -> None:
    found = dict(
        browser.render_many(Document(f.name, f.read_bytes()) for f in sorted(SAMPLES.glob("*.html")))
    )
    texts = {name: str(rows(pages)[0]["text"]) for name, pages in found.items()}  # type: ignore[arg-type]
    assert "outside the page" not in texts["english.html"]
    assert texts["chinese.html"].startswith(
        "茶是怎样制成的\n首页\n茶园\n工艺\n品茶\n清晨，采茶的人背着竹篓上山。"
    )
    assert texts["gb2312.html"].startswith("小城的图书馆\n城里的图书馆建在河边")
    assert "Old Salt Works\n05:20\n5.2\n11:48\n1.1" in texts["tables.html"]
    assert "Not to be seen" not in texts["inline.html"]
    about = json.loads(str(rows(found["gb2312.html"])[0]["extra"]))  # type: ignore[arg-type]
    assert about["title"] == "小城的图书馆"
    assert about["charset"] == "gb18030"


def test_the_same_page_gives_the_same_text_boxes_and_pixels(browser: Browser, ready: None) -> None:
    content = (SAMPLES / "english.html").read_bytes()
    first = rows(browser.render(content))
    with Browser(HtmlSettings(tabs=1)) as other:
        assert rows(other.render(content)) == first
    assert rows(browser.render(content)) == first


def test_images_and_styles_of_the_archive_are_served_and_nothing_else(browser: Browser) -> None:
    picture = io.BytesIO()
    Image.new("RGB", (200, 100), (255, 0, 0)).save(picture, "PNG")
    html = (
        "<link rel=stylesheet href=style.css><p class=gone>HIDDEN</p><p>SHOWN</p>"
        "<img src=a.png style='position:absolute;left:0;top:100px'>"
        "<img src=b.png width=200 height=100 style='position:absolute;left:300px;top:100px'>"
        "<p style='margin-top:200px'>END"
    )
    held = {
        "http://site.test/dir/style.css": ("text/css", b"@import 'more.css';"),
        "http://site.test/dir/more.css": ("text/css", b".gone { display: none }"),
        "http://site.test/dir/a.png": ("image/png", picture.getvalue()),
    }
    (row,) = show(browser, html, url="http://site.test/dir/page.html", resources=held)
    assert row["text"] == "SHOWN\nEND"
    image = pixels(row)
    assert tuple(image[150, 100]) == pytest.approx((254, 0, 0), abs=3)
    assert tuple(image[150, 400]) == (255, 255, 255)


REFUSED = {
    "no_text": (b"<p></p>", None),
    "not_html": (b"%PDF-1.7", None),
    "too_large": (b"<p>" + b"x" * (5 << 20), None),
    "damaged": (
        b"Content-Type: multipart/related; boundary=b\n\n--b\nContent-Type: image/png\n\nx\n--b--",
        None,
    ),
}


@pytest.mark.parametrize("reason", REFUSED)
def test_a_document_without_pages_says_why(browser: Browser, reason: str) -> None:
    content, content_type = REFUSED[reason]
    with pytest.raises(RenderError) as error:
        browser.render(content, content_type=content_type)
    assert error.value.reason == reason


def test_a_type_that_is_not_a_page_is_refused(browser: Browser) -> None:
    with pytest.raises(RenderError, match="not_html: image/png"):
        browser.render(b"<p>text</p>", content_type="image/png")


def test_an_endless_document_costs_itself_alone(ready: None) -> None:
    endless = Document("endless", b"<p>x</p><script>for(;;){}</script>")
    good = [Document(str(i), b"<p>good</p>") for i in range(4)]
    with Browser(HtmlSettings(tabs=2, javascript=True, timeout_s=4)) as browser:
        found = dict(browser.render_many([*good[:2], endless, *good[2:]]))
    assert found["endless"].reason == "timed_out"  # type: ignore[union-attr]
    assert [rows(found[str(i)])[0]["text"] for i in range(4)] == ["good"] * 4  # type: ignore[arg-type]


def test_memory_beyond_the_limit_costs_the_document(ready: None) -> None:
    hoard = b"<p>x</p><script>const a = []; for (;;) a.push(new Uint8Array(5e7).fill(7))</script>"
    with Browser(HtmlSettings(tabs=1, javascript=True, max_memory=3 << 28)) as browser:
        with pytest.raises(RenderError) as error:
            browser.render(hoard)
        assert error.value.reason in ("out_of_memory", "crashed")  # Chromium has a limit for each page too
        assert rows(browser.render(b"<p>good</p>"))[0]["text"] == "good"


def test_a_killed_browser_is_replaced_and_nothing_is_lost(ready: None) -> None:
    with Browser(HtmlSettings(tabs=2, recycle_after=6)) as browser:
        found = []
        known = set(psutil.Process().children())
        for name, pages in browser.render_many(Document(str(i), b"<p>good</p>") for i in range(9)):
            found.append((name, rows(pages)[0]["text"]))  # type: ignore[arg-type]
            if name == "2":
                for process in set(psutil.Process().children()) - known:
                    process.kill()
    assert found == [(str(i), "good") for i in range(9)]


def running(processes: set[psutil.Process] | list[psutil.Process]) -> list[psutil.Process]:
    """Those that still run after 10 s; one whose exit status nobody has taken yet runs no more."""
    _, left = psutil.wait_procs(processes, timeout=10)
    return [one for one in left if one.is_running() and one.status() != psutil.STATUS_ZOMBIE]


def test_nothing_runs_on_after_close(ready: None) -> None:
    known = set(psutil.Process().children(recursive=True))
    browser = Browser(HtmlSettings(tabs=1, recycle_after=2))
    for _ in range(5):
        browser.render(b"<p>good</p>")
    children = set(psutil.Process().children(recursive=True)) - known
    assert children
    browser.close()
    browser.close()
    assert not running(children)


def test_nothing_runs_on_after_its_owner_was_killed(ready: None) -> None:
    program = "from renderers.html.render import *; b = Browser(HtmlSettings(tabs=1)); b.render(b'<p>x');"
    program += "print(flush=True); input()"
    owner = subprocess.Popen([sys.executable, "-c", program], stdin=-1, stdout=-1, cwd=ROOT)
    assert owner.stdout is not None
    owner.stdout.readline()
    children = psutil.Process(owner.pid).children(recursive=True)
    assert children
    owner.kill()
    owner.communicate()
    assert not running(children)


@pytest.mark.skipif(not REAL.is_dir(), reason="the shared sample data is not on this machine")
def test_every_real_page_ends_as_pages_or_a_named_drop(browser: Browser) -> None:
    files = sorted(REAL.glob("*.html"))[::6]
    found = dict(browser.render_many(Document(file.name, file.read_bytes()) for file in files))
    assert len(found) == len(files)
    for name, pages in found.items():
        assert not isinstance(pages, RenderError), name
        for row in rows(pages):
            text = str(row["text"])
            assert row["dropped"] is None
            assert Image.open(io.BytesIO(row["image"])).size == (row["width"], row["height"])  # type: ignore[arg-type]
            for region in row["regions"]:  # type: ignore[attr-defined]
                assert text[region["start"] : region["end"]] == region["text"]
                assert min(region["quad"]) >= 0
                assert max(region["quad"][::2]) <= int(str(row["width"]))
                assert max(region["quad"][1::2]) <= int(str(row["height"]))
