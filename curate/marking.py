"""The stages that a table of samples passes: each takes a table and gives it back with rows marked, none
removed.

The hinge is the column `dropped`: null while a row is alive, else the reason. What a row fell to, and where,
is written beside it (`stage`, `detail`).
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
)  # the others drop what failed, not what a rule judged
SIZE = frozenset({"width", "height"})
SCORE = "clip_score"
LANGUAGE_RULE = "text_in_other_language"


def alive(table: pa.Table) -> pa.ChunkedArray:
    """True where a row has not been dropped (N rows)."""
    return pc.is_null(table["dropped"])


def drop(table: pa.Table, reason: pa.Array, stage: str, detail: pa.Array | None = None) -> pa.Table:
    """Mark the alive rows whose `reason` is not null (N rows each)."""
    falls = pc.and_(alive(table), pc.is_valid(reason))
    table = set_column(table, "detail", pc.if_else(falls, _or_null(detail, table), table["detail"]))
    table = set_column(table, "stage", pc.if_else(falls, stage, table["stage"]))
    return set_column(table, "dropped", pc.if_else(falls, reason, table["dropped"]))


def clean(table: pa.Table, manifest: Manifest) -> pa.Table:
    """Run the manifest's cleaners over the text of the alive rows, in their order."""
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
    """Judge what needs no text, clean what is left, judge the rest: reasons follow the rules' order.

    The source's columns that only rules read (`published:NAME`) are dropped once they are judged.
    """
    before, after = dict[str, Any](), dict[str, Any]()
    for name, settings in rules.items():
        texts = after or "text" in filters.find_rule(name, settings).columns
        (after if texts else before)[name] = settings
    table = judge(table, before, "rules", pending)
    judged = name_languages(judge(clean(table, manifest), after, "rules", pending), rules)
    return judged.drop_columns([name for name in judged.column_names if name.startswith(filters.PREFIX)])


def name_languages(table: pa.Table, rules: Rules) -> pa.Table:
    """Name the language of alive rows where the rules keep others than English and Chinese, if it is certain."""
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
    """Drop alive rows by the first rule they fall to, with the value that decided.

    A row for which a rule's answer is null stays if one of the columns in `pending` is yet to be filled in,
    and is else dropped with `COLUMN_missing`.
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
    """`COLUMN_missing` where a rule lacked a value that will not come; else null (N rows)."""
    reason = pa.nulls(rows.num_rows, pa.string())
    for column in columns:
        if column not in pending:
            absent = pc.and_(unjudged, pc.is_null(rows[column]))
            reason = pc.coalesce(reason, pc.if_else(absent, f"{column}_missing", None))
    return reason


def details(rows: pa.Table, reason: pa.Array, rules: Rules) -> pa.Array:
    """What decided for each dropped row; null for the others and where there is nothing to say (N rows)."""
    detail = pa.nulls(rows.num_rows, pa.large_string())
    for name in pc.unique(reason.drop_null()).to_pylist():
        if name in rules:
            places = pc.indices_nonzero(pc.equal(reason, name))
            rule = filters.find_rule(name, rules[name])
            said = rule.detail(rows.select(dict.fromkeys(rule.columns)).take(places), **rules[name])
            detail = pc.coalesce(detail, scatter(said.cast(pa.large_string()), places, rows.num_rows))
    return detail


def scatter(values: pa.Array | pa.ChunkedArray, places: pa.Array, rows: int) -> pa.Array:
    """`values` (M rows) at `places` of a column of `rows` rows, null elsewhere."""
    index = np.full(rows, -1, dtype=np.int64)
    index[np.asarray(places)] = np.arange(len(places))
    taken = values.take(pa.array(index, mask=index < 0))
    return taken.combine_chunks() if isinstance(taken, pa.ChunkedArray) else taken


def share_below(key: pa.ChunkedArray, share: float, at: int) -> pa.ChunkedArray:
    """True for that share of all keys, always the same, by eight hex digits from `at` on (N rows)."""
    if share >= 1:
        return pc.is_valid(key)
    return pc.less(pc.utf8_slice_codeunits(key, at, at + 8), f"{int(share * 2**32):08x}")


def sampled(key: pa.ChunkedArray, share: float) -> pa.ChunkedArray:
    """True for the dropped rows that are written down (N rows); other digits decide than for `--sample`."""
    return share_below(key, share, at=24)


def _or_null(detail: pa.Array | None, table: pa.Table) -> pa.Array:
    return pa.nulls(table.num_rows, pa.large_string()) if detail is None else detail.cast(pa.large_string())
