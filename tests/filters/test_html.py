from __future__ import annotations

import json
from pathlib import Path

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from filters import CLEANERS
from filters.html import plain

SHARED = Path(__file__).resolve().parents[2] / ".." / "shared" / "data"
needs_data = pytest.mark.skipif(not SHARED.exists(), reason="../shared/data is not on this machine")
PIECES = [
    "<b>",
    "</b>",
    "<br/>",
    "<a href='x'>",
    "<!--",
    "-->",
    "<script>",
    "</script>",
    "&",
    "&amp;",
    "lt;",
    "&#60;",
    "<",
    ">",
]


@pytest.mark.parametrize(
    "text",
    [
        "I <3 you",
        "a < b",
        "AT&T",
        "5 > 3",
        "x<y",
        "a<b and c>d",
        "R&D;",
        "Q&A",
        "1 <2> 3",
        "nice <!",
        "a </3 b",
        "&",
        "x?a=1&copy=2&reg=3",
        "&copyright",
        "by <PERSON>, <unk>",
        "if a <b then",
        "&notit;",
        "&#;",
        "&#x;",
        "<",
        "cats & dogs",
    ],
)
def test_text_that_only_looks_like_markup_survives(text: str) -> None:
    assert plain(text) == text


@pytest.mark.parametrize(
    ("text", "clean"),
    [
        (
            "<a href='http://x.com/y'>Children's Hospital </a>Ribbon Cutting.",
            "Children's Hospital Ribbon Cutting.",
        ),
        ("Orchid Jungle<br>Hawaiian Dresses<br>100% Rayon<br>", "Orchid Jungle Hawaiian Dresses 100% Rayon"),
        ("<p>one</p><p>two</p> <b>th</b>ree", "one two three"),
        ("<!--020111-->Drive<!-- more", "Drive"),
        ("<script>if (a<b) alert('x')</script>ok<style>b{color:red}</style>", "ok"),
        ('<div class=""meta""><span></span>Hope Solo</div>', "Hope Solo"),
        ("a title='<br>' <a title='x > y'>kept</a>", "a title=' ' kept"),
        ("cut off <a href='http://exam", "cut off"),
        ("cut off </div", "cut off"),
        ("one<br \\>two<xmp>three</xmp>", "one two three"),
        ("a &#12345678901; b", "a \ufffd b"),
        ("<IMG SRC=x onerror=alert(1)><svg/onload=alert(2)>", ""),
        ("<td nowrap align=center>x</td><o:p></o:p>", "x"),
        ("<![CDATA[kept]]><![if !IE]>too<![endif]><?xml version='1'?><!DOCTYPE html>", "kepttoo"),
        ("Tom &amp;amp;amp; Jerry &AMP Co", "Tom & Jerry & Co"),
        ("&lt;b&gt;bold&lt;/b&gt; &amp;lt;i&amp;gt;it&amp;lt;/i&amp;gt;", "bold it"),
        ("&quot;Keep&nbsp;Calm&quot; &#8211; &eacute;&#233;&#xE9;", '"Keep Calm" – ééé'),
        ("&copy 2012 &#128; &#x80;", "© 2012 € €"),
        ("&#0;&#xD800;&#x110000;", "\ufffd\ufffd\ufffd"),
        ("I &lt;3 you", "I <3 you"),
    ],
)
def test_markup_goes_and_entities_become_characters(text: str, clean: str) -> None:
    assert plain(text) == clean


@pytest.mark.parametrize("type", [pa.string(), pa.large_string()])
def test_a_column_keeps_its_type_its_nulls_and_its_order(type: pa.DataType) -> None:
    column = pa.array([None, "a <b>c</b>", "d  e", None, "&amp;", ""], type)
    cleaned = CLEANERS["html"].clean(column)
    assert cleaned.type == type
    assert cleaned.to_pylist() == [None, "a c", "d  e", None, "&", ""]
    assert CLEANERS["html"].clean(column.slice(1, 2)).to_pylist() == ["a c", "d  e"]
    assert CLEANERS["html"].clean(column.slice(0, 0)).to_pylist() == []


def test_a_part_of_a_column_is_cleaned_as_the_whole_is() -> None:
    whole = pa.array(["a<br>b", None, "", "c &amp; d", "", "plain", "<b>e</b>" * 40_000, "f<hr>g", None])
    clean = CLEANERS["html"].clean(whole)
    assert clean.to_pylist() == ["a b", None, "", "c & d", "", "plain", "e" * 40_000, "f g", None]
    for first in range(len(whole)):
        assert CLEANERS["html"].clean(whole[first:-1]).equals(clean[first:-1])


def test_what_lies_under_a_null_is_not_read() -> None:
    text = pa.array(["a<br>b", "c<br>d"])
    _, offsets, data = text.buffers()
    masked = pa.StringArray.from_buffers(2, offsets, data, pa.py_buffer(b"\x02"), 1)
    assert CLEANERS["html"].clean(masked).to_pylist() == [None, "c d"]


@given(st.lists(st.sampled_from(PIECES) | st.text(max_size=4), max_size=14).map("".join))
def test_any_text_is_cleaned_and_stays_as_it_is_when_cleaned_again(text: str) -> None:
    clean = plain(text)
    assert isinstance(clean, str)
    if plain(clean) != clean:  # only where what was taken out joined new markup, deeper than MAX_ROUNDS
        assert len(plain(clean)) < len(clean)


@needs_data
@pytest.mark.parametrize(
    "name", ["rules/html_tokenizer/html5lib_tokenizer.jsonl", "rules/naughty_strings/blns.jsonl"]
)
def test_every_hostile_text_of_the_public_collections_is_cleaned(name: str) -> None:
    rows = [json.loads(line) for line in (SHARED / name).read_text(encoding="utf-8").split("\n") if line]
    texts = [row.get("input") or row.get("s") or "" for row in rows]
    for text, clean in zip(texts, map(plain, texts), strict=True):
        assert "<script>" not in clean.lower(), text
        if "<" not in text and "&" not in text:
            assert clean == text


@needs_data
def test_entities_are_read_as_html5lib_reads_them_in_attributes() -> None:
    path = SHARED / "rules/html_tokenizer/html5lib_tokenizer.jsonl"
    seen = 0
    for case in map(json.loads, path.read_text(encoding="utf-8").split("\n")[:-1]):
        output = case["output"]
        text = case["input"]
        if (
            not text.startswith("&")
            or not text.endswith(";")
            or len(output) != 1
            or output[0][0] != "Character"
        ):
            continue
        decoded = output[0][1]
        if (
            text.count("&") > 1
            or decoded.isspace()
            or text[1] == "#"
            or decoded in ("<", "&")
            or decoded.startswith("&")
        ):
            continue
        seen += 1
        assert plain(text) == (text if decoded.endswith(";") else decoded), text
    assert seen > 300


@pytest.mark.parametrize(
    "text",
    [
        "<div>" * 100_000 + "x",
        "<b x=1>" * 50_000,
        "<" * 500_000,
        "<a x='" * 100_000,
        "<!--" * 100_000,
        "&amp;" * 200_000,
        "&" + "amp;" * 200_000,
        "<a" + "/" * 500_000,
        "&#" * 200_000,
        "<script>" + "</" * 200_000,
        "<" * 20_000 + "b>" * 20_000,
    ],
    ids=lambda text: text[:9],
)
def test_hostile_texts_end(text: str) -> None:
    assert len(plain(text)) <= len(text)
