"""List the Parquet files of finished folders, in the order of their names, for `pack`, `export` and the loader."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, overload

import msgspec
import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq
from pyarrow import fs

from curate.errors import DamagedError, InputError
from curate.storage.filesystems import filesystem, one_line
from curate.storage.finished import check_complete, files_there, listed_files, read_manifest
from curate.storage.listing import SHARDS
from curate.storage.store import Store
from curate.terminal import plural

PLACES = pa.schema(
    [("uri", pa.string()), ("bytes", pa.int64()), ("rows", pa.int64()), ("mark", pa.string())]
)  # the columns of a data set's files


READ = frozenset(  # the columns that every reader of shards needs
    {"key", "task", "image", "width", "height", "prompt", "target", "regions", "images", "messages"}
)


class DataFile(msgspec.Struct, frozen=True):
    """A shard or a pack: its URI, size in bytes and number of rows."""

    uri: str
    bytes: int
    rows: int
    mark: str  # its SHA-256 as the folder's manifest lists it; empty if it is not listed

    def open(self) -> pq.ParquetFile:
        """Open the file; the checksums of its pages are verified as they are read.

        Raises:
            DamagedError: the file cannot be read, or has another number of rows than `rows`.
        """
        system, path = filesystem(self.uri)
        try:
            file = pq.ParquetFile(system.open_input_file(path), page_checksum_verification=True)
        except (OSError, ValueError) as error:
            raise _unreadable(self.uri, error) from None
        if file.metadata.num_rows != self.rows:
            raise DamagedError(
                f"{self.uri} holds {plural(file.metadata.num_rows, 'row')} instead of {self.rows}; {_way_out(self.uri)}"
            )
        return file


class Files(Sequence[DataFile]):
    """The files of a data set, of which there may be hundreds of thousands: kept as columns (PLACES)."""

    def __init__(self, table: pa.Table) -> None:
        self.table = table

    def __len__(self) -> int:
        return int(self.table.num_rows)

    @overload
    def __getitem__(self, number: int) -> DataFile: ...

    @overload
    def __getitem__(self, number: slice) -> Sequence[DataFile]: ...

    def __getitem__(self, number: int | slice) -> DataFile | Sequence[DataFile]:
        if isinstance(number, slice):
            return [self[n] for n in range(*number.indices(len(self)))]
        if not -len(self) <= number < len(self):
            raise IndexError(number)
        return DataFile(*(column[number].as_py() for column in self.table.columns))

    def __iter__(self) -> Iterator[DataFile]:
        for batch in self.table.to_batches(max_chunksize=4096):
            for row in zip(*(column.to_pylist() for column in batch.columns), strict=True):
                yield DataFile(*row)


class DataSet(msgspec.Struct, frozen=True):
    """Files that are read as one data set, and a digest that identifies them."""

    files: Files
    digest: str
    schema: Any  # the pyarrow schema of every file
    files_of: tuple[int, ...] = ()  # for each URI that was asked for, in order: its number of files

    @property
    def file_rows(self) -> npt.NDArray[np.int64]:
        """The number of rows of each file (one for each file, in order)."""
        rows: npt.NDArray[np.int64] = self.files.table["rows"].to_numpy()
        return rows

    @property
    def rows(self) -> int:
        """The number of rows of all files."""
        return int(self.file_rows.sum())


def find(uris: Iterable[str], stem: str = "shard") -> DataSet:
    """Find the files of a data set: of each folder in `uris` the files `STEM-*.parquet`, and the files in `uris`.

    The order is that of `uris`, and by name within a folder. The manifest and tables of a finished folder say what it
    holds; only one of its files is opened, for the columns. The files of a folder without a manifest, and files named
    in `uris`, are all opened. The digest covers names, sizes, numbers of rows, and the hashes that manifests list.

    Raises:
        InputError: there are no files, a run is unfinished, or files have different columns.
        DamagedError: a file cannot be read, or a folder lacks a file that it lists, or has one that it does not list.
    """
    tables, digest, schema = [PLACES.empty_table()], hashlib.sha256(), None
    files_of: list[int] = []
    for uri in uris:
        table, columns = _places(uri.rstrip("/"), stem)
        files_of.append(0 if columns is None else table.num_rows)
        if columns is None:
            continue
        if schema is not None and not columns.equals(schema):
            first = tables[1]["uri"][0]
            raise InputError(
                f"{table['uri'][0]} has other columns than {first}: give data of one version and kind of dialect"
            )
        if (
            schema is not None
            and (models := [_written_for(one) for one in (schema, columns)])[0] != models[1]
        ):
            first, other = tables[1]["uri"][0], table["uri"][0]
            raise InputError(
                f"{first} is packed for {models[0]}, {other} for {models[1]}: give packs of one dialect and tokenizer"
            )
        tables.append(table)
        schema = columns
        names = pa.array([uri.rsplit("/", 1)[-1] for uri in table["uri"].to_pylist()])
        for column in (names, table["bytes"], table["rows"], table["mark"]):
            digest.update("\n".join(map(str, column.to_pylist())).encode() + b"\n\n")
    if schema is None:
        of = "pack" if stem == "pack" else "run"
        where = f"in {', '.join(uris)}" if uris else "to read, as no folder was named"
        raise InputError(f"no {stem}-*.parquet {where}: give a folder of `curate {of} --out`")
    files = Files(pa.concat_tables(tables).combine_chunks())
    return DataSet(files, digest.hexdigest(), schema.remove_metadata(), tuple(files_of))


def check_columns(data: DataSet, more: Iterable[str]) -> None:
    """Check that shards have the columns of READ and those in `more`.

    Raises:
        InputError: they lack one, or are packs.
    """
    if "loss_mask" in data.schema.names:
        raise InputError(f"{data.files[0].uri} is a pack: give the shards that it was made of")
    if lacking := {*READ, *more} - set(data.schema.names):
        raise InputError(f"{data.files[0].uri} is no shard: it lacks {', '.join(sorted(lacking))}")


def _written_for(schema: pa.Schema) -> str:
    """The dialect and tokenizer that a pack is written for, from its metadata; empty for shards and if not recorded."""
    try:
        told = msgspec.json.decode((schema.metadata or {}).get(b"curate", b"{}"), type=dict[str, Any])
        if "tokenizer" not in told:
            return ""
        name = told.get("dialect", {}).get("name", "qwen-vl").partition(":")[0]
        return f"{name} (tokenizer {str(told['tokenizer']['sha256'])[:12]})"
    except (msgspec.MsgspecError, AttributeError, LookupError, TypeError):
        return ""


def _places(uri: str, stem: str) -> tuple[pa.Table, pa.Schema | None]:
    """The files at a URI as PLACES, and their columns."""
    system, path = filesystem(uri)
    info = system.get_file_info(path)
    if info.type == fs.FileType.File:
        return _opened([uri])
    if info.type == fs.FileType.NotFound:
        raise InputError(f"there is no {uri}")
    store = Store(uri)
    manifest = read_manifest(store)
    if manifest is not None:
        if manifest.get("kind") == "selection":
            raise InputError(
                f"{uri} holds a selection: `curate run MANIFEST --input {uri}` makes shards of it"
            )
        if manifest.get("kind") == "export":
            raise InputError(f"{uri} holds an export: give the folder of `curate run` or `curate pack`")
        return _listed(store, manifest, stem)
    if system.get_file_info(f"{path}/_run").type == fs.FileType.Directory:
        raise InputError(f"{uri} is unfinished (it has no _manifest.json): run its command again first")
    return _opened([f"{uri}/{name}" for name in files_there(store, stem)["path"].to_pylist()])


def _listed(store: Store, manifest: dict[str, Any], stem: str) -> tuple[pa.Table, pa.Schema | None]:
    """The files that a finished folder lists, as PLACES, and their columns; checks that all exist."""
    files = listed_files(store, manifest).sort_by("path")
    if not files.num_rows and not store.exists(SHARDS):  # a manifest made by hand, which lists no files
        return _opened([f"{store.uri}/{name}" for name in files_there(store, stem)["path"].to_pylist()])
    named = [name.startswith(f"{stem}-") for name in files["path"].to_pylist()]
    files = files.filter(pa.array(named, pa.bool_()))
    check_complete(store, files, stem)
    uris = pa.array([f"{store.uri}/{name}" for name in files["path"].to_pylist()], pa.string())
    table = pa.table([uris, files["bytes"], files["rows"], files["sha256"]], schema=PLACES)
    return table, _describe(uris[0].as_py())[1] if len(uris) else None


def _opened(uris: Sequence[str]) -> tuple[pa.Table, pa.Schema | None]:
    """Open files that no manifest lists; returns them as PLACES, and their columns."""
    rows, schema = [], None
    for uri in uris:
        file, found = _describe(uri)
        if schema is not None and not found.equals(schema):
            raise InputError(f"{uri} has other columns than {uris[0]}: give data of one version")
        rows.append([file.uri, file.bytes, file.rows, file.mark])
        schema = found
    columns = zip(*rows, strict=True) if rows else [[] for _ in PLACES]
    return pa.table(
        [pa.array(c, f.type) for c, f in zip(columns, PLACES, strict=True)], schema=PLACES
    ), schema


def _describe(uri: str) -> tuple[DataFile, pa.Schema]:
    """Open a file; returns its entry, and its schema with metadata."""
    system, path = filesystem(uri)
    try:
        with system.open_input_file(path) as stream:
            file = pq.ParquetFile(stream)
            return DataFile(uri, stream.size(), file.metadata.num_rows, ""), file.schema_arrow
    except (OSError, ValueError) as error:
        raise _unreadable(uri, error) from None


def _unreadable(uri: str, error: Exception) -> DamagedError:
    return DamagedError(f"cannot read {uri}: {one_line(error)}; {_way_out(uri)}")


def _way_out(uri: str) -> str:
    """What helps if the file `uri` cannot be read."""
    return f"`curate verify {uri.rpartition('/')[0] or '.'}` names every damaged file of a finished folder"
