"""Encoders as Ray actors, one a GPU or a share of the cores each, and the encoder that speaks to them.

Whoever decodes sends batches of pixels to an actor with little to do, and waits for the features of an
earlier one before too many are under way: so nobody's memory fills up, and a GPU always has the next batch at
hand. An actor that dies (its process, its GPU, its node) is started again by Ray where there is room;
meanwhile, what it had under way is given to another. A batch that ends `DEATHS` actors is given up.
"""

from __future__ import annotations

import logging
import os
import random
import threading
import time
from collections import Counter
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np

from curate.cluster import connected
from curate.errors import CurateError, Halted, MachineError, ManifestError, UnitError
from curate.manifest.settings import ScorerSettings
from curate.scorer.batch import Room, room_bytes
from curate.scorer.framing import Framing
from curate.scorer.identity import Identity

log = logging.getLogger("curate")

Waiter = Callable[[], np.ndarray]

AHEAD = 2  # batches that each sender may have under way
DEATHS = 3
START_S = 600.0  # for an actor to find a place and load its model
POLL_S = 1.0


def hire(settings: ScorerSettings, count: int | None = None) -> list[Any]:
    """Start actors on the cluster: as many, else one a GPU, else one a node with cores.

    They take none of the cluster's cores for themselves: who sends to them waits for them.

    Raises:
        ManifestError: the settings name one GPU of many.
        MachineError: there are too few GPUs, or no cores.
    """
    if ":" in settings.device:
        raise ManifestError(
            f"{settings.device!r} is one GPU of one machine, and on Ray there are many: say cuda, and start "
            "Ray with CUDA_VISIBLE_DEVICES set"
        )
    ray = connected()
    gpus = int(ray.cluster_resources().get("GPU", 0)) if settings.device != "cpu" else 0
    if gpus:
        if (count or 0) > gpus:
            raise MachineError(f"{count} scorers want a GPU each, and the cluster has {gpus}")
        made = ray.remote(num_cpus=0, num_gpus=1, max_restarts=-1, max_concurrency=2 * AHEAD)(_Actor)
        return [made.remote(settings, None) for _ in range(count or gpus)]
    nodes = [node for node in ray.nodes() if node["Alive"] and node["Resources"].get("CPU")]
    if not nodes:
        raise MachineError("no node of the cluster has cores")
    places = [nodes[number % len(nodes)] for number in range(count or len(nodes))]
    share = Counter(node["NodeID"] for node in places)
    actors = []
    for node in places:
        cores = max(1, int(node["Resources"]["CPU"]) // share[node["NodeID"]])
        near = ray.util.scheduling_strategies.NodeAffinitySchedulingStrategy(node["NodeID"], soft=True)
        made = ray.remote(num_cpus=0, max_restarts=-1, max_concurrency=AHEAD * cores)(_Actor)
        actors.append(made.options(scheduling_strategy=near).remote(settings, cores))
    return actors


class Remote:
    """An encoder that lets actors do the work; see `curate.scorer.encoder.Encoder`."""

    in_flight = AHEAD

    def __init__(self, actors: Sequence[Any]) -> None:
        self._ray = connected()
        self._coming = {actor.describe.remote(): actor for actor in actors}  # told once it is ready
        self._ready: list[Any] = []
        self._busy: Counter[Any] = Counter()
        self._lock = threading.Lock()  # guards all of these
        self._first: Identity | None = None
        self._free: list[np.ndarray] = []  # memory of batches that were sent
        with self._lock:
            self._await_one()
        self.identity, self.framing, self.batch = self._told
        log.info("a scorer is ready, for %d images at a time", self.batch)

    def room(self, rows: int) -> Room:
        """See `Encoder.room`."""
        with self._lock:
            memory = self._free.pop() if self._free else None
        if memory is None:
            memory = np.empty(room_bytes(self.framing, self.batch), np.uint8)
        return Room(rows, memory, self.framing)

    def images(self, room: Room) -> Waiter:
        """See `Encoder.images`."""
        waiter = self._ask("images", (room.parts, room.pixels))
        self._free.append(room.memory)  # what is on its way is a copy
        return waiter

    def texts(self, texts: Sequence[str]) -> Waiter:
        """See `Encoder.texts`."""
        if not texts:
            return lambda: np.zeros((0, self.identity.dimension), np.float32)
        return self._ask("texts", list(texts))

    def close(self) -> None:
        """See `Encoder.close`; the actors live on."""

    def _ask(self, method: str, values: Any) -> Waiter:
        """Have an actor begin; the answer waits for it, or for another one if need be."""
        there = self._ray.put(values)  # once, whoever is asked for it
        actor, call = self._send(method, there)

        def wait() -> np.ndarray:
            nonlocal actor, call
            for death in range(DEATHS):
                if death:
                    actor, call = self._send(method, there)
                answer = self._answer(call)
                with self._lock:
                    self._busy[actor] -= 1
                if isinstance(answer, CurateError):
                    raise answer
                if not isinstance(answer, _Silence):
                    return np.asarray(answer)
                self._mistrust(actor)
            raise UnitError(f"{DEATHS} scorers ended with the same {method}, the last: {answer.why}")

        return wait

    def _send(self, method: str, there: Any) -> tuple[Any, Any]:
        """Give a batch to the actor that has the least to do for us."""
        with self._lock:
            self._await_one()
            actor = min(self._ready, key=lambda one: (self._busy[one], random.random()))  # nobody knows all
            self._busy[actor] += 1
        return actor, getattr(actor, method).remote(there)

    def _answer(self, call: Any) -> Any:
        """What a call came to."""
        try:
            return self._ray.get(call)
        except self._ray.exceptions.RayError as error:
            return _Silence(str(error).strip().splitlines()[-1])

    def _await_one(self) -> None:
        """Let actors join that are ready, and wait for one if there is none.

        Raises:
            ManifestError, MachineError: it cannot be built.
            Halted: none comes.
        """
        until = time.monotonic() + START_S
        self._welcome(0.0)
        while not self._ready:
            if time.monotonic() > until:
                raise Halted("no scorer runs on the cluster: free a GPU or a node, then the same command")
            self._welcome(POLL_S)

    def _welcome(self, patience_s: float) -> None:
        if not self._coming:
            return
        told, _ = self._ray.wait(list(self._coming), timeout=patience_s)
        for call in told:
            actor, answer = self._coming.pop(call), self._answer(call)
            if isinstance(answer, CurateError):
                raise answer
            if isinstance(answer, _Silence):
                self._coming[actor.describe.remote()] = actor
                time.sleep(patience_s)
            else:
                self._join(actor, answer)

    def _join(self, actor: Any, told: tuple[Identity, Framing, int]) -> None:
        """Scorers that differ would give one shard features of two kinds."""
        if self._first is not None and not self._first.same(told[0]):
            raise MachineError(f"the cluster's scorers differ: {self._first.difference(told[0])}")
        self._told, self._first = told, told[0]
        self._ready.append(actor)

    def _mistrust(self, actor: Any) -> None:
        """Ask an actor that did not answer whether it is there again."""
        with self._lock:
            if actor in self._ready:
                self._ready.remove(actor)
                self._coming[actor.describe.remote()] = actor


class _Silence(NamedTuple):
    """An actor's answer that never came."""

    why: str


class _Actor:
    """An encoder in a process of its own, asked by several at once."""

    def __init__(self, settings: ScorerSettings, cores: int | None) -> None:
        from curate.scorer import open_encoder

        self._lock = threading.Lock()  # one batch is begun after the other
        self._error: CurateError | None = None
        try:
            self._encoder = open_encoder(settings, cores)
        except CurateError as error:
            self._error = error

    def describe(self) -> Any:
        """Who this is, what it wants, and the size of its batches; or why it is none."""
        return self._error or (self._encoder.identity, self._encoder.framing, self._encoder.batch)

    def images(self, batch: tuple[np.ndarray, np.ndarray]) -> Any:
        """The features of a batch (its parts and their pixels), or what went wrong."""
        room = self._encoder.room(len(batch[0]))
        room.fill(*batch)
        return self._done(lambda: self._encoder.images(room))

    def texts(self, texts: list[str]) -> Any:
        """The same of texts."""
        return self._done(lambda: self._encoder.texts(texts))

    def _done(self, begin: Callable[[], Waiter]) -> Any:
        from curate.scorer.encoder import DeviceLost

        try:
            with self._lock:
                waiter = begin()
            return waiter()
        except DeviceLost:
            os._exit(1)  # what follows is as if the process had died with it
        except CurateError as error:
            return error
