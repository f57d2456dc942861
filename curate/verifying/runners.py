"""Who checks shards or packs: this process, or Ray tasks on every core of this machine or a cluster."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from typing import Any, Generic, Protocol, TypeVar

from curate.cluster import start
from curate.errors import UnitError

MIN_FILES_FOR_RAY = 64  # starting it takes as long as checking some dozens
FEW_CORES = 2  # that one process with its children fills by itself
QUEUED = 2  # tasks given to the cluster for each core
DEATHS = 3  # of a worker, after which a shard is given up

Listed = Mapping[str, Any]


T = TypeVar("T")
T_co = TypeVar("T_co", covariant=True)


class FileCheck(Protocol[T_co]):
    """Checks files one after the other."""

    def __call__(self, listed: Listed) -> T_co:
        """What became of the file that is listed so."""

    def close(self) -> None:
        """Stop what runs beside it."""


class Expected(Protocol[T_co]):
    """What files are compared with; it travels to the workers."""

    @property
    def digest(self) -> str:
        """Tells it from others of the same folder."""

    def check(self, folder: str, children: int) -> FileCheck[T_co]:
        """What checks the files in `folder`, with so many child processes."""


class Checkers(Protocol[T_co]):
    """Whoever checks files."""

    def map(self, files: Iterator[Listed]) -> Iterator[T_co]:
        """What became of each of the files, in any order."""

    def close(self) -> None:
        """Stop what is running."""


def checkers(
    folder: str, terms: Expected[T], files: int, workers: int | None, address: str | None
) -> Checkers[T]:
    """Ray with `workers` cores, or that of `address`; without either this process where there is little to do.

    Raises:
        MachineError: Ray is not to be had.
    """
    cores = len(os.sched_getaffinity(0))
    if workers is None and address is None:
        workers = 0 if files < MIN_FILES_FOR_RAY or cores <= FEW_CORES else cores
    if workers == 0:
        return CheckedHere(terms.check(folder, cores))
    return CheckedOnRay(folder, terms, workers if address is None else None, address)


class CheckedHere(Generic[T]):
    """Files checked one after the other in this process, images of shards on all cores."""

    def __init__(self, check: FileCheck[T]) -> None:
        self._check = check

    def map(self, files: Iterator[Listed]) -> Iterator[T]:
        """See `Checkers.map`."""
        return map(self._check, files)

    def close(self) -> None:
        """See `Checkers.close`."""
        self._check.close()


class CheckedOnRay(Generic[T]):
    """Files checked by Ray tasks, a bounded number in flight."""

    def __init__(self, folder: str, terms: Expected[T], workers: int | None, address: str | None) -> None:
        self._ray, self._folder, self._terms = start(workers, address), folder, terms
        self._task = self._ray.remote(num_cpus=1, max_retries=DEATHS)(_check)

    def map(self, files: Iterator[Listed]) -> Iterator[T]:
        """See `Checkers.map`."""
        room = QUEUED * max(1, int(self._ray.cluster_resources().get("CPU", 1)))
        flying: dict[Any, str] = {}
        for listed in files:
            flying[self._task.remote(self._folder, self._terms, dict(listed))] = listed["path"]
            while len(flying) >= room:
                yield self._landed(flying)
        while flying:
            yield self._landed(flying)

    def close(self) -> None:
        """See `Checkers.close`."""
        self._ray.shutdown()

    def _landed(self, flying: dict[Any, str]) -> T:
        (done, *_), _ = self._ray.wait(list(flying))
        path = flying.pop(done)
        try:
            checked: T = self._ray.get(done)
        except self._ray.exceptions.RayError as error:
            why = str(error).splitlines()[0]
            raise UnitError(
                f"{path} could not be checked, its worker died {DEATHS + 1} times: {why}"
            ) from None
        return checked


_HELD: dict[str, FileCheck[Any]] = {}  # a Ray worker process keeps its child process from file to file


def _check(folder: str, terms: Expected[T], listed: Listed) -> T:
    """A Ray task: one file."""
    name = f"{folder} {terms.digest}"
    if name not in _HELD:
        while _HELD:
            _HELD.popitem()[1].close()
        _HELD[name] = terms.check(folder, 1)
    checked: T = _HELD[name](listed)
    return checked
