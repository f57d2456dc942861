"""Turn dialogues, in all forms in which they are published, into messages and images.

A dialogue is published as one of:
- messages of `role` and `content`, or of `from` and `value` (LLaVA, ShareGPT, Qwen-VL, OpenAI); a content is a text or
  a list of parts,
- pairs of `user` and `assistant`, or of `human` and `assistant` (the Cauldron, FineVision),
- one question and its answer, with a history of earlier pairs.

Images are paths, URLs, data URIs or bytes: in a column, in content parts, or as `<img>path</img>`. Boxes are in the
text as Qwen-VL writes them (`curate.adapters.dialogue_spans`), or in a column of their own as ms-swift has them
(`curate.adapters.dialogue_objects`).
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, NamedTuple

import msgspec
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from curate.adapters.dialogue_keys import refuse_keys
from curate.adapters.dialogue_objects import with_objects
from curate.adapters.dialogue_pictures import DialogueImage, ShownPictures, Unusable, picture
from curate.adapters.dialogue_spans import BoxBroken, DialogueSpan, with_spans
from curate.adapters.mapping import first
from curate.adapters.published import Published, published, sample
from curate.adapters.row_keys import keys
from curate.adapters.values import plain
from curate.manifest.settings import Manifest
from curate.schema import MESSAGE, PICTURE, REGION, set_column
from curate.sources.input_index import JSON
from curate.tasks.chat import dialogue_faults
from curate.tasks.fault_details import fault_details
from curate.tasks.turns import BOX, IMAGE

ROLES = {"human": "user", "user": "user", "prompter": "user", "system": "system", "developer": "system"}
ROLES |= dict.fromkeys(("gpt", "assistant", "bot", "chatgpt", "model"), "assistant")
HALF_PAIR = re.compile(r"\\u[dD][89a-fA-F]")  # a surrogate in JSON; strict parsers refuse half a pair
COLUMNS = ("messages", "images", "objects", "system", "question", "input", "answer", "history", "tools")


class Dialogue(NamedTuple):
    """One dialogue as it was read."""

    messages: list[tuple[str, str]]  # role and content
    images: list[DialogueImage]  # in the order in which the messages show them
    spans: list[DialogueSpan]  # for each `<bbox>` of the messages
    fault: str | None = None  # the reason to drop it
    detail: str | None = None


def dialogues(batch: pa.Table, manifest: Manifest, source: str, first_row: int) -> pa.Table:
    """Turn raw rows into SAMPLE's columns, one dialogue a row (N rows in, N out). Arguments and errors: see `pairs`."""
    rows = published(batch, manifest, source, first_row)
    read = [_read(row) for row in _rows(rows)]
    table = pa.table(
        {
            "messages": pa.array(
                [[{"role": role, "content": said} for role, said in one.messages] for one in read],
                pa.list_(MESSAGE),
            ),
            "images": pa.array([_pictures(one) for one in read], pa.list_(PICTURE)),
            "regions": pa.array([_regions(one) for one in read], pa.list_(REGION)),
        }
    )
    texts = ["\n".join(_words(one, said) for _, said in one.messages).strip() for one in read]
    counts = np.array([len(one.images) for one in read], np.int64)
    found = pc.coalesce(
        pa.array([one.fault for one in read], pa.string()),
        dialogue_faults(table["messages"], counts, regions=table["regions"]),
    )
    made = {name: table[name].combine_chunks() for name in table.column_names}
    made |= {"text": pa.array(texts, pa.large_string()), "key": _keys(manifest, read)}
    reasons = {
        name: pc.equal(found, name).fill_null(False) for name in pc.unique(found.drop_null()).to_pylist()
    }
    made_table = sample(rows, made, reasons)
    fell = pc.if_else(pc.equal(found, made_table["dropped"]), found, None)
    read_details = pa.array([one.detail for one in read], pa.string())
    read_details = pc.if_else(pc.is_valid(fell), read_details, None)
    details = pc.coalesce(read_details, fault_details(made_table, fell)).cast(pa.large_string())
    return set_column(made_table, "detail", pc.coalesce(details, made_table["detail"]))


def _keys(manifest: Manifest, read: list[Dialogue]) -> pa.Array:
    """Return each dialogue's key, made of its images, the text of all messages, and its boxes and quads (N rows)."""
    images = ["\n".join(image.identity for image in one.images) for one in read]
    said = [
        "\n".join(
            [
                *(f"{role}: {content}" for role, content in one.messages),
                *(repr(span.quad) for span in one.spans),
            ]
        )
        for one in read
    ]
    return keys(manifest.name, [pa.array(images, pa.large_string()), pa.array(said, pa.large_string())])


def _words(one: Dialogue, said: str) -> str:
    """Return a message's text without `<image>`; if the dialogue has regions also without `<bbox>` and `<ref>` tags."""
    bare = said.replace(IMAGE, "")
    for mark in (BOX, "<ref>", "</ref>") if one.spans else ():
        bare = bare.replace(mark, "")
    return bare.strip()


def _regions(one: Dialogue) -> list[dict[str, Any]] | None:
    """Return the dialogue's regions in pixels of the published images or in shares of their sides; None without any."""
    named = [{"text": span.text, "quad": span.quad} for span in one.spans]
    return named or None


def _pictures(one: Dialogue) -> list[dict[str, Any]]:
    """Return the dialogue's images as PICTURE's fields, each with whether the regions are in its pixels."""
    in_pixels = any(span.in_pixels for span in one.spans)
    return [_fields(image, in_pixels) for image in one.images]


def _rows(rows: Published) -> list[dict[str, Any]]:
    """Return each row's columns as Python values, JSON decoded.

    Where the manifest gives a column several published names, a row has the first of them that is not null in it.
    """
    found: list[dict[str, Any]] = [{} for _ in range(len(rows))]
    for name in COLUMNS:
        wanted = rows.manifest.columns.get(name, (name,))
        for there in dict.fromkeys(first(rows.table.column_names, (one,)) for one in wanted):
            for row, value in (
                zip(found, _column(rows.table, there), strict=True) if there is not None else ()
            ):
                if value is not None:
                    row.setdefault(name, value)
    return found


def _column(table: pa.Table, name: str) -> list[Any]:
    values: list[Any] = plain(table[name]).to_pylist()
    if table.schema.field(name).metadata == JSON:
        return [None if text is None else _json_or_text(text) for text in values]
    return values


def _json_or_text(text: str) -> Any:
    """Decode a text as JSON. A text that is no valid JSON is returned as it is: its row is dropped for that later."""
    try:
        return msgspec.json.decode(text)
    except msgspec.DecodeError:
        return text


def _read(row: Mapping[str, Any]) -> Dialogue:
    """Read one dialogue; one that cannot be used has a `fault` and no messages."""
    try:
        given = _given(row)
        turns, form = (_from_question(row), ASKED) if given is None else _turns(given)
        shown = ShownPictures([picture(one) for one in _listed(row.get("images"))], form.markers, turns)
        system = _text(row.get("system"), "system").strip()
        messages = [("system", system)] if system and (not turns or _role(turns[0][0]) != "system") else []
        refuse_keys(_keyed(given or []), row.get("tools"), len(messages))
        for role, content in turns:
            messages.append((_role(role), shown.content(content, len(messages) + 1).strip()))
        if form.images_first:
            messages = _with_images_first(messages, shown.rest())
        located, spans = _located(messages, row.get("objects"))
        return Dialogue(located, shown.all(form.images_first), spans)
    except Unusable as why:
        return Dialogue([], [], [], why.reason, why.detail)
    except BoxBroken as why:
        return Dialogue([], [], [], "box_broken", str(why))


def _located(
    messages: list[tuple[str, str]], objects: Any
) -> tuple[list[tuple[str, str]], list[DialogueSpan]]:
    """Return the messages with `<bbox>` in the place of each box, and a span for each of them.

    The boxes are those of ms-swift's `objects` if there are any, else those in the text.
    """
    if objects:
        return with_objects(messages, _json_or_text(objects) if isinstance(objects, str) else objects)
    spans: list[DialogueSpan] = []
    located = [(role, with_spans(said, spans)) for role, said in messages]
    return (located if spans else messages), spans


class DialogueForm(NamedTuple):
    """How dialogues of one form show their images."""

    markers: bool  # texts show images by `<image>` or a marker like it
    images_first: bool  # images that no turn shows go before the first question


PLAIN = DialogueForm(markers=True, images_first=False)
PAIRS = DialogueForm(markers=False, images_first=True)  # the Cauldron and FineVision
ASKED = DialogueForm(markers=True, images_first=True)  # one question, as in ms-swift


def _given(row: Mapping[str, Any]) -> list[dict[str, Any]] | None:
    """Return a row's messages, or pairs, as they are published; None if it has none.

    Raises:
        Unusable: they have no known form.
    """
    given = row.get("messages")
    if isinstance(given, str):
        given = _decoded(given)
    if given is None:
        return None
    if isinstance(given, dict) and all(
        isinstance(of, list) for of in given.values()
    ):  # a struct of lists in place of a list of structs
        given = [dict(zip(given, values, strict=False)) for values in zip(*given.values(), strict=False)]
    if not isinstance(given, list) or not all(isinstance(turn, dict) for turn in given):
        raise Unusable("text_missing", "its messages are no list of objects")
    return given


def _turns(given: list[dict[str, Any]]) -> tuple[list[tuple[Any, Any]], DialogueForm]:
    """Return role and content of each turn of published messages or pairs, and how their form shows images."""
    turns: list[tuple[Any, Any]] = []
    form = PLAIN
    for turn in given:
        if _has_role(turn):
            turns.append((turn.get("role", turn.get("from")), turn.get("content", turn.get("value"))))
        else:
            form = PAIRS if "user" in turn or form is PAIRS else ASKED
            asked = turn.get("user", turn.get("human", turn.get("question")))
            turns += [
                ("user", asked),
                ("assistant", turn.get("assistant", turn.get("answer", turn.get("gpt")))),
            ]
    return turns, form


def _keyed(given: list[dict[str, Any]]) -> list[tuple[bool, Mapping[str, Any]]]:
    """Return for each turn of `_turns(given)` whether it is the assistant's, and its keys (a pair's: its answer's)."""
    keyed: list[tuple[bool, Mapping[str, Any]]] = []
    for turn in given:
        if _has_role(turn):
            keyed.append((_role(turn.get("role", turn.get("from"))) == "assistant", turn))
        else:
            keyed += [(False, {}), (True, turn)]
    return keyed


def _has_role(turn: Mapping[str, Any]) -> bool:
    return "role" in turn or "from" in turn


def _from_question(row: Mapping[str, Any]) -> list[tuple[Any, Any]]:
    """Return the turns of the history, then those of the question and its answer.

    Raises:
        Unusable: there is no question, it or its input is no text, or the history is no list of pairs.
    """
    if row.get("question") is None:
        raise Unusable("text_missing", "it has no messages")
    history = row.get("history")
    history = _decoded(history) if isinstance(history, str) else history
    before = [] if history is None else history
    if not isinstance(before, list) or not all(isinstance(pair, list) and len(pair) == 2 for pair in before):
        raise Unusable("text_missing", "its history is no list of pairs")
    parts = [_text(row.get(name), name) for name in ("question", "input")]  # Alpaca's form
    asked = "\n".join(part for part in parts if part)
    pairs = [*before, [asked, row.get("answer")]]
    return [turn for asked, said in pairs for turn in (("user", asked), ("assistant", said))]


def _text(value: Any, name: str) -> str:
    """Return a column's text; empty for None.

    Raises:
        Unusable: the value is no text.
    """
    if value is not None and not isinstance(value, str):
        raise Unusable("turn_empty", f"{name}: content of type {type(value).__name__}")
    return value or ""


def _with_images_first(messages: list[tuple[str, str]], count: int) -> list[tuple[str, str]]:
    """Return the messages with `count` lines of `<image>` in front of the first message of the user."""
    for place, (role, said) in enumerate(messages):
        if role == "user" and count:
            return [*messages[:place], (role, f"{IMAGE}\n" * count + said), *messages[place + 1 :]]
    return messages


def _role(role: Any) -> str:
    return ROLES.get(str(role).strip().casefold(), str(role))


def _listed(value: Any) -> list[Any]:
    if isinstance(value, str):
        value = _decoded(value) if value.startswith(("[", "{")) else value.strip()
    return [] if value is None or value == "" else value if isinstance(value, list) else [value]


def _fields(image: DialogueImage, in_pixels: bool) -> dict[str, Any]:
    return {"bytes": image.bytes, "path": image.path, "url": image.url, "boxes_in_pixels": in_pixels}


def _decoded(text: str) -> Any:
    try:
        return msgspec.json.decode(text)
    except msgspec.DecodeError:
        if HALF_PAIR.search(text):
            raise Unusable("text_not_utf8", "it holds half a surrogate pair") from None
        raise Unusable("text_missing", "its messages are no JSON") from None
