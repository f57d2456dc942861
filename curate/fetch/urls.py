"""Turns the addresses in data sets into URLs that can be requested, reading them as browsers do (WHATWG URL).

Addresses in real data hold spaces, raw Unicode, backslashes, ampersands still escaped as in HTML (LAION's parser took
attributes as they were written), ports, fragments, and signatures that a single changed escape would break.
"""

from __future__ import annotations

import ipaddress
import re
from urllib.parse import unquote, urljoin

import idna
from yarl import URL

MAX_CHARS = 8_000  # of the encoded URL; servers commonly refuse request lines beyond 8 KiB

_TRIM = "".join(map(chr, range(33)))  # C0 controls and the space
_FORM = re.compile(r"(?P<scheme>[A-Za-z][A-Za-z0-9+.-]*):[/\\]*(?P<authority>[^/\\?#]*)(?P<rest>[^#]*)")
_HTML_AMPERSAND = re.compile(r"&(?:amp|#0*38|#[xX]0*26);")
_PATH_UNSAFE = re.compile(rb'[\x00-\x20"<>^`{}\x7f-\xff]')
_QUERY_UNSAFE = re.compile(rb"[\x00-\x20\"'<>\x7f-\xff]")
_NAME = re.compile(r"(?=.{1,253}\.?$)(?:[a-z0-9_-]{1,63}\.)*[a-z0-9_-]{1,63}\.?")
_NUMBER = re.compile(r"0x[0-9a-f]*|[0-9]+")
_PICTURES = (".jpg", ".jpeg", ".png", ".gif", ".webp", ".avif", ".bmp")
_DOT_SEGMENT = re.compile(r"/\.|/%2e", re.IGNORECASE)

# The Fetch standard's "bad ports": other protocols' servers, which a web address must not be used to reach.
_BAD_PORTS = (
    "0 1 7 9 11 13 15 17 19 20 21 22 23 25 37 42 43 53 69 77 79 87 95 101 102 103 104 109 110 111 113 "
    "115 117 119 123 135 137 139 143 161 179 389 427 465 512 513 514 515 526 530 531 532 540 548 554 "
    "556 563 587 601 636 989 990 993 995 1719 1720 1723 2049 3659 4045 4190 5060 5061 6000 6566 6665 "
    "6666 6667 6668 6669 6679 6697 10080 "
)
BAD_PORTS = frozenset(map(int, _BAD_PORTS.split()))


class BadUrlError(ValueError):
    """The address may not be requested; the message says why."""


def requestable(text: str | None) -> URL:
    """Return the URL to request for an address: encoded, and without its fragment.

    Raises:
        BadUrlError: the address is null or empty, is not http or https, has a user name, has no valid host or port,
            or is longer than MAX_CHARS.
    """
    text = re.sub(r"[\t\n\r]", "", (text or "").strip(_TRIM))
    if not text:
        raise BadUrlError("no address")
    found = _FORM.match(_HTML_AMPERSAND.sub("&", text))
    scheme = found["scheme"].lower() if found else ""
    if not found or scheme not in ("http", "https"):
        raise BadUrlError(f"scheme {scheme or 'missing'}, not http or https")
    host, port = _authority(found["authority"])
    path, mark, query = found["rest"].partition("?")
    path = _without_dots(path.replace("\\", "/")) or "/"
    default = port in (None, 80 if scheme == "http" else 443)
    place = host if default else f"{host}:{port}"
    whole = f"{scheme}://{place}{_escape(path, _PATH_UNSAFE)}{mark}{_escape(query, _QUERY_UNSAFE)}"
    if len(whole) > MAX_CHARS:
        raise BadUrlError(f"{len(whole)} characters, more than {MAX_CHARS}")
    return URL(whole, encoded=True)


def redirected(url: URL, location: str) -> URL:
    """Return the URL that a redirect from `url` leads to; `location` is the Location header.

    Raises:
        BadUrlError: see `requestable`.
    """
    try:
        return requestable(urljoin(str(url), location.strip(_TRIM).replace("\\", "/")))
    except BadUrlError:
        raise
    except ValueError as error:  # of urljoin: brackets that hold no IPv6 address
        raise BadUrlError(str(error)) from None


def has_other_name(asked: URL, found: URL) -> bool:
    """Whether two addresses name different files: by the last part of the path, and by the query unless that is one.

    `/a.jpg?w=640` and `/small/a.jpg` on another host are the same file; `/show?id=1` and `/show?id=2` are not.
    """
    return _file_name(asked) != _file_name(found)


def _file_name(url: URL) -> tuple[str, str]:
    name = url.name.lower()
    return (name, "" if name.endswith(_PICTURES) else url.raw_query_string)


def _authority(text: str) -> tuple[str, int | None]:
    """Return host and port (None without one); the host in lower case and ASCII, an IPv4 address in dotted form."""
    if "@" in text:
        raise BadUrlError("a user name or password in the address")
    found = re.fullmatch(r"(\[[0-9A-Fa-f:.]+\]|[^:\[\]]*)(?::([0-9]{0,5}))?", text, re.ASCII)
    if not found:
        raise BadUrlError("host or port cannot be read")
    port = int(found[2]) if found[2] else None
    if port is not None and (port in BAD_PORTS or port > 65535):
        raise BadUrlError(f"port {port} is not for the web")
    return (_ipv6(found[1]) if found[1].startswith("[") else _host_name(found[1])), port


def _ipv6(text: str) -> str:
    try:
        return f"[{ipaddress.IPv6Address(text[1:-1])}]"
    except ValueError:
        raise BadUrlError("host is no IPv6 address") from None


def _host_name(text: str) -> str:
    host = unquote(text).lower()
    if not host.isascii():
        try:
            host = idna.encode(host, uts46=True, transitional=False).decode()
        except (idna.IDNAError, UnicodeError):
            raise BadUrlError("host is no valid international name") from None
    labels = host.removesuffix(".").split(".")
    if _NUMBER.fullmatch(labels[-1]):
        return _dotted_quad(labels)
    if not _NAME.fullmatch(host):
        raise BadUrlError("host is no valid name" if host else "no host")
    return host


def _dotted_quad(labels: list[str]) -> str:
    """Return the dotted form of an IPv4 address in any spelling that the C library accepts.

    For example `0x7f.1`, `017700000001` and `2130706433` are all 127.0.0.1.
    """
    if len(labels) > 4 or not all(map(_NUMBER.fullmatch, labels)):
        raise BadUrlError("host ends in a number but is no IPv4 address")
    try:
        numbers = [_number(label) for label in labels]
    except ValueError:
        raise BadUrlError("host ends in a number but is no IPv4 address") from None
    *first, last = numbers
    if any(number > 255 for number in first) or last >= 256 ** (5 - len(numbers)):
        raise BadUrlError("host is an IPv4 address out of range")
    value = last + sum(number << 8 * (3 - place) for place, number in enumerate(first))
    return ".".join(str(value >> shift & 255) for shift in (24, 16, 8, 0))


def _number(label: str) -> int:
    if len(label) > 20:
        raise ValueError(label)
    if label.startswith("0x"):
        return int(label[2:] or "0", 16)
    return int(label, 8 if label.startswith("0") else 10)


def _without_dots(path: str) -> str:
    """Return the path with its `.` and `..` segments resolved."""
    if not _DOT_SEGMENT.search(path):
        return path
    kept: list[str] = []
    segments = path.split("/")[1:]
    for place, segment in enumerate(segments):
        plain = re.sub("%2e", ".", segment, flags=re.IGNORECASE)
        if plain == "..":
            del kept[-1:]
        elif plain != ".":
            kept.append(segment)
        if plain in (".", "..") and place == len(segments) - 1:
            kept.append("")
    return "/" + "/".join(kept)


def _escape(text: str, unsafe: re.Pattern[bytes]) -> str:
    """Write unsafe bytes as %XX; escapes that the text already has stay as they are, valid or not."""
    try:
        raw = text.encode("utf-8", "surrogateescape")  # aiohttp's headers hold stray bytes as surrogates
    except UnicodeEncodeError:
        raise BadUrlError("a lone surrogate in the address") from None
    return unsafe.sub(lambda byte: b"%%%02X" % byte[0][0], raw).decode("ascii")
