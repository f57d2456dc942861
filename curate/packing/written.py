"""Turns rows of shards into tokens of a dialect; each image becomes one pad token."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from curate.errors import InputError
from curate.images.header_sides import header_sides
from curate.packing.encode import Encoded, concatenated, encode, encode_pieces
from curate.packing.image_groups import GROUP
from curate.packing.tokenizer import Tokenizer
from curate.tasks.chat import dialogue_pieces
from curate.tasks.dialect import Dialect
from curate.tasks.formats import QWEN_VL
from curate.tasks.shard_rows import (
    dialogue_boxes,
    handed_faults,
    is_dialogue,
    is_text,
    shard_faults,
    shard_pieces,
    unknown_tasks,
)

Bools = npt.NDArray[np.bool_]

TURN_TOKENS = ("<|im_start|>", "<|im_end|>")


def write(table: pa.Table, dialect: Dialect, tokenizer: Tokenizer) -> tuple[Encoded, pa.Array]:
    """Return the tokens of N rows, and why each row cannot be written (N strings; null: it can).

    For Qwen-VL's dialect the shard's own `prompt` and `target` are used.

    Raises:
        InputError: there is a dialogue, and the tokenizer lacks Qwen-VL's tokens of turns.
    """
    together = _is_group(table)
    talks = is_dialogue(table) | together
    if dialect.name == QWEN_VL.name:
        fault = pc.coalesce(unknown_tasks(table), handed_faults(table))
        encoded = _as_in_shard(table.filter(pa.array(~talks)), tokenizer)
    else:
        fault = shard_faults(table, dialect)
        encoded = _rendered(table.filter(pa.array(~talks)), dialect, tokenizer)
    if not talks.any():
        return encoded, fault
    if lacking := [
        token for token in TURN_TOKENS if token in dialect.tokens and token not in tokenizer.special
    ]:
        raise InputError(
            f"the tokenizer lacks {', '.join(lacking)}, which dialogues need: add them as special tokens"
        )
    both = concatenated([encoded, _spoken(table.filter(pa.array(talks)), dialect, tokenizer)])
    order = np.empty(len(talks), np.int64)
    order[~talks], order[talks] = np.arange((~talks).sum()), (~talks).sum() + np.arange(talks.sum())
    return both.take(order), fault


def _as_in_shard(table: pa.Table, tokenizer: Tokenizer) -> Encoded:
    prompt, target = (table[name].combine_chunks().fill_null("") for name in ("prompt", "target"))
    return encode(prompt, target, tokenizer, 1)


def _rendered(table: pa.Table, dialect: Dialect, tokenizer: Tokenizer) -> Encoded:
    """Encode rows in the dialect's chat template; the end token follows each text."""
    ended = is_text(table) if dialect.chat_tasks else np.ones(table.num_rows, bool)
    return encode_pieces(shard_pieces(table, dialect), ended, tokenizer)


def _spoken(table: pa.Table, dialect: Dialect, tokenizer: Tokenizer) -> Encoded:
    messages = table["messages"].combine_chunks() if "messages" in table.column_names else None
    if GROUP in table.column_names:
        group = table[GROUP].combine_chunks()
        messages = group if messages is None else _first_valid(group, messages)
    pieces = dialogue_pieces(messages, dialect, boxes=dialogue_boxes(table, header_sides))
    return encode_pieces(pieces, np.zeros(table.num_rows, bool), tokenizer)


def _is_group(table: pa.Table) -> Bools:
    """Return which rows are groups of several rows of one image (N)."""
    if GROUP not in table.column_names:
        return np.zeros(table.num_rows, bool)
    return np.asarray(pc.is_valid(table[GROUP]).to_numpy())


def _first_valid(one: pa.Array, other: pa.Array) -> pa.Array:
    """Return the values of one array, with those of the other where they are null (N)."""
    rows = np.arange(len(one))
    place = np.where(one.is_valid().to_numpy(zero_copy_only=False), rows, len(one) + rows)
    return pa.chunked_array([one, other]).combine_chunks().take(pa.array(place))
