"""Jobs of commands on finished folders, such as packing: each result is written down, so that no job is repeated."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any, Protocol, TypeVar

import msgspec

from curate.engine.progress import Progress
from curate.engine.records import in_parallel
from curate.engine.runners import Hire, Runnable, Runner, runner_for
from curate.engine.worker import Job, JobFailure
from curate.storage.store import Store


class Numbered(Protocol):
    """The result of a job."""

    @property
    def number(self) -> int:
        """The job's number."""


Result = TypeVar("Result", bound=Numbered)


def state_name(folder: str, kind: str, number: int) -> str:
    """Return the name of the file with a job's result, such as `_run/pack/spill/000012.json`."""
    return f"{folder}/{kind}/{number:06d}.json"


def keep_result(store: Store, folder: str, kind: str, result: Result) -> Result:
    """Write a job's result, which marks the job as done, and return it."""
    store.write_bytes(state_name(folder, kind, result.number), msgspec.json.encode(result))
    return result


def each_result(
    runner: Runner, store: Store, progress: Progress, kind: str, numbers: Sequence[int]
) -> Iterator[Any]:
    """Do a job of one kind for each number; yield each result or JobFailure, in any order.

    Raises:
        Halted: no job can go on, or another process took the folder over.
    """
    with progress.step(kind, "", len(numbers)):
        for job, results in runner.map(Job(kind, (number,)) for number in numbers):
            store.check_held()
            yield from results
            progress.done(job, [])


class KeptResults:
    """Does the jobs of one command. Their results are files in `folder` of the store.

    Worker processes start when the first job must be done. `hire` makes a worker, and `parts` is the number of pieces
    of work in all, by which the number of workers is chosen.
    """

    def __init__(
        self,
        run: Runnable,
        store: Store,
        folder: str,
        hire: Hire,
        progress: Progress,
        workers: int | None,
        address: str | None,
        parts: int,
    ) -> None:
        self._run, self._store, self._folder, self._hire = run, store, folder, hire
        self._progress, self._workers, self._address, self._parts = progress, workers, address, parts
        self._runner: Runner | None = None

    def close(self) -> None:
        """End the processes."""
        if self._runner is not None:
            self._runner.close()

    def all(
        self,
        kind: str,
        count: int,
        result: type[Result],
        still_there: Callable[[Result], bool] = lambda _: True,
    ) -> list[Result]:
        """Do the jobs of one kind that no earlier attempt did; return the results of all, in the order of the numbers.

        Args:
            kind: the kind of the jobs.
            count: how many there are; they are numbered from 0.
            result: the class of their results.
            still_there: whether an earlier result can be used; if not, the job is done again. Default: always.

        Raises:
            CurateError: some jobs failed, and this is the error of the first of them; the others are done.
        """
        done = {number: one for number, one in self._known(kind, result).items() if still_there(one)}
        failed: list[JobFailure] = []
        left = [number for number in range(count) if number not in done]
        if left:
            if self._runner is None:
                parts = max(self._parts, count)
                self._runner = runner_for(
                    self._run, self._progress, parts, self._workers, self._address, self._hire
                )
            for one in each_result(self._runner, self._store, self._progress, kind, left):
                if isinstance(one, JobFailure):
                    failed.append(one)
                else:
                    done[one.number] = one
        if failed:
            raise min(failed, key=lambda one: one.number).error
        return [done[number] for number in range(count)]

    def _known(self, kind: str, result: type[Result]) -> dict[int, Result]:
        """Return the results of earlier attempts, by number."""
        names = [name for name in self._store.names(f"{self._folder}/{kind}") if name.endswith(".json")]
        decode = msgspec.json.Decoder(result).decode

        def read(name: str) -> Result | None:
            try:
                return decode(self._store.read_bytes(f"{self._folder}/{kind}/{name}") or b"")
            except msgspec.MsgspecError:  # a file that was cut off when the power failed
                return None

        return {one.number: one for one in in_parallel(read, names) if one is not None}
