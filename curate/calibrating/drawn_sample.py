"""Read a sample of a data set's rows, in the same way as a run reads them."""

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

WITH_IMAGES = 10  # rows that hold their images are slow to read: the sample has so many times fewer of them


@dataclass(frozen=True)
class DrawnSample:
    """N rows of a data set, drawn by blocks."""

    rows: pa.Table  # SAMPLE's columns, and the source's columns that rules read
    drawn: Sampled
    rules: dict[str, dict[str, Any]]  # the rules that can be judged: every input has their columns
    settled: frozenset[str]  # the rules that `curate select` has judged in some of the inputs
    inputs: int  # how many inputs the rows are from


def read_sample(manifest: Manifest, plan: Plan, rows: int, seed: int, work: Path) -> DrawnSample:
    """Read about `rows` rows, spread over all inputs; a tenth of that if the first input holds images.

    Args:
        manifest: says how inputs are read, and the rules.
        plan: the inputs and their rows.
        rows: about how many rows to read.
        seed: the seed with which rows are drawn.
        work: a folder for temporary files.

    Raises:
        InputError: an input cannot be read or is no table, the sample is empty, or inputs hold scores of several
            models.
    """
    tables_of = (_table(manifest, plan, number, work) for number in range(len(plan.inputs)))
    first = next(origin for origin in tables_of if isinstance(origin, Rows))
    if any(holds_images(column.type) for column in first.schema):
        rows = max(1, rows // WITH_IMAGES)
    blocks = draw_blocks(plan.rows, rows, seed)
    tables, numbers = list[pa.Table](), list[np.ndarray]()
    rules, scorers, settled = row_rules(manifest), dict[str, str](), set[str]()
    if manifest.scorer is not None:
        rules = {n: of for n, of in rules.items() if SCORE not in filters.find_rule(n, of).columns}
    for block in blocks:
        origin = _table(manifest, plan, block.input, work)
        _check_scorer(scorers, plan.inputs[block.input].uri, origin.scorer)
        rules = {name: of for name, of in rules.items() if origin.judges(name)}
        settled.update(origin.settled)
        for table in _read(origin, block):
            tables.append(table)
            numbers.append(np.full(table.num_rows, block.number))
    if not tables or not sum(table.num_rows for table in tables):
        raise InputError(f"the sample is empty: {plan.total:,} rows, of which {rows:,} were to be read")
    names = _shared(tables)
    chosen = [table.select(names) for table in tables]
    joined = pa.concat_tables(chosen, promote_options="default").combine_chunks()
    drawn = Sampled(np.concatenate(numbers), _all_rows(plan, blocks, joined.num_rows))
    return DrawnSample(joined, drawn, rules, frozenset(settled), len({block.input for block in blocks}))


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
    """Estimate how many records all inputs give: in the same proportion to rows as in what was read."""
    read = sum(block.stop - block.start for block in blocks)
    return round(plan.total * records / read)


def _check_scorer(scorers: dict[str, str], uri: str, told: str) -> None:
    """Check that all inputs with scores of `curate score` have those of the same model (`told`; empty: no scores).

    Raises:
        InputError: two inputs have scores of different models.
    """
    if not told:
        return
    scorers.setdefault(told, uri)
    if len(scorers) > 1:
        one, other = scorers.items()
        raise InputError(
            f"{one[1]} has the scores of {one[0]}, {other[1]} those of {other[0]}: one threshold cannot serve both"
        )
