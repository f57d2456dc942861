"""Conversations for fine-tuning: one question and one answer a sample, and an images folder.

`conversations.json` is what Qwen-VL's finetune.py reads; `messages.jsonl` is for ms-swift, and with
`dataset_info.json` for LLaMA-Factory; `chatml.jsonl` has the whole dialogue as the model sees it. Plain texts are no
dialogues: they go into `text.jsonl`, one a line. Paths are relative to the folder; an image is written once.
"""

from __future__ import annotations

import itertools
import json
import re
from collections.abc import Callable, Iterable, Iterator
from typing import Any

from curate.errors import InputError
from curate.exporting.album import Album
from curate.exporting.sample_files import Record, Records, to_json
from curate.storage.store import HashingSink, Store
from curate.tasks.chat import IMAGE as PICTURE
from curate.tasks.formats import CONVERSATION
from curate.tasks.grouping import GROUPED, grouped

SYSTEM = "You are a helpful assistant."
IMAGE = re.compile(r"<img>.*?</img>", re.DOTALL)
COLUMNS = ["key", "image.path", "prompt", "target"]
TALK = ["task", "messages", "images.list.element.path"]
TEXT = "text"  # the task that is no dialogue
Talk = tuple[Record, list[str]]  # a record, and where its images lie in the folder
Form = Callable[[Record, list[str]], Any]
INFO = {
    "curate": {
        "file_name": "messages.jsonl",
        "formatting": "sharegpt",
        "columns": {"messages": "messages", "images": "images"},
        "tags": {
            "role_tag": "role",
            "content_tag": "content",
            "user_tag": "user",
            "assistant_tag": "assistant",
            "system_tag": "system",
        },
    }
}


def write_conversations(store: Store, records: Records, turns: int = 0) -> list[str]:
    """The images, then the other files; rows of one image as dialogues of at most `turns` questions (0: each alone).

    Raises:
        InputError: packs; their tokens are no conversation any more.
    """
    if records.packs:
        raise InputError("packs hold tokens: export the shards that they were made of as qwen-vl")
    album = Album(store)
    for file in records.data.files:
        several = ["images"] if "images" in records.data.schema.names else []
        for record in records.of(file, ["key", "image", *several]):
            for image in [record.row["image"], *(record.row.get("images") or [])]:
                if image is not None and image["bytes"] is not None:
                    album.add(image)
    forms: dict[str, Form] = {"messages.jsonl": _messages, "chatml.jsonl": _chatml}
    for name, form in forms.items():
        store.write(name, _lines(_talks(records, album, turns), form))
    texts = [record for record in _texts(records) if record.row["task"] == TEXT]
    if texts:
        store.write("text.jsonl", _lines(((record, []) for record in texts), _text))
    store.write("conversations.json", _list(_talks(records, album, turns)))
    store.write_bytes("dataset_info.json", json.dumps(_info(bool(texts)), indent=2).encode())
    return ["conversations.json", *forms, *(["text.jsonl"] if texts else []), "dataset_info.json"]


def _lines(talks: Iterable[Talk], form: Form) -> Callable[[HashingSink], None]:
    def fill(sink: HashingSink) -> None:
        for record, paths in talks:
            sink.write(to_json(form(record, paths)) + b"\n")

    return fill


def _list(talks: Iterable[Talk]) -> Callable[[HashingSink], None]:
    def fill(sink: HashingSink) -> None:
        before = itertools.chain([b"[\n"], itertools.repeat(b",\n"))
        count = 0
        for start, talk in zip(before, talks, strict=False):
            sink.write(start + to_json(_conversation(*talk)))
            count += 1
        sink.write(b"\n]\n" if count else b"[]\n")

    return fill


def _talks(records: Records, album: Album, turns: int) -> Iterator[Talk]:
    """The records that are dialogues, each with where its images lie."""
    for records_of_file in _by_file(records):
        talks = (
            (record, [album.place(image) for image in _images(record)])
            for record in records_of_file
            if record.row["task"] != TEXT
        )
        groups = grouped(talks, _image_of, turns) if turns else ([talk] for talk in talks)
        yield from (_merged(group) for group in groups)


def _images(record: Record) -> list[dict[str, Any]]:
    row = record.row
    images = row["images"] if row["task"] == CONVERSATION else [row["image"]]
    return [image for image in images if image is not None]


def _image_of(talk: Talk) -> str | None:
    """By which records are grouped; None for those that stand alone."""
    record, paths = talk
    return paths[0] if record.row["task"] in GROUPED and paths else None


def _merged(talks: list[Talk]) -> Talk:
    """Records of one image as a dialogue, which shows it in its first turn."""
    (first, paths), *more = talks
    if not more:
        return first, paths
    asked = [turn for record, _ in talks for turn in _turns(record, [], _numbered)]
    said = [{"role": role, "content": content} for role, content in asked]
    said[0]["content"] = f"{PICTURE}{said[0]['content']}"
    return Record(first.name, {"task": CONVERSATION, "messages": said}), paths


def _texts(records: Records) -> Iterator[Record]:
    for records_of_file in _by_file(records):
        yield from records_of_file


def _by_file(records: Records) -> Iterator[Iterator[Record]]:
    """All records without their images' bytes, file by file, counted anew."""
    records.written = 0
    records.dropped.clear()
    talk = TALK if "messages" in records.data.schema.names else ["task"]
    for file in records.data.files:
        yield records.of(file, [*COLUMNS, *talk])


def _turns(record: Record, paths: list[str], picture: Callable[[int, str], str]) -> list[tuple[str, str]]:
    """Role and content of each turn, with each image as `picture` writes it by number and path."""
    row = record.row
    if row["task"] != CONVERSATION:
        question = IMAGE.sub("", row["prompt"] or "").strip()
        asked = "".join(picture(number, path) for number, path in enumerate(paths, 1)) + question
        return [("user", asked), ("assistant", (row["target"] or "").strip())]
    waiting = iter(enumerate(paths, 1))

    def written(said: str) -> str:
        return re.sub(r"<image>\s*", lambda _: picture(*next(waiting)), said)

    return [
        (turn["role"], written(turn["content"]) if turn["role"] == "user" else turn["content"])
        for turn in row["messages"]
    ]


def _numbered(number: int, path: str) -> str:
    """As Qwen-VL-Chat reads it."""
    return f"Picture {number}: <img>{path}</img>\n"


def _conversation(record: Record, paths: list[str]) -> dict[str, Any]:
    turns = [{"from": role, "value": said} for role, said in _turns(record, paths, _numbered)]
    return {"id": record.name, "conversations": turns}


def _messages(record: Record, paths: list[str]) -> dict[str, Any]:
    turns = _turns(record, paths, lambda number, path: "<image>")
    return {
        "id": record.name,
        "messages": [{"role": role, "content": said} for role, said in turns],
        "images": paths,
    }


def _chatml(record: Record, paths: list[str]) -> dict[str, str]:
    turns = _turns(record, paths, _numbered)
    turns = turns if turns[0][0] == "system" else [("system", SYSTEM), *turns]
    text = "".join(f"<|im_start|>{role}\n{content}<|im_end|>\n" for role, content in turns)
    return {"id": record.name, "text": text}


def _text(record: Record, paths: list[str]) -> dict[str, str]:
    return {"id": record.name, "text": record.row["target"] or ""}


def _info(texts: bool) -> dict[str, Any]:
    plain = {"curate_text": {"file_name": "text.jsonl", "columns": {"prompt": "text"}}}
    return INFO | (plain if texts else {})
