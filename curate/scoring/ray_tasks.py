"""Shards as Ray tasks: each reads, decodes and writes on the cluster's cores, and actors hold the models."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from curate.cluster import start
from curate.errors import HOPELESS, CurateError, Halted, UnitError
from curate.manifest.settings import ScorerSettings
from curate.scorer.actors import DEATHS, RemoteEncoder, hire
from curate.scorer.scorer import Scorer
from curate.scoring.in_process import Result, ScoringInProcess
from curate.scoring.shard import ScoringTerms

QUEUED = 2  # tasks given to the cluster for each one that has room there


class ScoringOnRay:
    """A crew on Ray: so many scorers, and as many tasks as the cluster has cores for."""

    def __init__(self, folder: str, settings: ScorerSettings, count: int | None, address: str | None) -> None:
        self._ray, self._folder = start(None, address), folder
        try:
            self._actors = hire(settings, count)
            self.identity = RemoteEncoder(self._actors).identity
        except BaseException:
            self.close()
            raise

    def map(self, shards: Mapping[str, int], terms: ScoringTerms) -> Iterator[tuple[str, Result]]:
        """See `Crew.map`; few shards get several cores each."""
        cpus = max(1, int(self._ray.cluster_resources().get("CPU", 1)))
        cores = max(1, cpus // max(1, len(shards)))
        task = self._ray.remote(num_cpus=cores, max_retries=DEATHS)(_do)
        waiting, flying = list(shards.items())[::-1], dict[Any, str]()
        while waiting or flying:
            while waiting and len(flying) < QUEUED * cpus:
                path, rows = waiting.pop()
                flying[task.remote(self._folder, self._actors, cores, {path: rows}, terms)] = path
            done, _ = self._ray.wait(list(flying))
            yield flying.pop(done[0]), self._result(done[0])

    def close(self) -> None:
        """Stop all actors and tasks."""
        self._ray.shutdown()

    def _result(self, reference: Any) -> Result:
        try:
            result: Result = self._ray.get(reference)
        except self._ray.exceptions.RayError as error:
            return UnitError(f"its worker died {DEATHS + 1} times: {str(error).splitlines()[0]}")
        if isinstance(result, HOPELESS):
            raise result
        return result


_HELD: dict[str, ScoringInProcess] = {}  # a Ray worker process keeps its child processes from shard to shard


def _do(folder: str, actors: list[Any], cores: int, shards: dict[str, int], terms: ScoringTerms) -> Result:
    """A Ray task: one shard."""
    identity = f"{folder} {cores} {[actor._actor_id.hex() for actor in actors]}"
    try:
        if identity not in _HELD:
            while _HELD:
                _HELD.popitem()[1].close()
            _HELD[identity] = ScoringInProcess(folder, Scorer(RemoteEncoder(actors), children=cores))
        return next(result for _, result in _HELD[identity].map(shards, terms))
    except CurateError as error:
        return error
    except OSError as error:
        return Halted(f"cannot write: {error}")
