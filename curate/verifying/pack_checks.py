"""Check one file of packs by itself: its metadata, and every sequence."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from typing import Any

import msgspec
import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from curate.packing.sequences import pack_schema
from curate.storage.image_places import REFERENCES
from curate.storage.store import Store
from curate.verifying.parquet_checks import file_problems
from curate.verifying.referred import reference_problems

Tally = dict[str, Counter[str]]  # by task: sequences, tokens, samples


class ExpectedPacks(msgspec.Struct, frozen=True):
    """The values of the manifest of packs that its files are compared with."""

    digest: str
    tokenizer: dict[str, Any]
    seq_len: int
    grids: bool  # whether a column holds the images' grids
    references: bool  # whether the images stay in the shards, and a column holds their byte ranges

    @classmethod
    def of(cls, manifest: Mapping[str, Any]) -> ExpectedPacks:
        """Take the values from this manifest (the whole of `_manifest.json`)."""
        cost = manifest.get("dialect", {}).get("cost", {})
        return cls(
            str(manifest.get("plan")),
            manifest["tokenizer"],
            manifest["settings"]["seq_len"],
            cost.get("rule") == "smart_resize",
            manifest["settings"].get("images") == "reference",
        )

    def check(self, folder: str, children: int) -> PackCheck:
        """Make the object that checks files of these packs; `children` is not used, as images are not decoded."""
        return PackCheck(folder, self)


class CheckedPack(msgspec.Struct, frozen=True):
    """The result for one file: its problems, and its numbers of sequences, tokens and samples by task."""

    path: str
    problems: list[str]
    tally: dict[str, dict[str, int]]


class PackCheck:
    """Checks files of packs, one after the other."""

    def __init__(self, folder: str, expected: ExpectedPacks) -> None:
        self._store, self._expected = Store(folder), expected

    def __call__(self, listed: Mapping[str, Any]) -> CheckedPack:
        """Check a file; `listed` is its entry with `path`, `rows`, `bytes` and `sha256`."""
        tally: Tally = {}

        def look(reader: pq.ParquetFile) -> Iterator[str]:
            return _pack_problems(reader, self._expected, tally)

        schema = pack_schema(self._expected.grids, self._expected.references)
        problems = list(file_problems(self._store, listed, schema, look))
        return CheckedPack(listed["path"], problems, {task: dict(counts) for task, counts in tally.items()})

    def close(self) -> None:
        """Do nothing: no child process was started."""


def _pack_problems(reader: pq.ParquetFile, expected: ExpectedPacks, tally: Tally) -> Iterator[str]:
    told = msgspec.json.decode((reader.schema_arrow.metadata or {}).get(b"curate", b"{}"))
    seq_len, vocabulary = expected.seq_len, expected.tokenizer["vocabulary"]
    if (told.get("tokenizer"), told.get("seq_len")) != (expected.tokenizer, seq_len):
        yield "its schema's metadata are not of these packs"
    problems: dict[str, None] = {}
    for group in range(reader.num_row_groups):
        table = reader.read_row_group(group)
        problems |= dict.fromkeys(_sequence_problems(table, seq_len, vocabulary))
        if expected.references:
            problems |= dict.fromkeys(reference_problems(table[REFERENCES.name].combine_chunks()))
        _count(table, tally)
    yield from problems


def _sequence_problems(table: pa.Table, seq_len: int, vocabulary: int) -> Iterator[str]:
    """Yield what is wrong with sequences, each kind of problem once."""
    tokens, segments, images = (table[name].combine_chunks() for name in ("tokens", "segments", "images"))
    lengths = _lengths(tokens)
    if (lengths > seq_len).any():
        yield f"a sequence has more than {seq_len} tokens"
    if (lengths != _lengths(table["loss_mask"].combine_chunks())).any():
        yield "a loss mask is not as long as its tokens"
    flat = tokens.flatten().to_numpy(zero_copy_only=False)
    if len(flat) and not 0 <= flat.min() <= flat.max() < vocabulary:
        yield "a token is not of the tokenizer"
    counts, bounds = _lengths(segments), segments.flatten().to_numpy(zero_copy_only=False)
    if (counts != _lengths(table["keys"].combine_chunks()) + 1).any() or (counts < 2).any():
        yield "segments and keys do not go together"
    else:
        last = np.cumsum(counts) - 1
        inner = np.delete(np.arange(len(bounds)), last)
        if (
            bounds[last - counts + 1].any()
            or (bounds[last] != lengths).any()
            or (bounds[inner] >= bounds[inner + 1]).any()
        ):
            yield "segments do not cut a sequence into samples"
    starts = images.flatten().field("start").to_numpy(zero_copy_only=False)
    if ((starts < 0) | (starts >= np.repeat(lengths, _lengths(images)))).any():
        yield "an image stands outside its sequence"


def _lengths(lists: pa.ListArray) -> npt.NDArray[np.int64]:
    return np.asarray(pc.list_value_length(lists).fill_null(0).to_numpy(zero_copy_only=False), np.int64)


def _count(table: pa.Table, tally: Tally) -> None:
    """Add the numbers of sequences, tokens and samples by task to `tally`."""
    counted = (
        pa.table(
            {
                "task": table["task"].cast(pa.string()),
                "tokens": pc.list_value_length(table["tokens"]),
                "samples": pc.list_value_length(table["keys"]),
            }
        )
        .group_by("task")
        .aggregate([("tokens", "count"), ("tokens", "sum"), ("samples", "sum")])
    )
    for row in counted.to_pylist():
        tally.setdefault(row["task"], Counter()).update(
            sequences=row["tokens_count"], tokens=row["tokens_sum"], samples=row["samples_sum"]
        )
