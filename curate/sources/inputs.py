"""Find the inputs of a run: files, folders and globs, local or remote, become a sorted list of files."""

from __future__ import annotations

import hashlib
import os
import re
from collections.abc import Collection, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path

import pyarrow as pa
from pyarrow import fs

from curate.errors import InputError, UnreadableInputError
from curate.sources.found_files import files_below
from curate.storage.filesystems import filesystem, one_line, scheme
from curate.terminal import printable

FORMATS = {
    ".parquet": "parquet",
    ".csv": "csv",
    ".tsv": "tsv",
    ".json": "json",
    ".jsonl": "jsonl",
    ".ndjson": "jsonl",
    ".tar": "webdataset",
    ".tgz": "webdataset",
}
COMPRESSIONS = {".gz": "gzip", ".zst": "zstd", ".bz2": "bz2", ".tgz": "gzip"}

STATS, TARS = "_stats.json", (".tar", ".tar.gz", ".tgz")  # suffixes in img2dataset's folders
OF_REPORT = ("croissant.json", "domains.csv")  # files of `curate report` beside a run's shards: no inputs
WHOLE = 16 * 2**20  # bytes: a file up to this size is read whole for its fingerprint
PROBE = 64 * 2**10  # bytes: of a larger file, PROBES blocks of this size are read
PROBES = 16
LISTERS = 16
NO_FILE = "no file, but a broken link, a pipe or a device"


@dataclass(frozen=True)
class Input:
    """One input file, or several that are read together."""

    uri: str
    name: str  # path relative to the folder or glob that found it; the column `source` of rows begins with it
    bytes: int  # -1: it is no file, but a broken link, a pipe or a device
    fingerprint: str  # hex digits; a different fingerprint means a different content
    parts: tuple[Input, ...] = ()  # the files that are read together as this one
    failed_only: bool = False  # img2dataset's table beside its tar: only the rows that the tar lacks are read

    @property
    def files(self) -> tuple[Input, ...]:
        """The files that are read: its parts, or the input itself where it has none."""
        return self.parts or (self,)

    @property
    def is_file(self) -> bool:
        """Whether it is a file; a broken link, a pipe or a device is listed too, and fails alone."""
        return self.bytes >= 0


def suffixes(name: str) -> tuple[str, str]:
    """The suffixes of a file name for its format (`.json`) and its compression (`.gz`), each empty if there is none."""
    parts = re.findall(r"\.[A-Za-z0-9]+", name.rsplit("/", 1)[-1].lower())
    packed = parts.pop() if parts and parts[-1] in COMPRESSIONS and parts[-1] not in FORMATS else ""
    kind = parts[-1] if parts else ""
    return (kind, packed or (kind if kind in COMPRESSIONS else "")) if kind in FORMATS else ("", packed)


def expand(uris: Sequence[str], known: Collection[str] = tuple(FORMATS)) -> list[Input]:
    """The files that `uris` (files, folders or globs) name, sorted by URI, each once.

    In folders only files with a `known` suffix are taken (perhaps compressed), and names that begin with `_` or `.` are
    passed over, as pyarrow and Spark do.

    Raises:
        InputError: a URI names no file, or the files cannot be listed or read.
    """
    found: dict[str, tuple[str, fs.FileInfo]] = {}
    with ThreadPoolExecutor(LISTERS) as pool:
        for matches in pool.map(lambda uri: _found(uri, known), uris):
            found |= matches
        tables = beside_tars(found)
        every = list(pool.map(lambda item: _input(item[0], *item[1]), sorted(found.items())))
    return [replace(one, failed_only=True) if one.uri in tables else one for one in every]


def check_is_file(source: Input) -> None:
    """Check that the input and its parts are files.

    Raises:
        UnreadableInputError: one is a broken link, a pipe or a device.
    """
    if strange := [one.uri for one in source.files if not one.is_file]:
        raise UnreadableInputError(f"{strange[0]} is {NO_FILE}")


def together(parts: Sequence[Input]) -> Input:
    """Combine several files into one input, because its rows are spread over them."""
    identity = "".join(part.name + part.fingerprint for part in parts)
    return Input(
        ", ".join(part.uri for part in parts),
        "+".join(part.name for part in parts),
        sum(part.bytes for part in parts),
        hashlib.blake2b(identity.encode(), digest_size=16).hexdigest(),
        tuple(parts),
    )


def _found(uri: str, known: Collection[str]) -> dict[str, tuple[str, fs.FileInfo]]:
    """The files that `uri` names: by URI, the name that `source` gives them, and their file information."""
    try:
        matches = dict(_matches(uri, known))
    except (OSError, pa.ArrowException) as error:
        raise InputError(f"cannot look for {uri!r}: {one_line(error)}") from None
    except UnicodeEncodeError as error:
        raise InputError(f"the name of {printable(error.object)} is not UTF-8: rename it") from None
    if not matches and _is_strange(uri):
        raise InputError(f"{uri!r} is {NO_FILE}")
    if not matches:
        what = ", ".join(sorted(known))
        raise InputError(
            f"no input at {uri!r}: give a file, a folder or a glob of {what} (also .bz2, .gz, .zst)"
        )
    return matches


def _is_strange(uri: str) -> bool:
    """Whether `uri` is a broken link, a pipe or a device on this machine; called where it names no file."""
    path = filesystem(uri)[1] if scheme(uri) == "file" else ""
    return os.path.lexists(path) and not Path(path).is_dir()


def _input(uri: str, name: str, info: fs.FileInfo) -> Input:
    if not info.is_file:
        return Input(uri, name, -1, hashlib.blake2b(digest_size=16).hexdigest())
    try:
        return Input(uri, name, info.size or 0, fingerprint(uri, info))
    except (OSError, pa.ArrowException) as error:
        raise InputError(f"cannot read {uri!r}: {one_line(error)}") from None


def _matches(uri: str, known: Collection[str]) -> Iterable[tuple[str, tuple[str, fs.FileInfo]]]:
    system, path = filesystem(uri)
    head = uri[: len(uri) - len(path)] if uri.endswith(path) else ""  # put before a path, it gives a URI
    info = system.get_file_info(path)
    if info.type == fs.FileType.File:
        yield head + path, (info.base_name, info)
    elif info.type == fs.FileType.Directory:
        found: dict[str, fs.FileInfo] = {}
        for item in files_below(system, path):
            name = item.path[len(path.rstrip("/")) + 1 :]
            if _ends(name, known) and not re.search(r"(^|/)[._]", name):
                found[name] = item
        is_ours = system.get_file_info(f"{path.rstrip('/')}/_manifest.json").type == fs.FileType.File
        for name in without_stats(found):
            if not (is_ours and name in OF_REPORT):
                yield head + found[name].path, (name, found[name])
    elif re.search(r"[*?[]", path) and scheme(uri) not in ("http", "https"):
        base = re.split(r"[^/]*[*?[]", path, maxsplit=1)[0].rstrip("/")
        pattern = re.compile(glob_regex(path))
        for item in files_below(system, base or "/", recursive="/" in path[len(base) + 1 :]):
            if pattern.fullmatch(item.path):
                yield head + item.path, (item.path[len(base) + 1 :], item)


def _ends(name: str, known: Collection[str]) -> bool:
    """Whether a file name has a known suffix, which a compression's suffix may follow."""
    plain = re.sub(rf"({'|'.join(map(re.escape, COMPRESSIONS))})$", "", name.lower())
    return name.lower().endswith(tuple(known)) or plain.endswith(tuple(known))


def glob_regex(pattern: str) -> str:
    """A regular expression for a glob: `*` and `?` stay within a folder, `**/` spans any number of them."""
    special = {"**/": r"(?:.*/)?", "**": r".*", "*": r"[^/]*", "?": r"[^/]"}
    parts = re.split(r"(\*\*/|\*\*|\*|\?|\[!?[^\]]+\])", pattern)
    return "".join(
        special.get(part) or (part.replace("[!", "[^", 1) if i % 2 else re.escape(part))
        for i, part in enumerate(parts)
    )


def fingerprint(uri: str, info: fs.FileInfo) -> str:
    """Hex digest that changes with the content, at the cost of at most 16 MiB of reading.

    A local file of up to 16 MiB is hashed whole. Of a larger one, size, time of change and 16 blocks are hashed. So a
    copy of a large file counts as another input, and a byte that was changed in place changes the fingerprint.
    Object stores replace objects only as a whole, so there size and time of change are enough.
    """
    system, path = filesystem(uri)
    digest = hashlib.blake2b(str(info.size).encode(), digest_size=16)
    local = scheme(uri) == "file"
    small = info.size is not None and info.size <= WHOLE
    if info.mtime_ns is not None and not (local and small):
        digest.update(str(info.mtime_ns).encode())
    if local or info.mtime_ns is None:
        with system.open_input_file(path) as file:
            size = file.size()
            if small:
                digest.update(file.read(WHOLE))
            else:
                for block in range(PROBES):
                    file.seek(block * (size - PROBE) // (PROBES - 1))
                    digest.update(file.read(PROBE))
    return digest.hexdigest()


def without_stats(names: Collection[str]) -> set[str]:
    """The names without img2dataset's statistics (`00000_stats.json` beside `00000.tar` or `00000.parquet`)."""
    there = {_stem(name) for name in names if name.lower().endswith((*TARS, ".parquet"))}
    return {name for name in names if not (name.endswith(STATS) and name.removesuffix(STATS) in there)}


def beside_tars(names: Collection[str]) -> set[str]:
    """The names of Parquet files that lie beside a tar of the same name (`00000.parquet` beside `00000.tar`)."""
    tars = {_stem(name) for name in names if name.lower().endswith(TARS)}
    return {name for name in names if name.lower().endswith(".parquet") and _stem(name) in tars}


def _stem(name: str) -> str:
    folder, slash, base = name.rpartition("/")
    return folder + slash + base.partition(".")[0]
