"""Give rows of a shard the columns that tasks are written from, as rows of SAMPLE have them."""

from __future__ import annotations

import pyarrow as pa
import pyarrow.compute as pc

COLUMNS = ("task", "language", "text", "regions", "width", "height")  # columns that shards have too
OF_QUESTIONS = ("question", "answer")  # a shard has these only within its prompt and target
SHARD_ONLY = ("image", "prompt", "target")
QUESTION = r"(?s)^<img>.*?</img> (.*) Answer:$"  # of a shard's prompt


def task_columns(table: pa.Table) -> pa.Table:
    """Rows of SAMPLE as they are, rows of a shard as `samples` makes them (N rows).

    Raises:
        ValueError: the rows are neither.
    """
    there = set(table.column_names)
    if there.issuperset((*COLUMNS, *OF_QUESTIONS)):
        return table
    if there.issuperset((*COLUMNS, *SHARD_ONLY)):
        return samples(table)
    wanted = COLUMNS if there.issuperset(SHARD_ONLY) else (*COLUMNS, *OF_QUESTIONS)
    lacking = [name for name in wanted if name not in there]
    raise ValueError(f"the table lacks {', '.join(lacking)}: rows of SAMPLE or of a shard are written")


def samples(rows: pa.Table) -> pa.Table:
    """Rows of a shard with the columns that rendering reads (N rows); `path` is null for rows without an image."""
    prompt = rows["prompt"].combine_chunks().cast(pa.large_string())
    asked = pc.match_substring_regex(prompt, QUESTION)
    question = pc.if_else(asked, pc.replace_substring_regex(prompt, QUESTION, r"\1"), None)
    answer = pc.utf8_slice_codeunits(rows["target"].cast(pa.large_string()), 1)
    path = pc.struct_field(rows["image"].combine_chunks(), "path")
    made = {
        "question": question,
        "answer": answer,
        "path": path,
        "text": rows["text"].cast(pa.large_string()),
    }
    table = rows.select([name for name in COLUMNS if name != "text"])
    for name, column in made.items():
        table = table.append_column(name, column)
    return table
