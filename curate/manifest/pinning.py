"""Files that a rule's setting `against` names, pinned to their content: another file is another run.

A name becomes `/path/to/set.prints@sha256:HEX`. A name that is pinned already must have that content.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from curate.errors import ManifestError

RULES = ("image_in_evaluation_set", "text_in_evaluation_set")  # compare with fingerprint files
LIST_RULE = "image_on_list"  # compares with lists of hashes
PINNED = re.compile(r"(?P<path>.+)@sha256:(?P<sha256>[0-9a-f]{64})", re.DOTALL)


def pin(tree: Mapping[str, Any], beside: Path) -> None:
    """Pin what the rules of a manifest's tree are set `against`; relative names are of files in `beside`.

    What is no list of names is left to be refused by who checks types.

    Raises:
        ManifestError: a file cannot be read, or is not the one that was pinned.
    """
    rules = tree.get("rules")
    if not isinstance(rules, Mapping):
        return
    for name in (*RULES, LIST_RULE):
        rule = rules.get(name)
        if not isinstance(rule, dict) or "against" not in rule:
            continue
        given = [rule["against"]] if isinstance(rule["against"], str) else rule["against"]
        if isinstance(given, list | tuple) and all(isinstance(one, str) for one in given):
            rule["against"] = [_pinned(one, beside, name) for one in given]


def place(pinned: str) -> tuple[Path, str]:
    """The path of a pinned file, and the SHA-256 that its content has (empty: it is not pinned)."""
    found = PINNED.fullmatch(pinned)
    return (Path(found["path"]), found["sha256"]) if found else (Path(pinned), "")


def sha256_of(path: Path) -> str:
    """The hex SHA-256 of a file."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _pinned(name: str, beside: Path, rule: str) -> str:
    path, expected = place(name)
    path = (beside / path.expanduser()).absolute()
    try:
        found = sha256_of(path)
    except (OSError, ValueError) as error:
        said = getattr(error, "strerror", None) or error
        way = "give a text file, a hash a line" if rule == LIST_RULE else "make it by `curate fingerprint`"
        raise ManifestError(f"rule {rule!r}: cannot read {path}: {said}; {way}") from None
    if expected not in ("", found):
        raise ManifestError(
            f"rule {rule!r}: {path} is another file than the manifest names: its SHA-256 is {found}"
        )
    return f"{path}@sha256:{found}"
