"""Scorers as Ray actors, one a GPU or a share of the cores each.

An actor that dies (its process, its GPU, its node) is replaced while there is room for another; what it had
under way is given out again. A shard that kills `DEATHS` actors is given up, and the others go on.
"""

from __future__ import annotations

import time
from collections import Counter, deque
from collections.abc import Iterator, Mapping
from typing import Any

from curate.cluster import start
from curate.errors import HOPELESS, CurateError, Halted, MachineError, ManifestError, UnitError
from curate.manifest import ScorerSettings
from curate.scorer.crew import Here, Result
from curate.scorer.shard import Terms

CHUNK = 4  # shards a call, so that one is decoded while the one before it is scored
AHEAD = 2  # calls under way for each actor
DEATHS = 3
START_S = 600.0  # for an actor to find a place and load its model
POLL_S = 1.0


class Actors:
    """A crew on Ray."""

    def __init__(self, folder: str, settings: ScorerSettings, count: int | None, address: str | None) -> None:
        self._ray = start(max(count or 1, 1), address)
        self._folder, self._settings = folder, settings
        resources = self._ray.cluster_resources()
        gpus = int(resources.get("GPU", 0)) if settings.device != "cpu" else 0
        count = count or gpus or 1
        self._cores = max(1, int(resources.get("CPU", 1)) // count)
        self._options = {"num_gpus": 1, "num_cpus": 1} if gpus else {"num_cpus": self._cores}
        self._starting: dict[Any, Any] = {}  # the promise of an actor's identity to the actor
        self._flying: dict[Any, tuple[Any, dict[str, int]]] = {}  # a call to its actor and shards
        self._deaths: Counter[str] = Counter()
        for _ in range(count):
            self._hire()
        try:
            self.identity = self._first()
        except BaseException:
            self.close()
            raise

    def map(self, shards: Mapping[str, int], terms: Terms) -> Iterator[tuple[str, Result]]:
        """See `Crew.map`."""
        waiting, items = deque[dict[str, int]](), list(shards.items())
        for first in range(0, len(items), CHUNK):
            waiting.append(dict(items[first : first + CHUNK]))
        while waiting or self._flying:
            self._welcome()
            for actor in self._idle():
                if waiting:
                    call = actor.do.remote(waiting[0], terms)
                    self._flying[call] = actor, waiting.popleft()
            done, _ = self._ray.wait([*self._flying, *self._starting], timeout=POLL_S)
            for call in done:
                if call in self._flying:
                    yield from self._settle(call, waiting)

    def close(self) -> None:
        """Stop all actors."""
        self._ray.shutdown()

    def _hire(self) -> None:
        """Start another actor; it joins once its model is loaded."""
        kind = self._ray.remote(max_restarts=0, **self._options)(_Actor)
        actor = kind.remote(self._folder, self._settings, self._cores)
        self._starting[actor.identity.remote()] = actor

    def _first(self) -> Any:
        """The scorer's identity, as the first actor that is ready tells it."""
        self._crew: list[Any] = []
        while not self._crew:
            self._welcome(START_S)
        return self._told

    def _welcome(self, patience_s: float = 0.0) -> None:
        """Let actors join that are ready.

        Raises:
            ManifestError, MachineError: it cannot be built.
            Halted: there is no actor, and none comes.
        """
        until = time.monotonic() + (patience_s or (0.0 if self._crew else START_S))
        while self._starting:
            ready, _ = self._ray.wait(list(self._starting), timeout=max(0.0, until - time.monotonic()))
            if not ready:
                break
            actor = self._starting.pop(ready[0])
            told = self._answer(ready[0])
            if isinstance(told, (ManifestError, MachineError)):
                raise told
            if not isinstance(told, CurateError):
                self._crew.append(actor)
                self._told = told
                until = time.monotonic()
        if not self._crew:
            raise Halted(
                "no scorer could be started on the cluster: free a GPU or a node, then the same command"
            )

    def _idle(self) -> Iterator[Any]:
        """Actors that take another call, the least busy ones first."""
        busy = Counter(actor for actor, _ in self._flying.values())
        for actor in sorted(self._crew, key=lambda one: busy[one]):
            if busy[actor] < AHEAD:
                yield actor

    def _settle(self, call: Any, waiting: deque[dict[str, int]]) -> Iterator[tuple[str, Result]]:
        """What a call came to; the shards of one that was lost wait again, one by one."""
        actor, shards = self._flying.pop(call)
        answer = self._answer(call)
        if isinstance(answer, HOPELESS) and not isinstance(answer, Halted):
            raise answer
        if not isinstance(answer, CurateError):
            yield from answer
            return
        if actor in self._crew:
            self._crew.remove(actor)
            self._hire()
        self._deaths.update(shards if len(shards) == 1 else ())
        for path, rows in shards.items():
            if self._deaths[path] < DEATHS:
                waiting.appendleft({path: rows})
            else:
                yield path, UnitError(f"ended {DEATHS} scorers: {answer}")

    def _answer(self, reference: Any) -> Any:
        """The result of a call; a dead actor is an error like any other."""
        try:
            return self._ray.get(reference)
        except self._ray.exceptions.RayError as error:
            return UnitError(f"its scorer died: {str(error).splitlines()[0]}")


class _Actor:
    """A scorer in a process of its own."""

    def __init__(self, folder: str, settings: ScorerSettings, cores: int) -> None:
        self._error: CurateError | None = None
        try:
            self._here = Here(folder, settings, cores)
        except CurateError as error:
            self._error = error

    def identity(self) -> Any:
        return self._error or self._here.identity

    def do(self, shards: dict[str, int], terms: Terms) -> list[tuple[str, Result]] | CurateError:
        try:
            return list(self._here.map(shards, terms))
        except CurateError as error:
            return error
        except OSError as error:
            return Halted(f"cannot write: {error}")
