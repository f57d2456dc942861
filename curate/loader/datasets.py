"""Shards and packs as PyTorch data sets, in an order that does not depend on the number of ranks or workers.

A global batch is `world_size · batch_size` consecutive samples of the epoch's order. Each rank takes its part of every
global batch; worker w of a rank's W workers makes the batches w, w + W, w + 2W, …, as DataLoader asks for them. So the
position in an epoch is one number of samples, from which any number of ranks and workers can go on.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import cached_property
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import torch
from torch.utils.data import IterableDataset, get_worker_info

from curate.errors import DamagedError, InputError
from curate.loader.ahead import Batch, filled
from curate.loader.mixture import Interleaving, MixedOrder, Mixture, checked_weights
from curate.loader.shuffle import BLOCK, Order, runs, share
from curate.loader.skips import Skips, check_damaged
from curate.loader.source import PACK_COLUMNS, SHARD_COLUMNS, ShardSource

Sample = dict[str, Any]
Ints = npt.NDArray[np.int64]

LIGHT = 1024  # samples that a worker looks up at once, without their images


class OrderedDataset(IterableDataset[Any]):  # type: ignore[misc]  # torch is not followed
    """Yields samples in the order of an epoch. Use `dataloader` to make its DataLoader, or give a DataLoader of your
    own the same `batch_size`.

    Args:
        paths: a folder or file of shards (or packs), several, or a mixture: path -> weight, such as
            `{"captions/": 0.7, "questions/": 0.3}`. In a mixture each source gives its share of an epoch's samples, and
            starts again once all its rows were used.
        batch_size: samples of a batch of one rank.
        seed: of the shuffling.
        shuffle: False keeps the rows in their own order.
        columns: columns of a sample besides its images; None: the class's `columns`.
        transform: is applied to each sample as it is read.
        rank, world_size: None: those of torch.distributed if it is initialised, else 0 and 1.
        drop_last: leave out the last global batch of an epoch if it is not full.
        block: number of runs of 1,024 rows whose rows are shuffled together.
        cache: the folder for the files' indexes; empty: see `curate.loader.file_index`.
        check: whether images are compared with the checksums that were written with them.
        damaged: what happens if an image is not what was written. `raise`: an error names its shard, row and key.
            `skip`: its sample is left out, named in a warning, and counted in `skipped`.
        samples: samples of an epoch of a mixture; None: as many as there are rows.
        loss_weights: path -> weight; each sample gets it as `loss_weight`, for `CollatePacks`. Other paths weigh 1.

    Raises:
        InputError: a path or an argument is wrong.
        DamagedError: a folder lacks a file that it lists.
    """

    stem = ""
    columns: tuple[str, ...] = ()

    def __init__(
        self,
        paths: str | Sequence[str] | Mapping[str, float],
        *,
        batch_size: int = 1,
        seed: int = 0,
        shuffle: bool = True,
        columns: Sequence[str] | None = None,
        transform: Callable[[Sample], Any] | None = None,
        rank: int | None = None,
        world_size: int | None = None,
        drop_last: bool = False,
        block: int = BLOCK,
        cache: str = "",
        check: bool = True,
        damaged: str = "raise",
        samples: int | None = None,
        loss_weights: Mapping[str, float] | None = None,
    ) -> None:
        check_damaged(damaged, check)
        weights = checked_weights(paths) if isinstance(paths, Mapping) else None
        given = list(weights) if weights is not None else [paths] if isinstance(paths, str) else paths
        listed = [str(path) for path in given]
        self.source = ShardSource(listed, self.stem, tuple(columns or self.columns), cache, check)
        self.mixture = None if weights is None else _mixture(weights, self.source, samples, self.stem)
        if samples is not None and weights is None:
            raise InputError("samples is the length of a mixture's epoch: give weights by path")
        self._loss_weights = _loss_weights(loss_weights, listed, self.source)
        self.damaged, self._skips = damaged, Skips()
        self.batch_size, self.seed, self.shuffle, self.block = batch_size, seed, shuffle, block
        self.transform, self.drop_last = transform, drop_last
        distributed = torch.distributed.is_available() and torch.distributed.is_initialized()
        self.rank = rank if rank is not None else torch.distributed.get_rank() if distributed else 0
        self.world_size = world_size or (torch.distributed.get_world_size() if distributed else 1)
        if batch_size < 1:
            raise InputError(f"batch_size must be at least 1, not {batch_size}")
        if not 0 <= self.rank < self.world_size:
            raise InputError(
                f"rank must be from 0 to {self.world_size - 1}, below world_size, not {self.rank}"
            )
        self._epoch = torch.zeros((), dtype=torch.int64).share_memory_()  # persistent workers see it change
        self._began = 0  # the epoch to which the next three attributes belong
        self._origin = 0  # samples of the epoch that were used before this pass
        self._number: int | None = None  # of the batch that this worker makes next, counted from the origin
        self._seen = 0  # samples of the epoch that all ranks have used

    @cached_property
    def global_batch(self) -> int:
        """Samples of a batch over all ranks."""
        return self.batch_size * self.world_size

    @cached_property
    def digest(self) -> str:
        """Digest (hex) of the data, and of how it is mixed."""
        return self.source.digest if self.mixture is None else self.mixture.digest(self.source.digest)

    @cached_property
    def samples(self) -> int:
        """Samples of an epoch, over all ranks."""
        rows = self.source.rows if self.mixture is None else self.mixture.samples
        return rows - rows % self.global_batch if self.drop_last else rows

    @property
    def skipped(self) -> int:
        """Samples left out for a damaged image since the data set was made, in all of this rank's workers."""
        return self._skips.total

    def __len__(self) -> int:
        """Number of samples of this rank in a whole epoch."""
        full, rest = divmod(self.samples, self.global_batch)
        start, stop = share(rest, self.batch_size, self.rank, self.world_size, np.zeros(1, np.int64))
        return full * self.batch_size + int(stop[0] - start[0])

    def set_epoch(self, epoch: int) -> None:
        """Let the next iteration begin this epoch; a position that was loaded for this epoch is kept."""
        self._epoch.fill_(epoch)

    def state_dict(self) -> dict[str, Any]:
        """Return the position: the samples that all ranks have used, and the batch that this worker makes next."""
        at = self._origin if self._seen < self._origin else self._seen
        return {
            "digest": self.digest,
            "seed": self.seed,
            "epoch": int(self._epoch),
            "seen": at,
            "global_batch": self.global_batch,
            "origin": self._origin,
            "number": self._number,
        }

    def state_after(self, batches: int) -> dict[str, Any]:
        """Return the state after so many global batches of this pass, for training loops that count steps."""
        seen = min(self._origin + batches * self.global_batch, self.samples)
        return self.state_dict() | {"seen": seen, "origin": seen, "number": None}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on from a state. A worker process of a StatefulDataLoader goes on with its own next batch; otherwise the
        data set goes on after the samples that all ranks have used.

        Raises:
            InputError: this is no state, or a state of other data or another seed.
        """
        if lacking := sorted({"digest", "seed", "epoch", "seen", "origin"} - set(state)):
            raise InputError(f"that is no state of such a data set: it lacks {', '.join(lacking)}")
        for name, mine in (("digest", self.digest), ("seed", self.seed)):
            if state[name] != mine:
                raise InputError(f"the state is of another {name} ({state[name]}, not {mine})")
        self._epoch.fill_(state["epoch"])
        self._began, self._seen = int(state["epoch"]), int(state["seen"])
        worker = get_worker_info() is not None and state.get("number") is not None
        self._origin = int(state["origin"]) if worker else self._seen
        self._number = int(state["number"]) if worker else None

    def __iter__(self) -> Iterator[Any]:
        if self.damaged == "skip" and self.batch_size > 1:
            raise InputError(
                'with damaged="skip" a batch may be short: give the data set to curate.loader.dataloader, which '
                "passes on whole batches"
            )
        return self._samples()

    def batches(self) -> Iterator[list[Any]]:
        """Yield this worker's parts of the global batches of an epoch, each as a list of samples."""
        for number, step, batch in self._parts():
            self._mark(number, step)
            yield batch

    def _samples(self) -> Iterator[Any]:
        for number, step, batch in self._parts():
            yield from batch[:-1]
            self._mark(number, step)
            yield from batch[-1:]

    def _parts(self) -> Iterator[tuple[int, int, list[Any]]]:
        """Yield this worker's batches: the batch's number, the distance to the next batch's number, the samples."""
        epoch = int(self._epoch)
        if epoch != self._began:
            self._began, self._origin, self._number, self._seen = epoch, 0, None, 0
        order = self._order(epoch)
        worker = get_worker_info()
        first, step = (worker.id, worker.num_workers) if worker else (0, 1)
        first = first if self._number is None else self._number
        for number, batch in self._batches(order, first, step):
            yield number, step, [self.transform(sample) for sample in batch] if self.transform else batch
        self._origin, self._number = 0, None

    def _order(self, epoch: int) -> Order | MixedOrder:
        """Return the order of an epoch."""
        rows, digest = self.source.file_rows, self.digest
        if self.mixture is None:
            return Order(runs(rows), digest, self.seed, epoch, self.shuffle, self.block)

        def of_source(lengths: Ints, source: int, passed: int) -> Order:
            return Order(lengths, f"{digest}/{source}", self.seed, passed, self.shuffle, self.block)

        interleaving = Interleaving(self.mixture.weights, f"{digest}/{self.seed}", self.shuffle)
        return MixedOrder(rows, self.mixture, interleaving, epoch, of_source)

    def _mark(self, number: int, step: int) -> None:
        """Note that all ranks have used global batch `number`; this worker's next one is `step` further."""
        self._number = number + step
        self._seen = min(self._origin + (number + 1) * self.global_batch, self.samples)

    def _batches(self, order: Order | MixedOrder, first: int, step: int) -> Iterator[Batch]:
        """Yield this rank's parts of the batches `first`, `first + step`, …, with their images."""
        left = max(self.samples - self._origin, 0)
        numbers = range(first, -(-left // self.global_batch), step)
        return filled(self.source, self._light(order, numbers, left), self.batch_size, self._fill)

    def _fill(self, rows: Sequence[Sample]) -> list[Sample]:
        """Read the images of the rows; with `damaged="skip"`, leave out rows with a damaged image."""
        if self.damaged == "raise":
            return self.source.fill(rows)
        lost: list[DamagedError] = []
        sound = self.source.fill(rows, lost)
        self._skips.count(len(rows) - len(sound), lost)
        return sound

    def _weighed(self, numbers: Ints) -> Iterator[Sample]:
        """Yield the rows with these numbers, with `loss_weight` if the data set has loss weights."""
        rows = self.source.light(numbers)
        if self._loss_weights is not None:
            for row, weight in zip(rows, self._loss_weights.of(numbers), strict=True):
                row["loss_weight"] = weight
        yield from rows

    def _light(self, order: Order | MixedOrder, numbers: Sequence[int], left: int) -> Iterator[Batch]:
        """Yield batches with places instead of images' bytes. They take little memory, so many are made at once."""
        lot = max(1, LIGHT // self.batch_size)
        for at in range(0, len(numbers), lot):
            some = np.array(numbers[at : at + lot])
            start, stop = share(left, self.batch_size, self.rank, self.world_size, some)
            ends = np.cumsum(stop - start)
            places = np.repeat(self._origin + stop - ends, stop - start) + np.arange(ends[-1])
            rows = deque(self._weighed(order.take(places)))
            sizes = (stop - start).tolist()
            # popped, so that only the consumer refers to the samples once they have their images
            yield from (
                (number, [rows.popleft() for _ in range(size)])
                for number, size in zip(some.tolist(), sizes, strict=True)
            )


class ShardDataset(OrderedDataset):
    """The rows of shards: a sample has `image` (bytes or None), `images` and the given `columns`.

    A dialogue has `messages` (a list of `role` and `content`) and `images` (a list of `path` and `bytes`); each
    `<image>` in a user's content stands for the next of these. For other rows both are None.
    """

    stem = "shard"
    columns = SHARD_COLUMNS


class PackDataset(OrderedDataset):
    """The sequences of packs: a sample has `tokens`, `loss_mask`, `segments` (numpy arrays), `images` and `keys`."""

    stem = "pack"
    columns = PACK_COLUMNS


def resume_state(loader_state: Mapping[str, Any]) -> dict[str, Any]:
    """Return the state of the data set, from the state of a StatefulDataLoader over a ShardDataset or PackDataset.

    A StatefulDataLoader refuses a state of another number of workers. To go on with any number of them, load the state
    that this function returns into the data set before the loader is made.

    Raises:
        InputError: `loader_state` holds no state of such a data set.
    """
    found = list(_states(loader_state))
    if not found:
        raise InputError("there is no state of a curate data set in it")
    latest = max(found, key=lambda state: (state["epoch"], state["seen"]))
    since = int(loader_state.get("_steps_since_snapshot", 0)) * latest["global_batch"]
    return {**latest, "seen": latest["seen"] + since, "origin": latest["seen"] + since, "number": None}


def _states(value: Any) -> Iterator[dict[str, Any]]:
    if isinstance(value, Mapping):
        if {"digest", "seed", "epoch", "seen"} <= value.keys():
            yield dict(value)
        else:
            for inner in value.values():
                yield from _states(inner)


class LossWeights(NamedTuple):
    """The weight of the loss of each source's samples (K sources)."""

    first: Ints  # number of the first row of each source
    weights: npt.NDArray[np.float64]

    def of(self, rows: Ints) -> list[float]:
        """Return the weights of rows, given by their numbers."""
        found: list[float] = self.weights[np.searchsorted(self.first, rows, side="right") - 1].tolist()
        return found


def _loss_weights(
    weights: Mapping[str, float] | None, paths: Sequence[str], source: ShardSource
) -> LossWeights | None:
    if weights is None:
        return None
    known = {path.rstrip("/"): weight for path, weight in checked_weights(weights, "loss weight").items()}
    if unknown := set(known) - {path.rstrip("/") for path in paths}:
        raise InputError(f"loss_weights names what is no path here: {', '.join(sorted(unknown))}")
    ends = np.cumsum([0, *source.files_of_paths])
    rows = np.cumsum([0, *source.file_rows.tolist()])[ends[:-1]]
    return LossWeights(rows, np.array([known.get(path.rstrip("/"), 1.0) for path in paths], np.float64))


def _mixture(weights: Mapping[str, float], source: ShardSource, samples: int | None, stem: str) -> Mixture:
    """Return how the paths of `weights` are mixed.

    Raises:
        InputError: a path has no files or rows, or `samples` is no whole number above 0.
    """
    ends = np.cumsum([0, *source.files_of_paths])
    for path, a, b in zip(weights, ends[:-1], ends[1:], strict=True):
        if not source.file_rows[a:b].sum():
            raise InputError(f"{path} has no rows to mix" if b > a else f"no {stem}-*.parquet in {path}")
    if samples is not None and (not isinstance(samples, int | np.integer) or samples < 1):
        raise InputError(f"an epoch has at least one sample, not {samples!r}")
    return Mixture(tuple(weights.values()), tuple(source.files_of_paths), samples or source.rows)
