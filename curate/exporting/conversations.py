"""The format `qwen-vl`: conversations for fine-tuning, and an images folder.

Unless rows are grouped, a sample is one row: a question and its answer, or a whole dialogue.
`conversations.json` is what Qwen-VL's finetune.py reads; `messages.jsonl` is for ms-swift, and with
`dataset_info.json` for LLaMA-Factory; `chatml.jsonl` has the whole dialogue as the model sees it. Rows of the task
`text` are no dialogues: they go into `text.jsonl`, one a line. Paths are relative to the folder; an image that
several rows show is written once.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator, Sequence
from typing import Any

from curate.exporting.album import Album, Images
from curate.exporting.exporter import Exported
from curate.exporting.sample_files import Record, Records
from curate.exporting.sample_lists import join_fragments, system_in_question, write_fragment
from curate.storage.dataset import DataFile, DataSet
from curate.storage.store import Store
from curate.tasks.formats import CONVERSATION
from curate.tasks.grouping import GROUPED, grouped
from curate.tasks.turns import BOX
from curate.tasks.turns import IMAGE as PICTURE

SYSTEM = "You are a helpful assistant."
IMAGE = re.compile(r"<img>.*?</img>", re.DOTALL)
PLACE = re.compile(r"<box>[^<>]*</box>|<quad>[^<>]*</quad>")  # as a shard's prompt and target have it
COLUMNS = ["key", "image.path", "prompt", "target"]
TALK = ["task", "messages", "images.list.element.path"]
TEXT = "text"  # the task that is no dialogue
Talk = tuple[Record, list[str]]  # a record, and the paths of its images in the folder
TEXTS, INFO_FILE = "text.jsonl", "dataset_info.json"
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


class Conversations:
    """Writes the images folder and the lists of samples.

    Args:
        turns: rows of one image are joined into dialogues of at most so many questions; 0: rows are not joined.
    """

    album = True

    def __init__(self, turns: int = 0) -> None:
        self._turns = turns

    def look(self, records: Records, file: DataFile, images: Images) -> None:
        """See `ExportFormat.look`."""
        _show(records, file, images, records.faults(file))

    def write(self, store: Store, records: Records, number: int, album: Album) -> list[Any]:
        """See `ExportFormat.write`."""
        file = records.data.files[number]
        faults = records.faults(file)

        def light() -> Iterator[Record]:
            return Records(records.data, records.foreign).light(file, _columns(records), faults)

        _show(Records(records.data, records.foreign), file, album, faults)
        for name, form in FORMS.items():
            talks = _talks(light(), album, self._turns)
            write_fragment(store, name, number, (form(record, paths) for record, paths in talks))
        texts = [
            record for record in records.light(file, _columns(records), faults) if record.row["task"] == TEXT
        ]
        if texts:
            write_fragment(store, TEXTS, number, map(_text, texts))
        return [TEXTS] if texts else []

    def finish(self, store: Store, data: DataSet, done: Sequence[Exported]) -> list[str]:
        """See `ExportFormat.finish`."""
        texts = [TEXTS] if any(one.told for one in done) else []
        names = [*FORMS, *texts]
        for name in names:
            join_fragments(store, name, len(done))
        store.write_bytes(INFO_FILE, json.dumps(_info(bool(texts)), indent=2).encode())
        return [*names, INFO_FILE]


def _show(records: Records, file: DataFile, images: Images, faults: list[str | None]) -> None:
    """Pass every image of a shard's rows that are exported to `images.add`."""
    several = ["images"] if "images" in records.data.schema.names else []
    for record in records.light(file, ["key", "task", "image", *several], faults):
        for image in _images(record):
            images.add(image)


def _talks(light: Iterator[Record], album: Album, turns: int) -> Iterator[Talk]:
    """Yield the records except those of the task `text`, each with its images' paths in the folder."""
    talks = (
        (record, [album.place(image) for image in _images(record)])
        for record in light
        if record.row["task"] != TEXT
    )
    groups = grouped(talks, _image_of, turns) if turns else ([talk] for talk in talks)
    return (_merged(group) for group in groups)


def _columns(records: Records) -> list[str]:
    """What the lists are made of: all but the images' bytes."""
    return [*COLUMNS, *(TALK if "messages" in records.data.schema.names else ["task"])]


def _images(record: Record) -> list[dict[str, Any]]:
    """The images that a record shows."""
    row = record.row
    images = row["images"] or [] if row["task"] == CONVERSATION else [row["image"]]
    return [image for image in images if image is not None and image["path"] is not None]


def _image_of(talk: Talk) -> str | None:
    """Return the path of the record's image, by which records are grouped; None if the record stays ungrouped."""
    record, paths = talk
    return paths[0] if record.row["task"] in GROUPED and paths else None


def _merged(talks: list[Talk]) -> Talk:
    """Join the records of one image into one dialogue that shows the image in its first turn."""
    (first, paths), *more = talks
    if not more:
        return first, paths
    asked = [turn for record, _ in talks for turn in _turns(record, [], _numbered)]
    said = [{"role": role, "content": content} for role, content in asked]
    said[0]["content"] = f"{PICTURE}{said[0]['content']}"
    return Record(first.name, {"task": CONVERSATION, "messages": said}), paths


def _turns(record: Record, paths: list[str], picture: Callable[[int, str], str]) -> list[tuple[str, str]]:
    """Return the role and content of each turn of a record.

    Each image in a turn becomes `picture(number, path)`: its number among the record's images, from 1, and its path.
    """
    row = record.row
    if row["task"] != CONVERSATION:
        question = IMAGE.sub("", row["prompt"] or "").strip()
        asked = "".join(picture(number, path) for number, path in enumerate(paths, 1)) + question
        return [("user", asked), ("assistant", (row["target"] or "").strip())]
    waiting = iter(enumerate(paths, 1))

    def written(said: str) -> str:
        return re.sub(r"<image>\s*", lambda _: picture(*next(waiting)), said)

    places = iter(PLACE.findall(f"{row.get('prompt') or ''}{row.get('target') or ''}"))

    def located(said: str) -> str:
        return re.sub(BOX, lambda _: next(places, BOX), said)

    said = [(turn["role"], located(turn["content"])) for turn in row["messages"]]
    return [(role, written(content) if role == "user" else content) for role, content in said]


def _numbered(number: int, path: str) -> str:
    """Write an image as Qwen-VL-Chat reads it."""
    return f"Picture {number}: <img>{path}</img>\n"


def _conversation(record: Record, paths: list[str]) -> dict[str, Any]:
    """Return a dialogue as finetune.py reads it, which stops at a system turn."""
    turns = system_in_question(_turns(record, paths, _numbered))
    return {"id": record.name, "conversations": [{"from": role, "value": said} for role, said in turns]}


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


def _text(record: Record) -> dict[str, str]:
    return {"id": record.name, "text": record.row["target"] or ""}


def _info(texts: bool) -> dict[str, Any]:
    plain = {"curate_text": {"file_name": "text.jsonl", "columns": {"prompt": "text"}}}
    return INFO | (plain if texts else {})


FORMS: dict[str, Callable[[Record, list[str]], Any]] = {
    "conversations.json": _conversation,
    "messages.jsonl": _messages,
    "chatml.jsonl": _chatml,
}
