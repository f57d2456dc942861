"""The jobs of packing that a worker process runs: count a slice of the shards, spill it, write a pack."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from functools import cached_property
from itertools import pairwise
from typing import Any, TypeVar

import msgspec
import numpy as np
import pyarrow as pa

from curate.engine.kept_results import keep_result
from curate.engine.record import Meter
from curate.engine.runners import OfflineRun
from curate.engine.worker import JobWorker
from curate.images.foreign_rows import ForeignRows
from curate.packing.assembly import Assembler
from curate.packing.mix import Amount, Group
from curate.packing.read import SampleReader
from curate.packing.sequence_layout import PARTS
from curate.packing.sequences import pack_schema
from curate.packing.settings import PackSettings
from curate.packing.spill import KINDS, SpillReader, SpillWriter
from curate.packing.tokenizer import Tokenizer, load
from curate.packing.write import about, write_pack
from curate.schema import DROPPED
from curate.storage.dataset import DataSet
from curate.storage.shards import Shard
from curate.storage.store import Store
from curate.tasks.dialect import Dialect
from curate.tasks.formats import QWEN_VL

FOLDER = "_run/pack"
TERMS = f"{FOLDER}/terms.json"
FILES_PLAN = f"{FOLDER}/files.arrow"  # the row groups (PARTS) of all packs, in order
SLICE_ROWS = (2**12, 2**20)  # the least and the most rows of a slice; a larger shard is a slice of its own
SLICES = 1024  # about as many slices, unless SLICE_ROWS decides
TOKEN_BYTES = 4.125  # of a token and its loss


class Counted(msgspec.Struct, frozen=True):
    """The result of the job `count`: what a slice holds."""

    number: int
    memory: int  # bytes of all columns, uncompressed
    repeated: bool  # whether several rows show one image
    amounts: list[tuple[str, str, int, int]]  # data set, task, samples, tokens
    drawn: int = 0  # bytes that its tokens take as samples, as far as its columns tell


class Spilled(msgspec.Struct, frozen=True):
    """The result of the job `spill`: how many rows of a slice are packed and dropped."""

    number: int
    packed: int
    reasons: dict[str, int]  # dropped rows by reason
    dropped: int  # rows in the file of dropped rows
    too_long: dict[int, int] = {}  # samples longer than a sequence, by the power of two of tokens they fit in
    longest: int = 0  # tokens of the longest of these


class Packed(msgspec.Struct, frozen=True):
    """The result of the job `assemble`: a pack that is written."""

    number: int
    file: Shard


Made = TypeVar("Made", Counted, Spilled, Packed)


class PackTerms(msgspec.Struct, frozen=True):
    """What is decided once all slices are counted."""

    epochs: list[tuple[str, str, float]]  # data set, task, how often its samples are seen
    buckets: int
    by_image: bool  # whether samples of one image are put in one row group, which stores the image once

    @property
    def tasks(self) -> list[str]:
        """All tasks, in alphabetical order."""
        return sorted({task for _, task, _ in self.epochs})


class PackRun(OfflineRun, frozen=True, kw_only=True, dict=True):
    """All that a worker process must know of a packing."""

    identity: str  # of the inputs, the settings and the folder
    out: str
    data: DataSet
    settings: PackSettings
    dialect: Dialect
    tokenizer_file: bytes | None  # a file's content; None: Qwen's, which ships with curate
    needs_tokens: bool  # whether tokens must be counted before anything is drawn

    @property
    def grids(self) -> bool:
        """Whether images are grids of patches."""
        return bool(self.dialect.cost.rule == "smart_resize")

    @property
    def references(self) -> bool:
        """Whether images stay in their shards, and the packs say where they are."""
        return self.settings.images == "reference"

    @cached_property
    def slices(self) -> list[range]:
        """The files of each slice, as ranges of file numbers."""
        return slices(self.data.file_rows)

    def describe(self, tokenizer: Tokenizer) -> dict[str, Any]:
        """Return what a pack's metadata says: the tokenizer, and the dialect unless it is Qwen-VL's."""
        said: dict[str, Any] = {"tokenizer": tokenizer.describe()}
        if self.dialect.name == QWEN_VL.name:
            return said
        cost = {name: value for name, value in self.dialect.describe()["cost"].items() if value}
        dialect = {"name": self.dialect.name, "digest": self.dialect.digest, "cost": cost}
        return said | {"dialect": dialect | {"boxes_fit_one_setting": self.dialect.one_setting}}


def slices(rows: np.ndarray) -> list[range]:
    """Cut files (`rows`: the rows of each) into slices of neighbours, each with about a thousandth of all rows."""
    low, high = SLICE_ROWS
    size = min(max(int(rows.sum()) // SLICES, low), high)
    number = (np.cumsum(rows) - rows) // size
    starts = np.flatnonzero(np.diff(number, prepend=-1))
    return [range(a, b) for a, b in zip(starts.tolist(), [*starts[1:].tolist(), len(rows)], strict=True)]


def spill_names(number: int) -> dict[str, str]:
    """Name the two temporary files of a slice: kind (`light`, `heavy`) -> name."""
    return {kind: f"{FOLDER}/{kind}/{number:06d}.arrow" for kind in KINDS}


def dropped_name(number: int) -> str:
    """Name the temporary file with the dropped rows of a slice."""
    return f"{FOLDER}/dropped/{number:06d}.arrow"


class Packer(JobWorker):
    """Runs the jobs of one packing in a worker process."""

    def __init__(
        self, run: PackRun, meter: Meter, children: int, scorers: Sequence[Any] = (), exchange: Any = None
    ) -> None:
        super().__init__(run.out)
        self.run, self.store, self._meter = run, Store(run.out), meter
        self._assembler: Assembler | None = None
        self._foreign = ForeignRows(max(1, children))

    def watch(self, meter: Meter) -> None:
        """See `JobWorker.watch`."""
        self._meter = meter

    def close(self) -> None:
        """See `JobWorker.close`."""
        self._foreign.close()
        if self._assembler is not None:
            self._assembler.close()

    def count(self, number: int) -> Counted:
        """Count the samples, and tokens if need be, of slice `number`."""
        reader = self._reader(number)
        found = reader.amounts(self.run.needs_tokens)
        amounts = [(*group, *amount) for group, amount in found.items()]
        drawn = int(reader.tokens * TOKEN_BYTES)
        return self._kept("count", Counted(number, reader.memory, reader.repeated, amounts, drawn))

    def spill(self, number: int) -> Spilled:
        """Turn the rows of slice `number` into samples, and write these to the slice's files, bucket by bucket."""
        terms = self._terms
        reader = self._reader(number, terms.by_image)
        writer = SpillWriter(terms.buckets, terms.tasks)
        epochs: dict[Group, float] = {(dataset, task): seen for dataset, task, seen in terms.epochs}
        try:
            for samples in reader.samples(epochs):
                writer.add(samples)
                self._meter.add(scanned=samples.num_rows)
            writer.publish(self.store, spill_names(number))
        finally:
            writer.close()
            pa.default_memory_pool().release_unused()  # what comes next needs memory of other sizes
        if reader.dropped:
            self._write_dropped(number, reader.dropped)
        rows = sum(table.num_rows for table in reader.dropped)
        spilled = Spilled(
            number, reader.packed, dict(reader.reasons), rows, dict(reader.too_long), reader.longest
        )
        return self._kept("spill", spilled)

    def assemble(self, number: int) -> Packed:
        """Write pack `number`."""
        plan = self._files_plan
        first, stop = np.searchsorted(plan["file"].to_numpy(), [number, number + 1])
        mine = plan.slice(first, stop - first)
        group = mine["group"].to_numpy()
        parts = [*zip(*(mine[name].to_pylist() for name in ("bucket", "start", "stop")), strict=True)]
        if self._assembler is None:
            self._assembler = self._open_assembler()
        assembler = self._assembler
        edges = [*np.flatnonzero(np.diff(group, prepend=-1)).tolist(), len(group)]
        said = about(self.run.settings, self.run.describe(self._tokenizer))
        schema = pack_schema(self.run.grids, self.run.references).with_metadata(said)
        groups = (assembler.group(parts[a:b]) for a, b in pairwise(edges))
        file = write_pack(self.store, number, groups, schema, self._terms.by_image)
        self._meter.add(bytes=file.bytes, sequences=file.rows)
        return self._kept("assemble", Packed(number, file))

    def _kept(self, kind: str, result: Made) -> Made:
        """Write a job's result, so that the job is not done again, and return it."""
        return keep_result(self.store, FOLDER, kind, result)

    def _reader(self, number: int, by_image: bool = False) -> SampleReader:
        run = self.run
        files = run.slices[number]
        return SampleReader(
            run.data, files, run.settings, self._tokenizer, run.dialect, self._foreign, by_image
        )

    def _open_assembler(self) -> Assembler:
        names = [spill_names(number)["heavy"] for number in range(len(self.run.slices))]
        heavy = SpillReader(self.store, names, "heavy", self._terms.buckets)
        run = self.run
        return Assembler(run.data, self.store, heavy, self._terms.tasks, run.grids, run.references)

    def _write_dropped(self, number: int, tables: list[pa.Table]) -> None:
        def fill(sink: Any) -> None:
            with pa.ipc.new_stream(pa.PythonFile(sink, mode="w"), PLAIN_DROPPED) as stream:
                for table in tables:
                    stream.write_table(table.cast(PLAIN_DROPPED).combine_chunks())

        self.store.write(dropped_name(number), fill)

    @cached_property
    def _tokenizer(self) -> Tokenizer:
        settings = self.run.settings
        return load(
            settings.tokenizer,
            settings.end_token,
            settings.image_pad,
            self.run.dialect,
            self.run.tokenizer_file,
        )

    @cached_property
    def _terms(self) -> PackTerms:
        return msgspec.json.decode(self.store.read_bytes(TERMS) or b"", type=PackTerms)

    @cached_property
    def _files_plan(self) -> pa.Table:
        data = self.store.read_bytes(FILES_PLAN) or b""
        return pa.ipc.open_file(pa.py_buffer(data)).read_all().cast(PARTS)


PLAIN_DROPPED = pa.schema([(field.name, pa.string()) for field in DROPPED])  # while packing goes on


def read_dropped(store: Store, number: int) -> list[pa.Table]:
    """Read the dropped rows (DROPPED) of a slice: a table for each row group that has any."""
    data = store.read_bytes(dropped_name(number))
    if data is None:
        return []
    return [pa.Table.from_batches([batch]).cast(DROPPED) for batch in pa.ipc.open_stream(pa.py_buffer(data))]


def total(counted: Sequence[Counted]) -> dict[Group, Amount]:
    """Sum the amounts of all slices by data set and task, in the order in which these occur."""
    found: dict[Group, Amount] = {}
    for one in counted:
        for dataset, task, samples, tokens in one.amounts:
            old = found.get((dataset, task), Amount())
            found[dataset, task] = Amount(old.samples + samples, old.tokens + tokens)
    return found


def reasons_of(spilled: Sequence[Spilled]) -> Counter[str]:
    """Return how many rows were dropped for each reason."""
    found: Counter[str] = Counter()
    for one in spilled:
        found.update(one.reasons)
    return found


def too_long_of(spilled: Sequence[Spilled]) -> dict[str, Any]:
    """Return the manifest's entry about samples longer than a sequence; empty if there are none.

    It counts them by the power of two of tokens that they fit in, and gives the tokens of the longest.
    """
    found: Counter[int] = Counter()
    for one in spilled:
        found.update(one.too_long)
    if not found:
        return {}
    by_seq_len = {str(power): count for power, count in sorted(found.items())}
    return {"too_long": {"longest": max(one.longest for one in spilled), "by_seq_len": by_seq_len}}
