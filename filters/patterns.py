"""The cleaner "patterns": the irregularities of filters.catalogue are taken out of the texts that have them."""

from __future__ import annotations

from collections.abc import Sequence
from functools import reduce

import pyarrow as pa
import pyarrow.compute as pc

from filters.catalogue import CATALOGUE, Pattern
from filters.rows import rewrite
from filters.rule import cleaner

PATTERNS = {pattern.name: pattern for pattern in CATALOGUE}
MAX_ROUNDS = 12  # what one pattern leaves can be another's; real captions need three


@cleaner("patterns")
def patterns(text: pa.StringArray, *, use: Sequence[str] = tuple(PATTERNS)) -> pa.StringArray:
    """Texts without the patterns named in `use`, taken out in that order, again until nothing changes.

    Raises: ValueError for a name that is not in the catalogue.
    """
    if unknown := [name for name in use if name not in PATTERNS]:
        raise ValueError(f"no pattern {unknown[0]!r} (there are: {', '.join(PATTERNS)})")
    chosen = [PATTERNS[name] for name in use]
    gate = "|".join(f"(?:{pattern.where})" for pattern in chosen)
    return rewrite(text, pc.match_substring_regex(text, gate), lambda rows: settle(rows, chosen, MAX_ROUNDS))


def settle(text: pa.StringArray, chosen: Sequence[Pattern], rounds: int) -> pa.StringArray:
    """Every pattern taken out in order, and again of the texts that this changed, at most `rounds` times."""
    cleaned = reduce(take_out, chosen, text)
    if rounds == 1:
        return cleaned
    changed = pc.not_equal(cleaned, text)
    return rewrite(cleaned, changed, lambda rows: settle(rows, chosen, rounds - 1))


def take_out(text: pa.StringArray, pattern: Pattern) -> pa.StringArray:
    """One pattern taken out of the texts that have it."""
    return rewrite(
        text,
        pc.match_substring_regex(text, pattern.where),
        lambda rows: reduce(lambda t, step: pc.replace_substring_regex(t, *step), pattern.steps, rows),
    )
