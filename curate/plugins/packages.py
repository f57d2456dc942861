"""Finds the plug-ins of installed packages by their entry points, and computes their SHA-256."""

from __future__ import annotations

import hashlib
import importlib.metadata
import importlib.util
from pathlib import Path

from curate.errors import ManifestError, nearest

GROUP = "curate.plugins"  # the entry points of installed packages


def entries() -> importlib.metadata.EntryPoints:
    """Return the entry points of all installed plug-ins."""
    return importlib.metadata.entry_points(group=GROUP)


def package_sha256(name: str) -> str:
    """Return the SHA-256 (hex) of the installed plug-in with the entry point `name`.

    Raises:
        ManifestError: there is no such entry point, or its module cannot be found.
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
    """Return the SHA-256 (hex) of all Python files of a module's package, or of the module if it is in none."""
    depth = module.count(".") + (origin.name == "__init__.py")
    folder = origin.parents[depth - 1] if depth else origin.parent
    digest = hashlib.sha256()
    for file in sorted(folder.rglob("*.py")) if depth else [origin]:
        digest.update(f"{file.relative_to(folder).as_posix()}\0".encode())
        digest.update(hashlib.sha256(file.read_bytes()).digest())
    return digest.hexdigest()
