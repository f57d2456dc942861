"""Encoders as Ray actors (one a GPU, or one a node without GPUs), and the client that sends batches to them.

Each process that decodes images sends its batches to the least busy actor, and has at most `AHEAD` batches in
flight: memory stays bounded, and a GPU always has its next batch ready. Ray restarts an actor that died (with its
process, GPU or node); meanwhile its batches go to another one. A batch that ended `DEATHS` actors is an error.
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

AHEAD = 2  # batches that each sender may have in flight
DEATHS = 3
START_S = 600.0  # limit on the time in which an actor is placed on a node and loads its model
POLL_S = 1.0


def hire(settings: ScorerSettings, count: int | None = None) -> list[Any]:
    """Start `count` actors on the cluster; by default one a GPU, or one a node where there are no GPUs.

    The actors reserve no cores, because the tasks that send batches to them wait while the actors compute.

    Raises:
        ManifestError: the settings name one GPU of many.
        MachineError: there are too few GPUs, or no cores.
    """
    if ":" in settings.device:
        raise ManifestError(
            f"{settings.device!r} is one GPU of one machine, and a Ray cluster may have many: say cuda, and start "
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
        affinity = ray.util.scheduling_strategies.NodeAffinitySchedulingStrategy(node["NodeID"], soft=True)
        made = ray.remote(num_cpus=0, max_restarts=-1, max_concurrency=AHEAD * cores)(_Actor)
        actors.append(made.options(scheduling_strategy=affinity).remote(settings, cores))
    return actors


class RemoteEncoder:
    """An encoder whose work is done by actors; see `curate.scorer.encoder.Encoder`."""

    in_flight = AHEAD

    def __init__(self, actors: Sequence[Any]) -> None:
        self._ray = connected()
        self._coming = {
            actor.describe.remote(): actor for actor in actors
        }  # pending calls; each returns once its actor is ready
        self._ready: list[Any] = []
        self._busy: Counter[Any] = Counter()
        self._lock = threading.Lock()  # guards every field of this object
        self._first: Identity | None = None
        self._free: list[np.ndarray] = []  # buffers of batches that were sent, for reuse
        with self._lock:
            self._await_ready()
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
        self._free.append(room.memory)  # Ray sends a copy
        return waiter

    def texts(self, texts: Sequence[str]) -> Waiter:
        """See `Encoder.texts`."""
        if not texts:
            return lambda: np.zeros((0, self.identity.dimension), np.float32)
        return self._ask("texts", list(texts))

    def close(self) -> None:
        """See `Encoder.close`; the actors go on running."""

    def _ask(self, method: str, values: Any) -> Waiter:
        """Start `method` on an actor; the returned function waits for the result, asking another actor if one dies."""
        there = self._ray.put(values)  # stored once, however many actors are asked
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
                if not isinstance(answer, _NoAnswer):
                    return np.asarray(answer)
                self._wait_for_restart(actor)
            raise UnitError(f"{DEATHS} scorers ended with the same {method}, the last: {answer.why}")

        return wait

    def _send(self, method: str, there: Any) -> tuple[Any, Any]:
        """Send a batch to the actor with the fewest batches of this process in flight."""
        with self._lock:
            self._await_ready()
            actor = min(
                self._ready, key=lambda one: (self._busy[one], random.random())
            )  # other senders are unknown
            self._busy[actor] += 1
        return actor, getattr(actor, method).remote(there)

    def _answer(self, call: Any) -> Any:
        """The result of a call; `_NoAnswer` if the actor died."""
        try:
            return self._ray.get(call)
        except self._ray.exceptions.RayError as error:
            return _NoAnswer(str(error).strip().splitlines()[-1])

    def _await_ready(self) -> None:
        """Collect the actors that are ready; wait until there is one.

        Raises:
            ManifestError, MachineError: the scorer cannot be built.
            Halted: no actor is ready within `START_S`.
        """
        until = time.monotonic() + START_S
        self._collect_ready(0.0)
        while not self._ready:
            if time.monotonic() > until:
                raise Halted("no scorer runs on the cluster: free a GPU or a node, then the same command")
            self._collect_ready(POLL_S)

    def _collect_ready(self, timeout_s: float) -> None:
        if not self._coming:
            return
        told, _ = self._ray.wait(list(self._coming), timeout=timeout_s)
        for call in told:
            actor, answer = self._coming.pop(call), self._answer(call)
            if isinstance(answer, CurateError):
                raise answer
            if isinstance(answer, _NoAnswer):
                self._coming[actor.describe.remote()] = actor
                time.sleep(timeout_s)
            else:
                self._add(actor, answer)

    def _add(self, actor: Any, told: tuple[Identity, Framing, int]) -> None:
        """Use an actor that is ready.

        Raises:
            MachineError: its scorer differs from another actor's: a shard would hold features of two kinds.
        """
        if self._first is not None and not self._first.same(told[0]):
            raise MachineError(f"the cluster's scorers differ: {self._first.difference(told[0])}")
        self._told, self._first = told, told[0]
        self._ready.append(actor)

    def _wait_for_restart(self, actor: Any) -> None:
        """Send no batches to an actor that did not answer, until it reports that it is ready."""
        with self._lock:
            if actor in self._ready:
                self._ready.remove(actor)
                self._coming[actor.describe.remote()] = actor


class _NoAnswer(NamedTuple):
    """Why a call to an actor gave no answer: the actor died, or its node did."""

    why: str


class _Actor:
    """An encoder in a process of its own, called by several senders at once."""

    def __init__(self, settings: ScorerSettings, cores: int | None) -> None:
        from curate.scorer import open_encoder

        self._lock = threading.Lock()  # batches start one after the other
        self._error: CurateError | None = None
        try:
            self._encoder = open_encoder(settings, cores)
        except CurateError as error:
            self._error = error

    def describe(self) -> Any:
        """Identity, framing and batch size of the encoder; or the error with which it could not be built."""
        return self._error or (self._encoder.identity, self._encoder.framing, self._encoder.batch)

    def images(self, batch: tuple[np.ndarray, np.ndarray]) -> Any:
        """The features of a batch (parts, and their pixels), or the error."""
        room = self._encoder.room(len(batch[0]))
        room.fill(*batch)
        return self._done(lambda: self._encoder.images(room))

    def texts(self, texts: list[str]) -> Any:
        """The features of texts, or the error."""
        return self._done(lambda: self._encoder.texts(texts))

    def _done(self, begin: Callable[[], Waiter]) -> Any:
        from curate.scorer.encoder import DeviceLost

        try:
            with self._lock:
                waiter = begin()
            return waiter()
        except DeviceLost:
            os._exit(1)  # Ray then restarts the actor, as after any death of its process
        except CurateError as error:
            return error
