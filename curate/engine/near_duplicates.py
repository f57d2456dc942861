"""Near duplicates across a run: of images that look alike, by the features of the run's scorer, the first one stays.

After all units are staged, each slice of the run spills the features of its kept rows (`curate.engine.near_features`).
Up to `filters.near_duplicate.EXACT_ROWS` rows are then compared by one process. With more rows there are four steps:
one process finds the clusters of the features; any number of processes make codes of blocks of rows; any number of
processes search, for each block, among all rows before it; and one process goes through all rows in source order and
decides which stay (`filters.near_duplicate_parts`). A run with few workers skips the two steps by blocks: the last
process then finds the same by itself, with less work in all. The verdicts are written by slice, like those of
`curate.engine.across`, and do not depend on how rows are divided. Each process that searches has an index of all rows
in memory; a process that does everything, only one of the rows that stay.
"""

from __future__ import annotations

import io
import os
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from functools import cached_property

import msgspec
import numpy as np
import pyarrow as pa

import filters.near_duplicate as near
from curate.engine.across import VERDICT, Across
from curate.engine.near_features import (
    NearPlan,
    SliceFeatures,
    StoredFeatures,
    parts_of,
    read_places,
    read_spilled,
)
from curate.engine.records import in_parallel
from curate.errors import MachineError
from curate.storage.batch_files import read_batch, read_sealed, write_batches, write_sealed
from curate.storage.store import Store
from filters.near_duplicate_index import Clusters, Matrix, NearIndex, Rows, floor
from filters.near_duplicate_parts import CODE_BYTES, NearSearch, Proposals, Proposed, encoded

RULE, PHASE = "near_duplicate", "near"
PLAN, CLUSTERS = "_run/near/plan.json", "_run/near/clusters.npy"
FAISS = (1, 14)
VERDICTS = VERDICT.append(pa.field("detail", pa.string()))
PROPOSALS = pa.schema([("row", pa.int16()), ("other", pa.int64()), ("similarity", pa.float32())])


def codes_name(block: int) -> str:
    """Return the name of the file with a block's codes."""
    return f"_run/near/codes-{block:06d}.faiss"


def read_plan(store: Store) -> NearPlan | None:
    """Return how the run's rows are compared; None before `NearDuplicates.plan` has decided it."""
    data = read_sealed(store, PLAN)
    return None if data is None else msgspec.json.decode(data, type=NearPlan)


def index_bytes(plan: NearPlan) -> int:
    """Return how many bytes of memory an index of all rows takes."""
    return plan.rows * (plan.dimension // 8 + CODE_BYTES)


class NearDuplicates:
    """The parts of the search that one process does in the phase `near` of a run; it keeps its index between blocks."""

    def __init__(self, store: Store, phase: Across) -> None:
        self._store, self._phase = store, phase
        self._most: float = phase.rules[RULE]["max_similarity"]
        self._merged = 0  # how many blocks the index has the codes of

    def plan(self) -> None:
        """Decide how the rows are compared, after every slice has spilled; with an index, find the rows' clusters.

        Raises:
            MachineError: faiss is needed and missing.
        """
        names = map(self._phase.spill_name, range(self._phase.slices))
        slices: list[SliceFeatures] = list(in_parallel(lambda name: read_spilled(self._store, name), names))
        many = sum(one.kept for one in slices) > near.EXACT_ROWS
        plan = NearPlan(slices, many and any(one.dimension for one in slices))
        if plan.indexed:
            with _faiss(plan.rows, all_cores=True):
                take = StoredFeatures(self._store, plan).take
                clusters = Clusters.trained(plan.rows, plan.dimension, take)
            data = io.BytesIO()
            np.save(data, np.concatenate([clusters.centres, clusters.rotation]), allow_pickle=False)
            write_sealed(self._store, CLUSTERS, data.getvalue())
        write_sealed(self._store, PLAN, msgspec.json.encode(plan))

    def encode(self, block: int) -> None:
        """Compute and write the codes of a block's rows."""
        rows = self._plan.block(block)
        with _faiss(self._plan.rows):
            codes = encoded(self._clusters, map(self._features.part, parts_of(rows)), rows.start)
        write_sealed(self._store, codes_name(block), codes.tobytes())

    def search(self, block: int) -> None:
        """Find earlier rows that a block's rows may be similar to, and compare them.

        The results are written as PROPOSALS, one record batch for each part.
        """
        found = self._index(block + 1)
        parts = ((rows, self._features.part(rows)) for rows in parts_of(self._plan.block(block)))
        tables = (_table(found.before(part, rows.start)) for rows, part in parts)
        write_batches(self._store, self._phase.partition_name(block), PROPOSALS, tables)

    def settle(self) -> None:
        """Go through all rows in source order, and write the verdicts of each slice."""
        with _faiss(self._plan.rows, all_cores=True) if self._plan.indexed else nullcontext():
            fell, witness, similarity = self._fallen()
        stays = np.unique(witness)
        keys = self._keys(stays)
        bounds = np.searchsorted(fell, self._plan.starts)
        for number in range(self._phase.slices):
            mine = slice(*bounds[number : number + 2].tolist())
            alike = keys.take(pa.array(np.searchsorted(stays, witness[mine]))).to_pylist()
            told = zip(similarity[mine].tolist(), alike, strict=True)
            detail = pa.array([f"similarity={cosine:.4f} to {key}" for cosine, key in told], pa.string())
            rows = fell[mine] - self._plan.starts[number]
            places = self._places(number, rows) if len(rows) else VERDICTS.empty_table()
            reasons = pa.array([RULE] * len(rows), pa.string())
            table = pa.table([places["unit"], places["row"], reasons, detail], VERDICTS.names).cast(VERDICTS)
            write_batches(self._store, self._phase.verdict_name(number), VERDICTS, [table])

    def release(self) -> None:
        """Free the memory of the index."""
        self.__dict__.pop("_searched", None)
        self._merged = 0

    def _fallen(self) -> tuple[Rows, Rows, Matrix]:
        """Return the rows to drop (numbers, ascending), the row that each is similar to, and their cosine."""
        plan, first, take = self._plan, 0, self._features.take
        found = [(np.zeros(0, np.int64), np.zeros(0, np.int64), np.zeros(0, np.float32))]
        kept: near.RowsThatStay = near.Compared(max(1, plan.dimension))
        parts: Iterator[Matrix] = map(self._features.part, filter(len, plan.parts()))
        if plan.indexed and not self._is_searched():
            kept = NearIndex(self._clusters, take, floor(self._most, plan.dimension))
        elif plan.indexed:
            kept = proposed = Proposed(plan.rows, lambda: self._index(plan.blocks))
            parts = self._expected(proposed)
        for witness, similarity in near.judged(parts, kept, self._most):
            fell = np.flatnonzero(witness != near.NOBODY)
            found.append((fell + first, witness[fell], similarity[fell]))
            first += len(witness)
        rows, witnesses, cosines = map(np.concatenate, zip(*found, strict=True))
        return rows, witnesses, cosines

    def _is_searched(self) -> bool:
        """Return whether every block has been searched for."""
        there = set(self._store.names(f"_run/{PHASE}"))
        names = (self._phase.partition_name(block) for block in range(self._plan.blocks))
        return all(name.rsplit("/", 1)[-1] in there for name in names)

    def _expected(self, proposed: Proposed) -> Iterator[Matrix]:
        """Yield the features of each part, in order, after its proposals were passed to `proposed`."""
        for block in range(self._plan.blocks):
            for number, rows in enumerate(parts_of(self._plan.block(block))):
                table = read_batch(self._store, self._phase.partition_name(block), number)
                row, other, similarity = (table[name].to_numpy() for name in PROPOSALS.names)
                proposed.expect(Proposals(row.astype(np.int64), other, similarity))
                yield self._features.part(rows)

    def _index(self, blocks: int) -> NearSearch:
        """Return an index with the rows of the first `blocks` blocks, or more: rows behind a part do no harm."""
        with _faiss(self._plan.rows):
            while self._merged < blocks:
                codes = read_sealed(self._store, codes_name(self._merged)) or b""
                self._searched.merge(np.frombuffer(codes, np.uint8))
                self._merged += 1
            return self._searched

    def _keys(self, numbers: Rows) -> pa.Array:
        """Return the keys of these rows, whose numbers are ascending."""
        kept = [pa.array([], pa.string())]
        bounds = np.searchsorted(numbers, self._plan.starts)
        for number in np.flatnonzero(np.diff(bounds)).tolist():
            mine = numbers[bounds[number] : bounds[number + 1]] - self._plan.starts[number]
            kept.append(self._places(number, mine)["key"].combine_chunks())
        return pa.concat_arrays(kept)

    def _places(self, number: int, rows: Rows) -> pa.Table:
        """Return the places and keys of these rows of a slice (rows of SPILL)."""
        return read_places(self._store, self._phase.spill_name(number)).take(pa.array(rows)).combine_chunks()

    @cached_property
    def _plan(self) -> NearPlan:
        plan = read_plan(self._store)
        assert plan is not None
        return plan

    @cached_property
    def _features(self) -> StoredFeatures:
        return StoredFeatures(self._store, self._plan)

    @cached_property
    def _clusters(self) -> Clusters:
        matrix = np.load(io.BytesIO(read_sealed(self._store, CLUSTERS) or b""), allow_pickle=False)
        centres = len(matrix) - matrix.shape[1]
        return Clusters(np.ascontiguousarray(matrix[:centres]), np.ascontiguousarray(matrix[centres:]))

    @cached_property
    def _searched(self) -> NearSearch:
        return NearSearch(self._clusters, self._features.take, floor(self._most, self._plan.dimension))


def _table(found: Proposals) -> pa.Table:
    return pa.table([found.row.astype(np.int16), found.other, found.similarity], schema=PROPOSALS)


@contextmanager
def _faiss(rows: int, all_cores: bool = False) -> Iterator[None]:
    """Use faiss, with as many threads as the process has or with one for each core.

    Raises:
        MachineError: it is missing or too old.
    """
    try:
        import faiss

        if tuple(map(int, faiss.__version__.split(".")[:2])) < FAISS:
            raise ImportError  # older versions also search among rows that were excluded
        usual = faiss.omp_get_max_threads()
        if all_cores:
            faiss.omp_set_num_threads(len(os.sched_getaffinity(0)))
        try:
            yield
        finally:
            faiss.omp_set_num_threads(usual)
    except ImportError:
        needed = ".".join(map(str, FAISS))
        said = f"comparing {rows} rows needs faiss {needed} or later: pip install 'curate[dedup]' -c constraints.txt"
        raise MachineError(said) from None
