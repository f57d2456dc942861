"""Headers as the web has them."""

from __future__ import annotations

from typing import Any

import pytest

from curate.fetch.connection import mended
from tests.curate.web import JPEG, fetch, reason, says

LENGTH = b"Content-Length: %d\r\n" % len(JPEG)


@pytest.mark.parametrize(
    "head",
    [
        b"Content-Length:%d\r\n" % len(JPEG),
        b"Content-Length : %d\r\nServer\t: x\r\n" % len(JPEG),
        LENGTH + LENGTH,
        LENGTH + b"content-length:%d\r\n" % len(JPEG),
        b"Transfer-Encoding : identity\r\nConnection: close\r\n",
        b"Transfer-Encoding: identity\r\n" + LENGTH,
        b"Content-Length: %d, %d\r\n" % (len(JPEG), len(JPEG)),
        b"a line of words\r\n: nameless\r\nX Name: x\r\nX(y): z\r\n" + LENGTH,
        "X-É: é\r\n".encode() + LENGTH,
        b"Server: x\r\r\n" + LENGTH,
        b"Server: x\ry: z\r\n" + LENGTH,
        b"X: a\r\n  b: c\r\nContent-Length:\r\n %d\r\n" % len(JPEG),
        LENGTH.replace(b"\r", b""),
        b"",
    ],
)
def test_headers_are_read_as_curl_reads_them(raw: Any, head: bytes) -> None:
    answer = b"HTTP/1.1 200 OK\r\n" + head + b"\r\n" + JPEG
    assert fetch(raw(says(answer)).url, retries=0)[0].body == JPEG


@pytest.mark.parametrize(
    "head",
    [
        LENGTH + b"Content-Length: 5\r\n",
        LENGTH + b"Transfer-Encoding : chunked\r\n",
        b"Content-Length : 5\r\nTransfer-Encoding: chunked\r\n",
        b"Content-Length: 5, %d\r\n" % len(JPEG),
        LENGTH + b"Content Length: 5\r\n",
        b"Server: x\rContent-Length: 5\r\n" + LENGTH,
        b"Server: x\rTransfer Encoding: chunked\r\n" + LENGTH,
        LENGTH + b"Transfer\x80-Encoding: chunked\r\n",
    ],
)
def test_two_framings_that_may_disagree_are_refused(raw: Any, head: bytes) -> None:
    answer = b"HTTP/1.1 200 OK\r\n" + head + b"\r\n" + JPEG
    assert reason(raw(says(answer)).url, retries=0) == "bad_response"


@pytest.mark.parametrize("end", [b"", b"\r\n", b"Connection: close\r\n\r\n", b"Content-Length: 90\r\n\r\n"])
def test_a_redirect_whose_connection_closes_leads_on(raw: Any, end: bytes) -> None:
    there = raw(says(b"HTTP/1.1 200 OK\r\n" + LENGTH + b"\r\n" + JPEG)).url
    answer = b"HTTP/1.1 301 Moved\r\nLocation: " + there.encode() + b"\r\n" + end
    assert fetch(raw(says(answer)).url, retries=0)[0].body == JPEG


def test_an_answer_that_says_to_wait_comes_before_another(raw: Any) -> None:
    answer = b"HTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\nHTTP/1.1 200 OK\r\n" + LENGTH + b"\r\n" + JPEG
    assert fetch(raw(says(answer)).url, retries=0)[0].body == JPEG


@pytest.mark.parametrize("size", [255, 265, 400])
def test_headers_of_more_than_256_kib_are_refused_however_they_arrive(raw: Any, size: int) -> None:
    flood = b"".join(b"X-%03d: %s\r\n" % (number, bytes(1015).replace(b"\0", b"a")) for number in range(size))
    found = fetch(raw(says(b"HTTP/1.1 200 OK\r\n" + flood + LENGTH + b"\r\n" + JPEG)).url, retries=0)[0]
    assert (found.body == JPEG, found.reason) == (size == 255, None if size == 255 else "bad_response")


def test_headers_that_are_right_stay_as_they_are() -> None:
    head = b"HTTP/1.1 200 OK\r\n" + LENGTH + b"Server: a b\r\nX-Y:z : z\r\n\r\n"
    assert mended(head) == head


@pytest.mark.parametrize("code", [b"100 Continue", b"103 Early Hints"])
def test_answers_that_say_to_wait_without_end_are_refused(raw: Any, code: bytes) -> None:
    answer = b"HTTP/1.1 " + code + b"\r\n\r\n"
    fetched = fetch(raw(says(answer * 20_000)).url, retries=0)[0]
    assert (fetched.reason, fetched.detail) == (
        "bad_response",
        "BadHeadersError: headers of more than 262144 bytes",
    )


@pytest.mark.parametrize("more", [b"\r\n", b"<!-- cached -->", bytes(300_000)])
@pytest.mark.parametrize(
    "head", [LENGTH, LENGTH + b"Connection: close\r\n", b"content-length:%d\r\n" % len(JPEG)]
)
def test_bytes_behind_the_end_of_a_body_are_ignored(raw: Any, head: bytes, more: bytes) -> None:
    answer = b"HTTP/1.1 200 OK\r\n" + head + b"\r\n" + JPEG
    assert fetch(raw(says(answer + more)).url, retries=0)[0].body == JPEG


def test_a_length_below_the_bodys_is_believed(raw: Any) -> None:
    answer = b"HTTP/1.1 200 OK\r\nContent-Length: 600\r\n\r\n" + JPEG
    assert fetch(raw(says(answer)).url, retries=0)[0].body == JPEG[:600]
