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
from curate.exporting.records import Record, Records, to_json
from curate.storage.store import HashingSink, Store

SYSTEM = "You are a helpful assistant."
IMAGE = re.compile(r"<img>.*?</img>", re.DOTALL)
COLUMNS = ["key", "image.path", "prompt", "target"]
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
        for record in records.of(file, ["key", "image"]):
            _write_image(store, record)
    forms: dict[str, Callable[[Record], Any]] = {"messages.jsonl": _messages, "chatml.jsonl": _chatml}
    for name, form in forms.items():
        store.write(name, _lines(records, form))
    store.write("conversations.json", _list(records))
    store.write_bytes("dataset_info.json", json.dumps(INFO, indent=2).encode())
    return ["conversations.json", *forms, "dataset_info.json"]


def _write_image(store: Store, record: Record) -> None:
    """An image under its path, not flushed one by one: the folder counts once its manifest is there."""
    image = record.row["image"]
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
    """All records without their images' bytes, counted anew."""
    records.written = 0
    records.dropped.clear()
    for file in records.data.files:
        yield from records.of(file, COLUMNS)


def _question(record: Record) -> str:
    """The prompt without its image."""
    return IMAGE.sub("", record.row["prompt"] or "").strip()


def _answer(record: Record) -> str:
    return (record.row["target"] or "").strip()


def _path(record: Record) -> str | None:
    image = record.row["image"]
    return None if image is None else f"images/{image['path']}"


def _shown(record: Record) -> str:
    """The question behind its numbered picture, as Qwen-VL-Chat reads it."""
    path = _path(record)
    return _question(record) if path is None else f"Picture 1: <img>{path}</img>\n{_question(record)}"


def _conversation(record: Record) -> dict[str, Any]:
    turns = [{"from": "user", "value": _shown(record)}, {"from": "assistant", "value": _answer(record)}]
    return {"id": record.name, "conversations": turns}


def _messages(record: Record) -> dict[str, Any]:
    path = _path(record)
    question = _question(record) if path is None else f"<image>{_question(record)}"
    turns = [{"role": "user", "content": question}, {"role": "assistant", "content": _answer(record)}]
    return {"id": record.name, "messages": turns, "images": [] if path is None else [path]}


def _chatml(record: Record) -> dict[str, str]:
    turns = (("system", SYSTEM), ("user", _shown(record)), ("assistant", _answer(record)))
    text = "".join(f"<|im_start|>{role}\n{content}<|im_end|>\n" for role, content in turns)
    return {"id": record.name, "text": text}
