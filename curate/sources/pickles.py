"""Turn pickles of plain data into JSON Lines, in a child process that never imports what a pickle names.

RefCOCO's references are published as a Python 2 pickle. An unpickler whose `find_class` always raises can build
lists, dicts, strings and numbers, and nothing else. The child's limits bound how much of them it builds.

    outcome = children.submit(Path("refs(unc).p").read_bytes()).result()  # a reason, or lines of JSON
"""

from __future__ import annotations

import io
import json
import pickle
from collections.abc import Callable
from typing import Any, NoReturn

from curate.storage.filesystems import one_line

TARGET = "curate.sources.pickles:reader"


class PickleError(Exception):
    """A pickle that is not a list of plain objects: `reason` is a slug, `detail` says what was found."""

    def __init__(self, reason: str, detail: str) -> None:
        super().__init__(reason, detail)
        self.reason, self.detail = reason, detail


class Plain(pickle.Unpickler):
    """An unpickler that builds plain data only."""

    def find_class(self, module: str, name: str) -> NoReturn:
        """Refuse to look up a class or function.

        Raises:
            PickleError: always.
        """
        raise PickleError("pickle_not_plain", f"it names {module}.{name}, which is not looked up"[:200])


def reader(settings: bytes) -> Callable[[bytes], bytes]:
    """The handler that `curate.children.pool` runs; there are no settings."""
    return lambda data: lines(items(data))


def lines(found: list[Any]) -> bytes:
    """One line of JSON for each item.

    Raises:
        PickleError: pickle_not_plain, for example for a list that contains itself.
    """
    try:
        return "".join(json.dumps(item) + "\n" for item in found).encode()
    except (ValueError, TypeError, RecursionError) as error:
        raise PickleError("pickle_not_plain", str(error)[:200]) from None


def items(data: bytes) -> list[Any]:
    """The items of a pickled list; strings of Python 2 are read as UTF-8.

    Raises:
        PickleError: pickle_damaged, pickle_not_plain.
    """
    try:
        found = Plain(io.BytesIO(data), encoding="utf-8", errors="surrogateescape").load()
    except (PickleError, MemoryError):
        raise
    except Exception as error:  # on hostile bytes, the unpickler raises errors of any class
        raise PickleError("pickle_damaged", f"{type(error).__name__}: {one_line(error)}"[:200]) from None
    if not isinstance(found, list):
        raise PickleError("pickle_not_plain", f"it holds no list but a {type(found).__name__}")
    return found
