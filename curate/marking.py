"""Clean and judge the rows of a table of samples. Each function returns the table with rows marked as dropped.

No row is removed. The column `dropped` is null while a row is alive, else the reason why it was dropped. The column
`stage` says in which stage it was dropped, and `detail` which values decided.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

import filters
from curate.manifest.settings import Manifest
from curate.schema import LANGUAGES, set_column

Rules = Mapping[str, Mapping[str, Any]]

RULE_STAGES = (
    "rules",
    "seen",
    "listed",
    "copies",
    "size",
    "score",
    "across",
)  # stages in which rules drop rows; the other stages drop rows whose fetch, decoding or rendering failed
SIZE = frozenset({"width", "height"})
SCORE = "clip_score"
LANGUAGE_RULE = "text_in_other_language"


def alive(table: pa.Table) -> pa.ChunkedArray:
    """True where a row has not been dropped (N rows)."""
    return pc.is_null(table["dropped"])


def drop(table: pa.Table, reason: pa.Array, stage: str, detail: pa.Array | None = None) -> pa.Table:
    """Mark the alive rows whose `reason` is not null as dropped; rows dropped before keep their reason.

    Args:
        table: samples (N rows).
        reason: why a row is dropped; null keeps it (N rows).
        stage: the stage that drops them.
        detail: the value that decided, as text (N rows). Default: null for every row.
    """
    falls = pc.and_(alive(table), pc.is_valid(reason))
    table = set_column(table, "detail", pc.if_else(falls, _or_null(detail, table), table["detail"]))
    table = set_column(table, "stage", pc.if_else(falls, stage, table["stage"]))
    return set_column(table, "dropped", pc.if_else(falls, reason, table["dropped"]))


def clean(table: pa.Table, manifest: Manifest) -> pa.Table:
    """Run the manifest's cleaners, in the manifest's order, over the text of the alive rows (N rows in, N out)."""
    if not manifest.clean:
        return table
    mask = alive(table).combine_chunks()
    whole = table["text"].combine_chunks()
    text = whole.filter(mask)
    for name in manifest.clean:
        settings = manifest.cleaners[name]
        text = filters.find_cleaner(name, settings).clean(text, **settings)
    return set_column(table, "text", pc.replace_with_mask(whole, mask, text))


def clean_and_judge(table: pa.Table, manifest: Manifest, rules: Rules, pending: frozenset[str]) -> pa.Table:
    """Apply the rules before the first one on text, clean the texts of the rows left, then apply the other rules.

    So a row falls to the first rule, in the manifest's order, that drops it. The columns `published:NAME`, which only
    rules read, are removed from the result (N rows in, N out).

    Args:
        table: samples, with the `published:NAME` columns.
        manifest: names the cleaners.
        rules: settings by the rule's name, in the manifest's order.
        pending: columns that are filled in later, see `judge`.
    """
    before, after = dict[str, Any](), dict[str, Any]()
    for name, settings in rules.items():
        texts = after or "text" in filters.find_rule(name, settings).columns
        (after if texts else before)[name] = settings
    table = judge(table, before, "rules", pending)
    judged = name_languages(judge(clean(table, manifest), after, "rules", pending), rules)
    return judged.drop_columns([name for name in judged.column_names if name.startswith(filters.PREFIX)])


def name_languages(table: pa.Table, rules: Rules) -> pa.Table:
    """Set the column `language` of alive rows, if the rules keep other languages than English and Chinese.

    It is set where the language is identified with certainty and is one that the rules keep, else it stays.
    """
    settings = rules.get(LANGUAGE_RULE, {})
    if set(settings.get("keep", ())) <= set(LANGUAGES):
        return table
    places = pc.indices_nonzero(alive(table))
    code, share, _ = filters.language.identify(table["text"].take(places).combine_chunks())
    certain = pc.greater_equal(share, pa.scalar(filters.language.LEADING, pa.float32()))
    wanted = pc.and_(certain, pc.is_in(code, pa.array(settings["keep"], pa.string())))
    named = scatter(pc.if_else(wanted, code, pa.scalar(None, pa.string())), places, table.num_rows)
    return set_column(table, "language", pc.coalesce(named, table["language"]))


def judge(table: pa.Table, rules: Rules, stage: str, pending: frozenset[str] = frozenset()) -> pa.Table:
    """Drop each alive row for the first rule that it fails; `detail` gets the value that decided.

    Where a rule answers null because a column is null, the row is dropped for `COLUMN_missing`, unless that column is
    one of `pending`: a column that a later stage fills in.

    Args:
        table: samples (N rows).
        rules: settings by the rule's name, in the order in which rules are judged.
        stage: the stage that is written beside the reason.
        pending: columns that a later stage fills in. Default: none.
    """
    if not rules:
        return table
    places = pc.indices_nonzero(alive(table))
    read = {column for name, of in rules.items() for column in filters.find_rule(name, of).columns}
    columns = table.select([name for name in table.column_names if name in read])
    rows = columns if len(places) == table.num_rows else columns.take(places)
    judgement = filters.judge(rows, rules)
    reason = judgement.reason
    for name, unjudged in judgement.unjudged.items():
        columns = filters.find_rule(name, rules[name]).columns
        reason = pc.coalesce(reason, missing(rows, columns, unjudged, pending))
    detail = details(rows, reason, rules)
    if rows is not columns:
        reason, detail = scatter(reason, places, table.num_rows), scatter(detail, places, table.num_rows)
    return drop(table, reason, stage, detail)


def missing(rows: pa.Table, columns: Sequence[str], unjudged: pa.Array, pending: frozenset[str]) -> pa.Array:
    """Return `COLUMN_missing` for rows that a rule cannot judge as a column is null for good, else null (N rows).

    Args:
        rows: N rows.
        columns: the columns that the rule reads.
        unjudged: true where the rule answered null (N rows).
        pending: columns that a later stage fills in.
    """
    reason = pa.nulls(rows.num_rows, pa.string())
    for column in columns:
        if column not in pending:
            absent = pc.and_(unjudged, pc.is_null(rows[column]))
            reason = pc.coalesce(reason, pc.if_else(absent, f"{column}_missing", None))
    return reason


def details(rows: pa.Table, reason: pa.Array, rules: Rules) -> pa.Array:
    """Return the values that decided for each row that a rule dropped; null for the others (N rows).

    Args:
        rows: N rows with the columns that the rules read.
        reason: why each row was dropped, null if it was not (N rows).
        rules: settings by the rule's name.
    """
    detail = pa.nulls(rows.num_rows, pa.large_string())
    for name in pc.unique(reason.drop_null()).to_pylist():
        if name in rules:
            places = pc.indices_nonzero(pc.equal(reason, name))
            rule = filters.find_rule(name, rules[name])
            said = rule.detail(rows.select(dict.fromkeys(rule.columns)).take(places), **rules[name])
            detail = pc.coalesce(detail, scatter(said.cast(pa.large_string()), places, rows.num_rows))
    return detail


def scatter(values: pa.Array | pa.ChunkedArray, places: pa.Array, rows: int) -> pa.Array:
    """Return a column of `rows` rows with `values` (M rows) at the row numbers `places` (M), and null elsewhere."""
    index = np.full(rows, -1, dtype=np.int64)
    index[np.asarray(places)] = np.arange(len(places))
    taken = values.take(pa.array(index, mask=index < 0))
    return taken.combine_chunks() if isinstance(taken, pa.ChunkedArray) else taken


def share_below(key: pa.ChunkedArray, share: float, at: int) -> pa.ChunkedArray:
    """Return true for about `share` of the keys, from 0 to 1 (N rows); the same keys every time.

    A key is chosen where its eight hex digits from digit `at` on, as a number, are less than `share` times 2**32.
    """
    if share >= 1:
        return pc.is_valid(key)
    return pc.less(pc.utf8_slice_codeunits(key, at, at + 8), f"{int(share * 2**32):08x}")


def sampled(key: pa.ChunkedArray, share: float) -> pa.ChunkedArray:
    """Return true for the dropped rows that are written to `_dropped/`, about `share` of them (N rows).

    `--sample` chooses by other digits of the key, so that the two choices are independent.
    """
    return share_below(key, share, at=24)


def _or_null(detail: pa.Array | None, table: pa.Table) -> pa.Array:
    return pa.nulls(table.num_rows, pa.large_string()) if detail is None else detail.cast(pa.large_string())
