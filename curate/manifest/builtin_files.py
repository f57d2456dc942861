"""Where the files that ship with curate lie: manifests, their samples, lists of held-out images."""

from __future__ import annotations

from pathlib import Path


def folder() -> Path:
    """Where the built-in manifests and their samples lie."""
    installed = Path(__file__).parents[1] / "_manifests"
    return installed if installed.is_dir() else Path(__file__).parents[2] / "manifests"


def samples() -> Path:
    """Where the samples of the built-in manifests lie."""
    return folder() / "samples"


def held_out_list(name: str) -> Path | None:
    """The list of images that ships under that name, such as `coco-karpathy-test`; None where none does."""
    path = folder() / "held-out" / f"{name}.txt"
    return path if "/" not in name and "\0" not in name and path.is_file() else None
