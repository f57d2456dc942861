"""Ray, started here or found elsewhere: the only module that imports it, and never ray.data.

A process that has imported ray.data runs code that hostile Parquet files carry: its extension types
unpickle.
"""

from __future__ import annotations

import atexit
import contextlib
import logging
import os
import secrets
import shutil
import sys
import tempfile
import time
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path
from typing import Any

from curate.errors import MachineError

LONGEST_PARENT = 16  # bytes
REMOVE_S = 10.0
UNUSED = ("start_api_server", "start_monitor", "start_log_monitor")  # by a Ray of this machine alone


def start(workers: int | None, address: str | None) -> Any:
    """Ray, connected to the cluster at `address`, or started here with `workers` workers (one a core).

    Raises:
        MachineError: no cluster answers there, or Ray cannot start.
    """
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    if address is None:  # Ray turns 127.0.0.1 into the machine's own address, but for this switch
        os.environ["RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER"] = "0"
        _require_token()
    import ray

    if ray.is_initialized():
        return connected()
    options: dict[str, Any] = {"log_to_driver": False, "logging_level": logging.ERROR}
    if address is None:
        options |= {"num_cpus": workers, "include_dashboard": False}
        options |= {"_temp_dir": _private_folder()}
        ray._private.ray_constants.ENABLE_RAY_CLUSTER = False  # the same, where Ray was imported before
    try:
        with contextlib.nullcontext() if address else alone(ray):
            ray.init(address=address or "local", **options)
        return connected()
    except Exception as error:
        where = f"no Ray cluster answers at {address}" if address else "Ray cannot start here"
        raise MachineError(f"{where}: {str(error).splitlines()[0]} (--workers 0 does without Ray)") from None


@contextlib.contextmanager
def alone(ray: Any) -> Iterator[None]:
    """Have `ray`, the module, start without its dashboard's server, the autoscaler and the reader of logs.

    They serve nobody here. Each is an interpreter of more than a CPU second, and Ray waits for the first; it has no
    setting to do without.
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
    """Have the Ray that is started here ask for a token: its ports are open to every neighbour otherwise."""
    if "RAY_AUTH_MODE" in os.environ:
        return
    os.environ |= {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": secrets.token_hex(32)}
    if "ray" in sys.modules:
        import_module("ray._raylet").Config.initialize("")  # it has read the environment already


def _private_folder() -> str:
    """A folder for Ray's sockets and logs that only this user can look into; it is gone when this process ends.

    Names of sockets have at most 107 bytes, so that a long TMPDIR does not serve.
    """
    parent = tempfile.gettempdir() if len(tempfile.gettempdir()) <= LONGEST_PARENT else "/tmp"
    folder = tempfile.mkdtemp(prefix="curate-ray-", dir=parent)
    atexit.register(_remove, folder)
    return f"{folder}/r"  # Ray opens its own folder to everybody; nobody comes through the one around it


def _remove(folder: str) -> None:
    """End Ray, if it still runs, and remove its folder; its processes may write to it while they end."""
    connected().shutdown()
    ends = time.monotonic() + REMOVE_S
    while Path(folder).exists() and time.monotonic() < ends:
        shutil.rmtree(folder, ignore_errors=True)
        time.sleep(0.05 if Path(folder).exists() else 0)


def connected() -> Any:
    """Ray, where `start` was called or in a process that it started."""
    import ray
    import ray.util.scheduling_strategies

    return ray


def on_node(ray: Any, function: Any, node: str, name: str) -> Any:
    """The function as a task of that one node (its id), which waits for no CPU there."""
    strategy = ray.util.scheduling_strategies.NodeAffinitySchedulingStrategy(node, soft=False)
    return ray.remote(num_cpus=0, max_retries=0, scheduling_strategy=strategy, name=name)(function)


def memory_of_task(ray: Any, wanted: int) -> int:
    """Bytes that a task with one CPU may ask for, at most `wanted`, so that every node can run one a CPU."""
    shares = [wanted]
    for node in ray.nodes():
        have = node["Resources"]
        if node["Alive"] and have.get("CPU") and have.get("memory"):
            shares.append(int(have["memory"] / have["CPU"] / 2))
    return min(shares)


def largest_memory(ray: Any) -> int:
    """Bytes of the node that has most to give to a task."""
    return max(
        int(node["Resources"].get("memory", 0))
        for node in ray.nodes()
        if node["Alive"] and node["Resources"].get("CPU")
    )


def cores_of_task(ray: Any, wanted: int) -> int:
    """CPUs that a task may ask for, at most `wanted`, so that every node with any can run one."""
    cores = [
        int(node["Resources"]["CPU"])
        for node in ray.nodes()
        if node["Alive"] and node["Resources"].get("CPU")
    ]
    return max(1, min([wanted, *cores]))
