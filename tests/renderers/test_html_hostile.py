"""Pages made to take for ever: nothing on the way to the browser, or after it, may take more than linear time."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import numpy as np
import psutil
import pytest

from renderers import RenderError
from renderers.html.charset import decode
from renderers.html.markup import doctype_end, names_base, without_comments
from renderers.html.quads import overlapping
from renderers.html.reader_process import ReaderProcess
from renderers.html.render import Browser, Document, HtmlSettings
from renderers.html.shown_document import read
from renderers.html.tab import HtmlLine

LONG = 1 << 19  # characters: what takes the square of that takes hours
HIGH = b"\xe9 \xff"  # no UTF-8, so that every step of telling the charset is gone through

KINDS: dict[str, Callable[[int], bytes]] = {
    "comments": lambda n: b"<!--a-->\n" * (n // 9) + b"<html><p>text",
    "comments and declarations": lambda n: b"<!--a--><?xml a?>" * (n // 17) + b"<html><p>text",
    "comments that do not end": lambda n: b"<!--a" * (n // 5),
    "comments that end at once": lambda n: b"<!-->" * (n // 5) + b"<p>text",
    "comments with dashes": lambda n: b"<!--" + b"-" * n,
    "declarations that do not end": lambda n: b"<?xml " * (n // 6),
    "doctypes that do not end": lambda n: b"<!doctype " * (n // 10),
    "spaces": lambda n: b" " * n + b"<p>text",
    "less than": lambda n: b"<p>text " + HIGH + b"<t " * (n // 3),
    "less than alone": lambda n: HIGH + b"<" * n,
    "scripts that do not end": lambda n: HIGH + b"<script>" * (n // 8),
    "scripts and styles in turn": lambda n: HIGH + b"<script><style>" * (n // 15) + b"</style>",
    "script ends": lambda n: HIGH + b"</script " * (n // 9),
    "bases that do not end": lambda n: b"<base " * (n // 6),
    "bases without an address": lambda n: b"<base x>" * (n // 8),
    "metas that do not end": lambda n: HIGH + b"<meta " * (n // 6),
    "a charset and spaces": lambda n: HIGH + b"<meta " * 400 + b"charset=" + b" " * n,
    "charsets and spaces": lambda n: HIGH + (b"<meta charset" + b" " * 50) * (n // 63),
    "a long charset": lambda n: HIGH + b"<meta charset=" + b"a" * n,
    "encodings": lambda n: HIGH + b"<?xml " + b"encoding = " * (n // 11),
    "quotes that do not end": lambda n: HIGH + b"<a b='c\" " * (n // 9),
    "an attribute without an end": lambda n: HIGH + b'<p title="' + b"x" * n,
    "attributes": lambda n: HIGH + b"<p " + b"a=b " * (n // 4),
    "character data": lambda n: HIGH + b"<![CDATA[" * (n // 9),
    "nested": lambda n: HIGH + b"<div><b>" * (n // 8),
    "shadow roots": lambda n: b"<p>text " + b"shadowrootmode " * (n // 15),
    "no character": lambda n: HIGH + b"\xff\xfe\xfd" * (n // 3),
    "an MHTML file of headers": lambda n: b"a: b\n c\n" * (n // 8) + b"content-type: multipart/related",
    "an MHTML file of parts": lambda n: b"Content-Type: multipart/related; boundary=b\n\n" + b"--b\n\n" * (n // 50),
}  # fmt: skip


@pytest.mark.parametrize("kind", KINDS)
def test_a_hostile_page_is_read_in_one_pass(kind: str) -> None:
    content = KINDS[kind](LONG)
    document = Document("", content, "text/html; charset=" + " " * LONG, "https://site.test/")
    if b"multipart" in content:
        with pytest.raises(RenderError, match="without a page"):
            read(Document("", content, "multipart/related"), HtmlSettings(), True)
        return
    assert "Content-Security-Policy" in read(document, HtmlSettings(), True).markup


class Counted(str):
    """Text that counts the characters which are looked through in it."""

    seen = 0

    def find(self, part: str, *bounds: int) -> int:  # type: ignore[override]
        at = super().find(part, *bounds)
        Counted.seen += (at if at >= 0 else len(self)) - (bounds[0] if bounds else 0)
        return at


@pytest.mark.parametrize("kind", [kind for kind in KINDS if b"\xff" not in KINDS[kind](99)])
def test_twice_the_page_is_looked_through_for_twice_the_characters(kind: str) -> None:
    seen = []
    for length in (20_000, 40_000):
        Counted.seen = 0
        text = Counted(KINDS[kind](length).decode("latin-1"))
        doctype_end(text)
        names_base(text)
        seen.append(Counted.seen)
    assert seen[1] <= 2.2 * seen[0] + 1000
    assert seen[1] <= 5 * 40_000


def test_a_doctype_is_found_behind_what_browsers_pass_over() -> None:
    for before in (
        "",
        " \n",
        "<!--a-->",
        "<!-->",
        "<!--->",
        "<!--a--!>",
        "<?xml version='1.0'?>",
        "<!x>",
        "<!--<!doctype a>-->",
    ):
        text = f"{before}<!DOCTYPE html><p>"
        assert text[doctype_end(text) :] == "<p>"
    for none in ("<p><!doctype html>", "<!--<!doctype html>", "<!doctype html", "text<!doctype html>", ""):
        assert doctype_end(none) == 0


def test_comments_hide_a_charset_and_an_unfinished_tag_hides_none() -> None:
    assert without_comments(b"a<!--b-->c<!--d") == b"a c <!--d"
    assert decode(b"<!--<meta charset=gbk>--><p>\xc0\xb4")[1] != "gbk"
    assert decode("<meta http-equiv=a content='text/html; charset=gbk'><p>来".encode("gbk"))[1] == "gb18030"


def test_many_lines_in_one_place_are_compared_within_bounds() -> None:
    stack = [HtmlLine("x", 0, 0, 50, 10, 10, "level") for _ in range(5_000)]
    assert len(overlapping(stack)) == len(stack)
    turn = (0.8, 0.6, -0.6, 0.8)
    assert len(overlapping([HtmlLine("x", i / 9, 0, 50, 10, 10, "level", turn) for i in range(250)])) == 250


def test_the_vectors_find_what_a_plain_comparison_finds() -> None:
    random = np.random.default_rng(7)
    lines = [
        HtmlLine("x", *random.uniform(0, 300, 2), *random.uniform(5, 40, 2), 10, "level") for _ in range(200)
    ]
    expected = set()
    for i, one in enumerate(lines):
        for j, other in enumerate(lines[:i]):
            width = min(one.x + one.width, other.x + other.width) - max(one.x, other.x)
            height = min(one.y + one.height, other.y + other.height) - max(one.y, other.y)
            least = min(one.width * one.height, other.width * other.height)
            if max(width, 0) * max(height, 0) > 0.2 * least:
                expected |= {i, j}
    assert overlapping(lines) == expected


def test_reading_has_a_deadline_and_a_fresh_process_after_it() -> None:
    async def tries() -> tuple[str, str]:
        slow = ReaderProcess(HtmlSettings(timeout_s=1e-4))
        reader = ReaderProcess(HtmlSettings())
        try:
            late = await reason(slow, Document("", b"<p>text"))
            assert slow.process is None
            await reader.read(Document("", b"<p>text"))
            assert reader.process is not None
            psutil.Process(reader.process.pid).kill()
            return late, (await reader.read(Document("", b"<p>text"))).charset
        finally:
            await slow.kill()
            await reader.kill()

    assert asyncio.run(tries()) == ("timed_out", "utf-8")


async def reason(reader: ReaderProcess, document: Document) -> str:
    try:
        await reader.read(document)
    except RenderError as error:
        return error.reason
    return "read"


@pytest.mark.parametrize("kind", ["comments", "less than", "attributes"])
def test_a_hostile_page_keeps_no_other_from_being_rendered(browser: Browser, kind: str) -> None:
    hostile = Document("hostile", KINDS[kind](200_000))
    found = dict(browser.render_many([hostile, Document("good", b"<p>good")]))
    assert not isinstance(found["good"], RenderError)


def test_more_lines_than_anyone_reads_are_refused(ready: None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("renderers.html.render.MOST_LINES", 50)
    with Browser(HtmlSettings(tabs=1)) as browser, pytest.raises(RenderError, match="too_large: 60 lines"):
        browser.render(b"<p>line" * 60)
