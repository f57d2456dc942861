"""Dialogues in the forms that they are published in, as messages and images.

Messages of `role` and `content` or `from` and `value` (LLaVA, ShareGPT, Qwen-VL, OpenAI), the content a text or a list
of parts; pairs of `user` and `assistant` or `human` and `assistant` (the Cauldron, FineVision); one question and answer
with a history. Images are paths, URLs, data URIs or bytes: in a column, in content parts, or as `<img>path</img>`.
Boxes are Qwen-VL's, in the text: see `curate.adapters.dialogue_spans`.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import re
from collections.abc import Mapping
from typing import Any, NamedTuple

import msgspec
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

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

ROLES = {"human": "user", "user": "user", "system": "system", "prompter": "user"}
ROLES |= dict.fromkeys(("gpt", "assistant", "bot", "chatgpt", "model"), "assistant")
MARKER = re.compile(r"<image>|<IMG_CONTEXT>|<ImageHere>|<\|vision_start\|><\|image_pad\|><\|vision_end\|>")
SHOWN = re.compile(r"(?:Picture \d+: ?)?<img>([^<]{1,4096})</img>\n?")  # Qwen-VL names an image in the text
ADDRESS = re.compile(r"https?://", re.IGNORECASE)
DATA_URI = re.compile(r"data:image/[\w.+-]{1,40};base64,")
COLUMNS = ("messages", "images", "system", "question", "input", "answer", "history")


class DialogueImage(NamedTuple):
    """Where an image is: one of the three."""

    bytes: bytes | None = None
    path: str | None = None
    url: str | None = None

    @property
    def identity(self) -> str:
        """What it is known by."""
        return self.url or self.path or hashlib.sha256(self.bytes or b"").hexdigest()


class Dialogue(NamedTuple):
    """Messages (role and content), images in the order in which the messages show them, and what is wrong."""

    messages: list[tuple[str, str]]
    images: list[DialogueImage]
    spans: list[DialogueSpan]  # for each `<bbox>` of the messages
    fault: str | None = None
    detail: str | None = None


class Unusable(Exception):  # noqa: N818 - a reason, not an error
    """A dialogue that cannot be read; says why."""

    def __init__(self, reason: str, detail: str) -> None:
        self.reason, self.detail = reason, detail


def dialogues(batch: pa.Table, manifest: Manifest, source: str, first_row: int) -> pa.Table:
    """Raw rows as SAMPLE's columns, a row a dialogue (N rows in, N out). See `pairs`."""
    rows = published(batch, manifest, source, first_row)
    read = [_read(row) for row in _rows(rows)]
    table = pa.table(
        {
            "messages": pa.array(
                [[{"role": role, "content": said} for role, said in one.messages] for one in read],
                pa.list_(MESSAGE),
            ),
            "images": pa.array([[_fields(image) for image in one.images] for one in read], pa.list_(PICTURE)),
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
    details = pc.coalesce(read_details, fault_details(made_table, fell)).cast(pa.large_string())
    return set_column(made_table, "detail", pc.coalesce(details, made_table["detail"]))


def _keys(manifest: Manifest, read: list[Dialogue]) -> pa.Array:
    """A dialogue is known by its images and all that is said, places included."""
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
    """A message's own words: without images, and without the marks of places where there are any."""
    bare = said.replace(IMAGE, "")
    for mark in (BOX, "<ref>", "</ref>") if one.spans else ():
        bare = bare.replace(mark, "")
    return bare.strip()


def _regions(one: Dialogue) -> list[dict[str, Any]] | None:
    """The dialogue's regions, whose quads are shares of their images until these are decoded."""
    named = [{"text": span.text, "quad": span.quad} for span in one.spans]
    return named or None


def _rows(rows: Published) -> list[dict[str, Any]]:
    """The columns of each row as Python has them, JSON decoded: of a column's names the first that the row fills."""
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
    """What JSON says; as it is where it is none, as with half a surrogate pair: its row falls for that."""
    try:
        return msgspec.json.decode(text)
    except msgspec.DecodeError:
        return text


def _read(row: Mapping[str, Any]) -> Dialogue:
    """One dialogue; an unusable one has its reason."""
    try:
        turns, marked = _turns(row)
        shown = Shown([_picture(one) for one in _listed(row.get("images"))])
        messages = [(_role(role), shown.content(content).strip()) for role, content in turns]
        if row.get("system") and not (messages and messages[0][0] == "system"):
            messages.insert(0, ("system", str(row["system"]).strip()))
        if not marked and shown.waiting and not shown.marks:  # such sets name their images beside the turns
            messages = _with_images_first(messages, len(shown.waiting))
        spans: list[DialogueSpan] = []
        located = [(role, with_spans(said, spans)) for role, said in messages]
        return Dialogue(located if spans else messages, shown.all(), spans)
    except Unusable as why:
        return Dialogue([], [], [], why.reason, why.detail)
    except BoxBroken as why:
        return Dialogue([], [], [], "box_broken", str(why))


class Shown:
    """The images of a dialogue, as its turns show them one after another."""

    def __init__(self, waiting: list[DialogueImage]) -> None:
        self.waiting = waiting  # of the dialogue's column, in order
        self.found: list[DialogueImage] = []
        self.marks = 0  # of `waiting`, how many were shown

    def all(self) -> list[DialogueImage]:
        """All images: those that turns show, and those that none does."""
        return self.found + self.waiting[self.marks :]

    def content(self, content: Any) -> str:
        """A turn's text, with `<image>` for each image.

        Raises:
            Unusable: it is neither text nor parts.
        """
        if content is None:
            return ""
        if isinstance(content, str):
            return self._text(content)
        if not isinstance(content, list):
            raise Unusable("turn_empty", f"content of type {type(content).__name__}")
        images = [_picture(_image_of(part)) for part in content if _is_image(part)]
        texts = [_text_of(part) for part in content if not _is_image(part)]
        if sum(len(MARKER.findall(text)) for text in texts) == len(images) > 0:
            self.found += images
            return "".join(MARKER.sub(IMAGE, text) for text in texts)
        self.found += images
        return "".join(f"{IMAGE}\n" if _is_image(part) else self._text(_text_of(part)) for part in content)

    def _text(self, text: str) -> str:
        """A text whose markers take the next images of the column, or name one themselves."""
        pieces, done = list[str](), 0
        for match in re.finditer(f"{MARKER.pattern}|{SHOWN.pattern}", text):
            pieces += [text[done : match.start()], IMAGE if match[1] is None else f"{IMAGE}\n"]
            done = match.end()
            if match[1] is not None:
                self.found.append(_picture(match[1]))
            elif self.marks < len(self.waiting):
                self.found.append(self.waiting[self.marks])
                self.marks += 1
        return "".join([*pieces, text[done:]])


def _turns(row: Mapping[str, Any]) -> tuple[list[tuple[Any, Any]], bool]:
    """Role and content of each turn, and whether its text shows where its images are.

    Raises:
        Unusable: they are in no known form.
    """
    given = row.get("messages")
    if isinstance(given, str):
        given = _decoded(given)
    if given is None:
        return _from_question(row), False
    if isinstance(given, dict):  # a list of structs that was read column by column
        given = [dict(zip(given, values, strict=False)) for values in zip(*given.values(), strict=False)]
    if not isinstance(given, list) or not all(isinstance(turn, dict) for turn in given):
        raise Unusable("text_missing", "its messages are no list of objects")
    turns: list[tuple[Any, Any]] = []
    marked = True
    for turn in given:
        if "role" in turn or "from" in turn:
            turns.append((turn.get("role", turn.get("from")), turn.get("content", turn.get("value"))))
        else:
            marked = False
            asked = turn.get("user", turn.get("human", turn.get("question")))
            turns += [
                ("user", asked),
                ("assistant", turn.get("assistant", turn.get("answer", turn.get("gpt")))),
            ]
    return turns, marked


def _from_question(row: Mapping[str, Any]) -> list[tuple[Any, Any]]:
    """A question and its answer, behind those that were asked before."""
    if row.get("question") is None:
        raise Unusable("text_missing", "it has no messages")
    history = row.get("history")
    history = _decoded(history) if isinstance(history, str) else history
    before = [pair for pair in history or [] if isinstance(pair, list) and len(pair) == 2]
    asked = "\n".join(str(part) for part in (row["question"], row.get("input")) if part)  # Alpaca's two
    pairs = [*before, [asked, row.get("answer")]]
    return [turn for asked, said in pairs for turn in (("user", asked), ("assistant", said))]


def _with_images_first(messages: list[tuple[str, str]], count: int) -> list[tuple[str, str]]:
    """The messages with that many images in front of the first question."""
    for place, (role, said) in enumerate(messages):
        if role == "user":
            return [*messages[:place], (role, f"{IMAGE}\n" * count + said), *messages[place + 1 :]]
    return messages


def _role(role: Any) -> str:
    return ROLES.get(str(role).strip().casefold(), str(role))


def _listed(value: Any) -> list[Any]:
    value = _decoded(value) if isinstance(value, str) and value[:1] == "[" else value
    return [] if value is None or value == "" else value if isinstance(value, list) else [value]


def _is_image(part: Any) -> bool:
    return isinstance(part, dict) and (part.get("type") in ("image", "image_url") or "image_url" in part)


def _image_of(part: Mapping[str, Any]) -> Any:
    named = part.get("image_url", part.get("image", part.get("path", part.get("url"))))
    return named.get("url") if isinstance(named, dict) and "url" in named else named


def _text_of(part: Any) -> str:
    """The text of a content part.

    Raises:
        Unusable: it is a video, a sound or something else.
    """
    if isinstance(part, str):
        return part
    if isinstance(part, dict) and isinstance(part.get("text"), str):
        return str(part["text"])
    kind = part.get("type") if isinstance(part, dict) else type(part).__name__
    raise Unusable("part_unknown", f"a content part of type {kind}")


def _picture(value: Any) -> DialogueImage:
    """Where an image is.

    Raises:
        Unusable: it is nowhere.
    """
    if isinstance(value, dict):
        body = value.get("bytes")
        value = body if body is not None else value.get("path", value.get("url"))
    if isinstance(value, bytes):
        return DialogueImage(bytes=value)
    if not isinstance(value, str) or not value.strip():
        raise Unusable("image_missing", "an image without a path, address or bytes")
    if ADDRESS.match(value):
        return DialogueImage(url=value)
    if DATA_URI.match(value):
        try:
            return DialogueImage(bytes=base64.b64decode(value.partition(",")[2], validate=True))
        except binascii.Error:
            raise Unusable("image_missing", "a data URI that is not base64") from None
    return DialogueImage(path=value.strip())


def _fields(image: DialogueImage) -> dict[str, Any]:
    return {"bytes": image.bytes, "path": image.path, "url": image.url}


def _decoded(text: str) -> Any:
    try:
        return msgspec.json.decode(text)
    except msgspec.DecodeError:
        raise Unusable("text_missing", "its messages are no JSON") from None
