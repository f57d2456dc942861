"""Pages that lost their stylesheets: told, and laid out anew where that is asked for."""

from __future__ import annotations

import io
import json
import re
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
from PIL import Image

from renderers import RenderError
from renderers.html.render import Browser, Document, HtmlSettings
from renderers.html.restyle import main_blocks, restyle
from renderers.html.tab import Tab

SENTENCE = "A sentence of the article that people came to read, with <b>bold</b> &lt;words&gt; in it. "
WORDS = f"<p>{SENTENCE * 6}</p>"
LOST = "<!doctype html><title>A page</title><link rel=stylesheet href=http://site.test/a.css>"
ARTICLE = f"<article><h1>Head</h1>{WORDS * 4}<table><tr><td>1<td>2</table></article>"
BODY = f"<nav><ul><li><a href=/>Home</a></ul></nav>{ARTICLE}"


def about(browser: Browser, html: str) -> dict[str, object]:
    row = browser.render(html.encode())[0].to_pylist()[0]
    found: dict[str, object] = json.loads(row["extra"])
    return found


UNSTYLED = {
    "a lost stylesheet": (LOST + BODY, True),
    "no stylesheet": ("<!doctype html>" + BODY, False),
    "classes that no stylesheet reads": ("<!doctype html>" + "<p class=lead>" * 30 + BODY, True),
    "classes and a stylesheet": (
        "<!doctype html><style>.lead { margin: 0 }</style>" + "<p class=lead>" * 30 + BODY,
        False,
    ),
    "rules of its own": (LOST + "<style>body { font-family: Georgia, serif }</style>" + BODY, False),
    "styles of its own": (LOST + f"<div style='font-family:sans-serif'>{BODY}</div>", False),
    "rules for little of it": (LOST + "<style>nav { font-family: Georgia, serif }</style>" + BODY, True),
    "an import": ("<!doctype html><style>@import 'http://site.test/a.css';</style>" + BODY, True),
    "a sheet for print": (
        "<!doctype html><link rel=stylesheet media=print href=http://site.test/a.css>" + BODY,
        False,
    ),
    "another sheet to choose": (
        "<link rel='alternate stylesheet' href=http://site.test/a.css>" + BODY,
        False,
    ),
}


@pytest.mark.parametrize("kind", UNSTYLED)
def test_a_page_that_lost_its_stylesheets_says_so(browser: Browser, kind: str) -> None:
    html, unstyled = UNSTYLED[kind]
    assert about(browser, html)["unstyled"] is unstyled


def test_giant_drawings_of_such_a_page_are_taken_out(browser: Browser) -> None:
    icon = "<svg viewBox='0 0 9 9'><circle cx=4 cy=4 r=4 /></svg>"
    found = about(browser, LOST + icon + "<svg width=20 viewBox='0 0 9 9'><circle r=4 /></svg>" + BODY)
    assert found["hidden_shapes"] == 1
    assert about(browser, "<!doctype html>" + icon + BODY)["hidden_shapes"] == 0
    classed = icon.replace("<svg", "<svg class=icon")
    assert about(browser, "<!doctype html>" + classed + BODY)["hidden_shapes"] == 1
    sized = icon.replace("<svg", "<svg width=600 height=400")
    assert about(browser, LOST + sized + BODY)["hidden_shapes"] == 0


def test_the_share_of_blank_squares_is_told(browser: Browser) -> None:
    assert float(str(about(browser, "<p>a word")["blank"])) > 0.9
    dense = about(browser, "<body style='margin:0;font:14px/1 serif'>" + "words and words " * 2000)
    assert float(str(dense["blank"])) < 0.2


@pytest.fixture(scope="module")
def restyling(ready: None) -> Iterator[Browser]:
    with Browser(HtmlSettings(tabs=1, restyle=True)) as browser:
        yield browser


def test_such_a_page_is_laid_out_anew_and_the_same_each_time(restyling: Browser) -> None:
    documents = [Document(name, (LOST + BODY).encode()) for name in ("a", "b", "a")]
    found = [pages for _, pages in restyling.render_many(documents)]
    plain = about(restyling, "<!doctype html>" + BODY)
    bare = about(restyling, LOST + "<p>only a few words")
    first, other, again = (pages[0].to_pylist()[0] for pages in found)  # type: ignore[index]
    assert first == again
    assert first["image"] != other["image"]
    assert json.loads(first["extra"])["restyled"] is True
    assert "Home" not in first["text"]
    assert "bold <words> in" in first["text"].replace("\n", " ")
    assert "restyled" not in plain
    assert "restyled" not in bare


def test_a_list_below_a_table_is_one_without_its_empty_items() -> None:
    below = f"<div>Below<ul><li></li><li></li><li>An item</ul></div>{WORDS}</article>"
    blocks = list(main_blocks(f"{LOST}<main>{BODY.replace('</article>', below)}</main>"))
    assert "<table><tr><td>1<td>2<tr><td>Below</table>" in blocks
    assert ["".join(block.split()) for block in blocks if "<li>" in block] == ["<ul><li>Anitem</li></ul>"]


def test_an_empty_cell_keeps_its_place_and_an_empty_column_is_left_out() -> None:
    rows = "<tr><td>a<td><td>b<td>c<td>d<tr><td>1<td><img><td><td>3<tr><td>x"
    (found,) = [
        block for block in main_blocks(f"<article>{WORDS * 3}<table>{rows}</table>") if "<td>" in block
    ]
    assert found == "<table class=wide><tr><td>a<td>b<td>c<td>d<tr><td>1<td><td>3<tr><td>x</table>"


def test_no_word_of_a_wide_table_is_broken(browser: Browser) -> None:
    cells = [f"Implementation{number}" for number in range(6)]
    table = f"<table><tr>{''.join(f'<td>{cell}' for cell in cells)}</table>"
    with_table = restyle(f"<article><h1>Head</h1>{WORDS * 4}{table}</article>", "", "lot").replace(
        "--columns:1", "--columns:3"
    )
    rows = browser.render(with_table.encode())[0].to_pylist()
    assert {region["text"] for region in rows[0]["regions"]} >= set(cells)


def test_main_content_stays_text(ready: None) -> None:
    hostile = (
        f"<article><h1>a</h1>{WORDS * 3}<p>&lt;script&gt;x&lt;/script&gt; &lt;img src=x&gt;</p></article>"
    )
    assert "<script" not in "".join(main_blocks(hostile))
    assert "<img" not in restyle(hostile, "</title><img>", "lot")
    with pytest.raises(RenderError, match="no main content"):
        restyle("<p>short", "", "lot")


def test_the_element_of_each_region_is_told_where_that_is_asked_for(ready: None) -> None:
    html = "<h2>Head</h2><ul><li><a href='http://site.test/a'>link</a></ul><table><td>cell</table><button>press</button>"
    with Browser(HtmlSettings(tabs=1, elements=True)) as browser:
        row = browser.render(html.encode())[0].to_pylist()[0]
        told = json.loads(row["extra"])["elements"]
    assert [region["text"] for region in row["regions"]] == ["Head", "• link", "cell", "press"]
    assert told[0] == {"tag": "h2", "heading": 2}
    assert told[1] == {"tag": "li", "item": True, "generated": "marker"}
    assert told[2] == {"tag": "td", "cell": True}
    assert told[3] == {"tag": "button", "control": True}


def test_what_max_pages_cuts_off_is_counted(ready: None) -> None:
    with Browser(HtmlSettings(tabs=1, max_pages=2, page_height=400)) as browser:
        rows = [batch.to_pylist()[0] for batch in browser.render(b"<p style='height:1990px'>line<p>end")]
        assert json.loads(rows[0]["extra"])["pages_beyond"] == 4
        assert [row["dropped"] for row in rows] == [None, *["beyond_max_pages"] * 4]
        assert [row["page"] for row in rows] == list(range(5))
        assert about(browser, "<p>line")["pages_beyond"] == 0


SHOWN = """<!doctype html><style>.gone{display:none}</style><nav><a href="http://site.test/a?b=1&amp;c">Home</a></nav>
<h1>Head &amp; <em>more</em></h1><div>Plain <b>bold</b> text<span class=gone> that is not seen</span></div>
<ul><li>one<li>two</ul><table><tr><th colspan=2>Title<tr><td>1<td></table><pre>a
  b</pre><p onclick=x style='color:white'>white on white</p><button>Press</button><script>no()</script>"""
CLEANED = """<p><a href="http://site.test/a?b=1&amp;c">Home</a></p><h1>Head &amp; <em>more</em></h1>
<p>Plain <b>bold</b> text</p><ul><li>one</li><li>two</li></ul>
<table><tbody><tr><th colspan="2">Title</th></tr><tr><td>1</td><td></td></tr></tbody></table><pre>a
  b</pre><button>Press</button>"""


def test_the_cleaned_html_of_what_an_image_shows_is_told_where_that_is_asked_for(ready: None) -> None:
    with Browser(HtmlSettings(tabs=1, html=True, page_height=400)) as browser:
        assert joined(str(about(browser, SHOWN)["html"])) == joined(CLEANED)
        long = "".join(f"<p>Paragraph {number}.</p>" for number in range(40))
        pages = [batch.to_pylist()[0] for batch in browser.render(long.encode())]
        parts = [json.loads(row["extra"])["html"] for row in pages]
    assert len(pages) > 1
    assert joined("".join(parts)) == joined(long)
    for row, part in zip(pages, parts, strict=True):
        assert [part.count(f"<p>{line}</p>") for line in row["text"].split("\n")] == [1] * len(row["regions"])


def joined(html: str) -> str:
    """The markup without the white space between its elements."""
    return re.sub(r">\s+<", "><", html).strip()


def test_images_that_wait_to_be_scrolled_to_are_shown(browser: Browser) -> None:
    buffer = io.BytesIO()
    Image.new("RGB", (300, 300), "red").save(buffer, "PNG")
    names = [f"http://site.test/{name}.png" for name in ("a", "b", "c")]
    html = f"<p>top<div style='height:5000px'></div><img loading=lazy src={names[0]} width=300 height=300>"
    html += f"<img data-src={names[1]} src='data:image/gif;base64,R0lGODlhAQABAAAAACw=' width=300 height=300>"
    html += f"<img data-srcset='{names[2]} 1x' width=300 height=300><p>bottom"
    held = {name: ("image/png", buffer.getvalue()) for name in names}
    pages = [batch.to_pylist()[0] for batch in browser.render(html.encode(), resources=held)]
    pixels = np.asarray(Image.open(io.BytesIO(pages[-1]["image"])).convert("RGB")).astype(int)
    red = np.abs(pixels - (254, 0, 0)).max(2) < 12
    assert red.sum(1).max() > 3 * 290  # all three stand beside each other


def test_what_scripts_show_once_it_comes_into_view_is_there(scripted: Browser) -> None:
    buffer = io.BytesIO()
    Image.new("RGB", (300, 300), "red").save(buffer, "PNG")
    html = """<p>top<div style="height:4000px"></div><img id=i width=300 height=300><p id=p>waits<script>
        const seen = new IntersectionObserver((entries) => entries.forEach((entry) => {
            if (!entry.isIntersecting) return;
            document.getElementById('i').src = 'http://site.test/a.png';
            document.getElementById('p').textContent = 'was seen';
        }));
        seen.observe(document.getElementById('i'));
    </script>"""
    held = {"http://site.test/a.png": ("image/png", buffer.getvalue())}
    pages = [batch.to_pylist()[0] for batch in scripted.render(html.encode(), resources=held)]
    assert [page["text"] for page in pages] == ["top", "was seen"]
    pixels = np.asarray(Image.open(io.BytesIO(pages[-1]["image"])).convert("RGB")).astype(int)
    assert (np.abs(pixels - (254, 0, 0)).max(2) < 12).sum(1).max() > 290


def test_a_page_that_kept_its_styles_is_loaded_once(
    restyling: Browser, monkeypatch: pytest.MonkeyPatch
) -> None:
    loads = []
    load = Tab.load

    async def counted(tab: Tab, *how: Any) -> Any:
        loads.append(how[0])
        return await load(tab, *how)

    monkeypatch.setattr(Tab, "load", counted)
    restyling.render(b"<style>p {color: blue}</style><p>styled")
    assert len(loads) == 1


def test_notices_to_switch_scripts_on_are_hidden(browser: Browser) -> None:
    html = "<body><noscript>Please enable JavaScript</noscript><div class=noscript-note>This needs JavaScript.</div>"
    html += "<noscript>a caption</noscript><p>about JavaScript"
    row = browser.render(html.encode())[0].to_pylist()[0]
    assert row["text"] == "a caption\nabout JavaScript"
