"""Makes the DataLoader for a data set. The data set makes whole batches, so the batch size is given only to it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from torch.utils.data import DataLoader, IterableDataset

from curate.errors import InputError
from curate.loader.datasets import OrderedDataset


class Batches(IterableDataset[Any]):  # type: ignore[misc]  # torch is not followed
    """Yields the batches of a data set, each as a list of samples. Position and state are those of the data set."""

    def __init__(self, data: OrderedDataset) -> None:
        self.data = data

    def __iter__(self) -> Iterator[list[Any]]:
        return (batch for batch in self.data.batches() if batch)  # empty if all its samples were damaged

    def __len__(self) -> int:
        """Number of batches of this rank in a whole epoch."""
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
    """Return a DataLoader over a ShardDataset or PackDataset; its batches have the data set's `batch_size`.

    Args:
        data: the data set.
        num_workers: number of worker processes; 0 reads in this process.
        collate_fn: makes a batch of a list of samples; by default a batch is that list.
        loader: the class to use, such as torchdata's StatefulDataLoader.
        options: more arguments of `loader`. Workers that read an object store are spawned unless
            `multiprocessing_context` says otherwise, because its client does not survive a fork.

    Raises:
        InputError: `data` is no such data set, or an option (such as `shuffle`) belongs to the data set.
    """
    for name in ("batch_size", "shuffle", "drop_last", "sampler", "batch_sampler", "dataset"):
        if name in options:
            raise InputError(f"{name} is the data set's, not the loader's: give it to {type(data).__name__}")
    if not isinstance(data, OrderedDataset):
        raise InputError(f"dataloader takes a ShardDataset or PackDataset, not {type(data).__name__}")
    if num_workers and not data.source.local:
        options.setdefault("multiprocessing_context", "spawn")
    return loader(Batches(data), batch_size=None, num_workers=num_workers, collate_fn=collate_fn, **options)
