"""The DataLoader that goes with a data set: it takes whole batches, so that their size is said once."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from torch.utils.data import DataLoader, IterableDataset

from curate.errors import InputError
from curate.loader.datasets import OrderedDataset


class Batches(IterableDataset[Any]):  # type: ignore[misc]  # torch is not followed
    """A data set's samples as lists, one a batch. Position and state are those of the data set."""

    def __init__(self, data: OrderedDataset) -> None:
        self.data = data

    def __iter__(self) -> Iterator[list[Any]]:
        return (batch for batch in self.data.batches() if batch)  # all of a batch may be damaged

    def __len__(self) -> int:
        """Batches of this rank in a whole epoch."""
        return -(-self.data.samples // self.data.global_batch)

    def set_epoch(self, epoch: int) -> None:
        """See `OrderedDataset.set_epoch`."""
        self.data.set_epoch(epoch)

    def state_dict(self) -> dict[str, Any]:
        """See `OrderedDataset.state_dict`."""
        return self.data.state_dict()

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """See `OrderedDataset.load_state_dict`."""
        self.data.load_state_dict(state)


def dataloader(
    data: OrderedDataset,
    *,
    num_workers: int = 0,
    collate_fn: Any = list,
    loader: Any = DataLoader,
    **options: Any,
) -> Any:
    """A DataLoader over a ShardDataset or PackDataset, with batches of the size that the data set has.

    `num_workers` counts worker processes. `collate_fn` makes a batch of a list of samples; without one a batch
    is that list. `loader` may be torchdata's StatefulDataLoader. `options` are the loader's own; workers that
    read an object store are spawned unless `multiprocessing_context` says otherwise, for its client does not
    survive a fork.

    Raises:
        InputError: an option that the data set decides.
    """
    for name in ("batch_size", "shuffle", "drop_last", "sampler", "batch_sampler", "dataset"):
        if name in options:
            raise InputError(f"{name} is the data set's, not the loader's: give it to {type(data).__name__}")
    if not isinstance(data, OrderedDataset):
        raise InputError(f"dataloader takes a ShardDataset or PackDataset, not {type(data).__name__}")
    if num_workers and not data.source.local:
        options.setdefault("multiprocessing_context", "spawn")
    return loader(Batches(data), batch_size=None, num_workers=num_workers, collate_fn=collate_fn, **options)
