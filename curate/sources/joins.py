"""Join data sets whose rows are spread over several files: questions and answers, references and boxes.

The files of one input are read once, as streams, and written as one file of JSON Lines in the work folder. The
objects of the main list are the rows. For each other list the manifest says by which id a row names its objects.
The objects of the other lists lie in a database on disk meanwhile, so that memory holds no list.

Nothing disappears unreported. A row whose object is missing is dropped as `NAME_missing`. An object that no row
names is dropped with the reason that the manifest gives, if it gives one. An object without an id is dropped as
`id_missing`, and a second object with the same id as `id_repeated`, unless both are equal and the manifest gives no
reason for unused objects.
"""

from __future__ import annotations

import json
import sqlite3
import tempfile
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any, BinaryIO

from curate.errors import InputError
from curate.manifest.settings import InputSettings, JoinSettings
from curate.sources import input_index
from curate.sources.columns import json_text
from curate.sources.inputs import Input
from curate.sources.line_formats import limits, without_marked
from curate.sources.parts import Listing, listings
from curate.sources.reading import DETAIL, PROBLEM
from curate.sources.shallow import WRITTEN

CACHE_KIB = 65536

Row = dict[str, Any]


def joined(source: Input, settings: InputSettings, work: Path) -> Input:
    """Write the input's rows, each with the objects that it names, as a file of JSON Lines in the folder `work`.

    Raises:
        UnreadableInputError: a file is damaged.
        InputError: a list is missing that the manifest needs.
    """
    path = input_index.place(work, source, "joined", (settings.main, settings.join, limits(settings)))
    input_index.made_once(path, lambda file: _write(source, settings, work, file))
    return Input(str(path), path.name, path.stat().st_size, source.fingerprint)


def _write(source: Input, settings: InputSettings, work: Path, file: BinaryIO) -> None:
    found = listings(source.parts, settings, work)
    main = [one for one in found if one.fields & set(settings.main)]
    others = [one for one in found if one not in main]
    if not main:
        raise InputError(f"{source.uri}: no list of objects with {_either(settings.main)}{_has(found)}")
    wanted = {n: j for n, j in settings.join.items() if _is_there(n, j, main, others, source.uri)}
    with database(work) as on_disk:
        tables = [JoinTable(on_disk, number, *named) for number, named in enumerate(wanted.items())]
        for row in _joined(main, others, tables):
            text = json_text(row).encode()
            text = json_text(without_marked(row)).encode() if WRITTEN in text else text
            file.write(text + b"\n")


@contextmanager
def database(work: Path) -> Iterator[sqlite3.Connection]:
    """An empty SQLite database in the folder `work`, which is deleted at the end of the block."""
    with tempfile.NamedTemporaryFile(dir=work, prefix=".joining-") as place:
        opened = sqlite3.connect(place.name, isolation_level=None)
        opened.execute("PRAGMA user_version = 1")  # opens the file; its name can be removed from now on
    with closing(opened) as connection:
        for pragma in ("journal_mode = OFF", "synchronous = OFF", f"cache_size = -{CACHE_KIB}"):
            connection.execute(f"PRAGMA {pragma}")
        yield connection


def _joined(main: Sequence[Listing], others: Sequence[Listing], tables: Sequence[JoinTable]) -> Iterator[Row]:
    """Yield the joined lists' dropped objects, then the rows, then the objects that no row named."""
    for table in tables:
        lists = [one for one in others if one.fields & set(table.join.has)]
        yield from table.fill(row for one in lists for row in one.rows())
    for one in main:
        for row in one.rows():
            row.pop(PROBLEM, None)  # reserved names: only this program may set them
            row.pop(DETAIL, None)
            for table in tables:
                row |= table.found(row)
            yield row
    for table in tables:
        yield from table.unused()


class JoinTable:
    """The objects of one joined list, by id, on disk."""

    def __init__(self, database: sqlite3.Connection, number: int, name: str, join: JoinSettings) -> None:
        self._database, self._name, self.join = database, name, join
        self._table = f"list{number}"
        database.execute(
            f"CREATE TABLE {self._table} (id TEXT PRIMARY KEY, row TEXT, used INT) WITHOUT ROWID"
        )

    def fill(self, rows: Iterable[Row]) -> Iterator[Row]:
        """Store the objects; yields those without an id, and those with a repeated id, as dropped rows."""
        self._database.execute("BEGIN")
        for row in rows:
            identity = _first(row, self.join.id)
            kept = json_text({f"{self._name}.{name}": row.get(name) for name in self.join.keep})
            insert = f"INSERT OR IGNORE INTO {self._table} VALUES (?, ?, 0)"
            if identity is None:
                yield self._lost("id_missing", identity, kept)
                continue
            is_new = self._database.execute(insert, (identity, kept)).rowcount
            if not is_new and (self.join.unused or self._get(identity) != kept):
                yield self._lost("id_repeated", identity, kept)
        self._database.execute("COMMIT")

    def found(self, row: Row) -> Row:
        """The fields that the object named by a row adds to the row: the object's, or nulls and a problem."""
        identity = _first(row, self.join.of)
        kept = None if identity is None else self._get(identity)
        if kept is None:
            lost = {PROBLEM: f"{self._name}_missing", DETAIL: f"{_either(self.join.of)}: {identity}"}
            return dict.fromkeys(f"{self._name}.{name}" for name in self.join.keep) | (
                {} if PROBLEM in row else lost
            )
        if self.join.unused:
            self._database.execute(f"UPDATE {self._table} SET used = 1 WHERE id = ?", (identity,))
        fields: Row = json.loads(kept)
        return fields

    def unused(self) -> Iterator[Row]:
        """Yield the objects that no row named, as dropped rows, if the manifest gives a reason for them."""
        if self.join.unused:
            query = f"SELECT id, row FROM {self._table} WHERE used = 0"
            for identity, kept in self._database.execute(query):
                yield self._lost(self.join.unused, identity, kept)

    def _get(self, identity: str) -> str | None:
        query = f"SELECT row FROM {self._table} WHERE id = ?"
        found = self._database.execute(query, (identity,)).fetchone()
        return None if found is None else found[0]

    def _lost(self, reason: str, identity: str | None, kept: str) -> Row:
        fields: Row = json.loads(kept)
        return fields | {PROBLEM: reason, DETAIL: f"{self._name} {identity}"}


def _is_there(
    name: str, join: JoinSettings, main: Sequence[Listing], others: Sequence[Listing], uri: str
) -> bool:
    """Whether the list is to be joined: false where it is missing and optional, or the rows have its fields themselves.

    Raises:
        InputError: the files lack the list, and the rows need it.
    """
    if any(one.fields & set(join.has) for one in others):
        return True
    if join.optional or all(one.fields & set(join.has) for one in main):
        return False
    raise InputError(
        f"{uri}: no {name}s: give the file with a list of objects that have {_either(join.has)} as well"
    )


def _first(row: Mapping[str, Any], names: Sequence[str]) -> str | None:
    """The first of these fields that holds an id, as text (17, 17.0 and "17" are one id); None if there is none."""
    for name in names:
        value = row.get(name)
        if isinstance(value, float) and value.is_integer():
            value = int(value)
        if isinstance(value, int | str) and not isinstance(value, bool):
            return str(value).strip().encode("utf-8", "replace").decode() or None
    return None


def _either(names: Sequence[str]) -> str:
    return " or ".join(repr(name) for name in names)


def _has(found: Sequence[Listing]) -> str:
    lists = [f"{one.file.file.name}: {', '.join(sorted(one.fields)[:8])}" for one in found]
    return f"; there are {'; '.join(lists[:6])}" if lists else ""
