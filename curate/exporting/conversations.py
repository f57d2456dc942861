"""Conversations for fine-tuning: one question and one answer a sample, and an images folder.

`conversations.json` is what Qwen-VL's finetune.py reads; `messages.jsonl` is for ms-swift, and with
`dataset_info.json` for LLaMA-Factory; `chatml.jsonl` has the whole dialogue as the model sees it. Paths are
relative to the folder.
"""

from __future__ import annotations

import itertools
import json
import re
from collections.abc import Callable, Iterator
from typing import Any

from curate.errors import InputError
from curate.exporting.sample_files import Record, Records, to_json
from curate.storage.store import HashingSink, Store
from curate.tasks.chat import PLACEHOLDER
from curate.tasks.formats import CONVERSATION

SYSTEM = "You are a helpful assistant."
IMAGE = re.compile(r"<img>.*?</img>", re.DOTALL)
COLUMNS = ["key", "image.path", "prompt", "target"]
TALK = ["task", "messages", "images.list.element.path"]
PLACEHOLDERS = re.compile(PLACEHOLDER)
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
        },
    }
}


def write_conversations(store: Store, records: Records) -> list[str]:
    """The images, then the four files.

    Raises:
        InputError: packs; their tokens are no conversation any more.
    """
    if records.packs:
        raise InputError("packs hold tokens: export the shards that they were made of as qwen-vl")
    for file in records.data.files:
        several = ["images"] if "images" in records.data.schema.names else []
        for record in records.of(file, ["key", "image", *several]):
            for image in [record.row["image"], *(record.row.get("images") or [])]:
                _write_image(store, image)
    forms: dict[str, Callable[[Record], Any]] = {"messages.jsonl": _messages, "chatml.jsonl": _chatml}
    for name, form in forms.items():
        store.write(name, _lines(records, form))
    store.write("conversations.json", _list(records))
    store.write_bytes("dataset_info.json", json.dumps(INFO, indent=2).encode())
    return ["conversations.json", *forms, "dataset_info.json"]


def _write_image(store: Store, image: dict[str, Any] | None) -> None:
    """An image under its path, not flushed one by one: the folder counts once its manifest is there."""
    if image is not None and image["bytes"] is not None:
        path = store.path(f"images/{image['path']}")
        store.fs.create_dir(path.rsplit("/", 1)[0], recursive=True)
        with store.fs.open_output_stream(path) as stream:
            stream.write(image["bytes"])


def _lines(records: Records, form: Callable[[Record], Any]) -> Callable[[HashingSink], None]:
    def fill(sink: HashingSink) -> None:
        for record in _texts(records):
            sink.write(to_json(form(record)) + b"\n")

    return fill


def _list(records: Records) -> Callable[[HashingSink], None]:
    def fill(sink: HashingSink) -> None:
        before = itertools.chain([b"[\n"], itertools.repeat(b",\n"))
        for start, record in zip(before, _texts(records), strict=False):
            sink.write(start + to_json(_conversation(record)))
        sink.write(b"\n]\n" if records.written else b"[]\n")

    return fill


def _texts(records: Records) -> Iterator[Record]:
    """All records without their images' bytes, counted anew; a placeholder in raw text would be taken for an image."""
    records.written = 0
    records.dropped.clear()
    talk = TALK if "messages" in records.data.schema.names else ["task"]
    for file in records.data.files:
        for record in records.of(file, [*COLUMNS, *talk]):
            alone = record.row["task"] != CONVERSATION
            if alone and PLACEHOLDERS.search((record.row["prompt"] or "") + (record.row["target"] or "")):
                records.written -= 1
                records.dropped["text_has_placeholder"] += 1
            else:
                yield record


def _turns(record: Record, picture: Callable[[int, str], str]) -> tuple[list[tuple[str, str]], list[str]]:
    """Role and content of each turn, with each image as `picture` writes it by number and path; and the paths."""
    row = record.row
    if row["task"] != CONVERSATION:
        paths = [] if row["image"] is None else [f"images/{row['image']['path']}"]
        question = IMAGE.sub("", row["prompt"] or "").strip()
        asked = "".join(picture(number, path) for number, path in enumerate(paths, 1)) + question
        return [("user", asked), ("assistant", (row["target"] or "").strip())], paths
    paths = [f"images/{image['path']}" for image in row["images"]]
    waiting = iter(enumerate(paths, 1))

    def written(said: str) -> str:
        return re.sub(r"<image>\s*", lambda _: picture(*next(waiting)), said)

    return [
        (turn["role"], written(turn["content"]) if turn["role"] == "user" else turn["content"])
        for turn in row["messages"]
    ], paths


def _numbered(number: int, path: str) -> str:
    """As Qwen-VL-Chat reads it."""
    return f"Picture {number}: <img>{path}</img>\n"


def _conversation(record: Record) -> dict[str, Any]:
    turns = [{"from": role, "value": said} for role, said in _turns(record, _numbered)[0]]
    return {"id": record.name, "conversations": turns}


def _messages(record: Record) -> dict[str, Any]:
    turns, paths = _turns(record, lambda number, path: "<image>")
    return {
        "id": record.name,
        "messages": [{"role": role, "content": said} for role, said in turns],
        "images": paths,
    }


def _chatml(record: Record) -> dict[str, str]:
    turns = _turns(record, _numbered)[0]
    turns = turns if turns[0][0] == "system" else [("system", SYSTEM), *turns]
    text = "".join(f"<|im_start|>{role}\n{content}<|im_end|>\n" for role, content in turns)
    return {"id": record.name, "text": text}
