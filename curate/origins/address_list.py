"""Lists of web pages: a text file with an address on each line, or a table with a column of addresses."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import msgspec
import pyarrow as pa

from curate.errors import InputError, UnreadableInputError
from curate.fetch.urls import BadUrlError, requestable
from curate.manifest.settings import Manifest
from curate.origins.collection import CollectionEntry
from curate.sources import DETAIL, PROBLEM, Input, Source, open_source
from curate.storage.whole_files import write_whole

COLUMNS = (
    "url",
    "URL",
    "address",
    "link",
    "uri",
    "href",
    "page_url",
    "WARC-Target-URI",
)  # unless the manifest says
COMMENT = "#"


class AddressList:
    """The addresses of one list; each is a document whose name is its address."""

    def __init__(self, found: Input, manifest: Manifest, work: Path) -> None:
        """Read the list, or what an earlier look at it left in `work`.

        Raises:
            UnreadableInputError: it cannot be read, or is empty.
            InputError: it has no column of addresses.
        """
        self.input = found
        listing = work / f"{found.fingerprint}.addresses"
        if not listing.exists():
            write_whole(listing, msgspec.msgpack.encode(list(entries(found, manifest, work))))
        self.documents = msgspec.msgpack.decode(listing.read_bytes(), type=list[CollectionEntry])
        if not self.documents:
            raise UnreadableInputError(f"{found.uri} holds no address", "empty")

    def content(self, entry: CollectionEntry, max_bytes: int) -> bytes:
        """Raise ValueError: a list holds no pages; they are fetched from their addresses."""
        raise ValueError(f"{entry.name} is not in {self.input.uri}, which names it alone")

    def close(self) -> None:
        """Nothing is held open."""


def entries(found: Input, manifest: Manifest, work: Path) -> Iterator[CollectionEntry]:
    """Yield the addresses of a list in order; a repeated or unreadable one has a reason in `dropped`."""
    before: set[str] = set()
    for text, problem in addresses(found, manifest, work):
        name = text
        if problem is None:
            with suppress(BadUrlError):  # a bad address is reported when it is fetched
                name = str(requestable(text))
        again = name in before
        before.add(name)
        yield CollectionEntry(name, url=name, dropped=problem or ("duplicate_address" if again else None))


def addresses(found: Input, manifest: Manifest, work: Path) -> Iterator[tuple[str, str | None]]:
    """Yield each address, and the problem of its row (None: no problem). Empty rows and comments are skipped."""
    plain = found.name.lower().removesuffix(".gz").endswith(".txt")
    settings = msgspec.structs.replace(manifest.input, format="lines") if plain else manifest.input
    source = open_source(found, settings, work)
    column = "text" if plain else address_column(found, source, manifest)
    for batch in source.batches(0, source.rows):
        problems = batch.column(PROBLEM).to_pylist() if PROBLEM in batch.schema.names else [None] * len(batch)
        for value, problem in zip(texts(batch.column(column)), problems, strict=True):
            text = value.strip()
            if problem is not None or (text and not (plain and text.startswith(COMMENT))):
                yield text, problem


def texts(column: pa.Array) -> list[str]:
    """Return each value of a column as text; bytes that are not UTF-8 become replacement characters."""
    values = column.cast(pa.large_binary()).to_pylist()
    return [(value or b"").decode("utf-8", "replace") for value in values]


def address_column(found: Input, source: Source, manifest: Manifest) -> str:
    """Return the name of the column with the addresses: the manifest's `columns.url`, or the first of COLUMNS.

    Raises:
        InputError: there is no such column, or it is not text.
    """
    wanted = manifest.columns.get("url") or COLUMNS
    has = [field.name for field in source.schema if field.name not in (PROBLEM, DETAIL)]
    column = next((name for name in wanted if name in has), None)
    if column is None or not is_text(source.schema.field(column).type):
        raise InputError(
            f"{found.uri} has no text column of addresses ({', '.join(wanted)}); it has {', '.join(has)}: "
            'name one with columns.url=["NAME"]'
        )
    return column


def is_text(kind: pa.DataType) -> bool:
    """Whether a column's type is text."""
    return bool(pa.types.is_string(kind) or pa.types.is_large_string(kind) or pa.types.is_binary(kind))
