from __future__ import annotations

import asyncio
import gzip
import json
import socket
import subprocess
import sys
import threading
import time
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web

from curate.errors import UnitError
from curate.fetch import Fetched, Fetcher
from curate.fetch.urls import BadUrlError, requestable
from curate.manifest import FetchSettings
from tests.curate.web import JPEG, RawServer, Site, jpeg

SHARED = Path(__file__).parents[3] / "shared" / "data"


def settings(**changes: Any) -> FetchSettings:
    quick = {"allow_private": True, "retry_wait_s": 0.01, "connect_timeout_s": 2.0, "read_timeout_s": 2.0}
    return FetchSettings(**{**quick, "total_timeout_s": 5.0, **changes})


def fetch(*urls: str | None, **changes: Any) -> list[Fetched]:
    """What each address gave, in their order."""
    with Fetcher(settings(**changes)) as fetcher:
        found = dict(fetcher.fetch(urls))
    return [found[place] for place in range(len(urls))]


def reason(url: str, **changes: Any) -> str | None:
    return fetch(url, **changes)[0].reason


@pytest.fixture
def site() -> Iterator[Site]:
    server = Site()
    yield server
    server.close()


@pytest.fixture
def raw() -> Iterator[Callable[[Callable[[socket.socket], None]], RawServer]]:
    servers: list[RawServer] = []

    def start(talk: Callable[[socket.socket], None]) -> RawServer:
        servers.append(RawServer(talk))
        return servers[-1]

    yield start
    for server in servers:
        server.close()


def says(answer: bytes) -> Callable[[socket.socket], None]:
    return lambda connection: connection.sendall(answer)


# --- what is fetched


def test_every_address_gives_one_result_with_its_place(site: Site) -> None:
    bodies = {f"/{n}.jpg": jpeg(n + 1) for n in range(50)}
    for path, body in bodies.items():
        site.answer(path, body=body)
    urls = [site.url(path) for path in bodies]
    with Fetcher(settings()) as fetcher:
        results = list(fetcher.fetch(urls))
    assert sorted(place for place, _ in results) == list(range(50))
    assert {place: fetched.body for place, fetched in results} == dict(enumerate(bodies.values()))
    assert all(fetched.url == urls[place] for place, fetched in results)


def test_an_address_that_comes_again_is_fetched_once(site: Site) -> None:
    first, second, third = fetch(site.url("/a#x"), site.url("/b"), site.url("/a"))
    assert first is third
    assert first.body == second.body == JPEG
    assert sorted(request.path for request in site.requests) == ["/a", "/b"]


def test_addresses_are_read_as_they_are_needed(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("curate.fetch.fetcher.LOOK_AHEAD", 20)
    monkeypatch.setattr("curate.fetch.fetcher.CHUNK", 5)
    read = 0

    def endless() -> Iterator[str]:
        nonlocal read
        while True:
            read += 1
            yield site.url(f"/{read}")

    with Fetcher(settings()) as fetcher:
        results = fetcher.fetch(endless())
        for _ in range(100):
            assert next(results)[1].body == JPEG
        results.close()  # type: ignore[attr-defined]
    assert 100 <= read <= 100 + 2 * 25


def test_no_addresses_give_no_results() -> None:
    with Fetcher(settings()) as fetcher:
        assert list(fetcher.fetch([])) == []


def test_a_fetcher_serves_several_calls_and_threads(site: Site) -> None:
    counts: list[int] = []
    with Fetcher(settings()) as fetcher:

        def run(name: str) -> None:
            urls = [site.url(f"/{name}/{n}") for n in range(100)]
            counts.append(sum(fetched.body == JPEG for _, fetched in fetcher.fetch(urls)))

        threads = [threading.Thread(target=run, args=(str(n),)) for n in range(3)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        run("again")
    assert counts == [100] * 4


# --- how many at once


def test_hundreds_are_fetched_at_once_but_no_more_than_set(site: Site) -> None:
    gate = asyncio.Event()

    async def wait(_: web.Request) -> web.Response:
        if site.running.total() >= 200:
            gate.set()
        async with asyncio.timeout(10):
            await gate.wait()
        return web.Response(body=JPEG)

    site.handlers["/slow"] = wait
    urls = [site.url("/slow", host=f"127.0.{n}.1") for n in range(250)]
    results = fetch(*urls, concurrency=200, read_timeout_s=20, total_timeout_s=30)
    assert [fetched.body for fetched in results] == [JPEG] * 250
    assert site.most_together == 200


def test_one_host_gets_no_more_than_its_share_and_holds_up_nobody(site: Site) -> None:
    async def wait(_: web.Request) -> web.Response:
        await asyncio.sleep(0.02)
        return web.Response(body=JPEG)

    site.handlers["/slow"] = wait
    busy = [site.url(f"/slow?{n}") for n in range(60)]
    others = [site.url("/image.jpg", host=f"127.0.0.{n}") for n in range(2, 40)]
    with Fetcher(settings(concurrency=20, per_host=4)) as fetcher:
        order = [place for place, fetched in fetcher.fetch(busy + others) if fetched.body]
    assert len(order) == len(busy + others)
    assert site.most["127.0.0.1"] == 4
    assert max(order.index(place) for place in range(60, 98)) < max(order.index(place) for place in range(60))


def test_redirects_to_one_host_share_its_limit_too(site: Site) -> None:
    async def wait(_: web.Request) -> web.Response:
        await asyncio.sleep(0.02)
        return web.Response(body=JPEG)

    site.handlers["/end"] = wait
    site.answer("/go", 302, b"", Location=site.url("/end", host="127.9.9.9"))
    results = fetch(*[site.url("/go", host=f"127.0.1.{n}") for n in range(30)], per_host=3)
    assert [fetched.body for fetched in results] == [JPEG] * 30
    assert site.most["127.9.9.9"] <= 3


# --- statuses, redirects, retries


@pytest.mark.parametrize("status", [304, 400, 401, 403, 404, 410, 418, 451, 501, 999])
def test_a_status_that_is_no_success_is_a_reason_and_not_tried_again(site: Site, status: int) -> None:
    assert reason(site.answer("/x", status, b"")) == f"http_{status}"
    assert len(site.requests) == 1


@pytest.mark.parametrize("status", [429, 500, 502, 503, 504])
def test_a_passing_trouble_is_tried_again(site: Site, status: int) -> None:
    async def twice(_: web.Request) -> web.Response:
        return web.Response(status=status if len(site.requests) <= 2 else 200, body=JPEG)

    site.handlers["/x"] = twice
    assert fetch(site.url("/x"))[0].body == JPEG
    assert len(site.requests) == 3


def test_retries_end(site: Site) -> None:
    assert reason(site.answer("/x", 503), retries=3) == "http_503"
    assert len(site.requests) == 4


def test_a_retry_waits_as_long_as_the_server_asks(site: Site) -> None:
    times: list[float] = []

    async def busy(_: web.Request) -> web.Response:
        times.append(time.monotonic())
        return web.Response(status=429 if len(times) == 1 else 200, body=JPEG, headers={"Retry-After": "1"})

    site.handlers["/x"] = busy
    assert fetch(site.url("/x"))[0].body == JPEG
    assert times[1] - times[0] >= 0.99


@pytest.mark.parametrize("wait", ["3600", "Fri, 31 Dec 2199 23:59:59 GMT"])
def test_a_retry_that_would_come_too_late_is_not_waited_for(site: Site, wait: str) -> None:
    assert reason(site.answer("/x", 429, Retry_After=wait)) == "http_429"
    assert len(site.requests) == 1


@pytest.mark.parametrize("wait", ["-5", "soon", "", "٣", "9" * 500, "Fri, 99 Foo 2199"])
def test_a_senseless_retry_after_is_harmless(site: Site, wait: str) -> None:
    assert reason(site.answer("/x", 503, Retry_After=wait)) == "http_503"


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_redirects_are_followed_to_where_the_image_is(site: Site, status: int) -> None:
    site.answer("/b/image.jpg")
    found = fetch(site.answer("/a/x", status, b"moved", Location="../b/./image.jpg"))[0]
    assert (found.body, found.url) == (JPEG, site.url("/b/image.jpg"))


@pytest.mark.parametrize(
    ("location", "expected"),
    [
        ("/loop", "too_many_redirects"),
        ("file:///etc/passwd", "bad_url"),
        ("ftp://127.0.0.1/x", "bad_url"),
        ("http://user:secret@127.0.0.1/", "bad_url"),
        ("http://[", "bad_url"),
        ("gopher://x", "bad_url"),
        ("javascript:alert(1)", "bad_url"),
        ("http://127.0.0.1:25/", "bad_url"),
    ],
)
def test_a_redirect_that_cannot_be_followed_is_a_reason(site: Site, location: str, expected: str) -> None:
    assert reason(site.answer("/loop", 302, b"", Location=location)) == expected


def test_redirects_are_limited(site: Site) -> None:
    for n in range(9):
        site.answer(f"/{n}", 302, b"", Location=f"/{n + 1}")
    assert fetch(site.url("/4"), max_redirects=5)[0].body == JPEG
    assert reason(site.url("/3"), max_redirects=5) == "too_many_redirects"
    assert reason(site.url("/8"), max_redirects=0) == "too_many_redirects"


def test_a_redirect_without_a_target_is_its_status(site: Site) -> None:
    assert reason(site.answer("/x", 302)) == "http_302"


def test_a_redirect_in_raw_bytes_is_escaped(site: Site, raw: Any) -> None:
    target = site.url("/caf").encode() + b"\xc3\xa9 \xff.jpg"
    server = raw(says(b"HTTP/1.1 302 F\r\nLocation: " + target + b"\r\nContent-Length: 0\r\n\r\n"))
    assert fetch(server.url)[0].body == JPEG
    assert site.requests[0].raw_path == "/caf%C3%A9%20%FF.jpg"


# --- connections and time


def test_a_refused_connection_is_a_reason_after_retries() -> None:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{unused.getsockname()[1]}/"
        assert reason(url) == "connection_failed"


def test_a_host_that_accepts_no_connection_is_timed_out() -> None:
    with socket.socket() as full:
        full.bind(("127.0.0.1", 0))
        full.listen(0)
        fillers = []
        for _ in range(8):
            fillers.append(socket.socket())
            fillers[-1].setblocking(False)
            fillers[-1].connect_ex(full.getsockname())
        found = fetch(f"http://127.0.0.1:{full.getsockname()[1]}/", connect_timeout_s=0.2)[0]
        assert (found.reason, found.detail) == ("timed_out", "connect 0.2 s")
        for filler in fillers:
            filler.close()


def test_a_server_that_never_answers_is_timed_out_and_tried_once_more(raw: Any) -> None:
    server = raw(lambda connection: time.sleep(3))
    found = fetch(server.url, read_timeout_s=0.2)[0]
    assert (found.reason, found.detail) == ("timed_out", "read 0.2 s")
    assert server.connections == 2


def test_a_slow_drip_ends_with_the_total_time(raw: Any) -> None:
    def drip(connection: socket.socket) -> None:
        connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 100000\r\n\r\n" + JPEG[:40])
        for byte in JPEG[40:]:
            connection.sendall(bytes([byte]))
            time.sleep(0.05)

    found = fetch(raw(drip).url, total_timeout_s=0.5)[0]
    assert (found.reason, found.detail) == ("timed_out", "total 0.5 s")


def test_a_drip_of_headers_ends_with_the_total_time(raw: Any) -> None:
    def drip(connection: socket.socket) -> None:
        connection.sendall(b"HTTP/1.1 200 OK\r\n")
        for n in range(200):
            connection.sendall(b"X-%d: y\r\n" % n)
            time.sleep(0.05)

    assert reason(raw(drip).url, total_timeout_s=0.5) == "timed_out"


def test_the_total_time_covers_retries(site: Site) -> None:
    async def slow(_: web.Request) -> web.Response:
        await asyncio.sleep(0.2)
        return web.Response(status=503)

    site.handlers["/x"] = slow
    found = fetch(site.url("/x"), retries=1000, total_timeout_s=0.7, retry_wait_s=0)[0]
    assert (found.reason, found.detail) == ("timed_out", "total 0.7 s, after http_503")
    assert len(site.requests) <= 4


def test_a_body_that_breaks_off_is_tried_again_and_never_kept(raw: Any) -> None:
    server = raw(says(b"HTTP/1.1 200 OK\r\nContent-Length: 100000\r\n\r\n" + JPEG))
    found = fetch(server.url)[0]
    assert (found.body, found.reason) == (None, "connection_failed")
    assert server.connections == 3


@pytest.mark.parametrize(
    "answer",
    [
        b"SSH-2.0-OpenSSH_9.2\r\n\r\n",
        b"\x00\xff\x00\xff" * 500,
        b"HTTP/1.1 abc OK\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: -5\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 5, 6\r\n\r\nabcdefg",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n" + JPEG,
        b"HTTP/1.1 200 OK\r\nX: " + b"a" * 200_000 + b"\r\n\r\n",
        b"HTTP/1.1 200 OK\r\n" + b"".join(b"X-%d: a\r\n" % n for n in range(50_000)) + b"\r\n",
        b"HTTP/1.1 " + b"2" * 50_000,
    ],
)
def test_an_answer_that_is_no_http_is_a_reason(raw: Any, answer: bytes) -> None:
    assert reason(raw(says(answer)).url, retries=0) == "bad_response"


@pytest.mark.parametrize(
    "head",
    [
        b"HTTP/1.1 200\r\n",
        b"HTTP/1.0 200 Tr\xe8s bien\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Security-Policy: " + b"a" * 30_000 + b"\r\n",
        b"HTTP/1.1 200 OK\r\n" + b"".join(b"X-%d: a\r\n" % n for n in range(300)),
        b"HTTP/1.1 200 OK\r\nX-A: caf\xe9 \x01\r\n",
        b"HTTP/1.1 200 OK\r\nX-A: a\r\n folded\r\n",
        b"HTTP/1.1 200 OK\nServer: a\nServer: b\n",
        b"\r\nHTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\n",
    ],
)
def test_the_sloppiness_of_real_servers_is_borne(raw: Any, head: bytes) -> None:
    assert fetch(raw(says(head + b"Content-Length: %d\r\n\r\n" % len(JPEG) + JPEG)).url)[0].body == JPEG
    assert fetch(raw(says(head + b"\r\n" + JPEG)).url)[0].body == JPEG


def test_a_connection_closed_without_an_answer_is_a_reason(raw: Any) -> None:
    assert reason(raw(says(b"")).url) == "connection_failed"


# --- what bodies are


def test_a_declared_size_above_the_limit_is_refused_before_the_body(raw: Any) -> None:
    server = raw(says(b"HTTP/1.1 200 OK\r\nContent-Length: 999999999999\r\n\r\n" + JPEG))
    assert reason(server.url, max_bytes=10**6) == "too_large"


def test_an_undeclared_body_is_cut_off_at_the_limit(site: Site) -> None:
    assert reason(site.stream("/x", JPEG, 10**9), max_bytes=10**6) == "too_large"
    assert site.sent < 30 * 10**6


def test_a_body_of_exactly_the_limit_is_kept(site: Site) -> None:
    assert fetch(site.answer("/x"), max_bytes=len(JPEG))[0].body == JPEG
    assert reason(site.url("/x"), max_bytes=len(JPEG) - 1) == "too_large"


def test_a_page_is_cut_off_after_its_first_bytes(site: Site) -> None:
    url = site.stream("/x", b"<!DOCTYPE html><html><head><title>Not found</title>", 10**9)
    found = fetch(url)[0]
    assert found.reason == "not_an_image"
    assert found.detail is not None
    assert "<!DOCTYPE html>" in found.detail
    assert site.sent < 10**7


@pytest.mark.parametrize(
    "body",
    [
        b"a",
        b"not found",
        b"<svg xmlns='http://www.w3.org/2000/svg'/>",
        b"%PDF-1.7 ....",
        bytes(100),
        b"\x00\x00\x00\x20ftypisom" + bytes(50),
        b"BM" + bytes(60),
        b"RIFF\x00\x00\x00\x00WAVEfmt " + bytes(40),
    ],
)
def test_what_is_no_image_is_not_one_whatever_it_calls_itself(site: Site, body: bytes) -> None:
    assert reason(site.answer("/x.jpg", body=body, Content_Type="image/jpeg")) == "not_an_image"


def test_an_image_is_one_whatever_it_calls_itself(site: Site) -> None:
    assert fetch(site.answer("/x.html", Content_Type="text/html"))[0].body == JPEG


def test_an_empty_body_is_a_reason(site: Site) -> None:
    assert reason(site.answer("/x", 200, b"")) == "empty"
    assert reason(site.answer("/y", 204, b"")) == "empty"


def test_a_gzip_that_nobody_asked_for_is_unpacked(site: Site) -> None:
    url = site.answer("/x", body=gzip.compress(JPEG), Content_Encoding="gzip")
    assert fetch(url)[0].body == JPEG
    assert site.requests[0].headers["Accept-Encoding"] == "identity"


@pytest.mark.parametrize("encoding", ["gzip", "br", "deflate", "utf-8", "none", "binary"])
def test_an_encoding_that_is_named_but_not_used_does_not_matter(site: Site, encoding: str) -> None:
    assert fetch(site.answer("/x", Content_Encoding=encoding))[0].body == JPEG


def test_a_gzip_bomb_is_cut_off(site: Site) -> None:
    packer = zlib.compressobj(9, wbits=31)
    bomb = packer.compress(JPEG) + packer.compress(bytes(200 * 2**20)) + packer.flush()
    assert len(bomb) < 300_000
    assert reason(site.answer("/x", body=bomb, Content_Encoding="gzip"), max_bytes=2**20) == "too_large"


def test_a_gzip_within_a_gzip_or_a_broken_one_is_a_reason(site: Site) -> None:
    assert reason(site.answer("/x", body=gzip.compress(gzip.compress(JPEG)))) == "not_an_image"
    broken = gzip.compress(JPEG)[:20] + bytes(200)
    assert reason(site.answer("/y", body=broken)) in ("bad_response", "not_an_image", "empty")


# --- manners


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


# --- the consumer, and the end


def test_bodies_wait_for_the_consumer_within_bounds_and_time_out_for_nobody(site: Site) -> None:
    size = 2 * 2**20
    site.answer("/x", body=JPEG + bytes(size - len(JPEG)))
    bounds = settings(concurrency=8, per_host=8, max_bytes=size, total_timeout_s=1.0, read_timeout_s=30.0)
    with Fetcher(bounds) as fetcher:
        results = fetcher.fetch(site.url(f"/x?{n}") for n in range(60))
        site.handlers.update({"/x": site.handlers["/x"]})
        assert next(results)[1].body is not None
        time.sleep(2.0)  # twice the total time: what waits for us must not be timed out
        assert len(site.requests) <= 8 + (8 * 2**20 + 8 * size) // size + 1
        rest = [fetched for _, fetched in results]
    assert [fetched.reason for fetched in rest] == [None] * 59
    assert len(site.requests) == 60


def test_bodies_of_unknown_length_finish_within_the_same_bounds(site: Site) -> None:
    size = 3 * 2**20
    url = site.stream("/x", JPEG, size - 2**17)
    results = fetch(*[f"{url}?{n}" for n in range(40)], concurrency=16, per_host=16, max_bytes=size)
    assert [fetched.reason for fetched in results] == [None] * 40


def test_leaving_the_iterator_ends_its_requests_and_frees_what_they_held(site: Site) -> None:
    size = 2**20
    site.answer("/x", body=JPEG + bytes(size - len(JPEG)))
    with Fetcher(settings(concurrency=4, per_host=4, max_bytes=size)) as fetcher:
        free = fetcher._engine._budget.free_bytes
        for _ in range(5):
            results = fetcher.fetch(site.url(f"/x?{n}") for n in range(30))
            next(results)
            results.close()  # type: ignore[attr-defined]
        assert (
            sum(
                fetched.body is not None
                for _, fetched in fetcher.fetch([site.url(f"/x?{n}") for n in range(30)])
            )
            == 30
        )
        deadline = time.monotonic() + 5
        while fetcher._engine._budget.free_bytes != free and time.monotonic() < deadline:
            time.sleep(0.01)
        assert fetcher._engine._budget.free_bytes == free


def test_failures_free_what_they_held(site: Site, raw: Any) -> None:
    urls = [site.stream(f"/{n}", JPEG, 10**7) for n in range(5)]
    urls += [
        raw(says(b"HTTP/1.1 200 OK\r\nContent-Length: 5000\r\n\r\n" + JPEG)).url,
        site.answer("/p", body=b"<html>" * 9),
    ]
    with Fetcher(settings(max_bytes=2**20)) as fetcher:
        free = fetcher._engine._budget.free_bytes
        reasons = sorted(str(fetched.reason) for _, fetched in fetcher.fetch(urls))
        assert reasons == ["connection_failed", "not_an_image"] + ["too_large"] * 5
        assert fetcher._engine._budget.free_bytes == free


def test_closing_ends_everything_that_hangs(raw: Any) -> None:
    server = raw(lambda connection: time.sleep(30))
    fetcher = Fetcher(settings(read_timeout_s=60.0, total_timeout_s=60.0))
    seen: list[BaseException] = []

    def consume() -> None:
        try:
            list(fetcher.fetch([server.url]))
        except UnitError as error:
            seen.append(error)

    consumer = threading.Thread(target=consume)
    consumer.start()
    while not server.connections:
        time.sleep(0.01)
    fetcher.close()
    consumer.join(5)
    assert not consumer.is_alive()
    assert "closed" in str(seen[0])
    assert not fetcher._thread.is_alive()


def test_a_closed_fetcher_says_so() -> None:
    fetcher = Fetcher(settings())
    fetcher.close()
    fetcher.close()
    with pytest.raises(UnitError, match="closed"):
        list(fetcher.fetch(["http://127.0.0.1/"]))


LIMITED = """
import resource, sys
from curate.errors import MachineError
from curate.fetch import Fetcher
from curate.manifest import FetchSettings
settings = FetchSettings(allow_private=True, concurrency=100, retries=0)
if sys.argv[2] == "before":
    resource.setrlimit(resource.RLIMIT_NOFILE, (200, 200))
try:
    with Fetcher(settings) as fetcher:
        resource.setrlimit(resource.RLIMIT_NOFILE, (40, 40))
        urls = [sys.argv[1].replace("127.0.0.1", f"127.0.1.{n + 1}") for n in range(100)]
        print([fetched.reason for _, fetched in fetcher.fetch(urls)])
except MachineError as error:
    print(error)
"""


@pytest.mark.parametrize("when", ["before", "while"])
def test_too_few_open_files_are_the_machines_trouble(site: Site, when: str) -> None:
    async def wait(_: web.Request) -> web.Response:
        await asyncio.sleep(1.0)
        return web.Response(body=JPEG)

    site.handlers["/slow"] = wait
    command = [sys.executable, "-c", LIMITED, site.url("/slow"), when]
    said = subprocess.run(command, capture_output=True, text=True, timeout=60, cwd=Path(__file__).parents[2])
    assert "ulimit -n" in said.stdout
    assert said.returncode == 0, said.stderr
