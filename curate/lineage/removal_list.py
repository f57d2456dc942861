"""Reads the list of what to remove: a text file with a key, URL, image hash or pattern on each line."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import pyarrow as pa

from curate.engine.tombstones import MAX_LENGTHS, Tombstone, host_of, plain_host, plain_url, sha256_of
from curate.errors import InputError
from curate.storage.filesystems import filesystem, one_line

MAX_BYTES = 2**28
BLOCK = 2**20
MAX_LINE = 2**16  # characters
KEY = re.compile(r"[0-9a-fA-F]{32}")
SHA256 = re.compile(r"[0-9a-fA-F]{64}")
HOST = re.compile(r"[^\s/\\?#@:*\[\]]{1,253}|[0-9a-f:.]{2,45}")
URL = re.compile(r"(?:[A-Za-z][A-Za-z0-9+.-]*:)?//[^/\s]")
FORMS = (
    "a key (32 hex digits), a URL, an image's sha256 (64 hex digits), host:NAME, prefix:URL, pdq:HASH or key:, url:, "
    "sha256:"
)


@dataclass(frozen=True)
class RemovalList:
    """What a list asks for: each mark, with the number and the text of the first line that asks for it."""

    uri: str
    marks: dict[Tombstone, tuple[int, str]]
    sha256: str  # hex, of the file


NO_LIST = RemovalList("", {}, "")


def read_list(uri: str) -> RemovalList:
    """Read the list at `uri`. Empty lines and lines that begin with `#` are ignored.

    Raises:
        InputError: it cannot be read, a line has none of the FORMS, the list is empty, or it or a line is too long.
    """
    data = _content(uri)
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise InputError(f"{uri} is not UTF-8 at byte {error.start}: give a text file, one a line") from None
    marks: dict[Tombstone, tuple[int, str]] = {}
    for number, line in _lines(text):
        if len(line) > MAX_LINE:
            raise InputError(f"{uri}, line {number}: {len(line)} characters, more than {MAX_LINE}")
        marks.setdefault(_mark(line, f"{uri}, line {number}"), (number, line))
    if not marks:
        raise InputError(f"{uri} lists nothing: give {FORMS}, one a line")
    lengths = {mark.length for mark in marks if mark.length is not None}
    if len(lengths) > MAX_LENGTHS:
        raise InputError(
            f"{uri}: prefixes of {len(lengths)} lengths, at most {MAX_LENGTHS}: give hosts, or several lists"
        )
    return RemovalList(uri, marks, hashlib.sha256(data).hexdigest())


def _content(uri: str) -> bytes:
    system, path = filesystem(uri)
    data = bytearray()
    try:
        with system.open_input_stream(path) as stream:
            while len(data) <= MAX_BYTES and (block := stream.read(BLOCK)):
                data += block
    except (OSError, pa.ArrowException) as error:
        raise InputError(f"cannot read the list {uri}: {one_line(error)}") from None
    if len(data) > MAX_BYTES:
        raise InputError(f"{uri} has more than {MAX_BYTES >> 20} MiB: cut the list into several")
    return bytes(data)


def _lines(text: str) -> Iterator[tuple[int, str]]:
    """Yield the lines that are neither empty nor comments, with their numbers, from 1.

    `str.splitlines` is not used, because a URL may hold characters that it takes for line ends.
    """
    for number, line in enumerate(text.replace("\r\n", "\n").split("\n"), 1):
        line = line.strip(" \t\r")
        if line and not line.startswith("#"):
            yield number, line


def _mark(line: str, where: str) -> Tombstone:
    """Return the mark that a line asks for; `where` names the line in an error.

    Raises:
        InputError: the line has none of the FORMS.
    """
    kind, colon, rest = line.partition(":")
    if colon and kind in _KINDS and (kind != "host" or not rest.startswith("//")):
        return _KINDS[kind](rest.strip(), where)
    if KEY.fullmatch(line):
        return _key(line, where)
    if SHA256.fullmatch(line):
        return _sha256(line, where)
    if URL.match(line):
        if "*" in line[:-1]:
            raise InputError(
                f"{where}: {line[:80]!r} has a * that is not its end: give the beginning of the URLs and a * after "
                "it, or url: and the URL if the * is part of it"
            )
        return _prefix(line[:-1], where) if line.endswith("*") else _url(line, where)
    raise InputError(f"{where}: {line[:80]!r} is none of: {FORMS}")


def _key(text: str, where: str) -> Tombstone:
    if not KEY.fullmatch(text):
        raise InputError(f"{where}: {text[:80]!r} is no key of 32 hex digits")
    return Tombstone("key", sha256_of(text.lower()))


def _sha256(text: str, where: str) -> Tombstone:
    if not SHA256.fullmatch(text):
        raise InputError(f"{where}: {text[:80]!r} is no sha256 of 64 hex digits")
    return Tombstone("sha256", bytes.fromhex(text))


def _pdq(text: str, where: str) -> Tombstone:
    digits = text.partition(",")[0].strip()
    if not SHA256.fullmatch(digits):
        raise InputError(f"{where}: {text[:80]!r} is no PDQ hash of 64 hex digits")
    return Tombstone("pdq", bytes.fromhex(digits))


def _url(text: str, where: str) -> Tombstone:
    if not text:
        raise InputError(f"{where}: there is no URL")
    return Tombstone("url", sha256_of(plain_url(text)))


def _host(text: str, where: str) -> Tombstone:
    name = plain_host(text.removeprefix("*.").strip("[]"))
    if not HOST.fullmatch(name) or not name.strip("."):
        raise InputError(f"{where}: {text[:80]!r} is no host: give one like host:example.org")
    return Tombstone("host", sha256_of(name))


def _prefix(text: str, where: str) -> Tombstone:
    """Return the mark for a prefix of URLs.

    It must hold a whole host and the slash after it: without the slash it would also match other hosts.
    """
    text = text.removesuffix("*")
    host = host_of(text)
    behind = text.partition("//")[2]
    if not URL.match(text) or not host or "*" in host or "/" not in behind:
        raise InputError(
            f"{where}: {text[:80]!r} is no beginning of a URL with its host and the slash behind it: give one like "
            "https://example.org/photos/*, or host:example.org"
        )
    data = plain_url(text).encode("utf-8", "surrogatepass")
    return Tombstone("prefix", hashlib.sha256(data).digest(), len(data))


_KINDS: dict[str, Callable[[str, str], Tombstone]] = {
    "key": _key,
    "url": _url,
    "sha256": _sha256,
    "host": _host,
    "prefix": _prefix,
    "pdq": _pdq,
}
