"""The adapter of questions about an image and their answers.

Where several people answered, the answer of the highest confidence is taken (Qwen-VL, A.2): each `yes` counts
2, each `maybe` 1, each `no` 0, added up over equal answers; an answer without a confidence counts as `yes`.
Ties go to the answer that more people gave, then to the one that comes first.

If a question has `choices`, they are listed below it, each after its letter. The published answer is the number (from
0), the letter or the text of a choice; the record's answer is the text of that choice.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from curate.adapters import values
from curate.adapters.published import Published, published, sample
from curate.adapters.unfold import items
from curate.manifest.settings import Manifest

CONFIDENCE = pa.array(["no", "maybe", "yes"], pa.large_string())  # an answer's weight is the index here
SURE = 2  # the weight of `yes`, and of an answer without a confidence
LETTERS = "ABCDEFGHIJKLMNOPQRSTUVWXYZ"

Ints = npt.NDArray[np.int64]


def questions(batch: pa.Table, manifest: Manifest, source: str, first_row: int) -> pa.Table:
    """Turn raw rows into SAMPLE's columns, one question a row; `text` is the question and its answer.

    Arguments and errors: see `pairs`. Rows that hold several questions are unfolded (N rows in, M out).
    """
    rows = published(batch, manifest, source, first_row)
    question, broken = rows.text("question")
    answer, answer_broken = _answers(rows)
    if "choices" in rows.there:
        question, answer = _with_choices(rows, question, answer)
    text = pc.binary_join_element_wise(question, answer, pa.scalar(" ", pa.large_string()))
    reasons = {
        "text_not_utf8": broken if answer_broken is None else answer_broken,
        "question_missing": pc.is_null(question),
        "answer_missing": pc.is_null(answer),
    }
    if broken is not None and answer_broken is not None:
        reasons["text_not_utf8"] = pc.or_(broken, answer_broken)
    made = {"text": text, "question": question, "answer": answer}
    return sample(rows, made, reasons, identity=[question.fill_null("")])


def _with_choices(rows: Published, question: pa.Array, answer: pa.Array) -> tuple[pa.Array, pa.Array]:
    """Return the questions with their choices listed, and the texts of the answers (N rows each).

    An answer that is none of the choices becomes null.
    """
    counts, given = items(rows.table[rows.there["choices"]], rows.field("choices"))
    texts = _texts(given, tuple(given.column_names)).to_pylist()
    asked, said, first = list[str | None](), list[str | None](), 0
    for row, count in enumerate(counts.tolist()):
        choices = [text or "" for text in texts[first : first + count]]
        first += count
        listed = [f"{letter}. {text}" for letter, text in zip(LETTERS, choices, strict=False)]
        known = question[row].as_py()
        asked.append(known if known is None or not choices else "\n".join([known, *listed]))
        said.append(answer[row].as_py() if not choices else _choice(choices, answer[row].as_py()))
    return pa.array(asked, pa.large_string()), pa.array(said, pa.large_string())


def _choice(choices: list[str], answer: str | None) -> str | None:
    """Return the text of the choice that an answer gives by number, letter or text; None if it is none of them."""
    if answer is None or answer in choices:
        return answer
    if answer.isascii() and answer.isdigit() and len(answer) < 4:
        place = int(answer)
    else:
        place = LETTERS.find(answer) if len(answer) == 1 else -1
    return (choices[place] or None) if 0 <= place < len(choices) else None


def _answers(rows: Published) -> tuple[pa.Array, pa.Array | None]:
    """Return each row's answer, the best of its list of `answers`, else its `answer`, and where it was not UTF-8."""
    single, broken = rows.text("answer")
    if "answers" not in rows.there:
        return single, broken
    return pc.coalesce(best(rows.table[rows.there["answers"]], rows.field("answers")), single), broken


def best(column: pa.ChunkedArray, field: pa.Field) -> pa.Array:
    """Return the answer of the highest confidence of each list of answers (N rows; null for an empty list).

    Args:
        column: lists of texts, or of objects with `answer` and `answer_confidence` as in VQAv2.
        field: the column's Arrow field.
    """
    counts, given = items(column, field)
    text = _texts(given, (f"{field.name}.answer", field.name))
    row = np.repeat(np.arange(len(counts)), counts)
    known = pc.is_valid(text).to_numpy(zero_copy_only=False)
    place = np.flatnonzero(known)
    if not len(place):
        return pa.nulls(len(counts), pa.large_string())
    code = text.take(pa.array(place)).dictionary_encode().indices.to_numpy().astype(np.int64)
    pair = row[place] * (code.max() + 1) + code
    _, first, group = np.unique(pair, return_index=True, return_inverse=True)
    weight = np.bincount(group, weights=_weights(given, field.name)[place])
    people = np.bincount(group)
    order = np.lexsort((first, -people, -weight, row[place][first]))
    winners = order[np.r_[True, np.diff(row[place][first][order]) != 0]]
    taken = np.full(len(counts), -1)
    taken[row[place][first][winners]] = place[first[winners]]
    return text.take(pa.array(taken, mask=taken < 0))


def _texts(given: pa.Table, names: tuple[str, ...]) -> pa.Array:
    """Return the items' texts, trimmed, from the first of the columns `names` that exists (M rows)."""
    for name in names:
        if name in given.column_names:
            return values.trimmed(values.text(values.plain(given[name]))[0])
    return pa.nulls(given.num_rows, pa.large_string())


def _weights(given: pa.Table, name: str) -> Ints:
    """Return each item's weight by its confidence: 0, 1 or 2 (M)."""
    column = f"{name}.answer_confidence"
    if column not in given.column_names:
        return np.full(given.num_rows, SURE)
    said = pc.utf8_lower(values.text(values.plain(given[column]))[0])
    places: Ints = pc.index_in(said, CONFIDENCE).fill_null(SURE).to_numpy().astype(np.int64)
    return places
