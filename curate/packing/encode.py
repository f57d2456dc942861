"""Training strings to tokens, with a mask of what is trained on."""

from __future__ import annotations

import re
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from curate.packing.tokenizer import MARKERS, Tokenizer

Ints = npt.NDArray[np.int64]
Bools = npt.NDArray[np.bool_]

SPLIT = re.compile("(" + "|".join(MARKERS) + ")")
END = object()  # stands for the end token among the pieces of a string


class Encoded(NamedTuple):
    """N samples laid end to end: sample n is tokens[starts[n]:starts[n + 1]]."""

    tokens: npt.NDArray[np.int32]
    loss: Bools  # True for what the model is trained to say
    starts: Ints  # N + 1

    def lengths(self) -> Ints:
        """Tokens of each sample."""
        return np.diff(self.starts)

    def take(self, samples: Ints) -> Encoded:
        """Those samples, in that order."""
        sizes = self.lengths()[samples]
        starts = np.concatenate([[0], np.cumsum(sizes)])
        index = np.repeat(self.starts[samples] - starts[:-1], sizes) + np.arange(starts[-1])
        return Encoded(self.tokens[index], self.loss[index], starts)


def encode(prompt: pa.Array, target: pa.Array, tokenizer: Tokenizer, image_tokens: int) -> Encoded:
    """Each prompt and target with the end token behind it; the prompt has no loss.

    Of the strings only the formats' markers become special tokens. An image is its two markers and
    `image_tokens` paddings between them, whatever its path.
    """
    pathless = pc.replace_substring_regex(prompt, "(?s)<img>.*?</img>", "<img></img>")
    questions = [SPLIT.split(text) for text in pathless.to_pylist()]
    answers = [[*SPLIT.split(text), END] for text in target.to_pylist()]
    number: dict[object, int] = {}
    pieces = np.array(
        [
            number.setdefault(piece, len(number))
            for pair in zip(questions, answers, strict=True)
            for half in pair
            for piece in half
        ],
        np.int64,
    )
    counts = np.array(
        [[len(question), len(answer)] for question, answer in zip(questions, answers, strict=True)],
        np.int64,
    ).reshape(-1, 2)
    known = _pieces(list(number), tokenizer, image_tokens)
    spread = known.take(pieces)
    said = np.tile([False, True], len(questions))
    loss = np.repeat(np.repeat(said, counts.reshape(-1)), np.diff(spread.starts))
    edges = np.concatenate([[0], np.cumsum(counts.sum(axis=1))]) if len(counts) else np.zeros(1, np.int64)
    return Encoded(spread.tokens, loss, spread.starts[edges])


def _pieces(pieces: list[object], tokenizer: Tokenizer, image_tokens: int) -> Encoded:
    """The tokens of each distinct piece: a marker, the end, or raw text."""
    special: dict[object, list[int]] = {name: [number] for name, number in tokenizer.markers.items()}
    special |= {END: [tokenizer.end], "": []}
    special["<img>"] = [tokenizer.markers["<img>"], *[tokenizer.image_pad] * image_tokens]
    raw = [piece for piece in pieces if isinstance(piece, str) and piece not in special]
    found = special | dict(zip(raw, tokenizer.encode(raw), strict=True))
    tokens = [found[piece] for piece in pieces]
    starts = np.concatenate([[0], np.cumsum([len(ids) for ids in tokens])]).astype(np.int64)
    flat = np.fromiter((id for ids in tokens for id in ids), np.int32, int(starts[-1]))
    return Encoded(flat, np.zeros(len(flat), bool), starts)


def truncate(encoded: Encoded, tokenizer: Tokenizer, limit: int) -> Encoded:
    """Samples cut to at most `limit` tokens; those that cannot be cut keep their length.

    A cut falls into what is trained on and between whole things: never inside an image, nor from a `<ref>` to
    the end of its first box or quad. A sample that was cut has no end token.
    """
    kept = encoded.lengths().copy()
    for sample in np.flatnonzero(kept > limit):
        start = encoded.starts[sample]
        tokens = encoded.tokens[start : start + limit + 1]
        loss = encoded.loss[start : start + limit + 1]
        free = ~_inside(tokens, tokenizer)[:limit] & (np.cumsum(loss)[:limit] > 1)  # one may be a mere space
        places = np.flatnonzero(free) + 1  # cut behind a token that closes what it is in
        kept[sample] = places[-1] if len(places) else kept[sample]
    starts = np.concatenate([[0], np.cumsum(kept)])
    index = np.repeat(encoded.starts[:-1] - starts[:-1], kept) + np.arange(starts[-1])
    return Encoded(encoded.tokens[index], encoded.loss[index], starts)


def _inside(tokens: npt.NDArray[np.int32], tokenizer: Tokenizer) -> Bools:
    """Whether what follows each token still belongs to the same image, or phrase and box."""
    opening = np.isin(tokens, [tokenizer.markers[name] for name in ("<img>", "<ref>", "<box>", "<quad>")])
    closing = np.isin(tokens, [tokenizer.markers[name] for name in ("</img>", "</box>", "</quad>")])
    last_open = np.maximum.accumulate(np.where(opening, np.arange(len(tokens)), -1))
    last_close = np.maximum.accumulate(np.where(closing, np.arange(len(tokens)), -1))
    inside: Bools = last_open > last_close
    return inside
