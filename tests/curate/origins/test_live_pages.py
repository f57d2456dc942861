"""Web pages fetched while they are rendered: what is asked of whom, and that a resume sees the same web."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import curate
from curate.errors import InputError
from curate.fetch.crawl import Crawl, PageParts, opt_out_in
from tests.curate.web import JPEG, Site, settings

WORDS = "".join(
    f"<p>Sentence {number} of a page that is fetched while it is shown.</p>" for number in range(6)
)
PAGE = f"<!doctype html><title>A page</title><link rel=stylesheet href=/a.css><img src=/image.jpg>{WORDS}"
CSS = b"body { font-family: 'DejaVu Sans'; background: rgb(250, 240, 200) } p { color: navy }"
LIVE = {"render.resources": "fetch", "fetch.allow_private": True, "fetch.retries": 0, "render.tabs": 1}


@pytest.fixture
def browser() -> None:
    render = pytest.importorskip("renderers.html.render")
    try:
        render.check_machine(render.HtmlSettings())
    except render.NotReadyError as problem:
        pytest.skip(str(problem))


@pytest.fixture
def pages(site: Site) -> Site:
    """A site of pages, with a robots.txt."""
    for name in ("one", "two", "private/three"):
        site.answer(f"/{name}", body=PAGE.encode(), Content_Type="text/html; charset=utf-8")
    opted = PAGE.replace("<link", "<meta name='robots' content='noai, noimageai'><link")
    site.answer("/opted", body=opted.encode(), Content_Type="text/html")
    site.answer("/a.css", body=CSS, Content_Type="text/css")
    site.answer("/robots.txt", body=b"User-agent: *\nDisallow: /private/", Content_Type="text/plain")
    site.answer("/gone", 404, b"")
    return site


def run(source: Path, out: Path, **more: Any) -> Any:
    return curate.run("html", out=out, inputs=[str(source)], settings={**LIVE, **more}, workers=0)


def dropped(out: Path) -> dict[str, str]:
    (table,) = (pq.read_table(file) for file in out.glob("_dropped/*.parquet"))
    return {row["source"].partition("!")[2]: row["reason"] for row in table.to_pylist()}


def rows(out: Path) -> list[dict[str, Any]]:
    return [row for file in sorted(out.glob("shard-*.parquet")) for row in pq.read_table(file).to_pylist()]


def paths(site: Site) -> list[str]:
    return [request.path for request in site.requests]


def test_a_list_of_addresses_is_refused_unless_they_are_to_be_fetched(tmp_path: Path) -> None:
    listed = tmp_path / "urls.txt"
    listed.write_text("https://example.org/\n")
    with pytest.raises(InputError, match=r"render\.resources=fetch"):
        curate.run("html", out=tmp_path / "out", inputs=[str(listed)])
    assert not (tmp_path / "out").exists()


def test_pages_of_a_list_are_rendered_as_they_are(browser: None, pages: Site, tmp_path: Path) -> None:
    wanted = ["one", "two", "one", "private/three", "opted", "gone"]
    listed = tmp_path / "urls.txt"
    listed.write_text(
        "# pages\n\n" + "\n".join(pages.url(f"/{name}") for name in wanted) + "\nnot an address\n"
    )
    result = run(listed, tmp_path / "out")
    kept = rows(tmp_path / "out")
    assert [row["source"] for row in kept] == [
        f"urls.txt!{pages.url(f'/{name}')}#1" for name in ("one", "two")
    ]
    assert [row["url"] for row in kept] == [pages.url("/one"), pages.url("/two")]
    told = json.loads(kept[0]["extra"])
    assert (told["stylesheets"], told["lost_stylesheets"], told["title"]) == (1, 0, "A page")
    assert result.dropped == {
        "bad_url": 1,
        "duplicate_address": 1,
        "http_404": 1,
        "opted_out": 1,
        "robots_disallowed": 1,
    }
    assert dropped(tmp_path / "out")[pages.url("/private/three")] == "robots_disallowed"
    asked = paths(pages)
    assert "/private/three" not in asked
    assert all(asked.count(path) == 1 for path in ("/robots.txt", "/a.css", "/image.jpg", "/one"))


def test_a_run_that_goes_on_sees_the_web_as_it_was(browser: None, pages: Site, tmp_path: Path) -> None:
    listed = tmp_path / "urls.parquet"
    wanted = [pages.url("/one"), pages.url("/gone")]
    pq.write_table(pa.table({"id": [1, 2], "url": wanted}), listed)
    first = run(listed, tmp_path / "first")
    crawl = Crawl(settings(retries=0), tmp_path / "second/_run/inputs/web", 2.0)  # what a killed run leaves
    for url in wanted:
        crawl.page(url)
    assert [crawl.part(pages.url(path)).body for path in ("/a.css", "/image.jpg")] == [CSS, JPEG]
    crawl.close()
    for path in ("/one", "/a.css", "/image.jpg", "/robots.txt", "/gone"):
        pages.answer(path, body=b"<p>" + b"another web by now, with other words on all of it. " * 9)
    asked = len(pages.requests)
    second = run(listed, tmp_path / "second")
    assert len(pages.requests) == asked
    assert [one["sha256"] for one in first.shards] == [one["sha256"] for one in second.shards]
    assert first.dropped == second.dropped == {"http_404": 1}


def test_a_saved_page_gets_what_it_links_and_nothing_from_a_private_address(
    browser: None, pages: Site, tmp_path: Path
) -> None:
    saved = tmp_path / "pages"
    saved.mkdir()
    html = PAGE.replace("/a.css", pages.url("/a.css")).replace("/image.jpg", pages.url("/image.jpg"))
    (saved / "page.html").write_text(
        html + "<img src=file:///etc/passwd><iframe src=" + pages.url("/one") + ">"
    )
    run(saved, tmp_path / "out")
    assert json.loads(rows(tmp_path / "out")[0]["extra"])["lost_stylesheets"] == 0
    assert sorted(paths(pages)) == ["/a.css", "/image.jpg", "/robots.txt"]
    asked = len(pages.requests)
    as_it_is = {"render.restyle": False, "rules.page_unstyled": False}
    run(saved, tmp_path / "walled", **{"fetch.allow_private": False, **as_it_is})
    assert len(pages.requests) == asked
    assert json.loads(rows(tmp_path / "walled")[0]["extra"])["lost_stylesheets"] == 1


@pytest.fixture
def crawl(tmp_path: Path) -> Iterator[Crawl]:
    crawl = Crawl(settings(retries=0), tmp_path / "web", 2.0)
    yield crawl
    crawl.close()


def parts_of(crawl: Crawl, **limits: Any) -> PageParts:
    return PageParts(crawl, "page", {}, **{"most": 9, "max_bytes": 10**6, "within_s": 60.0, **limits})


def test_a_site_whose_rules_cannot_be_read_allows_nothing(crawl: Crawl, site: Site) -> None:
    site.answer("/robots.txt", 503, b"")
    assert crawl.page(site.url("/x")).reason == "http_503"
    assert "/x" not in paths(site)


def test_a_site_without_rules_allows_all(crawl: Crawl, site: Site) -> None:
    site.answer("/robots.txt", 404, b"")
    assert crawl.page(site.url("/x")).body == JPEG


def test_what_a_page_may_not_have_any_more_stays_refused(crawl: Crawl, site: Site) -> None:
    site.answer("/robots.txt", 404, b"")
    few = parts_of(crawl, most=1)
    assert few.get(site.url("/1")) == ("image/jpeg", JPEG)
    assert few.get(site.url("/2")) is None
    assert parts_of(crawl).get(site.url("/2")) is None  # the same page, seen again
    assert parts_of(crawl, max_bytes=10).get(site.url("/1")) is None
    assert parts_of(crawl, within_s=0.0).get(site.url("/3")) is None
    assert {"/2", "/3"}.isdisjoint(paths(site))


def test_damaged_bytes_are_fetched_again(crawl: Crawl, site: Site, tmp_path: Path) -> None:
    site.answer("/robots.txt", 404, b"")
    crawl.page(site.url("/x"))
    (body,) = (file for file in tmp_path.glob("web/bytes/*/*"))
    body.write_bytes(b"torn")
    assert crawl.page(site.url("/x")).body == JPEG
    assert paths(site).count("/x") == 2


@pytest.mark.parametrize(
    ("tag", "found"),
    [
        ("<meta name=robots content=noai>", "noai"),
        ("<META content='index, NOIMAGEAI' name=\"Robots\">", "noimageai"),
        ("<meta name=curate content=noindex>", "noindex"),
        ("<meta name=otherbot content=noai>", None),
        ("<meta name=description content='noai, noindex'>", None),
        ("<meta " * 20_000, None),
        ("<meta name=" * 20_000, None),
    ],
)
def test_a_page_s_own_opt_out_counts(tag: str, found: str | None) -> None:
    assert opt_out_in(tag.encode(), "curate", ("noai", "noimageai", "noindex")) == found
