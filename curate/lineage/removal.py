"""The note of a removal: a file in its folder while it is under way, a part of `_manifest.json` once it is complete."""

from __future__ import annotations

from typing import Any

import msgspec

from curate.engine.journal import RUN
from curate.errors import OutputError
from curate.storage.finished import read_manifest, read_state
from curate.storage.store import Store

STATE = "_run/remove/asked.json"


class Removal(msgspec.Struct, frozen=True, kw_only=True):
    """What a removal was asked for (`_run/remove/asked.json`): only a command that asks the same may go on with it."""

    parent: str  # the folder of the older version
    parent_manifest: str  # hex, SHA-256 of its _manifest.json
    list: str  # hex, SHA-256 of the list; empty without one
    against: tuple[str, ...] = ()  # hex, SHA-256 of each fingerprint file
    reason: str
    date: str  # when it began

    def same(self, other: Removal) -> bool:
        """Whether both remove the same from the same version; date and the parent's folder do not matter."""
        return msgspec.structs.replace(self, date="", parent="") == msgspec.structs.replace(
            other, date="", parent=""
        )


def finished_removal(target: Store, asked: Removal) -> dict[str, Any] | None:
    """Return what the same removal found, if it is complete in `target`; None if `target` is empty or unfinished.

    Raises:
        OutputError: `target` holds something else.
    """
    manifest = read_manifest(target)
    if manifest is None:
        if under_way(target, asked) is None and (target.exists(RUN) or target.names()):
            raise OutputError(f"{target.uri} is not empty: give another folder")
        return None
    said = manifest.get("removal")
    asked_for = {n: getattr(asked, n) for n in ("parent_manifest", "list", "reason")}
    asked_for["against"] = list(asked.against)
    if not isinstance(said, dict) or any({"against": [], **said}.get(n) != of for n, of in asked_for.items()):
        raise OutputError(f"{target.uri} holds something else already: give another --out")
    return {"folder": target.uri, "overlaps": {}, **said["found"], "unmatched_lines": [], "copies": []}


def begin_removal(target: Store, asked: Removal) -> Removal:
    """Return the note of the same removal if it is under way in `target`; else write the note `asked` and return it."""
    begun = under_way(target, asked)
    if begun is None:
        target.write_bytes(STATE, msgspec.json.encode(asked))
    return begun or asked


def under_way(target: Store, asked: Removal) -> Removal | None:
    """Return the note of the same removal if it is under way in `target`; None if no removal is.

    Raises:
        OutputError: another removal is under way.
    """
    begun = read_state(target, STATE, Removal, "delete the folder and give the command again")
    if begun is not None and not begun.same(asked):
        raise OutputError(
            f"{target.uri} holds an unfinished removal of another list or run: give another --out"
        )
    return begun
