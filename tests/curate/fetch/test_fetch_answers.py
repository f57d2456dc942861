from __future__ import annotations

import asyncio
import gzip
import socket
import time
import zlib
from typing import Any

import pytest
from aiohttp import web

from tests.curate.web import JPEG, Site, fetch, reason, says

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
    ("asked", "found", "expected"),
    [
        ("/gone/1.jpg", "/missing.png", True),
        ("/1.jpg?w=640", "/1.jpg", False),
        ("/small/1.JPG", "/large/1.jpg?v=2", False),
        ("/show.php?id=1", "/show.php?id=2", True),
        ("/show.php?id=1", "/images/show.php?id=1", False),
        ("/photo/", "/photo", True),
    ],
)
def test_redirects_to_a_file_of_another_name_are_told(
    site: Site, asked: str, found: str, expected: bool
) -> None:
    site.answer(found.partition("?")[0])
    site.redirect(asked, found)
    assert fetch(site.url(asked))[0].elsewhere is expected
    assert fetch(site.url(found))[0].elsewhere is False


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
        b"HTTP/1.1 200 OK\r\n" + b"".join(b"X-%d: %s\r\n" % (n, b"a" * 30_000) for n in range(40)),
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


def test_a_drawing_is_an_image_whose_format_the_decoder_refuses(site: Site) -> None:
    drawing = b"<svg xmlns='http://www.w3.org/2000/svg'/>"
    assert fetch(site.answer("/x.svg", body=drawing))[0].body == drawing
