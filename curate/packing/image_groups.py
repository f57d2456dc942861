"""`--group image` in packs: the rows of one image in a row group become one dialogue that shows the image once."""

from __future__ import annotations

import re
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from curate.schema import MESSAGE
from curate.tasks.dialect import Dialect
from curate.tasks.formats import QWEN_VL
from curate.tasks.grouping import GROUPED, grouped
from curate.tasks.shard_rows import rendered
from curate.tasks.turns import IMAGE, PLACEHOLDER

Ints = npt.NDArray[np.int64]

SHOWN = re.compile(r"(?s)<img>.*?</img>")
GROUP = "group"  # name of the column with the messages of a group (lists of MESSAGE); null for ungrouped rows


class RowGroups(NamedTuple):
    """N rows in G groups, in the order of their first rows."""

    members: list[list[int]]  # G, each group's rows

    @property
    def sizes(self) -> Ints:
        """How many rows each group has (G)."""
        return np.array([len(rows) for rows in self.members], np.int64)

    @property
    def first(self) -> Ints:
        """Each group's first row (G)."""
        return np.array([rows[0] for rows in self.members], np.int64)

    def split(self, too_long: npt.NDArray[np.bool_]) -> RowGroups:
        """Return the groups, with those that are too long (G) split in two halves."""
        made: list[list[int]] = []
        for rows, halve in zip(self.members, too_long.tolist(), strict=True):
            half = (len(rows) + 1) // 2 if halve else len(rows)
            made += [part for part in (rows[:half], rows[half:]) if part]
        return RowGroups(sorted(made))


def groups_of(table: pa.Table, fault: pa.Array, most: int) -> RowGroups:
    """Group the rows of a shard (N) by their image; rows that cannot be grouped are groups of one row.

    A row whose text holds a placeholder such as `<image>` is not grouped: in a dialogue that would stand for an image.

    Args:
        table: the rows.
        fault: why each row cannot be written (N); null: it can.
        most: the most rows of a group.
    """
    tasks, images = table["task"].cast(pa.string()).to_pylist(), table["sha256"].to_pylist()
    said = pc.greater(pc.binary_length(table["target"]), 0).fill_null(False).combine_chunks()
    texts = (table[name].combine_chunks().fill_null("") for name in ("prompt", "target"))
    held = pc.or_(*(pc.match_substring_regex(text, PLACEHOLDER) for text in texts))
    sound = pc.and_(pc.and_(pc.is_null(fault), said), pc.invert(held)).to_pylist()

    def image_of(row: int) -> str | None:
        return images[row] if sound[row] and tasks[row] in GROUPED else None

    return RowGroups(list(grouped(range(table.num_rows), image_of, most)))


def as_dialogues(table: pa.Table, groups: RowGroups, dialect: Dialect) -> pa.Table:
    """Return one row for each group (G): its first row, with the dialogue in the column `group` if it has several rows.

    The key of such a row is the keys of all its rows, separated by spaces.
    """
    several = [rows for rows in groups.members if len(rows) > 1]
    said = dict(zip([row for rows in several for row in rows], _turns(table, several, dialect), strict=True))
    keys = table["key"].to_pylist() if "key" in table.column_names else None
    messages, names = list[list[dict[str, str]] | None](), list[str]()
    for rows in groups.members:
        turns = [
            (_content(said[row][0], first=row == rows[0]), said[row][1]) for row in rows if len(rows) > 1
        ]
        flat = [
            {"role": role, "content": text} for turn in turns for role, text in zip(ROLES, turn, strict=True)
        ]
        messages.append(flat or None)
        names += [" ".join(keys[row] for row in rows)] if keys is not None else []
    made = table.take(pa.array(groups.first)).append_column(GROUP, pa.array(messages, pa.list_(MESSAGE)))
    if keys is None:
        return made
    return made.set_column(made.schema.get_field_index("key"), "key", pa.array(names, pa.string()))


ROLES = ("user", "assistant")


def _turns(table: pa.Table, groups: list[list[int]], dialect: Dialect) -> list[tuple[str, str]]:
    """Return question (without its image) and answer of each row of the groups."""
    rows = table.take(pa.array([row for group in groups for row in group], pa.int64()))
    if not rows.num_rows:
        return []
    if dialect.name == QWEN_VL.name:
        asked = [SHOWN.sub("", prompt or "") for prompt in rows["prompt"].to_pylist()]
        return [
            (text.strip(), (target or "").strip())
            for text, target in zip(asked, rows["target"].to_pylist(), strict=True)
        ]
    marks = dialect.image
    prompts, targets = (column.to_pylist() for column in rendered(rows, dialect))
    shown = marks.before + marks.pad + marks.after
    return [
        ((prompt or "").replace(shown, IMAGE), target or "")
        for prompt, target in zip(prompts, targets, strict=True)
    ]


def _content(asked: str, first: bool) -> str:
    """Return a question with the image placeholder if it is the first of its dialogue, else without."""
    if first:
        return asked if IMAGE in asked else IMAGE + asked
    return asked.replace(IMAGE, "").strip()
