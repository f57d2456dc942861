"""Keys beside a turn's content that decide what is learnt of it, and that messages of role and content cannot hold."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from curate.adapters.dialogue_pictures import Unusable

WEIGHTS = ("weight", "loss", "loss_scale", "train")  # of OpenAI, ms-swift and axolotl, on an assistant's turn
FURTHER = (
    "tool_calls",
    "function_call",
    "reasoning_content",
    "reasoning",
    "thinking",
)  # what else a turn says
EMPTY = ("", "[]", "{}", "null")
LONGEST = 40  # at most so many characters of a value are quoted


def refuse_keys(turns: Sequence[tuple[bool, Mapping[str, Any]]], tools: Any, before: int) -> None:
    """Refuse a dialogue that trains otherwise than its turns' contents say.

    Args:
        turns: for each turn whether it is the assistant's, and all its keys.
        tools: the descriptions of tools that the model is to be told of, in any form; None: there are none.
        before: how many turns stand before them, for messages.

    Raises:
        Unusable: an answer is not to be learnt, or with another weight than 1; a turn calls a tool or has thoughts
            beside its content; or there are tools.
    """
    for number, (answers, turn) in enumerate(turns, before + 1):
        for key in WEIGHTS if answers else ():
            if (value := turn.get(key)) is not None and value != 1:
                raise Unusable("dialogue_not_supported", f"turn {number}: {key}={str(value)[:LONGEST]}")
        for key in FURTHER:
            if not _is_empty(turn.get(key)):
                raise Unusable("dialogue_not_supported", f"turn {number}: {key}")
    if not _is_empty(tools):
        raise Unusable("dialogue_not_supported", "tools")


def _is_empty(value: Any) -> bool:
    """Whether a value says nothing; Parquet fills an object that a row lacks with nulls."""
    if isinstance(value, str):
        return value.strip() in EMPTY
    if isinstance(value, dict):
        return all(one is None for one in value.values())
    return value is None or value == []
