"""Reading a sample of a data set's rows, as a run would read them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

import filters
from curate.calibrating.blocks import Block, draw_blocks
from curate.calibrating.shares import Sampled
from curate.engine.plan import Plan, row_rules
from curate.errors import InputError
from curate.manifest.settings import Manifest
from curate.marking import SCORE
from curate.origins import open_origin
from curate.origins.lost_rows import UnreadableInput
from curate.origins.table_rows import Rows
from curate.schema import SAMPLE, set_column
from curate.sources.columns import holds_images

WITH_IMAGES = 10  # times fewer rows are read where they come with their images


@dataclass(frozen=True)
class DrawnSample:
    """N rows of a data set (columns of SAMPLE, and those of the source that rules read), drawn by blocks."""

    rows: pa.Table
    drawn: Sampled
    rules: dict[str, dict[str, Any]]  # those that can be judged: every input has their columns
    inputs: int  # that rows were taken of


def read_sample(manifest: Manifest, plan: Plan, rows: int, seed: int, work: Path) -> DrawnSample:
    """About so many rows, spread over all inputs.

    Raises:
        InputError: an input cannot be read, holds no rows of a table, or the scores of another model than the others.
    """
    tables_of = (_table(manifest, plan, number, work) for number in range(len(plan.inputs)))
    first = next(origin for origin in tables_of if isinstance(origin, Rows))
    if any(holds_images(column.type) for column in first.schema):
        rows = max(1, rows // WITH_IMAGES)
    blocks = draw_blocks(plan.rows, rows, seed)
    tables, numbers = list[pa.Table](), list[np.ndarray]()
    rules, scorers = row_rules(manifest), dict[str, str]()
    if manifest.scorer is not None:
        rules = {n: of for n, of in rules.items() if SCORE not in filters.find_rule(n, of).columns}
    for block in blocks:
        origin = _table(manifest, plan, block.input, work)
        _check_scorer(scorers, plan.inputs[block.input].uri, origin.scorer)
        rules = {name: of for name, of in rules.items() if origin.judges(name)}
        for table in _read(origin, block):
            tables.append(table)
            numbers.append(np.full(table.num_rows, block.number))
    if not tables or not sum(table.num_rows for table in tables):
        raise InputError(f"the sample is empty: {plan.total:,} rows, of which {rows:,} were to be read")
    names = _shared(tables)
    chosen = [table.select(names) for table in tables]
    joined = pa.concat_tables(chosen, promote_options="default").combine_chunks()
    drawn = Sampled(np.concatenate(numbers), _all_rows(plan, blocks, joined.num_rows))
    return DrawnSample(joined, drawn, rules, len({block.input for block in blocks}))


def _table(manifest: Manifest, plan: Plan, number: int, work: Path) -> Rows | UnreadableInput:
    origin = open_origin(plan.inputs[number], manifest, work)
    if not isinstance(origin, Rows | UnreadableInput):
        raise InputError(f"{plan.inputs[number].uri} is no table: thresholds are measured on rows of tables")
    return origin


def _read(origin: Rows | UnreadableInput, block: Block) -> Iterator[pa.Table]:
    for table in origin.read(block.start, block.stop):
        yield set_column(table, "image", pa.nulls(table.num_rows, SAMPLE.field("image").type))


def _shared(tables: Sequence[pa.Table]) -> list[str]:
    """The columns that all tables have."""
    return [name for name in tables[0].column_names if all(name in table.column_names for table in tables)]


def _all_rows(plan: Plan, blocks: Sequence[Block], records: int) -> int:
    """How many records all inputs give, as many a row as those that were read."""
    read = sum(block.stop - block.start for block in blocks)
    return round(plan.total * records / read)


def _check_scorer(scorers: dict[str, str], uri: str, told: str) -> None:
    """See that all that was scored by `curate score` was scored by one model."""
    if not told:
        return
    scorers.setdefault(told, uri)
    if len(scorers) > 1:
        one, other = scorers.items()
        raise InputError(
            f"{one[1]} has the scores of {one[0]}, {other[1]} those of {other[0]}: one threshold cannot serve both"
        )
