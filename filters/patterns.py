"""The cleaner "patterns": removes the irregularities of filters.catalogue from texts."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import lru_cache, partial, reduce
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from filters.catalogue import CATALOGUE
from filters.needs import either, needed_runs
from filters.pattern import Pattern, added
from filters.row_kernels import rewrite
from filters.rule import cleaner
from filters.sieve import Change, Sieve, settle

PATTERNS = {pattern.name: pattern for pattern in CATALOGUE}
MAX_ROUNDS = 12  # rounds, because one pattern's removal can leave another pattern; real captions need three
A_FEW = 8  # so few texts are not searched before a replacement: an expression is compiled for each search
FEW = 3  # a pattern with at most so many steps tries all of them on every text that may have it
MAX_REPEATS = 64  # limit on the repetitions of a pattern that removes one of several neighbours at a time


@cleaner("patterns")
def patterns(
    text: pa.StringArray,
    *,
    use: Sequence[str] = tuple(PATTERNS),
    add: Mapping[str, Mapping[str, Any]] = {},
) -> pa.StringArray:
    """Remove the patterns named in `use`, in that order, and again until nothing changes.

    `add` describes further patterns by name, which are removed after those: see `filters.pattern.added`.

    Raises: ValueError for a name that is not in the catalogue, or a description that makes no sense.
    """
    if unknown := [name for name in use if name not in PATTERNS]:
        raise ValueError(f"no pattern {unknown[0]!r} (there are: {', '.join(PATTERNS)})")
    others = [added(name, table) for name, table in add.items()]
    if not len(text):
        try_out(others)
    return without(text, (*(PATTERNS[name] for name in use), *others))


def without(text: pa.StringArray, chosen: tuple[Pattern, ...]) -> pa.StringArray:
    """Every pattern taken out in order, and again of the texts that this changed, at most MAX_ROUNDS times."""
    if not chosen:
        return text
    changes = [Change(partial(irregular, pattern=one), partial(take_out, pattern=one)) for one in chosen]
    return settle(text, _sieve_of(chosen), changes, MAX_ROUNDS)


def try_out(others: Sequence[Pattern]) -> None:
    """Check that each pattern of a manifest compiles, and turns its example `before` into `after`.

    Raises: ValueError for one that does not, or whose name is taken.
    """
    for pattern in others:
        if pattern.name in PATTERNS:
            raise ValueError(f"pattern {pattern.name!r} is there already: give it another name")
        try:
            made = without(pa.array([pattern.before]), (pattern,))[0].as_py()
        except pa.ArrowInvalid as error:
            raise ValueError(f"pattern {pattern.name!r}: {error}") from None
        if pattern.before and made != pattern.after:
            raise ValueError(f"pattern {pattern.name!r} makes {made!r} of its example, not {pattern.after!r}")


def take_out(text: pa.StringArray, pattern: Pattern) -> pa.StringArray:
    """One pattern taken out of texts that may have it."""
    if len(pattern.steps) <= FEW and not pattern.again:
        return reduce(replace, pattern.steps, text)
    changes = [
        Change(
            partial(found_in, expression=found),
            partial(pc.replace_substring_regex, pattern=found, replacement=put),
        )
        for found, put in pattern.steps
    ]
    return settle(text, _sieve_of_steps(pattern), changes, MAX_REPEATS if pattern.again else 1)


def irregular(text: pa.StringArray, pattern: Pattern) -> pa.BooleanArray:
    """True for texts that may have the pattern; a `wide` one is searched for only in texts beyond ASCII."""
    if not pattern.wide:
        return search(text, pattern)
    beyond = pc.fill_null(pc.invert(pc.string_is_ascii(text)), False)
    return pc.replace_with_mask(beyond, beyond, search(text.filter(beyond), pattern))


def search(text: pa.StringArray, pattern: Pattern) -> pa.BooleanArray:
    """True for the texts that may have the pattern, in one search for each of the three places."""
    return reduce(pc.or_, (pc.match_substring_regex(text, one) for one in places(pattern)))


def places(pattern: Pattern) -> list[str]:
    """RE2 of which one at least is found in a text that has the pattern."""
    start, end = pattern.start, pattern.end
    return list(filter(None, (pattern.within, start and f"^(?:{start})", end and f"(?:{end})$")))


def found_in(text: pa.StringArray, expression: str) -> pa.BooleanArray:
    """True for the texts in which the RE2 is found; for all of A_FEW, as replacing in them costs less than a search."""
    return pa.repeat(True, len(text)) if len(text) <= A_FEW else pc.match_substring_regex(text, expression)


def replace(text: pa.StringArray, step: tuple[str, str]) -> pa.StringArray:
    """Make one replacement, only in the texts in which it matches: searching is several times faster than replacing."""
    if len(text) <= A_FEW:
        return pc.replace_substring_regex(text, *step)
    there = pc.match_substring_regex(text, step[0])
    return rewrite(text, there, lambda rows: pc.replace_substring_regex(rows, *step))


@lru_cache(maxsize=16)
def _sieve_of(chosen: tuple[Pattern, ...]) -> Sieve:
    return Sieve([reduce(either, map(needed_runs, places(pattern))) for pattern in chosen])


@lru_cache(maxsize=256)
def _sieve_of_steps(pattern: Pattern) -> Sieve:
    return Sieve([needed_runs(expression) for expression, _ in pattern.steps])
