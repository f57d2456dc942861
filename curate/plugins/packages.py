"""Plug-ins of installed packages: their entry points, and what they are known by."""

from __future__ import annotations

import hashlib
import importlib.metadata
import importlib.util
from pathlib import Path

from curate.errors import ManifestError, nearest

GROUP = "curate.plugins"  # the entry points of installed packages


def entries() -> importlib.metadata.EntryPoints:
    """The entry points of every installed plug-in."""
    return importlib.metadata.entry_points(group=GROUP)


def package_sha256(name: str) -> str:
    """The SHA-256 of the installed plug-in with that entry point.

    Raises:
        ManifestError: there is none.
    """
    known = {entry.name: entry.value for entry in entries()}
    if name not in known:
        hint = nearest(name, known)
        raise ManifestError(f"no plug-in {name!r} is installed{hint}; the name of a file ends in .py")
    try:
        spec = importlib.util.find_spec(known[name])
    except (ImportError, ValueError) as error:
        raise ManifestError(f"plug-in {name!r} does not import: {error}") from None
    if spec is None or spec.origin is None:
        raise ManifestError(f"plug-in {name!r} does not import: there is no module {known[name]!r}")
    return _digest(known[name], Path(spec.origin))


def _digest(module: str, origin: Path) -> str:
    """SHA-256 of the Python files of the package that a module belongs to, or of the lone module."""
    depth = module.count(".") + (origin.name == "__init__.py")
    folder = origin.parents[depth - 1] if depth else origin.parent
    digest = hashlib.sha256()
    for file in sorted(folder.rglob("*.py")) if depth else [origin]:
        digest.update(f"{file.relative_to(folder).as_posix()}\0".encode())
        digest.update(hashlib.sha256(file.read_bytes()).digest())
    return digest.hexdigest()
