"""Start Ray on this machine, or connect to a running cluster: the only module that imports ray, and never ray.data.

ray.data registers Arrow extension types that unpickle their metadata. In a process that has imported it, reading a
hostile Parquet file can run code from that file.
"""

from __future__ import annotations

import atexit
import contextlib
import logging
import os
import re
import secrets
import shutil
import signal
import socket
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path
from typing import Any

from curate.errors import MachineError

LONGEST_PARENT = 16  # bytes of the path in which Ray's folder is made
REMOVE_S = 10.0  # how long to try to remove Ray's folder
# How long to try to reach a cluster that may be starting; Ray itself would try for many minutes
ANSWER_S = 30.0
TRY_S = 5.0  # how long one of these tries may take
HOST_AND_PORT = re.compile(
    r"(?:ray://)?\[?(?P<host>[^/\]]+?)\]?:(?P<port>\d{1,5})"
)  # any other: `auto`, `local`
UNUSED = ("start_api_server", "start_monitor", "start_log_monitor")  # not needed by a Ray on one machine


def start(workers: int | None, address: str | None) -> Any:
    """Return the `ray` module, connected to a cluster.

    Args:
        workers: CPUs of a Ray that is started here, each for one task at a time. None: one for each core.
        address: a running cluster to connect to. None: start Ray on this machine.

    Raises:
        MachineError: no cluster answers at `address`, or Ray cannot start here.
    """
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    if address is None:  # without this setting, Ray replaces 127.0.0.1 by the machine's network address
        os.environ["RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER"] = "0"
        _require_token()
    import ray

    if ray.is_initialized():
        return connected()
    _require_answer(address or "")
    options: dict[str, Any] = {"log_to_driver": False, "logging_level": logging.ERROR}
    if address is None:
        options |= {"num_cpus": workers, "include_dashboard": False}
        options |= {"_temp_dir": _private_folder()}
        # Ray read RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER (above) when it was imported, which may have been before this call.
        ray._private.ray_constants.ENABLE_RAY_CLUSTER = False
    try:
        with contextlib.nullcontext() if address else alone(ray), _own_sigterm():
            ray.init(address=address or "local", **options)
        return connected()
    except Exception as error:
        where = f"no Ray cluster answers at {address}" if address else "Ray cannot start here"
        raise MachineError(f"{where}: {str(error).splitlines()[0]} (--workers 0 does without Ray)") from None


def _require_answer(address: str) -> None:
    """Try to reach the host and port of `address`, for up to ANSWER_S seconds.

    Raises:
        MachineError: nothing can be reached there.
    """
    found, ends = HOST_AND_PORT.fullmatch(address), time.monotonic() + ANSWER_S
    while found:
        try:
            with socket.create_connection((found["host"], int(found["port"])), timeout=TRY_S):
                return
        except (OSError, OverflowError, UnicodeError) as error:  # a port beyond 65535; a host that is no name
            reason = getattr(error, "strerror", None) or error
            if time.monotonic() >= ends:
                raise MachineError(
                    f"no Ray cluster answers at {address}: {reason} (--workers 0 does without Ray)"
                ) from None
        time.sleep(min(1.0, ANSWER_S))


@contextlib.contextmanager
def _own_sigterm() -> Iterator[None]:
    """Keep what this process does on SIGTERM: Ray sets a handler that ends it with exit code 1 and a dump of addresses.

    A SIGTERM within this context is passed on as an interruption.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.getsignal(signal.SIGTERM)
    try:
        yield
    except SystemExit:  # by which Ray's handler ends a process
        raise KeyboardInterrupt from None
    finally:
        if before is not None:  # None: set by something other than Python
            signal.signal(signal.SIGTERM, before)


@contextlib.contextmanager
def alone(ray: Any) -> Iterator[None]:
    """Within this context, the module `ray` starts no dashboard server, no autoscaler and no log monitor.

    A run on one machine uses none of them. Each is a Python process that costs more than one CPU second, and Ray waits
    for the first. Ray has no setting that switches them off.
    """
    node = ray._private.node.Node
    kept = {name: getattr(node, name) for name in UNUSED if hasattr(node, name)}
    for name in kept:
        setattr(node, name, lambda *_, **__: None)
    try:
        yield
    finally:
        for name, method in kept.items():
            setattr(node, name, method)


def _require_token() -> None:
    """Make the Ray that is started here require a token; else every host of the network could use its open ports."""
    if "RAY_AUTH_MODE" in os.environ:
        return
    os.environ |= {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": secrets.token_hex(32)}
    if "ray" in sys.modules:
        import_module("ray._raylet").Config.initialize("")  # read the environment again, as at Ray's import


def _private_folder() -> str:
    """Make a folder for Ray's sockets and logs that only this user can open; it is removed when this process ends.

    The path of a socket may have at most 107 bytes. Where TMPDIR is too long for that, the folder is made in /tmp.
    """
    parent = tempfile.gettempdir() if len(tempfile.gettempdir()) <= LONGEST_PARENT else "/tmp"
    folder = tempfile.mkdtemp(prefix="curate-ray-", dir=parent)
    atexit.register(_remove, folder)
    return f"{folder}/r"  # Ray makes this subfolder open to all users; they cannot pass `folder` around it


def _remove(folder: str) -> None:
    """Shut Ray down if it still runs, and remove its folder.

    Ray's processes may write to the folder while they end, so the removal is repeated until it is gone, for up to
    `REMOVE_S` seconds.
    """
    connected().shutdown()
    ends = time.monotonic() + REMOVE_S
    while Path(folder).exists() and time.monotonic() < ends:
        shutil.rmtree(folder, ignore_errors=True)
        time.sleep(0.05 if Path(folder).exists() else 0)


def connected() -> Any:
    """Return the `ray` module in a process that called `start`, or in one of Ray's workers."""
    import ray
    import ray.util.scheduling_strategies

    return ray


def on_node(ray: Any, function: Any, node: str, name: str) -> Any:
    """Make `function` a Ray task that runs on one node only, at once, as it asks for no CPU, and is not retried.

    Args:
        ray: the module.
        function: what the task runs.
        node: the node's id.
        name: the task's name in Ray.
    """
    strategy = ray.util.scheduling_strategies.NodeAffinitySchedulingStrategy(node, soft=False)
    return ray.remote(num_cpus=0, max_retries=0, scheduling_strategy=strategy, name=name)(function)


def memory_of_task(ray: Any, wanted: int) -> int:
    """Return how many bytes of memory a task with one CPU may ask for, at most `wanted`.

    It is at most half of a node's memory divided by the node's CPUs, on every node, so that each CPU can run a task.
    """
    shares = [wanted]
    for node in ray.nodes():
        have = node["Resources"]
        if node["Alive"] and have.get("CPU") and have.get("memory"):
            shares.append(int(have["memory"] / have["CPU"] / 2))
    return min(shares)


def largest_memory(ray: Any) -> int:
    """Return the bytes of memory that Ray counts on the node that has the most; only nodes with CPUs count."""
    return max(
        int(node["Resources"].get("memory", 0))
        for node in ray.nodes()
        if node["Alive"] and node["Resources"].get("CPU")
    )


def cores_of_task(ray: Any, wanted: int) -> int:
    """Return how many CPUs a task may ask for, at most `wanted`, so that every node that has CPUs can run the task."""
    cores = [
        int(node["Resources"]["CPU"])
        for node in ray.nodes()
        if node["Alive"] and node["Resources"].get("CPU")
    ]
    return max(1, min([wanted, *cores]))
