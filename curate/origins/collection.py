"""Collections of documents: loose files, tars, zips, and the WARC files of crawls.

The loose files of one folder or glob are one input; every archive is an input of its own. An input is listed once; the
list says where each document begins, so that any of them can be read alone.
"""

from __future__ import annotations

import hashlib
import re
import shutil
import tarfile
import threading
import zipfile
import zlib
from collections.abc import Iterator, Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any, BinaryIO

import msgspec

from curate.errors import InputError, MachineError
from curate.sources import NO_FILE, Input, blamed, check_is_file, expand
from curate.sources.tars import Headers
from curate.storage.filesystems import filesystem
from curate.storage.whole_files import copy_whole, whole_file, write_whole

TARS = (".tar", ".tar.gz", ".tgz")
WARCS = (".warc", ".warc.gz", ".arc", ".arc.gz")
ARCHIVES = (*TARS, ".zip", *WARCS, ".wacz")
SUFFIXES = (".tar", ".tgz", ".zip", ".warc", ".arc", ".wacz")  # as `expand` knows them: .gz comes on top
BUFFER = 2**20
WACZ_MEMBER = re.compile(r"archive/[^/]+\.warc(\.gz)?", re.IGNORECASE)
MAX_UNPACKED = 20
MAX_EXPANSION = 250  # a packed tar's size unpacked, as a multiple of its own
SMALL = 64 * 2**20  # bytes: a tar may always unpack to so much
EXTRACTS = {
    ".wet": "a WET file: text that was taken from pages, without the pages",
    ".wat": "a WAT file: facts about pages, without the pages",
}
DAMAGE = (OSError, tarfile.TarError, zipfile.BadZipFile, zlib.error, ValueError, EOFError)
TABLES = (".txt", ".csv", ".tsv", ".parquet", ".json", ".jsonl", ".ndjson")
SAVE = "save what they name first, and give the files or a crawl's archive"


class CollectionEntry(msgspec.Struct, frozen=True):
    """One document of a collection."""

    name: str  # in its folder or archive
    place: int = 0  # its offset in the archive (bytes), if it can be read from there
    bytes: int = 0  # its size, if known from a zip or tar
    content_type: str | None = None
    url: str | None = None
    dropped: str | None = None  # the reason why it has no content, if the list already shows it
    asset: bool = False  # whether it is no document but a part of one, such as an image or a stylesheet


def collect(uris: Sequence[str], suffixes: Sequence[str], advice: str = SAVE) -> list[Input]:
    """Return the inputs at `uris`: one for each archive, and one for the loose documents of each URI.

    Args:
        uris: files, folders or globs.
        suffixes: of the documents' file names, in lower case.
        advice: what the error says to do instead of giving a list of addresses; empty: lists are inputs, too.

    Raises:
        InputError: there is nothing, or a file of a kind that holds no documents.
    """
    inputs: dict[str, Input] = {}
    for uri in uris:
        files = expand([uri], (*suffixes, *SUFFIXES))
        refuse_others(files, suffixes, advice)
        loose: list[Input] = []
        for one in files:
            if one.name.lower().endswith(ARCHIVES) or is_list(one, suffixes):
                inputs[one.uri] = one
            else:
                loose.append(one)
        if loose:
            print_of = hashlib.sha256(
                "".join(one.uri + one.fingerprint for one in loose).encode()
            ).hexdigest()
            inputs[uri] = Input(uri, "", sum(one.bytes for one in loose if one.is_file), print_of[:32])
    return sorted(inputs.values(), key=lambda one: one.uri)


def is_list(one: Input, suffixes: Sequence[str]) -> bool:
    """Whether a file is a list or a table, by its name, and not a document."""
    name = one.name.lower().removesuffix(".gz")
    return name.endswith(TABLES) and not name.endswith(tuple(suffixes))


def refuse_others(files: Sequence[Input], suffixes: Sequence[str], advice: str) -> None:
    """Refuse files that look like something else than documents, by their names.

    Raises:
        InputError: there is such a file.
    """
    for one in files:
        name = one.name.lower().removesuffix(".gz")
        for suffix, what in EXTRACTS.items():
            if name.endswith(suffix):
                raise InputError(f"{one.uri} is {what}: give the crawl's .warc.gz file of the same name")
        if advice and is_list(one, suffixes):
            known = ", ".join((*suffixes, *ARCHIVES))
            raise InputError(
                f"{one.uri} is a list or a table, and addresses are not fetched here: {advice} ({known})"
            )


class Collection:
    """The documents of one input."""

    def __init__(
        self,
        found: Input,
        suffixes: Sequence[str],
        media_types: Sequence[str],
        work: Path,
        max_expansion: int = MAX_EXPANSION,
    ) -> None:
        """List the documents, or read the list of them that was made before and kept in the folder `work`.

        A packed tar may unpack to `max_expansion` times its own size.

        Raises:
            UnreadableInputError: it cannot be read.
            InputError: it is a folder without a document. An archive without one is listed as a single entry that is
                dropped.
        """
        self.input, self._suffixes, self._types = found, tuple(suffixes), tuple(media_types)
        self._work, self._max_expansion = work, max_expansion
        self._reading = threading.Lock()  # the archive's one stream
        check_is_file(found)
        listing = work / f"{found.fingerprint}.documents"
        if not listing.exists():
            try:
                entries = self._list()
            except DAMAGE as error:
                raise blamed(found, error, work) from None
            if self._kind != "folder" and all(entry.asset for entry in entries):
                what = "no document in it" if self._kind != "warc" else self._pageless()
                entries.append(CollectionEntry(found.name, dropped="no_pages", url=what))
            write_whole(listing, msgspec.msgpack.encode(entries))
        every = msgspec.msgpack.decode(listing.read_bytes(), type=list[CollectionEntry])
        self.documents = [entry for entry in every if not entry.asset]
        self.assets = [entry for entry in every if entry.asset]
        if not self.documents:
            raise InputError(f"{found.uri} holds no document ({', '.join(suffixes)})")

    def content(self, entry: CollectionEntry, max_bytes: int) -> bytes:
        """Return the first `max_bytes` + 1 bytes of a document, or all if it has fewer.

        Several threads may call it; the documents of an archive are read one at a time.

        Raises:
            OSError, ValueError, KeyError: the document cannot be read.
        """
        kind = self._kind
        if kind == "folder":
            fs, path = filesystem(self._files[entry.name].uri)
            with fs.open_input_stream(path) as stream:
                return bytes(stream.read(max_bytes + 1))
        with self._reading:
            if kind == "zip":
                with self._zip.open(entry.name) as member:
                    return member.read(max_bytes + 1)
            if kind == "warc":
                return self._warc_content(entry, max_bytes)
            self.stream.seek(entry.place)
            return self.stream.read(min(entry.bytes, max_bytes + 1))

    def open(self) -> BinaryIO:
        """Open the archive at its beginning, seekable; for a WACZ file, its WARC files joined into one."""
        if self.input.name.lower().endswith(".wacz"):
            return self._unpacked_wacz().open("rb")
        return self._open_input()

    def _open_input(self) -> BinaryIO:
        fs, path = filesystem(self.input.uri)
        stream: BinaryIO = fs.open_input_file(path)
        return stream

    @cached_property
    def stream(self) -> BinaryIO:
        """The archive, which stays open. A compressed tar is unpacked first: it can only be read from its beginning."""
        if self._kind != "packed tar":
            return self.open()
        plain = self._work / f"{self.input.fingerprint}.tar"
        if not plain.exists():
            import gzip

            with self.open() as packed, gzip.open(packed) as unpacked:
                copy_whole(unpacked, plain, max(SMALL, self._max_expansion * self.input.bytes))
        return plain.open("rb")

    def close(self) -> None:
        """Close the archive."""
        if "stream" in self.__dict__:
            self.stream.close()

    @property
    def _kind(self) -> str:
        name = self.input.name.lower()
        if not name.endswith(ARCHIVES):
            return "folder"
        if name.endswith((".tgz", ".tar.gz")):
            return "packed tar"
        if name.endswith((*WARCS, ".wacz")):
            return "warc"
        return name.removesuffix(".gz").rsplit(".", 1)[-1]

    @cached_property
    def _files(self) -> Mapping[str, Input]:
        files = expand([self.input.uri], (*self._suffixes, *SUFFIXES))
        return {one.name: one for one in files if not one.name.lower().endswith(ARCHIVES)}

    @cached_property
    def _zip(self) -> zipfile.ZipFile:
        return zipfile.ZipFile(self.stream)

    def _list(self) -> list[CollectionEntry]:
        if self._kind == "folder":
            return [_loose(name, file) for name, file in self._files.items()]
        if self._kind == "zip":
            members = [member for member in self._zip.infolist() if self._wanted(member.filename)]
            return [CollectionEntry(member.filename, bytes=member.file_size) for member in members]
        if self._kind == "warc":
            return list(self._list_warc())
        with tarfile.open(fileobj=Headers(self.stream), mode="r:") as archive:  # type: ignore[call-overload]
            files = [one for one in archive if one.isfile() and self._wanted(one.name)]
            return [CollectionEntry(one.name, one.offset_data, one.size) for one in files]

    def _wanted(self, name: str) -> bool:
        return name.lower().endswith(self._suffixes) and not name.rsplit("/", 1)[-1].startswith(".")

    def _unpacked_wacz(self) -> Path:
        """Join the WARC files of a WACZ file into one file (WARC files one after another are a WARC file).

        Raises:
            ValueError: it holds no WARC file, or they unpack to too much.
        """
        plain = self._work / f"{self.input.fingerprint}.warc"
        if plain.exists():
            return plain
        with self._open_input() as packed, zipfile.ZipFile(packed) as archive:
            members = [one for one in archive.infolist() if WACZ_MEMBER.fullmatch(one.filename)]
            if not members:
                raise ValueError("no archive/*.warc.gz in the WACZ file")
            if sum(one.file_size for one in members) > MAX_UNPACKED * max(self.input.bytes, BUFFER):
                raise ValueError(f"its WARC files unpack to more than {MAX_UNPACKED} times its size")
            with whole_file(plain) as joined:
                for member in members:
                    with archive.open(member) as source:
                        shutil.copyfileobj(source, joined, BUFFER)
        return plain

    def _pageless(self) -> str:
        """Say in words what a WARC file without pages holds.

        Raises:
            InputError: it is a WET or WAT file.
        """
        with self.open() as stream:
            kinds = _warc().kinds(stream)
        if "conversion" in kinds:
            raise InputError(f"{self.input.uri} is {EXTRACTS['.wet']}: give the crawl's .warc.gz file")
        if "metadata" in kinds and "response" not in kinds:
            raise InputError(f"{self.input.uri} is {EXTRACTS['.wat']}: give the crawl's .warc.gz file")
        return "no page in it"

    def _list_warc(self) -> Iterator[CollectionEntry]:
        from renderers import RenderError

        warc = _warc()
        with self.open() as stream:
            entries = warc.scan(stream)
            try:
                for found in entries:
                    entry = CollectionEntry(
                        found.url, found.offset, 0, found.content_type, found.url, found.dropped
                    )
                    if found.media_type in self._types:
                        yield entry
                    elif found.is_asset:
                        yield msgspec.structs.replace(entry, asset=True)
            except RenderError as error:  # the archive is damaged from here on: the pages before it count
                yield CollectionEntry(f"{self.input.name} after its damage", dropped=error.reason)

    def _warc_content(self, entry: CollectionEntry, max_bytes: int) -> bytes:
        warc = _warc()
        found = warc.WarcEntry(entry.place, entry.url or "", entry.content_type, 200, entry.dropped)
        content: bytes = warc.load(self.stream, found, max_bytes=max_bytes)
        return content


def _loose(name: str, file: Input) -> CollectionEntry:
    """Return the entry of a loose file; it is dropped as `unreadable` if it is no regular file."""
    return CollectionEntry(name) if file.is_file else CollectionEntry(name, dropped="unreadable", url=NO_FILE)


def _warc() -> Any:
    """Import the reader of WARC files.

    Raises:
        MachineError: the package that it needs is not installed.
    """
    try:
        from renderers import warc
    except ImportError as error:
        raise MachineError(
            f"{error}: WARC files need pip install 'curate[html]' -c constraints.txt"
        ) from None
    return warc
