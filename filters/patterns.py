"""The cleaner "patterns": takes the irregularities of filters.catalogue out of the texts that have them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial, reduce
from itertools import pairwise
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from filters.catalogue import CATALOGUE
from filters.pattern import Pattern, added
from filters.row_kernels import rewrite
from filters.rule import cleaner

PATTERNS = {pattern.name: pattern for pattern in CATALOGUE}
MAX_ROUNDS = 12  # what one pattern leaves can be another's; real captions need three
MAX_REPEATS = 64  # of a pattern that takes out one of several neighbours at a time
BRANCHES = 4  # that a search for several patterns parts into; 2, 3 and 6 took longer on real captions


@cleaner("patterns")
def patterns(
    text: pa.StringArray,
    *,
    use: Sequence[str] = tuple(PATTERNS),
    add: Mapping[str, Mapping[str, Any]] = {},
) -> pa.StringArray:
    """Texts without the patterns named in `use`, taken out in that order, again until nothing changes.

    `add` describes others, by name, which come after them: see `filters.pattern.added`.

    Raises: ValueError for a name that is not in the catalogue, or a description that makes no sense.
    """
    if unknown := [name for name in use if name not in PATTERNS]:
        raise ValueError(f"no pattern {unknown[0]!r} (there are: {', '.join(PATTERNS)})")
    others = [added(name, table) for name, table in add.items()]
    if not len(text):
        try_out(others)
    return settle(text, [*(PATTERNS[name] for name in use), *others], MAX_ROUNDS)


def try_out(others: Sequence[Pattern]) -> None:
    """See that each pattern of a manifest compiles, and makes of its example what it says.

    Raises: ValueError for one that does not.
    """
    for pattern in others:
        if pattern.name in PATTERNS:
            raise ValueError(f"pattern {pattern.name!r} is there already: give it another name")
        try:
            made = settle(pa.array([pattern.before]), [pattern], MAX_ROUNDS)[0].as_py()
        except pa.ArrowInvalid as error:
            raise ValueError(f"pattern {pattern.name!r}: {error}") from None
        if pattern.before and made != pattern.after:
            raise ValueError(f"pattern {pattern.name!r} makes {made!r} of its example, not {pattern.after!r}")


def settle(text: pa.StringArray, chosen: Sequence[Pattern], rounds: int) -> pa.StringArray:
    """Every pattern taken out in order, and again of the texts that this changed, at most `rounds` times."""
    if not chosen or not rounds:
        return text

    def change(rows: pa.StringArray) -> pa.StringArray:
        cleaned = take_out(rows, chosen)
        return rewrite(cleaned, pc.not_equal(cleaned, rows), lambda again: settle(again, chosen, rounds - 1))

    return rewrite(text, irregular(text, chosen), change)


def take_out(text: pa.StringArray, chosen: Sequence[Pattern]) -> pa.StringArray:
    """Every pattern taken out once, in order, of texts that each may have one.

    Some of the patterns are searched for at once, then some of those in the texts so found, and so on.
    """
    if len(chosen) == 1:
        return replaced(text, chosen[0], MAX_REPEATS if chosen[0].again else 1)
    branches = min(BRANCHES, len(chosen))
    for first, last in pairwise(len(chosen) * branch // branches for branch in range(branches + 1)):
        some = chosen[first:last]
        text = rewrite(text, irregular(text, some), partial(take_out, chosen=some))
    return text


def replaced(text: pa.StringArray, pattern: Pattern, repeats: int) -> pa.StringArray:
    """One pattern's steps made in order, and made again on the texts that they changed, `repeats` times at most."""
    made = reduce(replace, pattern.steps, text)
    if repeats == 1:
        return made
    return rewrite(made, pc.not_equal(made, text), lambda rows: replaced(rows, pattern, repeats - 1))


def irregular(text: pa.StringArray, chosen: Sequence[Pattern]) -> pa.BooleanArray:
    """True for the texts that may have one of the patterns; those of Chinese are looked for beyond ASCII only."""
    narrow = [pattern for pattern in chosen if not pattern.wide]
    wide = [pattern for pattern in chosen if pattern.wide]
    if not wide:
        return search(text, narrow)
    beyond = pc.fill_null(pc.invert(pc.string_is_ascii(text)), False)
    if not pc.any(beyond, min_count=0).as_py():
        return search(text, narrow)
    found = pc.replace_with_mask(beyond, beyond, search(text.filter(beyond), wide))
    return pc.or_(search(text, narrow), found) if narrow else found


def search(text: pa.StringArray, chosen: Sequence[Pattern]) -> pa.BooleanArray:
    """True for the texts that may have one of the patterns, in one search for each of the three places."""
    if not chosen:
        return pa.repeat(False, len(text))
    within = "|".join(f"(?:{pattern.within})" for pattern in chosen if pattern.within)
    start = "|".join(f"(?:{pattern.start})" for pattern in chosen if pattern.start)
    end = "|".join(f"(?:{pattern.end})" for pattern in chosen if pattern.end)
    searches = (within, start and f"^(?:{start})", end and f"(?:{end})$")
    return reduce(pc.or_, (pc.match_substring_regex(text, search) for search in searches if search))


def replace(text: pa.StringArray, step: tuple[str, str]) -> pa.StringArray:
    """One replacement, made on the texts in which it is found: finding is several times cheaper."""
    there = pc.match_substring_regex(text, step[0])
    return rewrite(text, there, lambda rows: pc.replace_substring_regex(rows, *step))
