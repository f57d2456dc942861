"""Turns training strings into tokens, with a mask of the tokens that have a loss."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from curate.packing.tokenizer import MARKERS, Tokenizer
from curate.tasks.chat import Pieces
from curate.tasks.flat_regions import join

Ints = npt.NDArray[np.int64]
Bools = npt.NDArray[np.bool_]

SPLIT = re.compile("(" + "|".join(MARKERS) + ")")
END = object()  # stands for the end token among the pieces of a string
IMAGE = object()  # stands for Qwen-VL's `<img>` and the image after it


class Encoded(NamedTuple):
    """N samples, joined: sample n is tokens[starts[n]:starts[n + 1]]."""

    tokens: npt.NDArray[np.int32]
    loss: Bools  # True for what the model is trained to say
    closes: Bools  # True for the last token of an assistant's turn
    starts: Ints  # N + 1

    def lengths(self) -> Ints:
        """Tokens of each sample."""
        return np.diff(self.starts)

    def take(self, samples: Ints) -> Encoded:
        """Return the samples with these numbers, in that order."""
        return self.runs(self.starts[samples], self.lengths()[samples])

    def runs(self, first: Ints, sizes: Ints) -> Encoded:
        """Return M runs of tokens as samples: run m has sizes[m] tokens from first[m] on."""
        starts = np.concatenate([[0], np.cumsum(sizes)])
        index = np.repeat(first - starts[:-1], sizes) + np.arange(starts[-1])
        return Encoded(self.tokens[index], self.loss[index], self.closes[index], starts)

    def repeat(self, token: int, times: Ints) -> Encoded:
        """Repeat each occurrence of a token as many times as `times` says (one number for each occurrence, from 1)."""
        counts = np.ones(len(self.tokens), np.int64)
        counts[self.tokens == token] = times
        index = np.repeat(np.arange(len(counts)), counts)
        ends = np.concatenate([[0], np.cumsum(counts)])
        return Encoded(self.tokens[index], self.loss[index], self.closes[index], ends[self.starts])

    def count_of(self, token: int) -> Ints:
        """Return how often a token occurs in each sample (N)."""
        sample = np.searchsorted(self.starts, np.flatnonzero(self.tokens == token), side="right") - 1
        counts: Ints = np.bincount(sample, minlength=len(self.starts) - 1)
        return counts


def concatenated(several: Sequence[Encoded]) -> Encoded:
    """Join several Encoded into one with all their samples, in order."""
    offsets = np.cumsum([0, *(len(one.tokens) for one in several)])
    starts = [one.starts[1:] + offset for one, offset in zip(several, offsets, strict=False)]
    tokens = np.concatenate([one.tokens for one in several])
    loss, closes = (
        np.concatenate(flags) for flags in zip(*((one.loss, one.closes) for one in several), strict=True)
    )
    return Encoded(tokens, loss, closes, np.concatenate([[0], *starts]).astype(np.int64))


def encode(prompt: pa.Array, target: pa.Array, tokenizer: Tokenizer, image_tokens: int) -> Encoded:
    """Encode N of Qwen-VL's prompts and targets; the end token follows each target, and the prompt has no loss.

    Only the formats' markers in the strings become special tokens. An image becomes its two markers with `image_tokens`
    pad tokens between them, whatever its path.
    """
    pathless = pc.replace_substring_regex(prompt, "(?s)<img>.*?</img>", "<img></img>")
    parts: list[list[object]] = []
    for question, answer in zip(pathless.to_pylist(), target.to_pylist(), strict=True):
        parts.append([IMAGE if piece == "<img>" else piece for piece in SPLIT.split(question)])
        parts.append([*SPLIT.split(answer), END])
    learnt = np.tile([False, True], len(prompt))
    closes = np.zeros(len(parts), bool)
    return _encoded(parts, learnt, closes, np.arange(len(prompt) + 1) * 2, tokenizer, image_tokens)


def encode_pieces(pieces: Pieces, ended: Bools, tokenizer: Tokenizer) -> Encoded:
    """Encode N samples that are pieces of a dialect's text; each image becomes one pad token.

    Consecutive pieces that both have a loss, or both have none, are tokenised together, as in the models' own trainers.
    The end token follows the samples for which `ended` (N) is true.
    """
    samples = np.repeat(np.arange(len(pieces.starts) - 1), np.diff(pieces.starts))
    same = (samples[1:] == samples[:-1]) & (pieces.learnt[1:] == pieces.learnt[:-1]) & ~pieces.closes[:-1]
    first = np.flatnonzero(np.concatenate([[True], ~same])) if len(samples) else np.zeros(0, np.int64)
    sizes = np.diff(np.append(first, len(samples)))
    parts: list[list[object]] = [
        list(tokenizer.split(text)) for text in join(pieces.text, sizes, "").to_pylist()
    ]
    starts = np.searchsorted(first, pieces.starts)
    for last in (starts[1:][ended] - 1).tolist():
        parts[last].append(END)
    closes = pieces.closes[first + sizes - 1]
    return _encoded(parts, pieces.learnt[first], closes, starts, tokenizer, 1)


def _encoded(
    parts: list[list[object]],
    learnt: Bools,
    closes: Bools,
    starts: Ints,
    tokenizer: Tokenizer,
    image_tokens: int,
) -> Encoded:
    """Encode samples that are lists of parts, each a list of pieces: sample n is parts[starts[n]:starts[n + 1]].

    `learnt` says which parts have a loss, `closes` which end a turn of the assistant.
    """
    number: dict[object, int] = {}
    flat = np.array([number.setdefault(piece, len(number)) for part in parts for piece in part], np.int64)
    spread = _pieces(list(number), tokenizer, image_tokens).take(flat)
    counts = np.array([len(part) for part in parts], np.int64)
    edges = spread.starts[np.concatenate([[0], np.cumsum(counts)]).astype(np.int64)]
    closing = np.zeros(len(spread.tokens), bool)
    closing[edges[1:][closes] - 1] = True
    return Encoded(spread.tokens, np.repeat(learnt, np.diff(edges)), closing, edges[starts])


def _pieces(pieces: list[object], tokenizer: Tokenizer, image_tokens: int) -> Encoded:
    """Return the tokens of each distinct piece as a sample; a piece is a marker, END, IMAGE or raw text."""
    special: dict[object, list[int]] = {name: [number] for name, number in tokenizer.special.items()}
    special |= {END: [tokenizer.end], "": []}
    if IMAGE in pieces:
        special[IMAGE] = [tokenizer.special["<img>"], *[tokenizer.image_pad] * image_tokens]
    raw = [piece for piece in pieces if isinstance(piece, str) and piece not in special]
    found = special | dict(zip(raw, tokenizer.encode(raw), strict=True))
    tokens = [found[piece] for piece in pieces]
    starts = np.concatenate([[0], np.cumsum([len(ids) for ids in tokens])]).astype(np.int64)
    flat = np.fromiter((id for ids in tokens for id in ids), np.int32, int(starts[-1]))
    none = np.zeros(len(flat), bool)
    return Encoded(flat, none, none, starts)


def truncate(encoded: Encoded, tokenizer: Tokenizer, limit: int) -> Encoded:
    """Cut samples to at most `limit` tokens; samples that cannot be cut keep their length.

    A dialogue is cut after an answer. Any other sample is cut within the tokens that have a loss, but never inside an
    image, nor between a `<ref>` and the end of its first box or quad. A sample that was cut has no end token.
    """
    kept = encoded.lengths().copy()
    for sample in np.flatnonzero(kept > limit):
        start = encoded.starts[sample]
        part = slice(start, start + limit + 1)
        tokens, loss, closes = encoded.tokens[part], encoded.loss[part], encoded.closes[part]
        if encoded.closes[start : encoded.starts[sample + 1]].any():
            places = np.flatnonzero(closes[:limit]) + 1
        else:
            free = ~_inside(tokens, tokenizer)[:limit] & (
                np.cumsum(loss)[:limit] > 1
            )  # more than one token with a loss must be kept: a single one may be a mere space
            places = np.flatnonzero(free) + 1  # the cut is after such a token
        kept[sample] = places[-1] if len(places) else kept[sample]
    return encoded.runs(encoded.starts[:-1], kept)


def cut_in_pieces(encoded: Encoded, limit: int, which: Bools) -> tuple[Encoded, Ints]:
    """Cut the samples of `which` (N) into consecutive pieces of at most `limit` tokens.

    Returns the M pieces, where other samples are one piece each, and the number of each piece's sample (M).
    """
    lengths = encoded.lengths()
    counts = np.where(which, np.maximum(1, -(-lengths // limit)), 1)
    sample = np.repeat(np.arange(len(lengths)), counts)
    number = np.arange(len(sample)) - np.repeat(np.cumsum(counts) - counts, counts)
    sizes = np.where(which[sample], np.minimum(limit, lengths[sample] - number * limit), lengths[sample])
    return encoded.runs(encoded.starts[:-1][sample] + number * limit, sizes), sample


def _inside(tokens: npt.NDArray[np.int32], tokenizer: Tokenizer) -> Bools:
    """Return, for each token, whether the token after it belongs to the same image, or phrase and box."""
    opening = np.isin(
        tokens, [tokenizer.special.get(name, -1) for name in ("<img>", "<ref>", "<box>", "<quad>")]
    )
    closing = np.isin(tokens, [tokenizer.special.get(name, -1) for name in ("</img>", "</box>", "</quad>")])
    last_open = np.maximum.accumulate(np.where(opening, np.arange(len(tokens)), -1))
    last_close = np.maximum.accumulate(np.where(closing, np.arange(len(tokens)), -1))
    inside: Bools = last_open > last_close
    return inside
