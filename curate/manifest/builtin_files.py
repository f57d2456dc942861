"""Finds the files that ship with curate: manifests, their samples, lists of held-out images."""

from __future__ import annotations

from pathlib import Path


def folder() -> Path:
    """Return the folder of the built-in manifests and their samples."""
    installed = Path(__file__).parents[1] / "_manifests"
    return installed if installed.is_dir() else Path(__file__).parents[2] / "manifests"


def samples() -> Path:
    """Return the folder of the samples of the built-in manifests."""
    return folder() / "samples"


def held_out_list(name: str) -> Path | None:
    """Return the path of the shipped list of images with a name such as `coco-karpathy-test`; None if there is none."""
    path = folder() / "held-out" / f"{name}.txt"
    return path if "/" not in name and "\0" not in name and path.is_file() else None


def held_out_lists() -> list[str]:
    """Return the names of the lists of images that ship with curate."""
    return sorted(path.stem for path in (folder() / "held-out").glob("*.txt"))
