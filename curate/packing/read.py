"""Reads shards for packing: rows are tokenised, checked, and drawn as often as the mixture says."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Mapping

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from curate.errors import DamagedError, InputError
from curate.images.foreign_rows import ForeignRows
from curate.packing.buckets import draw, shares
from curate.packing.encode import Encoded, cut_in_pieces, truncate
from curate.packing.image_groups import RowGroups, as_dialogues, groups_of
from curate.packing.mix import Amount, Group
from curate.packing.sequences import SAMPLES
from curate.packing.settings import PackSettings
from curate.packing.shard_groups import FAULT, FAULT_DETAIL, ShardGroups
from curate.packing.shown import ShownImages, images_of, lists
from curate.packing.tokenizer import Tokenizer
from curate.packing.written import write
from curate.schema import DROPPED
from curate.storage.dataset import DataSet
from curate.storage.filesystems import one_line
from curate.storage.image_index import LEAVES, read_index
from curate.storage.shards import has_repeated
from curate.tasks.dialect import Dialect
from curate.tasks.fault_details import fault_details
from curate.tasks.image_cost import image_costs
from curate.tasks.shard_rows import is_text

Ints = npt.NDArray[np.int64]
Words = npt.NDArray[np.uint64]
Bools = npt.NDArray[np.bool_]

TEXTS = ("task", "dataset", "prompt", "target")
WRITTEN_FROM = (
    "language",
    "text",
    "regions",
    "width",
    "height",
    "image.path",
)  # what other dialects are written from, and prompts and targets that are handed on are judged by
SIDES = ("width", "height")
TALK = ("messages", "images", "regions")
PIECES = 1024  # so many copies of a row draw different places in the shuffle


class SampleReader:
    """Reads the rows of some files of a data set, in order, and counts what was packed and dropped, and why."""

    def __init__(
        self,
        data: DataSet,
        files: range,
        settings: PackSettings,
        tokenizer: Tokenizer,
        dialect: Dialect,
        foreign: ForeignRows,
        by_image: bool = False,
    ) -> None:
        self.data = data
        self.files = files
        self.settings = settings
        self.tokenizer = tokenizer
        self.dialect = dialect
        self.foreign = foreign
        self.reasons: Counter[str] = Counter()
        self.dropped: list[pa.Table] = []  # of DROPPED; rows that the mixture leaves out are only counted
        self.packed = 0
        self.too_long: Counter[int] = Counter()  # samples by the power of two of tokens that they fit in
        self.longest = 0  # tokens of the longest of these
        self.by_image = by_image  # whether samples of one image draw neighbouring places
        # Bytes of all columns, uncompressed, of what was read last, with an image for each row
        self.memory = 0
        self.tokens = 0  # of what `amounts` read last, as far as its columns tell: at least its images' pads
        self.repeated = False  # whether several rows of what was read last show one image

    def amounts(self, count_tokens: bool) -> dict[Group, Amount]:
        """Return the samples of each data set and task, and their tokens (0 unless `count_tokens`)."""
        found: dict[Group, Amount] = {}
        sides = tuple({*SIDES} & {*self.data.schema.names})
        columns = (*TEXTS, *self._written) if count_tokens else (*TEXTS[:2], *sides)
        self.tokens = 0
        foreign = self.foreign if count_tokens else None
        for _, table in self._tables(columns, False, foreign):
            lengths = np.zeros(table.num_rows, np.int64)
            if count_tokens:
                lengths = self._encode(table)[0].lengths()
            self.tokens += int(lengths.sum()) if count_tokens else pads(table, self.dialect)
            for group, rows in _groups(table).items():
                old = found.get(group, Amount())
                found[group] = Amount(old.samples + len(rows), old.tokens + int(lengths[rows].sum()))
        return found

    def samples(self, epochs: Mapping[Group, float]) -> Iterator[pa.Table]:
        """Yield the rows as SAMPLES, each as often as `epochs` says for its data set and task.

        Texts longer than a sequence come in pieces, unless the settings drop them.
        """
        number = int(self.data.file_rows[: self.files.start].sum())
        columns = (*TEXTS, *self._written, "key", "source", "url", "text")
        columns = tuple(dict.fromkeys(columns))
        for file, table in self._tables(columns, self.settings.images != "name", self.foreign):
            first = number
            number += table.num_rows
            shard_rows = table
            table, groups, (encoded, images, fault) = self._grouped(table)
            self._check_places(file, images)
            rows = first + groups.first
            sound = np.ones(table.num_rows, bool)
            for reason, fell, details in self._judged(table, encoded, images, fault):
                sound[fell] = False
                self._drop(shard_rows, groups, fell, reason, details)
            copies = self._copies(table, rows, epochs)
            self.reasons["left_out_by_mix"] += int(groups.sizes[sound & (copies == 0)].sum())
            self.packed += int(groups.sizes[sound & (copies > 0)].sum())
            pieces, whose = cut_in_pieces(encoded, self.settings.seq_len, self._cuttable(table))
            part = np.arange(len(whose)) - np.searchsorted(whose, whose)  # which piece of its row
            drawn = np.repeat(np.arange(len(whose)), np.where(sound, copies, 0)[whose])
            again = np.arange(len(drawn)) - np.searchsorted(drawn, drawn)  # which copy of its row
            place = rows[whose[drawn]] * PIECES + again
            order = draw(self.settings.seed, 1, place)
            later = part[drawn] > 0
            order[later] = draw(self.settings.seed, 3, place[later] + (part[drawn][later] << 40))
            if self.by_image:
                order = beside_their_image(
                    order, table["sha256"].take(pa.array(whose[drawn])), self.settings.seed
                )
            yield self._samples(table, pieces.take(drawn), whose[drawn], images, file, order)
        self.reasons += Counter()  # without the zeros

    def _check_places(self, file: int, images: ShownImages) -> None:
        """Refuse a shard whose images cannot be referred to, if the packs are to refer to them.

        Raises:
            InputError: the place of an image in the shard's file is not known.
        """
        if self.settings.images == "reference":
            lost = pc.and_(pc.is_valid(images.bytes), pc.is_null(images.place))
            if pc.any(lost, min_count=0).as_py():
                raise InputError(
                    f"{self.data.files[file].uri}: its images cannot be read by their places, as curate did not write "
                    "them: pack with --images embed"
                )

    @property
    def _written(self) -> tuple[str, ...]:
        """The columns, besides TEXTS, that are needed to write samples."""
        talk = TALK if set(TALK) <= set(self.data.schema.names) else ()
        asked = ("sha256",) if self.settings.group or self.by_image else ()
        return (*WRITTEN_FROM, *talk, *asked)

    @property
    def _mark(self) -> int | None:
        """The token before an image's first pad, if the dialect has one."""
        before = [token for token in self.tokenizer.special if token in self.dialect.image.before]
        return self.tokenizer.special[max(before, key=len)] if before else None

    def _tables(
        self, columns: tuple[str, ...], places: bool, foreign: ForeignRows | None
    ) -> Iterator[tuple[int, pa.Table]]:
        """Yield the row groups, each with the number of its file; for the arguments see `ShardGroups`."""
        self.memory, self.repeated = 0, False
        sides = self.dialect.cost.rule != "constant"
        for number in self.files:
            file = self.data.files[number]
            with file.open() as parquet:
                if has_repeated(parquet):
                    self.repeated = True
                    self.memory += shown_bytes(parquet)
                groups = ShardGroups(file, parquet, columns, places, sides, foreign)
                for group in range(parquet.num_row_groups):
                    self.memory += parquet.metadata.row_group(group).total_byte_size
                    try:
                        yield number, groups.read(group)
                    except (OSError, ValueError) as error:
                        raise DamagedError(
                            f"{file.uri} is damaged in row group {group}: {one_line(error)}; `curate verify` on "
                            "its folder names every damaged file"
                        ) from None

    def _grouped(self, table: pa.Table) -> tuple[pa.Table, RowGroups, tuple[Encoded, ShownImages, pa.Array]]:
        """Group rows by image if the settings say so; return the G rows, their groups, and the result of `_encode`.

        A group that is longer than a sequence is halved until it fits.
        """
        whole = self._encode(table)
        if not self.settings.group:
            return table, RowGroups([[row] for row in range(table.num_rows)]), whole
        groups = groups_of(table, whole[2], self.settings.turns)
        while True:
            made = as_dialogues(table, groups, self.dialect)
            encoded = self._encode(made)
            too_long = (encoded[0].lengths() > self.settings.seq_len) & (groups.sizes > 1)
            if not too_long.any():
                return made, groups, encoded
            groups = groups.split(too_long)

    def _encode(self, table: pa.Table) -> tuple[Encoded, ShownImages, pa.Array]:
        """Return the rows' tokens with images' pads, the images, and why a row cannot be written (null: it can)."""
        encoded, fault = write(table, self.dialect, self.tokenizer)
        images = images_of(table, encoded.count_of(self.tokenizer.image_pad), self.dialect)
        encoded = encoded.repeat(self.tokenizer.image_pad, np.maximum(images.costs.tokens, 0))
        if self.settings.truncate:
            cut = truncate(encoded, self.tokenizer, self.settings.seq_len).lengths()
            lengths = np.where(self._cuttable(table), encoded.lengths(), cut)
            encoded = encoded.runs(encoded.starts[:-1], lengths)
        return encoded, images, fault

    def _cuttable(self, table: pa.Table) -> Bools:
        """Return which rows are texts that may be cut into pieces if they are longer than a sequence (N)."""
        return is_text(table) & (self.settings.long_texts == "cut")

    def _judged(
        self, table: pa.Table, encoded: Encoded, images: ShownImages, fault: pa.Array
    ) -> Iterator[tuple[str, Ints, list[str | None]]]:
        """Yield each reason with the rows that it is the first reason to drop, and their details."""
        lengths = encoded.lengths()
        long = (lengths > self.settings.seq_len) & ~self._cuttable(table)
        said = fault_details(table, fault, self.dialect).to_pylist()
        faults: list[tuple[str, Bools, Callable[[int], str | None]]] = [
            *foreign_faults(table),
        ]
        for name in pc.unique(fault.drop_null()).to_pylist():
            faults.append((name, _bools(pc.equal(fault, name).fill_null(False)), said.__getitem__))
        faults += [
            ("image_missing", images.lacking(self.settings.images != "name"), images.shortage),
            ("not_an_image", images.unreadable(), images.nonsense),
            ("image_too_elongated", images.refused(), lambda row: images.refusal(row, self.dialect.cost)),
            ("sample_too_long", long, lambda row: f"tokens={lengths[row]}"),
        ]
        sound = np.ones(table.num_rows, bool)
        for reason, found, tell in faults:
            rows = np.flatnonzero(found & sound)
            sound[rows] = False
            if not len(rows):
                continue
            yield reason, rows, [tell(row) for row in rows.tolist()]
            if reason == "sample_too_long":
                self.too_long.update(1 << (size - 1).bit_length() for size in lengths[rows].tolist())
                self.longest = max(self.longest, int(lengths[rows].max()))

    def _drop(
        self, table: pa.Table, groups: RowGroups, fell: Ints, reason: str, details: list[str | None]
    ) -> None:
        """Note why some groups of rows are dropped; each of their rows counts as a dropped row."""
        members = [groups.members[group] for group in fell.tolist()]
        rows = [row for group in members for row in group]
        detail = [said for group, said in zip(members, details, strict=True) for _ in group]
        self.reasons[reason] += len(rows)
        some = table.select(["key", "source", "url", "text"]).take(pa.array(rows))
        made = {"stage": ["pack"] * len(rows), "reason": [reason] * len(rows), "detail": detail}
        for name, values in made.items():
            some = some.append_column(name, pa.array(values, pa.string()))
        self.dropped.append(some.select(DROPPED.names).cast(DROPPED))

    def _copies(self, table: pa.Table, rows: Ints, epochs: Mapping[Group, float]) -> Ints:
        """Return how often each row is drawn (N): its group's epochs; a fraction is the chance of one more time."""
        wanted = np.zeros(table.num_rows)
        for group, mine in _groups(table).items():
            wanted[mine] = epochs.get(group, 0.0)  # a row whose text is damaged may have lost its names
        coin = shares(draw(self.settings.seed, 0, rows))
        copies: Ints = (np.floor(wanted) + (coin < wanted % 1)).astype(np.int64)
        return copies

    def _samples(
        self,
        table: pa.Table,
        taken: Encoded,
        whose: Ints,
        images: ShownImages,
        file: int,
        order: npt.NDArray[np.uint64],
    ) -> pa.Table:
        """Return the drawn samples as SAMPLES; `whose` is the row of each."""
        rows = pa.array(whose)
        edges = pa.array(taken.starts, pa.int64())
        columns = [
            table["task"].take(rows).cast(pa.string()),
            table["key"].take(rows),
            pa.LargeListArray.from_arrays(edges, pa.array(taken.tokens)),
            pa.LargeListArray.from_arrays(edges, pa.array(taken.loss)),
            lists(images, whose, taken, self._mark, self.tokenizer.image_pad, file),
            pa.array(order),
        ]
        return pa.table(columns, schema=SAMPLES)


def foreign_faults(table: pa.Table) -> Iterator[tuple[str, Bools, Callable[[int], str | None]]]:
    """Yield the faults in a shard of other software: the reason, which rows have it (N), and each row's detail."""
    if FAULT in table.column_names:
        details = table[FAULT_DETAIL].to_pylist()
        for reason in pc.unique(table[FAULT].drop_null()).to_pylist():
            yield reason, _bools(pc.equal(table[FAULT], reason).fill_null(False)), details.__getitem__


def pads(table: pa.Table, dialect: Dialect) -> int:
    """The tokens that the images of rows cost whose width and height are known; those of dialogues are not."""
    if not {*SIDES} <= {*table.column_names}:
        return 0
    sides = table.select(SIDES).drop_null()
    costs = image_costs(dialect.cost, *(np.maximum(column.to_numpy(), 1) for column in sides.columns))
    return int(costs.tokens[costs.taken].sum())


def shown_bytes(parquet: pq.ParquetFile) -> int:
    """Return the bytes of all images that a file's rows show, counted for each row; 0 if it has no image index."""
    known = [read_index(parquet, leaf) or [] for leaf in LEAVES]
    return sum(int(group.size.sum()) for groups in known for group in groups)


def beside_their_image(order: Words, sha256: pa.ChunkedArray, seed: int) -> Words:
    """Return the places of N samples in the shuffle, changed so that samples of the same image are next to each other.

    So they come into one row group of a pack, which stores the image once.
    """
    codes = sha256.combine_chunks().dictionary_encode()
    code = codes.indices.fill_null(-1).to_numpy().astype(np.int64)
    several = (np.bincount(code + 1)[code + 1] > 1) & (code >= 0)
    names = [int(name[:15], 16) if name else 0 for name in codes.dictionary.to_pylist()]
    image = draw(seed, 4, np.array([*names, 0], np.int64))[code]
    low = np.uint64(2**24 - 1)
    return np.where(several, (image & ~low) | (order & low), order)


def _groups(table: pa.Table) -> dict[Group, Ints]:
    """Return the rows of each data set and task."""
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
