from __future__ import annotations

import json
from pathlib import Path

import pytest

from curate.fetch import Fetcher
from curate.fetch.optouts import opted_out
from curate.fetch.urls import BadUrlError, requestable
from tests.curate.web import JPEG, Site, fetch, reason, settings

SHARED = Path(__file__).parents[4] / "shared" / "data"
OPT_OUTS = ("noai", "noimageai", "noindex", "noimageindex")


def test_we_say_who_we_are_and_carry_nothing_along(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:9")
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:9")
    site.answer("/a", Set_Cookie="track=1; Path=/")
    with Fetcher(settings(user_agent="curate/7 (me@example.org)")) as fetcher:
        for path in ("/a", "/b"):
            assert [fetched.body for _, fetched in fetcher.fetch([site.url(path)])] == [JPEG]
    assert {request.headers["User-Agent"] for request in site.requests} == {"curate/7 (me@example.org)"}
    for request in site.requests:
        assert not {"Cookie", "Authorization", "Referer"} & set(request.headers)


def test_an_opt_out_is_respected_unless_switched_off(site: Site) -> None:
    url = site.answer("/x", X_Robots_Tag="noai, noimageai")
    found = fetch(url)[0]
    assert (found.reason, found.detail) == ("opted_out", "X-Robots-Tag: noai")
    assert fetch(url, respect_opt_out=False)[0].body == JPEG
    assert fetch(url, opt_out=("noindex",))[0].body == JPEG


def test_an_opt_out_on_the_way_counts_and_one_of_an_error_page_does_not(site: Site) -> None:
    site.answer("/go", 301, b"", Location="/image.jpg", X_Robots_Tag="noai")
    assert reason(site.url("/go")) == "opted_out"
    assert reason(site.answer("/gone", 404, X_Robots_Tag="noindex")) == "http_404"


@pytest.mark.parametrize(
    ("url", "path"),
    [
        (
            "/SSP Applications/Item Images/a.png?resizeid=14&w=175",
            "/SSP%20Applications/Item%20Images/a.png?resizeid=14&w=175",
        ),
        ("/Eguisheim-©.jpg?resize=351%2C185&amp;ssl=1", "/Eguisheim-%C2%A9.jpg?resize=351%2C185&ssl=1"),
        ("/a.jpg?w=264&#038;h=341#top", "/a.jpg?w=264&h=341"),
        (
            "/plugins/x/../img.php?url=https%3A%2F%2Fm.com%2Fa%2BPL.jpg",
            "/plugins/img.php?url=https%3A%2F%2Fm.com%2Fa%2BPL.jpg",
        ),
        ("/a%7Eb%zz/100%/c+d.jpg?X-Sig=a%2Fb%3D&q='x'", "/a%7Eb%zz/100%/c+d.jpg?X-Sig=a%2Fb%3D&q=%27x%27"),
        ("/图片/猫.jpg?名=值", "/%E5%9B%BE%E7%89%87/%E7%8C%AB.jpg?%E5%90%8D=%E5%80%BC"),
        ("/a//b/[1]|{2}^`.jpg", "/a//b/[1]|%7B2%7D%5E%60.jpg"),
        ("\\a\\b.jpg", "/a/b.jpg"),
        ("", "/"),
    ],
)
def test_messy_addresses_are_requested_as_browsers_do(site: Site, url: str, path: str) -> None:
    assert fetch(f" {site.url(url)}\n")[0].body == JPEG
    assert site.requests[0].raw_path == path


@pytest.mark.parametrize(
    "url",
    [
        None,
        "",
        "  ",
        "image.jpg",
        "/image.jpg",
        "//host/a.jpg",
        "ftp://h/a",
        "file:///etc/passwd",
        "data:image/png,x",
        "http://",
        "http://u:p@h/",
        "http://u@h/",
        "http://h:22/",
        "http://h:65536/",
        "http://h:x/",
        "http://[::1/",
        "http://[fe80::1%25lo]/",
        "http://a..b/",
        "http://a b/",
        "http://h\x00x/",
        "http://1.2.3.4.5/",
        "http://h^x/",
        "http://[:::]/",
        "http://256.1.1.1/",
        "http://h/\ud800",
        "http://h/" + "a" * 9000,
        f"http://{'a' * 64}.com/",
        "http://" + "a." * 130 + "com/",
        "http://\udcff\ud800/",
    ],
)
def test_an_address_that_cannot_be_requested_is_a_reason(url: str | None) -> None:
    found = fetch(url)[0]
    assert (found.body, found.reason, found.url) == (None, "bad_url", None)
    assert found.detail


@pytest.mark.skipif(not SHARED.is_dir(), reason="needs the shared sample data")
def test_every_address_of_the_real_sets_can_be_requested() -> None:
    lines = [
        line for file in (SHARED / "laion").glob("*/*.jsonl") for line in file.read_text("utf-8").splitlines()
    ]
    rows = [{key.lower(): value for key, value in json.loads(line).items()} for line in lines]
    urls = [row["url"] for row in rows if str(row.get("url")).startswith("http")]
    urls += [
        line.split("\t")[1]
        for file in (SHARED / "cc3m").glob("*.tsv")
        for line in file.open(encoding="utf-8")
    ]
    assert len(urls) > 8_000
    bad = []
    for url in urls:
        try:
            requestable(url)
        except BadUrlError as error:
            bad.append((url, error))
    assert bad == []


@pytest.mark.parametrize(
    "headers",
    [
        ["noai"],
        ["NoAI"],
        ["noindex"],
        ["noimageindex"],
        ["noimageai"],
        ["none"],
        ["nofollow, noai"],
        ["all", "noai"],
        ["  noarchive ,  NOIMAGEAI  "],
        ["curate: noai"],
        ["Curate: nofollow, noai"],
        ["*: noindex"],
        ["googlebot: nofollow", "noai"],
        ["googlebot: nofollow, curate: noai"],
        ["unavailable_after: 25 Jun 2010 15:00:00 PST, noai"],
        ["max-snippet: 5, noai"],
        ["noai, googlebot: all"],
    ],
)
def test_an_opt_out_that_addresses_us_counts(headers: list[str]) -> None:
    assert opted_out(headers, "curate", OPT_OUTS)


@pytest.mark.parametrize(
    "headers",
    [
        [],
        [""],
        ["all"],
        ["nofollow"],
        ["noarchive, nosnippet"],
        ["googlebot: noindex"],
        ["googlebot: nofollow, noindex"],
        ["otherbot: noai, noimageai"],
        ["curate: all, googlebot: noindex"],
        ["curated: noai"],
        ["noaix"],
        ["xnoai"],
        ["max-image-preview: none"],
        ["unavailable_after: 2030-01-01"],
        [":,:,,"],
    ],
)
def test_an_opt_out_that_addresses_others_does_not(headers: list[str]) -> None:
    assert opted_out(headers, "curate", OPT_OUTS) is None
