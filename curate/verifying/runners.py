"""Who checks shards: this process, or Ray tasks on every core of this machine or a cluster."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from typing import Any, Protocol

from curate.cluster import start
from curate.errors import UnitError
from curate.verifying.shard_checks import Checked, ExpectedShards, ShardCheck

MIN_SHARDS_FOR_RAY = 64  # starting it takes as long as checking some dozens
FEW_CORES = 2  # that one process with its children fills by itself
QUEUED = 2  # tasks given to the cluster for each core
DEATHS = 3  # of a worker, after which a shard is given up

Listed = Mapping[str, Any]


class Checkers(Protocol):
    """Whoever checks shards."""

    def map(self, shards: Iterator[Listed]) -> Iterator[Checked]:
        """What became of each of the shards, in any order."""

    def close(self) -> None:
        """Stop what is running."""


def checkers(
    folder: str, terms: ExpectedShards, shards: int, workers: int | None, address: str | None
) -> Checkers:
    """Ray with `workers` cores, or that of `address`; without either this process where there is little to do.

    Raises:
        MachineError: Ray is not to be had.
    """
    cores = len(os.sched_getaffinity(0))
    if workers is None and address is None:
        workers = 0 if shards < MIN_SHARDS_FOR_RAY or cores <= FEW_CORES else cores
    if workers == 0:
        return CheckedHere(folder, terms, cores)
    return CheckedOnRay(folder, terms, workers if address is None else None, address)


class CheckedHere:
    """Shards checked one after the other in this process, their images on all cores."""

    def __init__(self, folder: str, terms: ExpectedShards, cores: int) -> None:
        self._check = ShardCheck(folder, terms, cores)

    def map(self, shards: Iterator[Listed]) -> Iterator[Checked]:
        """See `Checkers.map`."""
        return map(self._check, shards)

    def close(self) -> None:
        """See `Checkers.close`."""
        self._check.close()


class CheckedOnRay:
    """Shards checked by Ray tasks, a bounded number in flight."""

    def __init__(self, folder: str, terms: ExpectedShards, workers: int | None, address: str | None) -> None:
        self._ray, self._folder, self._terms = start(workers, address), folder, terms
        self._task = self._ray.remote(num_cpus=1, max_retries=DEATHS)(_check)

    def map(self, shards: Iterator[Listed]) -> Iterator[Checked]:
        """See `Checkers.map`."""
        room = QUEUED * max(1, int(self._ray.cluster_resources().get("CPU", 1)))
        flying: dict[Any, str] = {}
        for listed in shards:
            flying[self._task.remote(self._folder, self._terms, dict(listed))] = listed["path"]
            while len(flying) >= room:
                yield self._landed(flying)
        while flying:
            yield self._landed(flying)

    def close(self) -> None:
        """See `Checkers.close`."""
        self._ray.shutdown()

    def _landed(self, flying: dict[Any, str]) -> Checked:
        (done, *_), _ = self._ray.wait(list(flying))
        path = flying.pop(done)
        try:
            checked: Checked = self._ray.get(done)
        except self._ray.exceptions.RayError as error:
            why = str(error).splitlines()[0]
            raise UnitError(
                f"{path} could not be checked, its worker died {DEATHS + 1} times: {why}"
            ) from None
        return checked


_HELD: dict[str, ShardCheck] = {}  # a Ray worker process keeps its child process from shard to shard


def _check(folder: str, terms: ExpectedShards, listed: Listed) -> Checked:
    """A Ray task: one shard."""
    name = f"{folder} {terms.digest}"
    if name not in _HELD:
        while _HELD:
            _HELD.popitem()[1].close()
        _HELD[name] = ShardCheck(folder, terms, 1)
    return _HELD[name](listed)
