"""Check each node of a cluster before the plan is made: it must have the same curate and see `--out` and the inputs."""

from __future__ import annotations

import functools
import hashlib
import platform
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import msgspec
import pyarrow.fs as pafs

from curate.cluster import on_node, start
from curate.engine.request import Request
from curate.errors import CurateError, MachineError
from curate.manifest.load import image_folder
from curate.storage.filesystems import filesystem, one_line
from curate.storage.store import TMP, Store
from curate.version import __version__

LOOKED_AT = 32  # about how many inputs each node looks for, spread over all of them
PATIENCE_S = 120.0  # how long to wait for the answers of all nodes
PROBE = f"{TMP}/probe"  # a file in `--out` that every node must see


class Wanted(msgspec.Struct, frozen=True):
    """What a node must have and see."""

    version: str
    code: str  # see `code_digest`
    out: str
    token: str  # the content of the file PROBE in `out`
    inputs: tuple[str, ...]
    images: str | None  # the manifest's image folder


def check_nodes(address: str, asked: Request, store: Store) -> None:
    """Check that every node of the cluster at `address` has what a run needs; Ray stays connected to the cluster.

    Args:
        address: of the Ray cluster.
        asked: the run's request.
        store: the folder to write to.

    Raises:
        MachineError: a node lacks something, or does not answer; or the cluster has no node with a CPU.
    """
    folder = image_folder(asked.manifest)
    uris = [part.uri for one in asked.inputs for part in one.files if part.is_file]
    check_nodes_see(address, uris, store, None if folder is None else str(folder))


def check_nodes_see(address: str, uris: Sequence[str], store: Store, images: str | None = None) -> None:
    """Check that every node of the cluster at `address` sees the inputs `uris`, the folder of `store` and of `images`.

    A node that leaves the cluster meanwhile is ignored, as other nodes would do its work.

    Raises:
        MachineError: a node lacks something, or does not answer; or the cluster has no node with a CPU.
    """
    ray = start(None, address)
    try:
        wanted = _wanted(uris, store, images)
        nodes = [node for node in ray.nodes() if node["Alive"] and node["Resources"].get("CPU")]
        asking = {on_node(ray, _lacks, node["NodeID"], "look around").remote(wanted): node for node in nodes}
        answered, silent = ray.wait(list(asking), num_returns=len(asking), timeout=PATIENCE_S)
        said = {answer: _answer(ray, answer) for answer in answered}
        for answer, lacking in said.items():
            if lacking:
                raise MachineError(f"node {_name(asking[answer])} {lacking}")
        if silent := [answer for answer in silent if _is_there(ray, asking[answer])]:
            raise MachineError(f"node {_name(asking[silent[0]])} does not answer: is it busy, or gone?")
        if "" not in said.values():
            raise MachineError(f"the cluster at {address} has no node with a CPU")
    except BaseException:
        ray.shutdown()
        raise
    finally:
        store.delete(PROBE)


@functools.cache
def code_digest() -> str:
    """Return the SHA-256 (hex) of curate's code and Python's version, to tell apart copies with one version number."""
    digest, root = hashlib.sha256(platform.python_version().encode()), Path(__file__).parents[1]
    for path in sorted(root.rglob("*.py")):
        digest.update(path.relative_to(root).as_posix().encode() + path.read_bytes())
    return digest.hexdigest()


def _wanted(uris: Sequence[str], store: Store, images: str | None) -> Wanted:
    token = hashlib.sha256(f"{store.uri} {code_digest()} {id(store)}".encode()).hexdigest()
    store.write_bytes(PROBE, token.encode())
    return Wanted(
        version=__version__,
        code=code_digest(),
        out=store.uri if not store.local else store.root,
        token=token,
        inputs=tuple(uris[:: max(1, len(uris) // LOOKED_AT)]),
        images=images,
    )


def _lacks(wanted: Wanted) -> str:
    """Return in words what this node lacks; an empty string if it lacks nothing."""
    if (__version__, code_digest()) != (wanted.version, wanted.code):
        return (
            f"has another curate (or Python) than the driver's {wanted.version} "
            f"(there: {__version__}, Python {platform.python_version()}): install the same one"
        )
    try:
        if Store(wanted.out).read_bytes(PROBE) != wanted.token.encode():
            return (
                f"does not see {wanted.out}: give an --out that all nodes share (a network folder, s3://, …)"
            )
        return _unseen([*wanted.inputs, *([wanted.images] if wanted.images else [])])
    except (CurateError, OSError) as error:
        return f"cannot read {wanted.out}: {one_line(error)}"


def _unseen(uris: Sequence[str]) -> str:
    for uri in uris:
        system, path = filesystem(uri)
        if "://" not in uri or isinstance(system, pafs.LocalFileSystem):
            there = Path(path).exists()
        else:
            there = system.get_file_info(path).type != pafs.FileType.NotFound
        if not there:
            return f"does not see the input {uri}: put it where all nodes see it"
    return ""


def _answer(ray: Any, answer: Any) -> str | None:
    """Return what a node answers: in words what it lacks, or an empty string; None if the node is gone."""
    try:
        said: str = ray.get(answer)
        return said
    except (ray.exceptions.TaskUnschedulableError, ray.exceptions.NodeDiedError):
        return None
    except ray.exceptions.RayError as error:
        return f"cannot run curate: {one_line(error)}"


def _is_there(ray: Any, node: dict[str, Any]) -> bool:
    return any(one["NodeID"] == node["NodeID"] and one["Alive"] for one in ray.nodes())


def _name(node: dict[str, Any]) -> str:
    return f"{node['NodeManagerHostname']} ({node['NodeManagerAddress']})"
