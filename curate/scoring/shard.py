"""Read one shard for the scorer, judge its rows by their scores, and write it again."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from itertools import repeat

import msgspec
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

import filters
from curate.engine.record import add_counts, count_reasons
from curate.manifest.settings import ShardSettings
from curate.marking import sampled
from curate.schema import DROPPED, SHARD, SHARD_FORMS
from curate.scorer.identity import Identity, record, recorded
from curate.scorer.items import bodies_of, items_of
from curate.scorer.reload import BESIDE
from curate.scorer.table import EachImage, Scored
from curate.scoring.judging import Models
from curate.storage.batch_files import read_batch
from curate.storage.filesystems import one_line
from curate.storage.shards import Shard, as_dropped, has_repeated, write_tables
from curate.storage.store import Store

FOLDER = "_run/score"
STAGED = f"{FOLDER}/staged"
VERDICT = f"{FOLDER}/alike.arrow"  # one record batch for each shard that loses near duplicates
STAGE, RULE, MISSING = "score", "clip_score_too_low", "clip_score_missing"
NEAR_DUPLICATE = "near_duplicate"
NAME = re.compile(r"shard-(\d{6,})(?:-(\d+))?\.parquet")
SEVERAL = ("images.list.element.bytes",)
# see `judging.flag_shard`
Flag = Callable[[pa.Table, pa.Array, EachImage | None], tuple[pa.Table, pa.Array, pa.Array]]
SCORES = pa.schema([SHARD.field(name) for name in ("key", "clip_score", "clip_features")])


class ScoringTerms(msgspec.Struct, frozen=True, kw_only=True):
    """What a scoring does to every shard."""

    name: str  # the scorer's; empty: the scores go into the shards' own columns
    features: bool
    threshold: float | None
    drops_sample: float  # share (0 to 1) of the dropped rows that is written to `_dropped/`
    shard: ShardSettings
    near_duplicates: Mapping[str, Mapping[int, str]] = {}  # by shard and row number: the detail of the drop
    models: Models | None = None  # flags and heads to compute as well


class Done(msgspec.Struct, frozen=True, kw_only=True):
    """The journal's record of a shard that is written and only has to be moved to its place."""

    path: str
    rows_in: int
    written: Shard | None  # None: no row is left
    dropped: dict[str, int] = {}
    failed: dict[str, int] = {}  # rows whose image gave no feature, by reason
    dropped_file: Shard | None = None  # the file with the rows that the scoring dropped from the shard


class ShardReading:
    """Reads a shard for the scorer. What cannot be read counts as missing; `error` then says why."""

    def __init__(self, store: Store, path: str, rows: int) -> None:
        self.path, self.rows, self._store = path, rows, store
        self.error: str | None = None
        self.counts = np.ones(rows, np.int64)  # number of images of each row that the scorer is given
        self.texts: list[str | None] = [None] * rows  # for each image: its row's text; None: image missing
        self.names: list[str | None] = [None] * rows  # for each image: its hash; None: not known
        try:
            with store.fs.open_input_file(store.path(path)) as file:
                reader = pq.ParquetFile(file, page_checksum_verification=True)
                self._check(reader)
                table = reader.read(columns=["text", "sha256", "image.path", "images.list.element.path"])
                image, images = (table[name].combine_chunks() for name in ("image", "images"))
                self.counts = items_of(image, images)
                row = pa.array(np.repeat(np.arange(table.num_rows), self.counts))
                several = pc.greater(pc.list_value_length(images).fill_null(0), 0)
                there = pc.or_(pc.is_valid(image), several)
                self.texts = pc.if_else(there, table["text"], None).take(row).to_pylist()
                self.names = table["sha256"].take(row).to_pylist()
        except (OSError, ValueError) as error:  # Arrow's own errors are of these kinds
            self.error = one_line(error)

    def images(self) -> Iterator[bytes | None]:
        """Yield the encoded images, `counts` of each row; one row group at a time is in memory."""
        given = 0
        try:
            with self._store.fs.open_input_file(self._store.path(self.path)) as file:
                reader = pq.ParquetFile(file, page_checksum_verification=True)
                for group in range(reader.num_row_groups if self.error is None else 0):
                    for body in bodies_of(reader.read_row_group(group, columns=["image.bytes", *SEVERAL])):
                        yield body
                        given += 1
        except (OSError, ValueError) as error:
            self.error = one_line(error)
        yield from repeat(None, int(self.counts.sum()) - given)

    def _check(self, reader: pq.ParquetFile) -> None:
        if not any(reader.schema_arrow.equals(form) for form in SHARD_FORMS):
            raise ValueError("its columns are not a shard's")
        if reader.metadata.num_rows != self.rows:
            raise ValueError(f"{reader.metadata.num_rows} rows instead of {self.rows}")


def stored(store: Store, path: str, identity: Identity | None, features: bool) -> Scored | None:
    """The scores that a shard already has from the scorer `identity` (None: from any scorer, or the source).

    None if they are another scorer's, or if `features` are asked for and the shard has none.
    """
    with store.fs.open_input_file(store.path(path)) as file:
        reader = pq.ParquetFile(file, page_checksum_verification=True)
        before = recorded(reader.schema_arrow)
        if identity is not None and (before is None or not before.same(identity)):
            return None
        table = reader.read(columns=["clip_score", "clip_features"])
    if features and table.num_rows and table["clip_features"].null_count == table.num_rows:
        return None
    return Scored(table["clip_score"].combine_chunks(), table["clip_features"].combine_chunks(), {})


def write(
    store: Store,
    path: str,
    scored: Scored,
    identity: Identity | None,
    terms: ScoringTerms,
    flag: Flag | None = None,
) -> Done:
    """Write a shard with its scores and without the rows that fall, beside the old one; `publish` moves it there.

    `path` is the shard's name in `store`; `flag` adds the values of flags and heads and drops rows by them.
    """
    if terms.name and identity is not None:
        return _write_beside(store, path, scored, identity, terms)
    lost: list[pa.Table] = []
    with store.fs.open_input_file(store.path(path)) as file:
        reader = pq.ParquetFile(file, page_checksum_verification=True)
        rows_in = reader.metadata.num_rows
        schema = reader.schema_arrow if identity is None else record(reader.schema_arrow, identity)
        groups = _groups(path, reader, scored, terms, lost, flag)
        repeated = has_repeated(reader)
        written = write_tables(store, f"{STAGED}/{path}", groups, schema, terms.shard, repeated)
    dropped = add_counts(count_reasons(table["reason"]) for table in lost)
    file = _write_dropped(store, path, lost, terms) if lost else None
    final = msgspec.structs.replace(written, path=path) if written.rows else None
    return Done(
        path=path,
        rows_in=rows_in,
        written=final,
        dropped=dropped,
        failed=scored.failed,
        dropped_file=file,
    )


def verdict(store: Store, number: int) -> tuple[str, dict[int, str]]:
    """Read record batch `number` of the verdict: the shard's path, and the detail of each row to drop, by number."""
    fell = read_batch(store, VERDICT, number).to_pydict()
    return fell["path"][0], dict(zip(fell["row"], fell["detail"], strict=True))


def publish(store: Store, done: Done) -> None:
    """Move a written shard to its place, or delete the shard that lost all rows; harmless when repeated."""
    staged = f"{STAGED}/{done.path}"
    if done.written is None:
        store.delete(done.path)
        store.delete(staged)
    elif store.exists(staged):
        store.fs.move(store.path(staged), store.path(done.path))


def dropped_file(path: str) -> str:
    """The file for the rows that a scoring drops from the shard `path`: `_dropped/dropped-000012-1.parquet`.

    Its numbers are the shard's unit and part.
    """
    found = NAME.fullmatch(path)
    assert found is not None, path
    return f"_dropped/dropped-{found[1]}-{int(found[2] or 0) + 1}.parquet"


def _groups(
    path: str,
    reader: pq.ParquetFile,
    scored: Scored,
    terms: ScoringTerms,
    lost: list[pa.Table],
    flag: Flag | None,
) -> Iterator[pa.Table]:
    """The shard's row groups with their scores, without the rows that fall; those are added to `lost`."""
    first = 0
    for group in range(reader.num_row_groups):
        table = reader.read_row_group(group)
        scores = scored.scores.slice(first, table.num_rows)
        features = scored.features.slice(first, table.num_rows)
        each = scored.each and scored.each.rows(first, table.num_rows)
        first += table.num_rows
        if not terms.features:
            features = pa.nulls(table.num_rows, SHARD.field("clip_features").type)
        for name, values in (("clip_score", scores), ("clip_features", features)):
            field = SHARD.field(name)
            table = table.set_column(SHARD.get_field_index(name), field, values.cast(field.type))
        fallen = terms.near_duplicates.get(path, {})
        near = pa.array([fallen.get(row) for row in range(first - table.num_rows, first)], pa.string())
        reason = pc.coalesce(
            judged(table, terms.threshold), pc.if_else(pc.is_valid(near), NEAR_DUPLICATE, None)
        )
        said = near
        if flag is not None:
            table, flagged, detail = flag(table, reason, each)
            said = pc.if_else(pc.is_null(reason), detail.cast(pa.string()), said)
            reason = pc.coalesce(reason, flagged)
        if reason.null_count < len(reason):
            lost.append(_fallen(table, reason, said))
            table = table.filter(pc.is_null(reason))
        if table.num_rows:
            yield table


def judged(table: pa.Table, threshold: float | None) -> pa.Array:
    """The reason why the threshold drops each row of SHARD, null for rows that stay (N rows).

    Rows without an image or without a text are not judged. A pair without a score falls as `clip_score_missing`. With
    the threshold None no row falls.
    """
    if threshold is None:
        return pa.nulls(table.num_rows, pa.string())
    images = pc.list_value_length(table["images"]).fill_null(0).combine_chunks()
    image = pc.or_(pc.is_valid(table["image"].combine_chunks()), pc.greater(images, 0))
    text = pc.utf8_trim_whitespace(table["text"])
    pair = pc.and_(image, pc.greater(pc.utf8_length(text), 0).fill_null(False).combine_chunks())
    keep = filters.RULES[RULE].keep(table.select(["clip_score"]), min_score=threshold)
    low = pc.if_else(pc.fill_null(pc.invert(keep), False), RULE, None)
    absent = pc.if_else(pc.is_null(keep), MISSING, None)
    return pc.if_else(pair, pc.coalesce(low, absent), pa.scalar(None, pa.string()))


def _fallen(table: pa.Table, reason: pa.Array, said: pa.Array) -> pa.Table:
    detail = pc.coalesce(said, filters.RULES[RULE].detail(table.select(["clip_score"])))
    stage = pa.repeat(STAGE, table.num_rows)
    for name, values in (("reason", reason), ("stage", stage), ("detail", detail)):
        table = table.append_column(name, values)
    return table.filter(pc.is_valid(reason))


def _write_dropped(store: Store, path: str, lost: list[pa.Table], terms: ScoringTerms) -> Shard:
    """Write the lost rows into the shard's file of dropped rows, with those that earlier scorings wrote there.

    A row that a killed attempt wrote is not written twice.
    """
    rows = pa.concat_tables(lost)
    name, parts = dropped_file(path), [as_dropped(rows.filter(sampled(rows["key"], terms.drops_sample)))]
    if store.exists(name):
        with store.fs.open_input_file(store.path(name)) as file:
            before = pq.read_table(file)
        parts.insert(
            0, as_dropped(before.filter(pc.invert(pc.is_in(before["key"], rows["key"].combine_chunks()))))
        )
    return write_tables(store, name, [part for part in parts if part.num_rows], DROPPED, terms.shard)


def _write_beside(store: Store, path: str, scored: Scored, identity: Identity, terms: ScoringTerms) -> Done:
    """Write key, score and features of every row, in the shard's order, into a file of the named scorer."""
    with store.fs.open_input_file(store.path(path)) as file:
        reader = pq.ParquetFile(file, page_checksum_verification=True)
        keys, schema = reader.read(columns=["key"])["key"], record(reader.schema_arrow, identity)
    features = scored.features if terms.features else pa.nulls(len(keys), SCORES.field("clip_features").type)
    columns = [values.cast(f.type) for values, f in zip((keys, scored.scores, features), SCORES, strict=True)]
    told = {key: value for key, value in schema.metadata.items() if key == b"curate"}
    table = pa.table(columns, schema=SCORES)
    final = write_tables(
        store, f"{BESIDE}/{terms.name}/{path}", [table], SCORES.with_metadata(told), terms.shard
    )
    return Done(path=path, rows_in=len(keys), written=final, failed=scored.failed)
