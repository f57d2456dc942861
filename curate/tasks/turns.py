"""Flatten the messages of dialogues, and define the placeholders for images and boxes in them.

`<image>` in a user's content stands for the next image. In a dialogue with regions, `<bbox>` in any content stands for
the next region, and `<ref>…</ref>` marks a phrase. A box belongs to the image that was shown last before it; but a box
before the first image of its own turn belongs to that image.
"""

from __future__ import annotations

import re
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from curate.tasks.notation import TEXT

IMAGE = "<image>"
BOX = "<bbox>"
PLACEHOLDERS = (IMAGE, "<video>", "<audio>", BOX, "<ref-object>")  # trainers replace these in any text
PLACEHOLDER = "|".join(map(re.escape, PLACEHOLDERS))
PHRASE = r"<ref>([^<>]*[^<>\s][^<>]*)</ref>"  # for RE2: a marked phrase that is not blank
ROLES = ("system", "user", "assistant")

Ints = npt.NDArray[np.int64]


class Turns(NamedTuple):
    """M messages of N dialogues: dialogue n is the messages from starts[n] to starts[n + 1]."""

    role: Ints  # M, the number in ROLES; -1 for an unknown role
    content: pa.Array  # M large_string
    starts: Ints  # N + 1

    @property
    def row(self) -> Ints:
        """The dialogue of each message (M)."""
        return np.repeat(np.arange(len(self.starts) - 1), np.diff(self.starts))

    @property
    def asks(self) -> npt.NDArray[np.bool_]:
        """Which messages are a user's (M)."""
        asks: npt.NDArray[np.bool_] = self.role == ROLES.index("user")
        return asks


def turns_of(messages: pa.Array | pa.ChunkedArray) -> Turns:
    """The messages of a column of dialogues, flattened; a null dialogue has none."""
    array = messages.combine_chunks() if isinstance(messages, pa.ChunkedArray) else messages
    flat = pc.list_flatten(array)
    counts = pc.list_value_length(array).fill_null(0).to_numpy(zero_copy_only=False)
    role = pc.index_in(pc.struct_field(flat, "role").cast(pa.string()), pa.array(ROLES)).fill_null(-1)
    return Turns(
        role.to_numpy(zero_copy_only=False).astype(np.int64),
        pc.struct_field(flat, "content").cast(TEXT).fill_null(""),
        np.concatenate([[0], np.cumsum(counts)]).astype(np.int64),
    )


def without_marks(content: pa.Array) -> pa.Array:
    """The contents of M messages of dialogues with regions, without `<bbox>` and the marks of phrases."""
    return pc.replace_substring(pc.replace_substring_regex(content, PHRASE, r"\1"), BOX, "")
