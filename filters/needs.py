"""Compute which runs of up to three letters a text must contain if an RE2 expression is to match in it.

Most texts contain none of the runs that an expression needs, and looking for the runs of all expressions in all texts
at once (`filters.sieve`) costs less than a single search. An expression that this module does not understand needs no
run: every text is then searched. So a run is required only if no match is possible without it.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from functools import lru_cache
from itertools import product

from filters.letters import CHINESE, CODES, EDGE, FOLDED, FOREIGN, LED_BY_CJK, OTHER, RUN, share_of

MOST = 100  # limit on the words in a set
LONGEST = 24  # limit on the codes in a word
TOO_COMMON = 0.01  # a second set of runs that occur at a larger share of positions is not used
REPEATS = 3
PLAIN = re.compile(r"(?:[A-Za-z0-9 #:;,&/@-](?![*+?{])){1,20}")
QUANTIFIER = re.compile(r"(?:[*+?]|\{(\d+)(,(\d*))?\})\??")
ESCAPED = {"a": 7, "f": 12, "t": 9, "n": 10, "r": 13, "v": 11}

Words = frozenset[bytes]
Needs = tuple[Words, ...]  # sets of runs, two at the most, the rarer first; none: nothing is known

NONE: Words = frozenset()
AN_EDGE: Words = frozenset([EDGE])


class UnknownError(Exception):
    """An expression that is not understood."""


@dataclass(slots=True)
class Matches:
    """What is known of everything that an expression matches."""

    words: Words | None  # all of it; None: too much
    heads: Words = frozenset([b""])  # each begins with one of these
    tails: Words = frozenset([b""])  # and ends with one of these
    runs: Needs = ()  # and one of each of these is in it


NOTHING = Matches(frozenset([b""]))
ANYTHING = Matches(None)


@lru_cache(maxsize=4096)
def needed_runs(expression: str) -> Needs:
    """Sets of runs of codes: a text in which the RE2 is found has one of each set at least."""
    try:
        reader = _Reader(expression)
        matches = reader.alternatives()
        if reader.at < len(expression):
            return ()
    except (UnknownError, RecursionError):
        return ()
    return tuple(
        runs for place, runs in enumerate(_open(matches).runs) if place == 0 or _cost(runs) < TOO_COMMON
    )


def either(one: Needs, other: Needs) -> Needs:
    """What a text needs in which at least one of two expressions is to match."""
    if not one or not other:
        return ()
    return tuple(dict.fromkeys((one[0] | other[0], one[-1] | other[-1])))


def _word(*parts: bytes) -> bytes:
    """Join codes to a word; runs of OTHER are cut to two, and two edges become one."""
    joined = b"".join(parts)
    for long, short in ((3 * OTHER, 2 * OTHER), (2 * EDGE, EDGE)):
        while long in joined:
            joined = joined.replace(long, short)
    return joined


def _products(ones: Words, others: Words) -> Words | None:
    """Every word of `ones` followed by every word of `others`; None: they are too many, or too long."""
    if ones == NOTHING.words:
        return others
    if len(ones) * len(others) > MOST or max(map(len, ones)) + max(map(len, others)) > LONGEST:
        return None
    return frozenset(_word(*pair) for pair in product(ones, others))


def _cost(runs: Words) -> float:
    """About how many of a text's places have one of the runs."""
    return sum(map(share_of, runs))


def _needs_of(words: Words) -> Needs:
    """Two runs of each word, the rarest and another one, where it is long enough."""
    if b"" in words:
        return ()
    firsts, seconds = zip(*map(_rarest, words), strict=True)
    return tuple(dict.fromkeys(map(frozenset, (firsts, seconds))))


@lru_cache(maxsize=1 << 14)
def _rarest(word: bytes) -> tuple[bytes, bytes]:
    """The run of a word that is in the fewest texts, and the next that shares at most a letter with it."""
    places = range(max(1, len(word) - RUN + 1))
    first, *others = sorted(places, key=lambda at: share_of(word[at : at + RUN]))
    second = next((at for at in others if abs(at - first) >= RUN - 1), first)
    return word[first : first + RUN], word[second : second + RUN]


def _rarest_needs(*parts: Needs) -> Needs:
    """The two rarest sets of runs among what several parts need, from two different parts if possible."""
    ranked = sorted(filter(None, parts), key=lambda needs: _cost(needs[0]))
    if len(ranked) < 2:
        return ranked[0] if ranked else ()
    return tuple(dict.fromkeys((ranked[0][0], ranked[1][0])))


def _ends(words: Words, side: slice) -> Words:
    """The beginnings or ends of words, shorter ones where there are too many."""
    cut = frozenset(word[side] for word in words)
    return cut if len(cut) <= MOST else frozenset([b""])


def _open(one: Matches) -> Matches:
    """The same matches, described without the set of all words: by beginnings, ends and needed runs."""
    if one.words is None:
        return one
    return Matches(
        None, _ends(one.words, slice(RUN - 1)), _ends(one.words, slice(1 - RUN, None)), _needs_of(one.words)
    )


def _joined(one: Matches, other: Matches) -> Matches:
    """One behind the other."""
    if one.words is not None and other.words is not None:
        words = _products(one.words, other.words)
        if words is not None:
            return Matches(words)
    first, second = _open(one), _open(other)
    heads = _products(one.words, second.heads) if one.words is not None else None
    tails = _products(first.tails, other.words) if other.words is not None else None
    seam = _products(one.words or first.tails, other.words or second.heads)
    return Matches(
        None,
        _ends(heads, slice(RUN - 1)) if heads else first.heads,
        _ends(tails, slice(1 - RUN, None)) if tails else second.tails,
        _rarest_needs(first.runs, second.runs, _needs_of(seam) if seam else ()),
    )


def _parted(one: Matches, other: Matches) -> Matches:
    """One or the other."""
    if one.words is not None and other.words is not None and len(one.words | other.words) <= MOST:
        return Matches(one.words | other.words)
    first, second = _open(one), _open(other)
    return Matches(
        None,
        _ends(first.heads | second.heads, slice(None)),
        _ends(first.tails | second.tails, slice(None)),
        either(first.runs, second.runs),
    )


def _repeated(one: Matches, least: int, most: int | None) -> Matches:
    """Matches of an expression that is repeated at least `least` and at most `most` times (None: no limit)."""
    if least == 0:
        return _parted(NOTHING, one) if most == 1 else ANYTHING
    result = one
    for _ in range(min(least, REPEATS) - 1):
        result = _joined(result, one)
    if least == most and least <= REPEATS:
        return result
    again = _open(result)
    return Matches(None, again.heads, again.tails, again.runs)


@lru_cache(maxsize=4096)
def _of_points(low: int, high: int) -> Words:
    """The words of the characters from code point `low` to `high`."""
    words = {CODES[byte : byte + 1] for byte in range(low, min(high, 0x7F) + 1)}
    if any(low <= last and high >= first for first, last in LED_BY_CJK):
        words.add(CHINESE)
    if high >= 0x80 and not any(first <= low and high <= last for first, last in LED_BY_CJK):
        words.add(FOREIGN)
    words.update(CODES[ord(letter)].to_bytes() for point, letter in FOLDED.items() if low <= point <= high)
    return frozenset(words)


def _beyond(points: Iterable[tuple[int, int]]) -> Words:
    """The words of the characters that are in none of these ranges, and perhaps of some that are."""
    excluded = {point for low, high in points for point in range(low, min(high, 0x7F) + 1)}
    return frozenset(CODES[byte : byte + 1] for byte in range(128) if byte not in excluded) | {
        CHINESE,
        FOREIGN,
    }


class _Reader:
    """Reads one expression in RE2's syntax, from left to right."""

    def __init__(self, expression: str) -> None:
        self.text, self.at = expression, 0

    def alternatives(self) -> Matches:
        """Read alternatives, which bars separate, up to a closing bracket or the end."""
        result = self._sequence()
        while self._took("|"):
            result = _parted(result, self._sequence())
        return result

    def _sequence(self) -> Matches:
        result = NOTHING
        while self.at < len(self.text) and self.text[self.at] not in "|)":
            if plain := PLAIN.match(self.text, self.at):
                self.at = plain.end()
                result = _joined(result, Matches(frozenset([_word(plain[0].encode().translate(CODES))])))
                continue
            one = self._atom()
            while found := QUANTIFIER.match(self.text, self.at):
                self.at = found.end()
                one = _repeated(one, *_counts(found))
            result = _joined(result, one)
        return result

    def _atom(self) -> Matches:
        letter = self._next()
        if letter == "(":
            return self._group()
        if letter == "[":
            return Matches(self._class())
        if letter == ".":
            return Matches(_beyond([]))
        if letter in "^$":
            return Matches(AN_EDGE)
        if letter == "\\":
            return self._escape()
        return Matches(_of_points(ord(letter), ord(letter)))

    def _group(self) -> Matches:
        if self._took("?"):
            opened = re.compile(r"P?<\w+>|([ims]*)(?:-[ims]+)?([:)])").match(self.text, self.at)
            if opened is None or "m" in (opened[1] or ""):
                raise UnknownError(self.text)
            self.at = opened.end()
            if opened[2] == ")":
                return NOTHING  # flags for what follows, none of which counts
        inner = self.alternatives()
        if not self._took(")"):
            raise UnknownError(self.text)
        return inner

    def _escape(self) -> Matches:
        letter = self._next()
        if letter in "bB":
            return NOTHING
        if letter in "Az":
            return Matches(AN_EDGE)
        return Matches(self._escaped(letter))

    def _escaped(self, letter: str) -> Words:
        """The words of what stands behind a backslash."""
        if letter in "dws":
            sets = {"d": [(48, 57)], "w": [(48, 57), (65, 90), (95, 95), (97, 122)], "s": [(9, 13), (32, 32)]}
            return NONE.union(*(_of_points(*pair) for pair in sets[letter]))
        if letter in "DWSpP":
            if letter in "pP" and self._next() == "{":
                while self._next() != "}":
                    pass
            return _beyond([])
        return _of_points(*(2 * (self._point(letter),)))

    def _point(self, letter: str) -> int:
        """The code point that an escape stands for."""
        if letter == "x":
            found = re.compile(r"\{([0-9A-Fa-f]+)\}|([0-9A-Fa-f]{2})").match(self.text, self.at)
            if found is None:
                raise UnknownError(self.text)
            self.at = found.end()
            return int(found[1] or found[2], 16)
        if letter in ESCAPED:
            return ESCAPED[letter]
        if letter.isalnum():
            raise UnknownError(self.text)
        return ord(letter)

    def _class(self) -> Words:
        """The words of a class's characters; its bracket is open."""
        inverted = self._took("^")
        words, points, first = NONE, list[tuple[int, int]](), True
        while first or not self._took("]"):
            first = False
            letter = self._next()
            if letter == "[" and self.text[self.at : self.at + 1] == ":":
                raise UnknownError(self.text)
            if letter == "\\" and self.text[self.at : self.at + 1] in "dwsDWSpP":
                words |= self._escaped(self._next())
                continue
            low = self._point(self._next()) if letter == "\\" else ord(letter)
            high = low
            if self.text[self.at : self.at + 1] == "-" and self.text[self.at + 1 : self.at + 2] not in (
                "]",
                "",
            ):
                self.at += 1
                letter = self._next()
                high = self._point(self._next()) if letter == "\\" else ord(letter)
            points.append((low, high))
        if inverted:
            return _beyond(points)
        return words.union(*(_of_points(*pair) for pair in points))

    def _next(self) -> str:
        if self.at >= len(self.text):
            raise UnknownError(self.text)
        self.at += 1
        return self.text[self.at - 1]

    def _took(self, letter: str) -> bool:
        took = self.text[self.at : self.at + 1] == letter
        self.at += took
        return took


def _counts(quantifier: re.Match[str]) -> tuple[int, int | None]:
    """How often at least and at most (None: no limit)."""
    sign = quantifier[0][0]
    if sign != "{":
        return int(sign == "+"), 1 if sign == "?" else None
    least = int(quantifier[1])
    if quantifier[2] is None:
        return least, least
    return least, int(quantifier[3]) if quantifier[3] else None
