"""What a pattern of the cleaner "patterns" is: data, so that a manifest can add its own."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

KEYS = ("steps", "before", "after", "within", "start", "end")


@dataclass(frozen=True)
class Pattern:
    """A named irregularity and its removal.

    Cheap expressions select the texts that may have it. Those that search anywhere, at the start and at the end are
    kept apart, because RE2 is fast on each kind and slow on a mixture.
    """

    name: str
    before: str  # an example
    after: str
    steps: tuple[tuple[str, str], ...]  # RE2 and replacement, in order
    within: str = ""  # RE2 found anywhere in a text that has the pattern, or
    start: str = ""  # at its start, or
    end: str = ""  # at its end
    wide: bool = False  # found only in texts with characters beyond ASCII
    again: bool = False  # a step removes one of several neighbours: repeat until nothing changes


def added(name: str, table: Mapping[str, Any]) -> Pattern:
    """The pattern that a manifest's `[cleaners.patterns.add.NAME]` describes.

    `steps` is a list of [RE2, replacement]. `before` and `after` are an example, which the caller must try. `within`,
    `start` and `end` are as in `Pattern`; if all are left out, the expressions of the steps are searched for instead.

    Raises: ValueError for a table of another form.
    """
    if unknown := [key for key in table if key not in KEYS]:
        raise ValueError(f"pattern {name!r} has no {unknown[0]!r} (it has: {', '.join(KEYS)})")
    steps = table.get("steps") or []
    if not steps or not isinstance(steps, (list, tuple)) or not all(map(_is_step, steps)):
        raise ValueError(f"pattern {name!r}: steps must be a list of [expression, replacement]")
    if wrong := [key for key in KEYS[1:] if not isinstance(table.get(key, ""), str)]:
        raise ValueError(f"pattern {name!r}: {wrong[0]!r} must be a string")
    given = {key: table[key] for key in KEYS[3:] if table.get(key)}
    searched = given or {"within": "|".join(f"(?:{expression})" for expression, _ in steps)}
    pairs_of = tuple((str(expression), str(replacement)) for expression, replacement in steps)
    return Pattern(name, table.get("before", ""), table.get("after", ""), pairs_of, **searched)


def _is_step(step: object) -> bool:
    return isinstance(step, (list, tuple)) and len(step) == 2 and all(isinstance(part, str) for part in step)
