"""Check shards or packs in this process, or in Ray tasks on every core of this machine or a cluster."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from typing import Any, Generic, Protocol, TypeVar

from curate.cluster import start
from curate.errors import UnitError

MIN_FILES_FOR_RAY = 64  # starting Ray takes as long as checking some dozens of files
FEW_CORES = 2  # one process with its children keeps so many cores busy
QUEUED = 2  # tasks given to the cluster for each core
DEATHS = 3  # of a worker, after which a shard is given up

Listed = Mapping[str, Any]


T = TypeVar("T")
T_co = TypeVar("T_co", covariant=True)


class FileCheck(Protocol[T_co]):
    """Checks files one after the other."""

    def __call__(self, listed: Listed) -> T_co:
        """Check a file, given its entry with `path`, `rows`, `bytes` and `sha256`; returns the result."""

    def close(self) -> None:
        """Stop the child processes, if there are any."""


class Expected(Protocol[T_co]):
    """The values that files are compared with; they are sent to the workers."""

    @property
    def digest(self) -> str:
        """A text that differs for other values of the same folder."""

    def check(self, folder: str, children: int) -> FileCheck[T_co]:
        """Make the object that checks files in `folder`, with `children` child processes."""


class Checkers(Protocol[T_co]):
    """Checks files, in this process or in others."""

    def map(self, files: Iterator[Listed]) -> Iterator[T_co]:
        """Yield the result for each of the files, in any order.

        Raises:
            UnitError: a worker died again and again.
        """

    def close(self) -> None:
        """Stop the processes that were started."""


def checkers(
    folder: str, terms: Expected[T], files: int, workers: int | None, address: str | None
) -> Checkers[T]:
    """Choose the processes that check `files` files of `folder` against `terms`.

    `workers` is the number of cores for Ray (0: this process checks), `address` a Ray cluster's. Without both, this
    process checks where there are fewer than MIN_FILES_FOR_RAY files or few cores; else Ray does on all cores.

    Raises:
        MachineError: Ray is not installed or cannot be reached.
    """
    cores = len(os.sched_getaffinity(0))
    if workers is None and address is None:
        workers = 0 if files < MIN_FILES_FOR_RAY or cores <= FEW_CORES else cores
    if workers == 0:
        return CheckedHere(terms.check(folder, cores))
    return CheckedOnRay(folder, terms, workers if address is None else None, address)


class CheckedHere(Generic[T]):
    """Checks files one after the other in this process; the images of shards are decoded on all cores."""

    def __init__(self, check: FileCheck[T]) -> None:
        self._check = check

    def map(self, files: Iterator[Listed]) -> Iterator[T]:
        """See `Checkers.map`."""
        return map(self._check, files)

    def close(self) -> None:
        """See `Checkers.close`."""
        self._check.close()


class CheckedOnRay(Generic[T]):
    """Checks files in Ray tasks, a bounded number of them at a time."""

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
    """The Ray task that checks one file."""
    name = f"{folder} {terms.digest}"
    if name not in _HELD:
        while _HELD:
            _HELD.popitem()[1].close()
        _HELD[name] = terms.check(folder, 1)
    checked: T = _HELD[name](listed)
    return checked
