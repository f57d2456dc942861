"""Shards read for packing: rows tokenised, judged, and drawn as often as the mixture wants."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from curate.errors import DamagedError
from curate.packing.buckets import draw, shares
from curate.packing.encode import Encoded, encode, truncate
from curate.packing.mix import Amount, Group
from curate.packing.sequences import SAMPLES
from curate.packing.settings import PackSettings
from curate.packing.tokenizer import Tokenizer
from curate.schema import DROPPED
from curate.storage.dataset import DataSet
from curate.storage.filesystems import one_line

Ints = npt.NDArray[np.int64]
Bools = npt.NDArray[np.bool_]

TEXTS = ("task", "dataset", "prompt", "target")


class Reader:
    """The rows of a data set, in order. `reasons`, `dropped` and `packed` say what became of them."""

    def __init__(self, data: DataSet, settings: PackSettings, tokenizer: Tokenizer) -> None:
        self.data = data
        self.settings = settings
        self.tokenizer = tokenizer
        self.reasons: Counter[str] = Counter()
        self.dropped: list[pa.Table] = []  # of DROPPED; rows that the mixture leaves out are only counted
        self.packed = 0
        self.memory = 0  # bytes of all columns, uncompressed, of what was read last

    def amounts(self, count_tokens: bool) -> dict[Group, Amount]:
        """How much there is of each data set and task; tokens are zero unless they are counted."""
        found: dict[Group, Amount] = {}
        for table in self._tables(TEXTS if count_tokens else TEXTS[:2]):
            lengths = np.zeros(table.num_rows, np.int64)
            if count_tokens:
                lengths = self._encode(table).lengths()
            for group, rows in _groups(table).items():
                old = found.get(group, Amount())
                found[group] = Amount(old.samples + len(rows), old.tokens + int(lengths[rows].sum()))
        return found

    def samples(self, epochs: Mapping[Group, float]) -> Iterator[pa.Table]:
        """The rows as SAMPLES, each as often as its group is seen."""
        number = 0
        image = ["image.bytes"] if self.settings.embed_images else []
        columns = (*TEXTS, "key", "image.path", *image, "source", "url", "text")
        for table in self._tables(columns):
            rows = np.arange(number, number + table.num_rows)
            number += table.num_rows
            encoded = self._encode(table)
            sound = self._judge(table, encoded)
            copies = self._copies(table, rows, epochs)
            self.reasons["left_out_by_mix"] += int((sound & (copies == 0)).sum())
            self.packed += int((sound & (copies > 0)).sum())
            drawn = np.repeat(np.arange(table.num_rows), np.where(sound, copies, 0))
            again = np.arange(len(drawn)) - np.searchsorted(drawn, drawn)  # which copy of its row
            order = draw(self.settings.seed, 1, rows[drawn] * 1024 + again)
            yield self._samples(table, encoded, drawn, order)
        self.reasons += Counter()  # without the zeros

    def _tables(self, columns: tuple[str, ...]) -> Iterator[pa.Table]:
        self.memory = 0
        for file in self.data.files:
            with file.open() as parquet:
                for group in range(parquet.num_row_groups):
                    self.memory += parquet.metadata.row_group(group).total_byte_size
                    try:
                        yield parquet.read_row_group(group, columns=list(columns))
                    except (OSError, ValueError) as error:
                        raise DamagedError(
                            f"{file.uri} is damaged in row group {group}: {one_line(error)}; `curate verify` on "
                            "its folder names every damaged file"
                        ) from None

    def _encode(self, table: pa.Table) -> Encoded:
        prompt, target = (table[name].combine_chunks().fill_null("") for name in ("prompt", "target"))
        encoded = encode(prompt, target, self.tokenizer, self.settings.image_tokens)
        return truncate(encoded, self.tokenizer, self.settings.seq_len) if self.settings.truncate else encoded

    def _judge(self, table: pa.Table, encoded: Encoded) -> Bools:
        """Which rows can be packed; the others are noted with their reason."""
        lengths = encoded.lengths()
        image, target = table["image"].combine_chunks(), table["target"].combine_chunks()
        shown = self._image_starts(encoded) >= 0
        there = _bools(pc.is_valid(pc.struct_field(image, "bytes" if self.settings.embed_images else "path")))
        faults = {
            "text_missing": _bools(pc.equal(pc.binary_length(target), 0).fill_null(True)),
            "image_missing": shown & ~there,
            "sample_too_long": lengths > self.settings.seq_len,
        }
        sound = np.ones(table.num_rows, bool)
        for reason, fault in faults.items():
            rows = np.flatnonzero(fault & sound)
            sound[rows] = False
            self._drop(table, rows, reason, [f"tokens={lengths[row]}" for row in rows])
        return sound

    def _drop(self, table: pa.Table, rows: Ints, reason: str, detail: list[str]) -> None:
        if not len(rows):
            return
        self.reasons[reason] += len(rows)
        some = table.select(["key", "source", "url", "text"]).take(pa.array(rows))
        made = {"stage": ["pack"] * len(rows), "reason": [reason] * len(rows), "detail": detail}
        for name, values in made.items():
            some = some.append_column(name, pa.array(values, pa.string()))
        self.dropped.append(some.select(DROPPED.names).cast(DROPPED))

    def _copies(self, table: pa.Table, rows: Ints, epochs: Mapping[Group, float]) -> Ints:
        """How often each row is drawn: its group's epochs, the fraction by a coin that the seed tosses."""
        wanted = np.zeros(table.num_rows)
        for group, mine in _groups(table).items():
            wanted[mine] = epochs[group]
        coin = shares(draw(self.settings.seed, 0, rows))
        copies: Ints = (np.floor(wanted) + (coin < wanted % 1)).astype(np.int64)
        return copies

    def _image_starts(self, encoded: Encoded) -> Ints:
        """The token, counted from its sample's first, at which its image stands; -1 for none (N)."""
        places = np.flatnonzero(encoded.tokens == self.tokenizer.markers["<img>"])
        sample = np.searchsorted(encoded.starts, places, side="right") - 1
        starts = np.full(len(encoded.starts) - 1, -1)
        starts[sample[::-1]] = (places - encoded.starts[sample])[::-1]
        return starts

    def _samples(
        self, table: pa.Table, encoded: Encoded, drawn: Ints, order: npt.NDArray[np.uint64]
    ) -> pa.Table:
        taken = encoded.take(drawn)
        rows = pa.array(drawn)
        image = table["image"].combine_chunks().take(rows)
        start = self._image_starts(taken)
        embed = self.settings.embed_images
        data = pc.struct_field(image, "bytes") if embed else pa.nulls(len(rows), pa.binary())
        edges = pa.array(taken.starts, pa.int64())
        columns = [
            table["task"].take(rows).cast(pa.string()),
            table["key"].take(rows),
            pa.LargeListArray.from_arrays(edges, pa.array(taken.tokens)),
            pa.LargeListArray.from_arrays(edges, pa.array(taken.loss)),
            data.cast(pa.large_binary()),
            pc.struct_field(image, "path"),
            pa.array(start, pa.int32(), mask=start < 0),
            pa.array(order),
        ]
        return pa.table(columns, schema=SAMPLES)


def _groups(table: pa.Table) -> dict[Group, Ints]:
    """The rows of each data set and task."""
    names = [table[name].cast(pa.string()).fill_null("").combine_chunks() for name in ("dataset", "task")]
    label = pc.binary_join_element_wise(*names, "\n")
    codes = label.dictionary_encode()
    code = codes.indices.to_numpy()
    found = {}
    for number, name in enumerate(codes.dictionary.to_pylist()):
        dataset, task = name.rsplit("\n", 1)
        found[dataset, task] = np.flatnonzero(code == number)
    return found


def _bools(values: pa.Array) -> Bools:
    bools: Bools = values.to_numpy(zero_copy_only=False).astype(bool)
    return bools
