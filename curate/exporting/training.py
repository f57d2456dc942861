"""The formats `qwen3-vl`, `llava`, `ms-swift`, `llama-factory`: fine-tuning files in a dialect, and an images folder.

`qwen3-vl` and `llava` write one list of conversations (`conversations.json`); `ms-swift` and `llama-factory` write
messages, one sample a line (`messages.jsonl`), and `llama-factory` also `dataset_info.json`. Rows of the task `text` go
into `text.jsonl`, one a line. Paths are relative to the folder; an image that several rows show is written once.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator, Sequence
from itertools import pairwise
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from curate.exporting.album import Album, Images
from curate.exporting.exporter import Exported
from curate.exporting.judged_rows import row_groups, unsafe_names
from curate.exporting.sample_files import Records
from curate.exporting.sample_lists import join_fragments, system_in_question, write_fragment
from curate.images.header_sides import header_sides
from curate.schema import MESSAGE
from curate.storage.dataset import DataFile, DataSet
from curate.storage.store import Store
from curate.tasks.coordinates import Floats
from curate.tasks.dialect import Dialect
from curate.tasks.dialogue_places import shown_in, with_places
from curate.tasks.formats import CONVERSATION
from curate.tasks.grouping import GROUPED, grouped
from curate.tasks.shard_rows import dialogue_boxes, is_dialogue, refused_images, rendered, shard_faults
from curate.tasks.turns import BOX, IMAGE, PLACEHOLDER, ROLES, turns_of

MARKED = re.compile("<ref>([^<>]+)</ref>")  # a phrase in a dialogue with boxes
SPEAKERS = {"user": "human", "assistant": "gpt", "system": "system"}
COLUMNS = ["key", "task", "language", "text", "prompt", "target", "regions", "width", "height"]


class Sample(NamedTuple):
    """A row as a trainer reads it. A row of the task `text` has `text` and no turns; every other row has turns."""

    name: str
    task: str
    turns: list[tuple[str, str]]  # role and content; each image in a content is written `<image>`
    images: list[str]  # paths in the folder
    text: str | None = None
    objects: dict[str, Any] | None = None  # only ms-swift: what each `<ref-object>` and `<bbox>` stands for


TEXTS, INFO_FILE = "text.jsonl", "dataset_info.json"


class Training:
    """Writes one of the four formats in a dialect.

    Args:
        form: the format's name, a key of TALKS.
        dialect: how prompts, targets and boxes are written.
        turns: rows of one image are joined into dialogues of at most so many questions; 0: rows are not joined.
    """

    album = True

    def __init__(self, form: str, dialect: Dialect, turns: int = 0) -> None:
        self._form, self._dialect, self._turns = form, dialect, turns
        self._name, self._make = TALKS[form]

    def look(self, records: Records, file: DataFile, images: Images) -> None:
        """See `ExportFormat.look`."""
        for _ in _samples(images, records, file, self._dialect, 0):
            pass

    def write(self, store: Store, records: Records, number: int, album: Album) -> list[Any]:
        """See `ExportFormat.write`."""
        texts: list[Sample] = []

        def talks() -> Iterator[Sample]:
            for sample in _samples(album, records, records.data.files[number], self._dialect, self._turns):
                if sample.text is None:
                    yield sample
                else:
                    texts.append(sample)

        write_fragment(store, self._name, number, map(self._make, talks()))
        if texts:
            form = _spoken_text if self._form == "ms-swift" else _plain_text
            write_fragment(store, TEXTS, number, map(form, texts))
        return [TEXTS] if texts else []

    def finish(self, store: Store, data: DataSet, done: Sequence[Exported]) -> list[str]:
        """See `ExportFormat.finish`."""
        texts = [TEXTS] if any(one.told for one in done) else []
        files = [self._name, *texts]
        for name in files:
            join_fragments(store, name, len(done))
        if self._form == "llama-factory":
            store.write_bytes(INFO_FILE, json.dumps(_info(bool(texts)), indent=2).encode())
            files.append(INFO_FILE)
        return files


def _samples(
    images: Images, records: Records, file: DataFile, dialect: Dialect, turns: int
) -> Iterator[Sample]:
    """Yield a sample for every row of a shard that the dialect can write and the trainers can read.

    Rows of one image are joined if `turns` is not 0. Each image of a sample is passed to `images.add`.
    """
    talk = [name for name in ("messages", "images") if name in records.data.schema.names]
    for table, foreign in row_groups(file, [*COLUMNS, "image", *talk], records.foreign):
        samples = _of_group(table, foreign, images, records, dialect)
        groups = grouped(samples, _image_of, turns) if turns else ([one] for one in samples)
        yield from (_merged(group) for group in groups)


def _image_of(sample: Sample) -> str | None:
    """Return the path of the sample's image, by which samples are grouped; None if the sample stays ungrouped."""
    return sample.images[0] if sample.task in GROUPED else None


def _merged(samples: list[Sample]) -> Sample:
    """Join the samples of one image into one sample that shows the image in its first turn."""
    first, *more = samples
    if not more:
        return first
    turns = [*first.turns, *(_without_image(role, said) for one in more for role, said in one.turns)]
    located = [one.objects for one in samples if one.objects is not None]
    if not located:
        return first._replace(turns=turns)
    both = {name: [each for objects in located for each in objects[name]] for name in ("ref", "bbox")}
    return first._replace(turns=turns, objects=located[0] | both)


def _without_image(role: str, said: str) -> tuple[str, str]:
    return role, said.replace(IMAGE, "").lstrip() if role == "user" else said


def _of_group(
    table: pa.Table, foreign: list[str | None], shown_to: Images, records: Records, dialect: Dialect
) -> Iterator[Sample]:
    faults = _faults(table, foreign, dialect)
    prompts, targets = (column.to_pylist() for column in rendered(table, dialect))
    spoken = _spoken(table, dialect)
    marks = dialect.image
    shown = marks.before + marks.pad + marks.after
    for row, fault, prompt, target, messages in zip(
        _light(table), faults, prompts, targets, spoken, strict=True
    ):
        images = (
            row["images"] or [] if row["task"] == CONVERSATION else [row["image"]] if row["image"] else []
        )
        if fault:
            records.dropped[fault] += 1
            continue
        records.written += 1
        if row["task"] == "text":
            yield Sample(row["key"], row["task"], [], [], target)
            continue
        turns = [("user", prompt.replace(shown, IMAGE) if prompt else ""), ("assistant", target)]
        if row["task"] == CONVERSATION:
            turns = messages
        objects = None
        if BOX in dialect.places.box:
            objects = _objects(row) if row["task"] != CONVERSATION else _spoken_objects(row)
        yield Sample(row["key"], row["task"], turns, [shown_to.add(image) for image in images], None, objects)


def _faults(table: pa.Table, foreign: list[str | None], dialect: Dialect) -> list[str | None]:
    """Return why each row is left out (N items); None where it is not.

    Either the dialect cannot write the row, or the trainer would fail on it. `foreign` are the faults that were found
    in a shard of other software (N items).
    """
    told = pa.array(foreign, pa.string())
    held = pc.match_substring_regex(table["text"], PLACEHOLDER).fill_null(False)
    held = pc.and_not(held, pa.array(is_dialogue(table)))
    unsafe = pa.array(unsafe_names(table))
    found: list[str | None] = pc.coalesce(
        told,
        pc.if_else(held, "text_has_placeholder", None),
        shard_faults(table, dialect),
        refused_images(table, dialect, header_sides),
        pc.if_else(unsafe, "name_unsafe", None),
    ).to_pylist()
    return found


def _light(table: pa.Table) -> Iterator[dict[str, Any]]:
    wanted = ("key", "task", "text", "regions", "width", "height", "image", "images", "messages")
    names = [name for name in wanted if name in table.column_names]
    for row in table.select(names).to_pylist():
        yield {"images": None, "messages": None} | row


def _spoken(table: pa.Table, dialect: Dialect) -> list[list[tuple[str, str]]]:
    """Return role and content of each row's messages, boxes written as the dialect does; empty for other tasks."""
    if "messages" not in table.column_names:
        return [[] for _ in range(table.num_rows)]
    turns = turns_of(table["messages"])
    if BOX in dialect.places.box:
        said = [MARKED.sub("<ref-object>", one) for one in turns.content.to_pylist()]
    else:
        said = with_places(turns, dialogue_boxes(table, header_sides), dialect).content.to_pylist()
    both = [(ROLES[role], content) for role, content in zip(turns.role.tolist(), said, strict=True)]
    return [both[start:stop] for start, stop in pairwise(turns.starts.tolist())]


def _spoken_objects(row: dict[str, Any]) -> dict[str, Any] | None:
    """Return the phrases and boxes of a dialogue for ms-swift, and the index of the image that each box is in.

    The boxes are in pixels of that image, and clipped to it.
    """
    if not row["regions"]:
        return None
    whole = "".join(turn["content"] for turn in row["messages"])
    shown = shown_in(turns_of(pa.array([row["messages"]], pa.list_(MESSAGE))))[1].tolist()
    width, height = header_sides(pa.array([image["bytes"] for image in row["images"]], pa.binary()))
    boxes = _clipped_boxes(row["regions"], width[shown], height[shown])
    return {"ref": MARKED.findall(whole), "bbox": _shortest(boxes), "bbox_type": "real", "image_id": shown}


def _objects(row: dict[str, Any]) -> dict[str, Any] | None:
    """Return the boxes of a row's regions for ms-swift, in pixels of the row's image.

    They come in the order in which the text names them, and are clipped to the image, because ms-swift does not clip.
    """
    if not row["regions"]:
        return None
    regions = (
        sorted(row["regions"], key=lambda one: one["start"] or 0)
        if row["task"] == "grounded_caption"
        else row["regions"]
    )
    boxes = _clipped_boxes(regions, row["width"], row["height"])
    named = [row["text"]] if row["task"] == "referring" else []
    return {"ref": named, "bbox": _shortest(boxes), "bbox_type": "real"}


def _clipped_boxes(regions: list[dict[str, Any]], width: Any, height: Any) -> Floats:
    """Return the upright box of each region (B x 4) within its image, whose sides are B numbers or one."""
    quads = np.array([one["quad"] for one in regions])
    x = quads[:, 0::2].clip(0, np.reshape(width, (-1, 1)))
    y = quads[:, 1::2].clip(0, np.reshape(height, (-1, 1)))
    return np.stack([x.min(1), y.min(1), x.max(1), y.max(1)], axis=1)


def _shortest(boxes: Floats) -> list[list[float]]:
    """Return boxes (B x 4) with each number as the shortest decimal of the same float32: 376.64, not 376.6400146."""
    return [[float(str(number)) for number in box] for box in boxes.astype(np.float32)]


def _conversation(sample: Sample) -> dict[str, Any]:
    """Return a sample in LLaVA's form.

    Qwen3-VL's fine-tuning knows no system turn, so the system's text is written before the first question.
    """
    made = [{"from": SPEAKERS[role], "value": said} for role, said in system_in_question(sample.turns)]
    images = sample.images[0] if len(sample.images) == 1 else sample.images
    return {"id": sample.name} | ({"image": images} if sample.images else {}) | {"conversations": made}


def _messages(sample: Sample) -> dict[str, Any]:
    turns = [{"role": role, "content": said} for role, said in sample.turns]
    made = {"id": sample.name, "messages": turns, "images": sample.images}
    return made | ({"objects": sample.objects} if sample.objects else {})


def _plain_text(sample: Sample) -> dict[str, Any]:
    return {"id": sample.name, "text": sample.text}


def _spoken_text(sample: Sample) -> dict[str, Any]:
    """Return a text as ms-swift reads text without a question: a single message of the assistant."""
    return _plain_text(sample) | {"messages": [{"role": "assistant", "content": sample.text}]}


def _info(texts: bool) -> dict[str, Any]:
    """Return the content of `dataset_info.json`, which tells LLaMA-Factory what the files hold."""
    tags = {"role_tag": "role", "content_tag": "content", "user_tag": "user", "assistant_tag": "assistant"}
    talk = {
        "file_name": "messages.jsonl",
        "formatting": "sharegpt",
        "columns": {"messages": "messages", "images": "images"},
        "tags": tags | {"system_tag": "system"},
    }
    return {"curate": talk} | (
        {"curate_text": {"file_name": "text.jsonl", "columns": {"prompt": "text"}}} if texts else {}
    )


TALKS: dict[str, tuple[str, Callable[[Sample], dict[str, Any]]]] = {
    "qwen3-vl": ("conversations.json", _conversation),
    "llava": ("conversations.json", _conversation),
    "ms-swift": ("messages.jsonl", _messages),
    "llama-factory": ("messages.jsonl", _messages),
}
