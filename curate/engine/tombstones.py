"""Tombstones: hashes of what must not be in a run or in its later versions, because its removal was requested.

`_manifest/removed.parquet` has one row for each tombstone; `_manifest.json` has the first 10,000, too. A tombstone is
the SHA-256 of what was requested, so that the file does not reveal where removed things are found. A run computes the
same hashes of its rows to find those that have a tombstone. The kind `pair` is never requested: it is added for a
removed image with its text, so that a copy of the pair under another URL is not kept in its place.
"""

from __future__ import annotations

import hashlib
import re
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from functools import cached_property
from typing import Any, NamedTuple

import msgspec
import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from curate.errors import DamagedError
from curate.schema import set_column
from curate.storage.filesystems import NOT_JSON, one_line
from curate.storage.finished import BEGUN, MANIFEST
from curate.storage.listing import FOLDER, LISTED
from curate.storage.store import PublishedFile, Store
from filters.copies import VIEW_BYTES
from filters.hash_list import MAX_DISTANCE, PdqIndex

REMOVED = f"{FOLDER}/removed.parquet"
REASON = "removed_on_request"
STAGE = "remove"
KINDS = ("key", "url", "host", "prefix", "sha256", "pdq", "pair")
MAX_LENGTHS = 256  # how many different lengths prefixes may have: each costs one hash for every row
MAX_LABELS = 16  # labels of a host's name that are checked, from its end

TOMBSTONES = pa.schema(
    [
        ("kind", pa.string()),  # one of KINDS
        ("hash", pa.binary(32)),  # SHA-256; for `pdq` the PDQ hash itself, as similar ones count, too
        ("length", pa.int32()),  # of a prefix, in bytes of UTF-8; null for the other kinds
        ("reason", pa.string()),  # as the user gave it
        ("date", pa.string()),  # UTC, ISO 8601
    ]
)

_AUTHORITY = re.compile(r"(?:[A-Za-z][A-Za-z0-9+.-]*:)?[/\\]{2,}([^/\\?#]*)")


class Tombstone(NamedTuple):
    """One thing that must not be in a run."""

    kind: str  # one of KINDS
    hash: bytes
    length: int | None = None  # of a prefix, in bytes


class Tombstones:
    """Finds the rows that have a tombstone."""

    def __init__(self, table: pa.Table) -> None:
        """Take the tombstones (rows of TOMBSTONES)."""
        self.table = table
        self._hashes: dict[str, set[bytes]] = defaultdict(set)
        for kind, value in zip(table["kind"].to_pylist(), table["hash"].to_pylist(), strict=True):
            self._hashes[kind].add(value)
        self._lengths = sorted(set(table["length"].drop_null().to_pylist()))

    @cached_property
    def kinds(self) -> frozenset[str]:
        """The kinds of which there are tombstones."""
        return frozenset(kind for kind, hashes in self._hashes.items() if hashes)

    @property
    def by_content(self) -> bool:
        """Whether rows must be checked by their images' bytes, and not only by key and URL."""
        return bool(self.kinds & {"sha256", "pair"})

    @property
    def by_fingerprint(self) -> bool:
        """Whether rows must be checked by their images' PDQ hashes."""
        return "pdq" in self.kinds

    def of_prints(self, prints: npt.NDArray[np.uint8]) -> list[Tombstone | None]:
        """Return, for each of N images, the nearest tombstone within 31 bits of its PDQ hash; None if there is none.

        Args:
            prints: the PDQ hashes of the whole images (N x 32 bytes).
        """
        if not self.by_fingerprint or not len(prints):
            return [None] * len(prints)
        marks, index = self._pdq
        return [
            marks[place] if place >= 0 else None for place in index.nearest(prints, MAX_DISTANCE)[0].tolist()
        ]

    @cached_property
    def _pdq(self) -> tuple[list[Tombstone], PdqIndex]:
        hashes = sorted(self._hashes["pdq"])
        bits = np.frombuffer(b"".join(hashes), np.uint8).reshape(-1, VIEW_BYTES)
        return [Tombstone("pdq", one) for one in hashes], PdqIndex(bits)

    def of_names(self, key: str | None, url: str | None) -> Iterator[Tombstone]:
        """Yield the tombstones of a row with this key and URL."""
        kinds = self.kinds
        if key and "key" in kinds:
            yield from self._known("key", sha256_of(key))
        if not url:
            return
        spellings = dict.fromkeys((plain_url(url), url))
        if "url" in kinds:
            for one in spellings:
                yield from self._known("url", sha256_of(one))
        if "host" in kinds:
            for name in _parents(host_of(url)):
                yield from self._known("host", sha256_of(name))
        if "prefix" in kinds:
            for one in spellings:
                for length, digest in _prefixes(one.encode("utf-8", "surrogatepass"), self._lengths):
                    yield from self._known("prefix", digest, length)

    def of_content(self, sha256: str | None, text: str | None) -> Iterator[Tombstone]:
        """Yield the tombstones of a row whose image has this SHA-256 (hex), and which has this text."""
        if sha256 is None:
            return
        if "sha256" in self.kinds:
            yield from self._known("sha256", bytes.fromhex(sha256))
        if "pair" in self.kinds:
            yield from self._known("pair", pair_hash(sha256, text))

    def named(self, key: pa.ChunkedArray, url: pa.ChunkedArray) -> pa.Array:
        """Return true for rows whose key or URL has a tombstone (N rows)."""
        if self.kinds <= {"sha256", "pdq", "pair"}:
            return pa.repeat(False, len(key))
        names = zip(key.to_pylist(), url.to_pylist(), strict=True)
        return pa.array([any(True for _ in self.of_names(*one)) for one in names], pa.bool_())

    def _known(self, kind: str, value: bytes, length: int | None = None) -> Iterator[Tombstone]:
        if value in self._hashes[kind]:
            yield Tombstone(kind, value, length)


def sha256_of(text: str) -> bytes:
    """Return the SHA-256 of a text in UTF-8."""
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).digest()


def pair_hash(sha256: str, text: str | None) -> bytes:
    """Return the hash of a tombstone of the kind `pair`: of an image, by its SHA-256 (hex), and its text."""
    return sha256_of(f"{sha256}\n{text or ''}")


def plain_url(url: str) -> str:
    """Return a URL with its scheme and host in lower case, as their case means nothing; the rest is as it was.

    Tombstones of URLs and prefixes are hashes of this form; those of older versions are hashes of a URL as it was
    given, so that rows are checked by both.
    """
    found = _AUTHORITY.match(url)
    if found is None:
        return url
    user, at, place = found[1].rpartition("@")
    return f"{url[: found.start(1)].lower()}{user}{at}{place.lower()}{url[found.end(1) :]}"


def host_of(url: str) -> str:
    """Return the host of a URL, in lower case; empty if it has none."""
    found = _AUTHORITY.match(url)
    place = found[1].rpartition("@")[2] if found else ""
    host = place[1:].partition("]")[0] if place.startswith("[") else place.partition(":")[0]
    return plain_host(host)


def plain_host(host: str) -> str:
    """Return a host's name in lower case and in ASCII (IDNA), without a dot at its end.

    A name that cannot be written in ASCII is returned without that conversion.
    """
    host = host.strip().lower().rstrip(".")
    if host.isascii():
        return host
    try:
        return host.encode("idna").decode()
    except UnicodeError:
        return host


def _parents(host: str) -> Iterator[str]:
    """Yield a host and the domains above it: `a.b.example`, `b.example`, `example`."""
    labels = host.split(".")
    if not host:
        return
    for first in range(max(0, len(labels) - MAX_LABELS), len(labels)):
        yield ".".join(labels[first:])


def _prefixes(data: bytes, lengths: Iterable[int]) -> Iterator[tuple[int, bytes]]:
    """Yield length and SHA-256 of the first bytes of `data`, for each of `lengths` (ascending) that is not too long.

    The data are hashed only once.
    """
    done, digest = 0, hashlib.sha256()
    for length in lengths:
        if length > len(data):
            return
        digest.update(data[done:length])
        done = length
        yield length, digest.copy().digest()


def tombstones_table(marks: Iterable[Tombstone], reason: str, date: str) -> pa.Table:
    """Return rows of TOMBSTONES for these tombstones, each once, with this reason and date."""
    rows = [{**mark._asdict(), "reason": reason, "date": date} for mark in dict.fromkeys(marks)]
    return pa.Table.from_pylist(rows, TOMBSTONES)


def together(tables: Iterable[pa.Table]) -> pa.Table:
    """Join tables of TOMBSTONES; of rows with the same kind and hash, the first one stays."""
    seen: set[tuple[str, bytes]] = set()
    table = pa.concat_tables([TOMBSTONES.empty_table(), *tables])
    new = []
    for one in zip(table["kind"].to_pylist(), table["hash"].to_pylist(), strict=True):
        new.append(one not in seen)
        seen.add(one)
    return table.filter(pa.array(new, pa.bool_())).combine_chunks()


def write_tombstones(store: Store, table: pa.Table) -> PublishedFile:
    """Write the tombstones of a folder (rows of TOMBSTONES), in place of those that it has."""

    def fill(sink: Any) -> None:
        pq.write_table(table, pa.PythonFile(sink, mode="w"), compression="zstd", write_page_checksum=True)

    return store.write(REMOVED, fill)


def read_tombstones(store: Store) -> pa.Table:
    """Return the tombstones of a folder (rows of TOMBSTONES); no rows if it never had any.

    Raises:
        DamagedError: the file cannot be read, or is gone.
    """
    data = store.read_bytes(REMOVED)
    if data is None:
        if _had_tombstones(store):
            raise _without_tombstones(store, "gone")
        return TOMBSTONES.empty_table()
    try:
        table = (
            pq.ParquetFile(pa.BufferReader(data), page_checksum_verification=True)
            .read(use_threads=False)
            .cast(TOMBSTONES)
        )
        strange = set(table["kind"].to_pylist()) - set(KINDS)
        if strange or table["hash"].null_count:
            raise ValueError(f"tombstones of kind {', '.join(map(str, strange)) or 'unknown'}")
    except (OSError, ValueError) as error:
        raise _without_tombstones(store, f"damaged ({one_line(error)})") from None
    return table


def _had_tombstones(store: Store) -> bool:
    """Return whether a folder's manifest, or what began the run, says that it has tombstones."""
    for name, fields in ((MANIFEST, ("tombstones",)), (BEGUN, ("lineage", "removal"))):
        try:
            said: Any = msgspec.json.decode(store.read_bytes(name) or b"{}")
        except NOT_JSON:
            continue
        for one in fields:
            said = said.get(one) if isinstance(said, dict) else None
        if said:
            return True
    return False


def _without_tombstones(store: Store, what: str) -> DamagedError:
    return DamagedError(
        f"{store.uri}/{REMOVED} is {what}: without it a run would take back what was removed on request; "
        "`curate verify DIR --repair` makes it anew from _manifest.json if that lists all tombstones; else get it from "
        "a copy of the folder, or remove again from its parent"
    )


def tombstones_told(manifest: Mapping[str, Any]) -> pa.Table | None:
    """Return the tombstones (rows of TOMBSTONES) that `_manifest.json` lists; None if it does not list all of them."""
    listed = manifest.get("removed")
    if not isinstance(listed, list) or len(listed) != manifest.get("tombstones"):
        return None
    try:
        return pa.Table.from_pylist(
            [one | {"hash": bytes.fromhex(one["hash"])} for one in listed], TOMBSTONES
        )
    except (TypeError, KeyError, ValueError, pa.ArrowException):
        return None


def without_names(dropped: pa.Table) -> pa.Table:
    """Return dropped rows of SAMPLE (N rows), with null as URL and text of those that were removed on request."""
    removed = pc.fill_null(pc.equal(dropped["stage"], STAGE), False)
    if not pc.any(removed, min_count=0).as_py():
        return dropped
    for name in ("url", "text"):
        nothing = pa.scalar(None, dropped[name].type)
        dropped = set_column(dropped, name, pc.if_else(removed, nothing, dropped[name]))
    return dropped


def told(table: pa.Table) -> dict[str, Any]:
    """Return the fields of `_manifest.json` about tombstones; none if there are no tombstones."""
    if not table.num_rows:
        return {}
    first = table.slice(0, LISTED).to_pylist()
    plain = [{n: v.hex() if n == "hash" else v for n, v in one.items() if v is not None} for one in first]
    return {"removed": plain, "tombstones": table.num_rows}
