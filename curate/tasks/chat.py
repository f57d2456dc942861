"""Write samples with a dialect's chat template, as pieces of text that are learnt (have a loss) or not.

The only special tokens in a piece are the dialect's own. An image is written as `before`, one pad and `after` (the pad
is repeated when the text is tokenized), or with its path in place of the pad, if the caller gives paths.
"""

from __future__ import annotations

import re
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from curate.tasks.dialect import Dialect
from curate.tasks.dialogue_places import DialogueBoxes, loses_image, place_faults, region_counts, with_places
from curate.tasks.flat_regions import join
from curate.tasks.formats import QWEN_VL
from curate.tasks.notation import TEXT
from curate.tasks.row_faults import control_token
from curate.tasks.turns import IMAGE, PLACEHOLDER, ROLES, Turns, turns_of, without_marks

LEARNT = re.compile(r"\[\[(.{0,400}?)\]\]", re.DOTALL)  # bounded, so that matching takes bounded time

Ints = npt.NDArray[np.int64]
Bools = npt.NDArray[np.bool_]


class Pieces(NamedTuple):
    """N samples in P pieces: sample n has the pieces from starts[n] to starts[n + 1]."""

    text: pa.Array  # P large_string
    learnt: Bools  # P
    closes: Bools  # P; True for the last piece of an assistant's turn
    starts: Ints  # N + 1


def task_pieces(prompt: pa.Array, target: pa.Array, dialect: Dialect, plain: Bools) -> Pieces:
    """The prompts and targets that `render` gives (N strings each), as pieces.

    Rows where `plain` (N) is true are written without the chat template.
    """
    given = {"user": prompt.cast(TEXT), "assistant": target.cast(TEXT)}
    given["system"] = pa.repeat(pa.scalar(dialect.chat.default_system, TEXT), len(prompt))
    said = [("user", dialect.start + "{content}"), ("assistant", "[[{content}]]")]
    if plain.all() or not dialect.chat_tasks:
        return _laid_out(_filled(said, given), len(prompt), chat=False)
    chat = [("user", dialect.chat.user), ("assistant", dialect.chat.assistant)]
    if dialect.chat.default_system:
        chat.insert(0, ("system", dialect.chat.system))
    if dialect.start:
        chat.insert(0, ("system", dialect.start))
    spoken = _laid_out(_filled(chat, given), len(prompt), chat=True)
    if not plain.any():
        return spoken
    bare = _laid_out(_filled(said, given), len(prompt), chat=False)
    return _chosen(spoken, bare, plain)


def dialogue_pieces(
    messages: pa.Array | pa.ChunkedArray,
    dialect: Dialect,
    paths: pa.Array | None = None,
    boxes: DialogueBoxes | None = None,
) -> Pieces:
    """N dialogues, given as a column of `messages`, as pieces.

    `paths` (N lists of the images' paths; None: pads are written) are used if the dialect shows paths. `boxes` are
    written in the place of `<bbox>`.
    """
    return _turn_pieces(with_places(turns_of(messages), boxes, dialect), dialect, paths)


def _turn_pieces(turns: Turns, dialect: Dialect, paths: pa.Array | None) -> Pieces:
    turns = _with_system(turns, dialect)
    content = _with_images(turns, dialect, paths)
    templates = [_cut_template(getattr(dialect.chat, role)) for role in ROLES]
    most = max(map(len, templates))
    texts, learnt, place = list[pa.Array](), list[Bools](), list[npt.NDArray[np.float64]]()
    closes = list[Bools]()
    for role, template in enumerate(templates):
        rows = np.flatnonzero(turns.role == role)
        said = content.take(pa.array(rows))
        for number, (piece, learn) in enumerate(template):
            texts.append(_put(piece, said))
            learnt.append(np.full(len(rows), learn))
            closes.append(
                np.full(len(rows), role == ROLES.index("assistant") and number == len(template) - 1)
            )
            place.append((rows * most + number).astype(np.float64))
    if dialect.start:
        first = turns.starts[:-1][np.diff(turns.starts) > 0]
        texts.append(pa.repeat(pa.scalar(dialect.start, TEXT), len(first)))
        learnt.append(np.zeros(len(first), bool))
        closes.append(np.zeros(len(first), bool))
        place.append(first * np.float64(most) - 0.5)
    order = np.argsort(np.concatenate(place), kind="stable")
    where = np.ceil(np.concatenate(place)[order]) // most
    starts = np.searchsorted(where, turns.starts)
    text = pa.chunked_array(texts, TEXT).combine_chunks().take(pa.array(order))
    learns, ends = (np.concatenate(every)[order].astype(bool) for every in (learnt, closes))
    return Pieces(text, learns, ends, starts)


def dialogue_strings(
    messages: pa.Array | pa.ChunkedArray,
    paths: pa.Array,
    dialect: Dialect = QWEN_VL,
    boxes: DialogueBoxes | None = None,
) -> tuple[pa.Array, pa.Array]:
    """Each dialogue's text up to its last answer, and that answer (N strings each); null where there is no answer.

    `paths` and `boxes`: see `dialogue_pieces`.
    """
    turns = with_places(turns_of(messages), boxes, dialect)
    last = np.full(len(turns.starts) - 1, -1)
    answers = np.flatnonzero(turns.role == ROLES.index("assistant"))
    last[turns.row[answers]] = answers
    target = turns.content.take(pa.array(last, mask=last < 0))
    pieces = _turn_pieces(turns, dialect, paths)
    whole = join(pieces.text, np.diff(pieces.starts), "")
    template = _cut_template(dialect.chat.assistant)
    behind = "".join(text for text, _ in template).partition("{content}")[2]
    tail = pc.add(pc.binary_length(target), len(behind.encode()))
    keep = pc.subtract(pc.binary_length(whole), tail).to_pylist()
    cut = [
        None if size is None else text.encode()[:size].decode()
        for text, size in zip(whole.to_pylist(), keep, strict=True)
    ]
    return pa.array(cut, TEXT), target


def dialogue_faults(
    messages: pa.Array | pa.ChunkedArray,
    images: Ints,
    dialect: Dialect = QWEN_VL,
    regions: pa.Array | pa.ChunkedArray | None = None,
) -> pa.Array:
    """Why each of N dialogues cannot be written (N strings): its first fault, null where there is none.

    `images` (N) is the number of images of each dialogue; `regions` are the dialogues' regions (None: they have none).
    The faults are, in this order:
    `text_missing` (no message), `role_unknown`, `role_order` (a system turn that is not the first; user and assistant
    do not alternate; the last turn is no answer), `turn_empty`, `image_count` (the number of `<image>` in users' turns
    is not the number of images), `text_has_placeholder` (an `<image>` elsewhere, `<video>`, `<audio>`, `<ref-object>`,
    or the number of `<bbox>` is not the number of regions), `text_has_control_token` (also `<ref>` in a dialogue
    without regions), `box_broken` (in no image, or not finite), `task_not_in_dialect` (boxes, but the dialect has no
    notation for them, or moves images so that one would be in another image), `too_many_images` (more than the dialect
    allows).
    """
    turns = turns_of(messages)
    row, role, count = turns.row, turns.role, len(turns.starts) - 1
    located = region_counts(regions, count) > 0
    other_boxes, broken = place_faults(turns, regions)
    shown = pc.count_substring(turns.content, IMAGE).to_numpy(zero_copy_only=False).astype(np.int64)
    bare = pc.if_else(pa.array(located[row]), without_marks(turns.content), turns.content)
    bare = pc.if_else(pa.array(turns.asks), pc.replace_substring(bare, IMAGE, ""), bare)
    empty = _bools(pc.equal(pc.binary_length(pc.utf8_trim_whitespace(turns.content)), 0))
    held = _bools(pc.match_substring_regex(bare, PLACEHOLDER))
    control = _bools(pc.match_substring_regex(bare, control_token(dialect)))
    found = {
        "text_missing": np.diff(turns.starts) == 0,
        "role_unknown": _any(row, role < 0, count),
        "role_order": _out_of_order(turns),
        "turn_empty": _any(row, empty, count),
        "image_count": np.bincount(row, weights=np.where(turns.asks, shown, 0), minlength=count) != images,
        "text_has_placeholder": _any(row, held, count) | other_boxes,
        "text_has_control_token": _any(row, control, count),
        "box_broken": broken,
        "too_many_images": (images > dialect.image.most) & bool(dialect.image.most),
        "task_not_in_dialect": located
        & (not dialect.places.box or (dialect.image.first and loses_image(turns))),
    }
    reasons = np.full(count, -1)
    for number, at_fault in reversed(list(enumerate(found.values()))):
        reasons[at_fault] = number
    return pa.array(list(found), pa.string()).take(pa.array(reasons, mask=reasons < 0))


def _out_of_order(turns: Turns) -> Bools:
    """Which of N dialogues are not: a system turn or none, then user and assistant alternating, the last an answer."""
    row, role, count = turns.row, turns.role, len(turns.starts) - 1
    place = np.arange(len(role)) - turns.starts[:-1][row]
    begins = (place == 0) & (role == ROLES.index("system"))
    has_system = _any(row, begins, count)
    expected = np.where(begins, 0, 1 + (place - has_system[row]) % 2)
    ends = np.zeros(count, np.int64)
    filled = np.flatnonzero(np.diff(turns.starts))
    ends[filled] = role[turns.starts[1:][filled] - 1]
    wrong: Bools = _any(row, role != expected, count) | (ends != ROLES.index("assistant"))
    return wrong


def _with_system(turns: Turns, dialect: Dialect) -> Turns:
    """Add the dialect's default system turn to dialogues without one, or move system turns into the users' turns.

    The latter is done for dialects that have no system turns (`system_in_user`).
    """
    chat = dialect.chat
    starts, filled = turns.starts[:-1], np.diff(turns.starts) > 0
    first = np.full(len(starts), -1)
    first[filled] = turns.role[starts[filled]]
    if chat.system_in_user:
        return _moved_into_user(turns, first == 0, dialect)
    if not chat.default_system:
        return turns
    lacking = np.flatnonzero(filled & (first != 0))
    system = pa.repeat(pa.scalar(chat.default_system, TEXT), len(lacking))
    place = np.concatenate([np.arange(len(turns.role)) * 2 + 1, starts[lacking] * 2])
    order = np.argsort(place, kind="stable")
    added = np.zeros(len(starts), np.int64)
    added[lacking] = 1
    return Turns(
        np.concatenate([turns.role, np.zeros(len(lacking), np.int64)])[order],
        pa.chunked_array([turns.content, system], TEXT).combine_chunks().take(pa.array(order)),
        turns.starts + np.concatenate([[0], np.cumsum(added)]),
    )


def _moved_into_user(turns: Turns, has_system: Bools, dialect: Dialect) -> Turns:
    """Put the system turn's text, as the dialect writes it, in front of the next turn's text."""
    rows = np.flatnonzero(has_system & (np.diff(turns.starts) > 1))
    at = turns.starts[:-1][rows]
    before = _put(dialect.chat.system, turns.content.take(pa.array(at)))
    both = pc.binary_join_element_wise(before, turns.content.take(pa.array(at + 1)), pa.scalar("", TEXT))
    place = np.arange(len(turns.role))
    place[at + 1] = len(turns.role) + np.arange(len(rows))
    keep = np.ones(len(turns.role), bool)
    keep[at] = False
    content = pa.chunked_array([turns.content, both], TEXT).combine_chunks().take(pa.array(place[keep]))
    gone = np.concatenate([[0], np.cumsum(np.isin(np.arange(len(turns.starts) - 1), rows))])
    return Turns(turns.role[keep], content, turns.starts - gone)


def _with_images(turns: Turns, dialect: Dialect, paths: pa.Array | None) -> pa.Array:
    """Each turn's content with its images written in the dialect's markers (M strings)."""
    marks = dialect.image
    user = turns.asks
    parted = pc.split_pattern(turns.content, IMAGE)
    sizes = np.where(user, pc.list_value_length(parted).to_numpy(zero_copy_only=False), 1)
    whole = pc.if_else(pa.array(user), turns.content, None)
    segments = pc.list_flatten(pc.split_pattern(whole.fill_null(""), IMAGE))
    if (sizes == 1).all():
        return _trimmed_users(turns.content, user) if marks.strip == "both" else turns.content
    turn = np.repeat(np.arange(len(sizes)), sizes)
    last = np.zeros(len(turn), bool)
    last[np.cumsum(sizes) - 1] = True
    segments = pc.if_else(pa.array(user[turn]), segments, turns.content.take(pa.array(turn)))
    images = _images(turns.row[turn[~last]], len(turns.starts) - 1, dialect, paths)
    if marks.strip == "both":
        segments = pc.if_else(pa.array(user[turn]), pc.utf8_trim_whitespace(segments), segments)
    elif marks.strip == "behind":
        behind = np.concatenate([[False], ~last[:-1]])
        segments = pc.if_else(pa.array(behind), pc.utf8_ltrim_whitespace(segments), segments)
    if marks.first:
        return _images_first(segments, images, sizes, user)
    place = np.empty(len(segments) + len(images), np.int64)
    at = np.arange(len(segments)) + np.concatenate([[0], np.cumsum(~last)[:-1]])
    is_segment = np.zeros(len(place), bool)
    is_segment[at] = True
    place[is_segment], place[~is_segment] = np.arange(len(segments)), len(segments) + np.arange(len(images))
    pieces = pa.chunked_array([segments, images], TEXT).combine_chunks().take(pa.array(place))
    return join(pieces, 2 * sizes - 1, "")


def _trimmed_users(content: pa.Array, user: Bools) -> pa.Array:
    return pc.if_else(pa.array(user), pc.utf8_trim_whitespace(content), content)


def _images_first(segments: pa.Array, images: pa.Array, sizes: Ints, user: Bools) -> pa.Array:
    """Put the images of each turn in front of its text."""
    text = _trimmed_users(join(segments, sizes, ""), user)
    shown = join(images, sizes - 1, "")
    both = pc.binary_join_element_wise(shown, text, pa.scalar("", TEXT))
    return pc.if_else(pa.array(sizes > 1), both, text)


def _images(row: Ints, rows: int, dialect: Dialect, paths: pa.Array | None) -> pa.Array:
    """What is written for each image (I strings); `row` (I) is the number of its dialogue, of `rows` dialogues."""
    marks = dialect.image
    number = np.arange(len(row)) - np.searchsorted(row, row)  # of the image in its dialogue
    inside: pa.Array | pa.Scalar = pa.scalar(marks.pad, TEXT)
    if marks.shows_path and paths is not None:
        counts = pc.list_value_length(paths).fill_null(0).to_numpy(zero_copy_only=False)
        first = np.concatenate([[0], np.cumsum(counts)])[:-1]
        there = number < counts[row]
        flat = pc.list_flatten(paths).cast(TEXT)
        inside = flat.take(pa.array(np.where(there, first[row] + number, 0), mask=~there)).fill_null("")
    before, _, behind = marks.numbered.partition("{n}")
    pieces: list[pa.Array | pa.Scalar] = [pa.scalar(before, TEXT)]
    if marks.numbered:
        pieces += [pa.array(number + 1).cast(TEXT), pa.scalar(behind, TEXT)]
    pieces += [pa.scalar(marks.before, TEXT), inside, pa.scalar(marks.after + marks.behind, TEXT)]
    pieces += [pa.repeat(pa.scalar("", TEXT), len(row))]
    return pc.binary_join_element_wise(*pieces, pa.scalar("", TEXT))


def _cut_template(template: str) -> list[tuple[str, bool]]:
    """Split a turn's template into pieces: the text of each, and whether it is learnt."""
    found = [(text, number % 2 == 1) for number, text in enumerate(LEARNT.split(template))]
    return [(text, learnt) for text, learnt in found if text]


def _filled(turns: list[tuple[str, str]], given: dict[str, pa.Array]) -> list[tuple[pa.Array, bool]]:
    """The pieces of dialogues with the same turns in all N rows: for each piece a column, and whether it is learnt."""
    return [
        (_put(text, given[role]), learnt)
        for role, template in turns
        for text, learnt in _cut_template(template)
    ]


def _put(template: str, content: pa.Array) -> pa.Array:
    """The template with each of the contents in the place of `{content}`."""
    before, there, behind = template.partition("{content}")
    if not there:
        return pa.repeat(pa.scalar(template, TEXT), len(content))
    return pc.binary_join_element_wise(
        pa.scalar(before, TEXT), content, pa.scalar(behind, TEXT), pa.scalar("", TEXT)
    )


def _laid_out(columns: list[tuple[pa.Array, bool]], count: int, chat: bool) -> Pieces:
    """Arrange pieces that are given as columns row by row."""
    width = len(columns)
    place = np.arange(width * count).reshape(width, count).T.reshape(-1)
    text = pa.chunked_array([column for column, _ in columns], TEXT).combine_chunks().take(pa.array(place))
    learnt = np.tile([learn for _, learn in columns], count).astype(bool)
    closes = np.tile(np.arange(width) == width - 1, count) if chat else np.zeros(width * count, bool)
    return Pieces(text, learnt, closes, np.arange(count + 1) * width)


def _chosen(one: Pieces, other: Pieces, takes_other: Bools) -> Pieces:
    """Take each sample from `other` where `takes_other` is true, else from `one`."""
    first = np.where(takes_other, other.starts[:-1] + len(one.text), one.starts[:-1])
    sizes = np.where(takes_other, np.diff(other.starts), np.diff(one.starts))
    starts = np.concatenate([[0], np.cumsum(sizes)])
    index = np.repeat(first - starts[:-1], sizes) + np.arange(starts[-1])
    text = pa.chunked_array([one.text, other.text], TEXT).combine_chunks().take(pa.array(index))
    learnt, closes = (
        np.concatenate(both)[index] for both in ((one.learnt, other.learnt), (one.closes, other.closes))
    )
    return Pieces(text, learnt, closes, starts)


def _any(row: Ints, flags: Bools, rows: int) -> Bools:
    """Which of `rows` rows have at least one item that is flagged; `row` is each item's row."""
    found = np.zeros(rows, bool)
    found[row[flags]] = True
    return found


def _bools(values: pa.Array) -> Bools:
    bools: Bools = values.to_numpy(zero_copy_only=False).astype(bool)
    return bools
