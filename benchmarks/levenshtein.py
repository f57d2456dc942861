"""How far a text that was read is from the one that was written."""

from __future__ import annotations


def distance(a: str, b: str) -> int:
    """Levenshtein's: the fewest characters to put in, take out or change."""
    row = list(range(len(b) + 1))
    for i, x in enumerate(a, 1):
        above, row[0] = row[0], i
        for j, y in enumerate(b, 1):
            above, row[j] = row[j], min(row[j] + 1, row[j - 1] + 1, above + (x != y))
    return row[-1]
