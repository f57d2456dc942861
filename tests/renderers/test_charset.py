from __future__ import annotations

import pytest

from renderers.html.charset import decode

ZH = "清晨，采茶的人背着竹篓上山。他们只摘枝头最嫩的一芽两叶，因为老叶会使茶汤变得粗涩。"
TW = "清晨，採茶的人背著竹簍上山。他們只摘枝頭最嫩的一芽兩葉，因為老葉會使茶湯變得粗澀。"
DE = "Übermäßig schöne Grüße aus Köln – für 5 € gibt’s „Käse“."
RU = "Утром сборщики чая поднимаются в гору с корзинами за спиной и рвут молодые листья."
JA = "朝早く、茶摘みの人たちは籠を背負って山に登り、いちばん柔らかい新芽だけを摘みます。"
KO = "이른 아침 찻잎을 따는 사람들이 바구니를 메고 산에 올라 가장 어린 잎만 땁니다."


def page(text: str, charset: str, declared: str | None) -> bytes:
    meta = f'<meta http-equiv="Content-Type" content="text/html; charset={declared}">' if declared else ""
    return f"<html><head>{meta}<title>t</title></head><body><p>{text}</p></body></html>".encode(charset)


RIGHT = [
    (ZH, "gb2312", "gb2312"),
    (ZH, "gbk", "GBK"),
    (ZH, "gb18030", "x-gbk"),
    (ZH + "镕", "gbk", "gb2312"),  # beyond GB 2312, as on most pages that name it
    (TW, "big5", "big5"),
    (TW, "big5hkscs", "big5-hkscs"),
    (DE, "cp1252", "iso-8859-1"),
    (DE, "cp1252", "us-ascii"),
    (DE, "utf-8", "utf8"),
    (RU, "cp1251", "windows-1251"),
    (RU, "koi8-r", "koi8-r"),
    (JA, "cp932", "shift_jis"),
    (JA, "euc_jp", "euc-jp"),
    (KO, "cp949", "euc-kr"),
]


@pytest.mark.parametrize(("text", "charset", "declared"), RIGHT)
def test_a_right_declaration_is_followed(text: str, charset: str, declared: str) -> None:
    assert text in decode(page(text, charset, declared))[0]
    assert text in decode(page(text, charset, None), f'text/html; charset="{declared}"')[0]


WRONG = [
    (ZH, "utf-8", "gb2312"),
    (ZH, "gbk", "utf-8"),
    (ZH, "gbk", "iso-8859-1"),
    (TW, "big5", "utf-8"),
    (DE, "cp1252", "utf-8"),
    (DE, "utf-8", "iso-8859-1"),
    (RU, "cp1251", "iso-8859-1"),
    (DE, "cp1252", "no-such-charset"),
    (DE, "cp1252", "unicode_escape"),
    (ZH, "utf-8", "utf-16"),
    (ZH, "gbk", None),
    (TW, "big5", None),
    (JA, "cp932", None),
    (RU, "cp1251", None),
    (DE, "cp1252", None),
    (ZH, "utf-8", None),
    (ZH, "utf-16", None),
    (DE, "utf-16-le", None),
    (DE, "utf-16-be", "utf-8"),
    (ZH, "utf-8-sig", "gbk"),
]


@pytest.mark.parametrize(("text", "charset", "declared"), WRONG)
def test_a_wrong_or_missing_declaration_does_no_harm(text: str, charset: str, declared: str | None) -> None:
    assert text in decode(page(text, charset, declared))[0]


def test_the_page_s_word_counts_where_the_server_s_is_a_default() -> None:
    text, charset = decode(page(ZH, "gbk", "gbk"), "text/html; charset=ISO-8859-1")
    assert ZH in text
    assert charset == "gb18030"


def test_a_declaration_in_a_comment_does_not_count() -> None:
    content = b'<!-- <meta charset="gbk"> --><meta charset="big5">' + TW.encode("big5")
    assert decode(content) == (content.decode("big5"), "big5hkscs")


def test_few_faults_are_marked_and_the_declaration_stays() -> None:
    content = page(ZH * 3, "gbk", "gbk").replace(b"</p>", b"\xff</p>")
    text, charset = decode(content)
    assert charset == "gb18030"
    assert text.count("\N{REPLACEMENT CHARACTER}") == 1


def test_a_page_cut_within_a_character_is_still_utf8() -> None:
    text, charset = decode(ZH.encode()[:-1])
    assert charset == "utf-8"
    assert text == ZH[:-1] + "\N{REPLACEMENT CHARACTER}"


@pytest.mark.parametrize(
    "content", [b"", b"\0", b"\xff\xfe", b"\xff" * 99, bytes(range(256)) * 40, b"\xfe\xff\xd8\x00"]
)
def test_no_bytes_are_too_broken(content: bytes) -> None:
    text, _ = decode(content, "text/html; charset=\x00")
    assert "\0" not in text
    text.encode("utf-8", "surrogatepass")


def test_zero_characters_after_a_page_do_not_make_it_utf_16() -> None:
    page = "<p>Café, a text of its own</p>".encode("latin-1")
    assert decode(page + b"\0" * 300_000)[0] == "<p>Café, a text of its own</p>"
    assert decode("<p>wide</p>".encode("utf-16-le"))[1] == "utf-16-le"
