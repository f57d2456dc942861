from __future__ import annotations

import gzip
import io
from email.message import EmailMessage
from pathlib import Path

import pyarrow as pa
import pytest
from warcio.statusandheaders import StatusAndHeaders
from warcio.warcwriter import WARCWriter

from renderers import RenderError
from renderers.html.render import Browser, Document
from renderers.warc import Assets, WarcEntry, is_mhtml, load, scan, unpack_mhtml

ROOT = Path(__file__).parents[2]
SAMPLES = ROOT / "manifests" / "samples" / "html"
LIMIT = 1 << 20


def archive(*responses: tuple[str, str, list[tuple[str, str]], bytes], compressed: bool = True) -> bytes:
    """A WARC file of (address, status line, headers, body), each after its request."""
    stream = io.BytesIO()
    writer = WARCWriter(stream, gzip=compressed)
    writer.write_record(writer.create_warcinfo_record("test.warc", {"software": "a test"}))
    for url, status, headers, body in responses:
        request = StatusAndHeaders("GET / HTTP/1.1", [("Host", "site.test")], is_http_request=True)
        writer.write_record(writer.create_warc_record(url, "request", http_headers=request))
        http = StatusAndHeaders(status, headers, protocol="HTTP/1.1")
        writer.write_record(
            writer.create_warc_record(url, "response", payload=io.BytesIO(body), http_headers=http)
        )
    return stream.getvalue()


HTML = [("Content-Type", "text/html; charset=gbk")]


@pytest.mark.parametrize("compressed", [True, False])
def test_each_response_is_found_and_read_by_its_offset(compressed: bool) -> None:
    content = archive(
        ("http://site.test/a", "200 OK", HTML, b"<p>a"),
        ("http://site.test/b.png", "200 OK", [("Content-Type", "image/png")], b"png"),
        ("http://site.test/c", "200 OK", HTML, b"<p>c"),
        compressed=compressed,
    )
    entries = list(scan(io.BytesIO(content)))
    assert [(e.url[-1], e.is_page, e.is_asset) for e in entries] == [
        ("a", True, False),
        ("g", False, True),
        ("c", True, False),
    ]
    assert entries[2].content_type == "text/html; charset=gbk"
    assert load(io.BytesIO(content), entries[2], max_bytes=LIMIT) == b"<p>c"
    assert load(io.BytesIO(content), entries[0], max_bytes=LIMIT) == b"<p>a"


def test_the_transfer_s_codings_are_undone() -> None:
    packed = gzip.compress(b"<p>packed")
    chunked = b"4\r\n<p>c\r\n5\r\nhunks\r\n0\r\n\r\n"
    content = archive(
        ("http://site.test/a", "200 OK", [*HTML, ("Content-Encoding", "gzip")], packed),
        ("http://site.test/b", "200 OK", [*HTML, ("Transfer-Encoding", "chunked")], chunked),
        ("http://site.test/c", "200 OK", [*HTML, ("Content-Encoding", "zstd")], b"?"),
    )
    first, second, third = scan(io.BytesIO(content))
    assert load(io.BytesIO(content), first, max_bytes=LIMIT) == b"<p>packed"
    assert load(io.BytesIO(content), second, max_bytes=LIMIT) == b"<p>chunks"
    assert third.dropped == "damaged"


def test_what_is_no_good_page_has_a_reason() -> None:
    content = archive(
        ("http://site.test/gone", "404 Not Found", HTML, b"<p>gone"),
        ("http://site.test/moved", "301 Moved", HTML, b"<p>moved"),
        (
            "http://site.test/bomb",
            "200 OK",
            [*HTML, ("Content-Encoding", "gzip")],
            gzip.compress(b" " * (2 * LIMIT)),
        ),
    )
    gone, moved, bomb = scan(io.BytesIO(content))
    assert (gone.dropped, moved.dropped) == ("http_404", "http_301")
    with pytest.raises(RenderError, match="too_large"):
        load(io.BytesIO(content), bomb, max_bytes=LIMIT)
    with pytest.raises(RenderError, match="http_404"):
        load(io.BytesIO(content), gone, max_bytes=LIMIT)


def test_a_response_without_a_type_is_known_by_its_start() -> None:
    content = archive(
        ("http://site.test/a", "200 OK", [], b"\n<!DOCTYPE html><p>a"),
        ("http://site.test/b", "200 OK", [], b"text"),
    )
    assert [entry.is_page for entry in scan(io.BytesIO(content))] == [True, False]


@pytest.mark.parametrize("compressed", [True, False])
def test_a_torn_archive_gives_what_comes_before_the_tear(compressed: bool) -> None:
    pages = [(f"http://site.test/{i}", "200 OK", HTML, f"<p>page {i}".encode() * 99) for i in range(9)]
    content = archive(*pages, compressed=compressed)
    whole = list(scan(io.BytesIO(content)))
    content = content[: whole[5].offset + 400] if not compressed else content[: whole[5].offset + 200]
    found, broken = survey(content)
    assert found[:5] == whole[:5]
    assert broken or [entry.dropped for entry in found[5:]] == ["damaged"]


def survey(content: bytes) -> tuple[list[WarcEntry], bool]:
    """The entries of an archive, and whether it was found broken."""
    found: list[WarcEntry] = []
    try:
        found.extend(scan(io.BytesIO(content)))
    except RenderError as error:
        return found, error.reason == "damaged"
    return found, False


def test_an_archive_with_rubbish_in_it_gives_what_comes_before() -> None:
    content = archive(*((f"http://site.test/{i}", "200 OK", HTML, b"<p>page") for i in range(3)))
    for rubbish in (b"rubbish" * 99, gzip.compress(b"rubbish" * 99)):
        found, broken = survey(content + rubbish)
        assert broken
        assert len(found) == 3


@pytest.mark.parametrize("content", [b"", b"nonsense", b"WARC/1.0\r\n", b"\x1f\x8b\x08\x00"])
def test_no_bytes_crash_the_scan(content: bytes) -> None:
    found, broken = survey(content)
    assert not found
    assert broken == (content in (b"nonsense", b"\x1f\x8b\x08\x00"))


def test_the_archive_s_images_and_styles_are_read_when_asked_for() -> None:
    content = archive(
        ("http://site.test/a", "200 OK", HTML, b"<p>a"),
        ("http://site.test/s.css", "200 OK", [("Content-Type", "text/css")], b"p{}"),
        ("http://site.test/x.js", "200 OK", [("Content-Type", "text/javascript")], b"x"),
    )
    assets = Assets(lambda: io.BytesIO(content), scan(io.BytesIO(content)))
    assert dict(assets) == {"http://site.test/s.css": ("text/css", b"p{}")}
    assert "http://site.test/a" not in assets
    assets.close()


def saved_page() -> bytes:
    """A page as Chromium saves it."""
    message = EmailMessage()
    message["Snapshot-Content-Location"] = "http://site.test/page"
    html = '<!DOCTYPE html><link rel=stylesheet href="cid:style@mhtml.blink">'
    html += "<p class=gone>HIDDEN</p><p>茶 SHOWN</p>"
    message.set_content(html, subtype="html", charset="utf-8", cte="quoted-printable")
    message.make_related()
    message.add_related(b".gone { display: none }", "text", "css", cid="<style@mhtml.blink>")
    return bytes(message)


def test_a_saved_page_is_unpacked_with_its_parts(browser: Browser) -> None:
    content = saved_page()
    assert is_mhtml(content)
    page = unpack_mhtml(Document("x", content))
    assert page.url == "http://site.test/page"
    assert [kind for kind, _ in page.resources.values()] == ["text/css"]
    (batch,) = browser.render(content)
    assert batch["text"][0].as_py() == "茶 SHOWN"


def test_html_is_not_taken_for_a_saved_page() -> None:
    assert not is_mhtml(b"<!DOCTYPE html><p>Content-Type: multipart/related")
    assert is_mhtml(b"", "multipart/related; boundary=x")


def test_a_warc_of_the_samples_gives_the_same_pages(browser: Browser) -> None:
    files = sorted(SAMPLES.glob("*.html"))
    headers = [("Content-Type", "text/html")]
    content = archive(*((f"http://site.test/{f.name}", "200 OK", headers, f.read_bytes()) for f in files))
    stream = io.BytesIO(content)
    archived = [
        Document(e.url, load(stream, e, max_bytes=LIMIT), e.content_type, e.url)
        for e in scan(io.BytesIO(content))
    ]
    plain = [Document(f.name, f.read_bytes()) for f in files]
    keep = ["image", "text", "regions", "width", "height"]
    for (_, one), (_, other) in zip(browser.render_many(archived), browser.render_many(plain), strict=True):
        assert not isinstance(one, RenderError)
        assert not isinstance(other, RenderError)
        assert pa.Table.from_batches(one).select(keep) == pa.Table.from_batches(other).select(keep)


def arc(*pages: bytes) -> bytes:
    """An ARC file of pages, as the Internet Archive wrote them, each packed by itself."""
    about = b"1 0 Test\nURL IP-address Archive-date Content-type Archive-length\n"
    records = [b"filedesc://test.arc 0.0.0.0 20140216050221 text/plain %d\n%s\n" % (len(about), about)]
    for number, page in enumerate(pages):
        http = b"HTTP/1.1 200 OK\r\nContent-Type: text/html\r\nContent-Length: %d\r\n\r\n%s" % (
            len(page),
            page,
        )
        head = b"http://site.test/%d 1.2.3.4 20140216050221 text/html %d\n" % (number, len(http))
        records.append(head + http + b"\n")
    return b"".join(map(gzip.compress, records))


def test_pages_of_an_arc_file_are_found_and_read_by_their_offsets() -> None:
    content = arc(b"<p>one", b"<p>two")
    first, second = scan(io.BytesIO(content))
    assert (first.url, second.url) == ("http://site.test/0", "http://site.test/1")
    assert load(io.BytesIO(content), second, max_bytes=LIMIT) == b"<p>two"
    assert load(io.BytesIO(content), first, max_bytes=LIMIT) == b"<p>one"
