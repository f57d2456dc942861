"""The lease on an object store's folder: at most one driver writes there.

The lease is one object that is written only on a condition: that it does not exist yet, or that it has not changed
since this driver saw it last. Its holder writes it again every BEAT_S seconds. A driver that finds the lease taken
watches the object: if it changes, its holder is alive; if it stays the same for TTL_S seconds, the holder is dead, and
the driver takes the lease over. Clocks of different machines are never compared.
"""

from __future__ import annotations

import errno
import logging
import os
import socket
import threading
import time
import uuid
from collections.abc import Callable
from pathlib import Path
from typing import Annotated

import msgspec
import psutil

from curate.errors import Halted, OutputError
from curate.storage.filesystems import NOT_JSON, one_line
from curate.storage.objects import Objects, Unsupported, Version

log = logging.getLogger("curate")

LEASE = "_run/lease.json"
BEAT_S = 5.0  # seconds between two heartbeats
TTL_S = 30.0  # after so many seconds without a heartbeat the holder is taken for dead
ROUNDS = 5  # attempts to read the lease and write it, while other drivers do the same
LOOK_S = 1.0  # seconds between two reads of another driver's lease


class Holder(msgspec.Struct, frozen=True, kw_only=True):
    """The holder of a lease: the content of `_run/lease.json`."""

    epoch: Annotated[int, msgspec.Meta(ge=0, lt=2**53)]  # one more with each new holder
    token: str  # random, new for each holder
    host: str
    process: int
    started: float  # of that process, by its own machine's clock
    beat: int  # heartbeats so far
    released: bool = False

    @property
    def machine(self) -> str:
        """The machine's name alone."""
        return self.host.partition(" ")[0]

    def is_gone(self) -> bool:
        """Whether the holder was a process of this machine, and has ended."""
        if self.host != host():
            return False
        try:
            return psutil.Process(self.process).create_time() != self.started
        except psutil.NoSuchProcess:
            return True
        except (psutil.Error, ValueError, OverflowError):  # the number cannot be a process's
            return False


class Lease:
    """A lease that is held, and renewed by a thread of its own until it is released or lost."""

    def __init__(self, objects: Objects, uri: str, holder: Holder, version: Version) -> None:
        self._objects, self._uri, self._holder, self._version = objects, uri, holder, version
        self._lock, self._stopped = threading.Lock(), threading.Event()
        self._renewed, self._lost = time.monotonic(), False
        self._thread = threading.Thread(target=self._beat, name="curate-lease", daemon=True)
        self._thread.start()

    @property
    def epoch(self) -> int:
        """The number of this holder: one more than that of the holder before."""
        return self._holder.epoch

    def check(self) -> None:
        """Go on only while the lease is held.

        Raises:
            Halted: another driver has it, or the store did not answer for so long that one may have.
        """
        if not self._lost and time.monotonic() - self._renewed > TTL_S / 2:
            self._renew()
        if self._lost or time.monotonic() - self._renewed > TTL_S:
            raise Halted(
                f"lost the lease on {self._uri} (another run took it over, or the store did not answer for "
                f"{TTL_S:.0f} s): nothing more is written; what was finished is kept"
            )

    def release(self) -> None:
        """Release the lease, so that another driver can take it at once."""
        self._stopped.set()
        self._thread.join()
        if not self._lost:
            self._write(msgspec.structs.replace(self._holder, released=True))

    def _beat(self) -> None:
        while not self._stopped.wait(BEAT_S) and not self._lost:
            self._renew()

    def _renew(self) -> None:
        self._write(msgspec.structs.replace(self._holder, beat=self._holder.beat + 1))

    def _write(self, holder: Holder) -> None:
        with self._lock:
            try:
                version = self._objects.replace(LEASE, msgspec.json.encode(holder), self._version)
                if version is None:
                    version = self._own_version(holder)
            except OSError as error:  # the next heartbeat tries again; `check` limits for how long
                log.debug("no heartbeat in %s: %s", self._uri, error)
                return
            if version is None:
                self._lost = True
            else:
                self._holder, self._version, self._renewed = holder, version, time.monotonic()

    def _own_version(self, wanted: Holder) -> Version | None:
        """The object's version if it holds what was to be written, because only the answer to a write was lost."""
        found = self._objects.get(LEASE)
        return found[1] if found is not None and _decoded(found[0]) == wanted else None


def acquire(objects: Objects, uri: str, say: Callable[[str], None] = log.warning) -> Lease:
    """Take the lease on the folder `uri`; waits up to TTL_S seconds to see whether an earlier holder is alive.

    `say` shows a message to the user.

    Raises:
        OutputError: a living run holds the lease, or the store has no conditional writes, or cannot be written.
    """
    try:
        holder, version = _taken(objects, uri, say)
        if objects.create(LEASE, msgspec.json.encode(holder)) is not None:
            raise Unsupported("it writes in spite of If-None-Match")
    except Unsupported as error:
        raise OutputError(
            f"{uri}: its store has no conditional writes ({one_line(error)}), so that nothing keeps two runs "
            "apart: --no-lease goes on without, where you know that no other run is on it"
        ) from None
    except OSError as error:
        raise OutputError(f"cannot write to {uri}: {one_line(error)}") from None
    return Lease(objects, uri, holder, version)


def _taken(objects: Objects, uri: str, say: Callable[[str], None]) -> tuple[Holder, Version]:
    for _ in range(ROUNDS):
        found = objects.get(LEASE)
        if found is None:
            mine = _mine(1)
            version = objects.create(LEASE, msgspec.json.encode(mine))
        else:
            before = _decoded(found[0])
            if before is not None and not before.released and not before.is_gone():
                _wait_until_dead(objects, uri, before, found[1], say)
            mine = _mine(before.epoch + 1 if before else 1)
            version = objects.replace(LEASE, msgspec.json.encode(mine), found[1])
        if version is not None:
            return mine, version
    raise OSError(errno.EIO, "its lease can be neither written nor read")


def _wait_until_dead(
    objects: Objects, uri: str, holder: Holder, version: Version, say: Callable[[str], None]
) -> None:
    """Watch another driver's lease until its holder can be taken for dead.

    Raises:
        OutputError: the holder is alive.
    """
    deadline = time.monotonic() + TTL_S
    said = False
    while time.monotonic() < deadline:
        time.sleep(LOOK_S)
        found = objects.get(LEASE)
        if found is None or found[1] != version:
            raise OutputError(
                f"another run ({holder.machine}, process {holder.process}) is writing to {uri}: "
                "wait for it or stop it"
            )
        if not said and deadline - time.monotonic() < TTL_S - 2 * BEAT_S:
            said = True
            say(f"waiting up to {TTL_S:.0f} s for a sign of the run of {holder.machine} that held {uri}")


def _mine(epoch: int) -> Holder:
    process = psutil.Process()
    return Holder(
        epoch=epoch,
        token=uuid.uuid4().hex,
        host=host(),
        process=os.getpid(),
        started=process.create_time(),
        beat=0,
    )


def host() -> str:
    """This machine's name, with its boot id and its namespace of processes, because names are not unique."""
    try:
        boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
        processes = str(Path("/proc/self/ns/pid").readlink())
    except OSError:
        boot, processes = "", ""
    return f"{socket.gethostname()} {boot} {processes}".strip()


def _decoded(data: bytes) -> Holder | None:
    try:
        return msgspec.json.decode(data, type=Holder)
    except NOT_JSON:
        return None
