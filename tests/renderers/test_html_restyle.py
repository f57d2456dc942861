"""Pages that lost their stylesheets: told, and laid out anew where that is asked for."""

from __future__ import annotations

import json

import pytest

from renderers import RenderError
from renderers.html.render import Browser, Document, HtmlSettings
from renderers.html.restyle import main_blocks, restyle

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


def test_such_a_page_is_laid_out_anew_and_the_same_each_time(ready: None) -> None:
    documents = [Document(name, (LOST + BODY).encode()) for name in ("a", "b", "a")]
    with Browser(HtmlSettings(tabs=1, restyle=True)) as browser:
        found = [pages for _, pages in browser.render_many(documents)]
        plain = about(browser, "<!doctype html>" + BODY)
        bare = about(browser, LOST + "<p>only a few words")
    first, other, again = (pages[0].to_pylist()[0] for pages in found)  # type: ignore[index]
    assert first == again
    assert first["image"] != other["image"]
    assert json.loads(first["extra"])["restyled"] is True
    assert "Home" not in first["text"]
    assert "bold <words> in" in first["text"].replace("\n", " ")
    assert "restyled" not in plain
    assert "restyled" not in bare


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
        assert about(browser, "<p style='height:1990px'>line<p>end")["pages_beyond"] == 4
        assert about(browser, "<p>line")["pages_beyond"] == 0


def test_notices_to_switch_scripts_on_are_hidden(browser: Browser) -> None:
    html = "<body><noscript>Please enable JavaScript</noscript><div class=noscript-note>This needs JavaScript.</div>"
    html += "<noscript>a caption</noscript><p>about JavaScript"
    row = browser.render(html.encode())[0].to_pylist()[0]
    assert row["text"] == "a caption\nabout JavaScript"
