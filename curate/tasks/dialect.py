"""A dialect: how one model family writes a sample. Each is a data file, `dialects/NAME.toml` or a user's own.

A file may build on another (`base = "qwen2-vl"`): its tables are laid over that one's, key by key. `[presets.X]`
is laid over the file when it is asked for as `NAME:X`; settings given beside the name come last.
"""

from __future__ import annotations

import functools
import json
from collections.abc import Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any, Literal, NamedTuple

import msgspec

from curate.errors import ManifestError, nearest
from curate.manifest import parsing
from curate.tasks.image_cost import Cost

FOLDER = Path(__file__).with_name("dialects")
MAX_BASES = 8  # files under one another


class Format(NamedTuple):
    """What the model reads and what it is trained to say; see `curate.tasks.formats` for the fields."""

    prompt: str
    target: str


class ImageMarks(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What stands for an image: `before`, as many `pad` as it costs tokens, `after`."""

    pad: str
    before: str = ""
    after: str = ""
    shows_path: bool = False  # in text the image's path stands where the pads are
    numbered: str = ""  # in a dialogue before each image; {n} counts from 1 through the dialogue
    behind: str = ""  # in a dialogue after each image
    strip: Literal["", "behind", "both"] = ""  # in a dialogue: which text beside it loses its white space
    first: bool = False  # in a dialogue: images go to the front of their turn
    most: int = 0  # images of a sample; 0: any number


class PlaceNotation(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """How boxes, quads and points are written. Templates have the fields x1, y1, x2, y2, … and those named."""

    unit: Literal["parts", "pixels", "shares"] = (
        "parts"  # of the image's sides; pixels are the resized image's
    )
    parts: int = 1000  # `parts`: into which a side is cut
    rounding: Literal["floor", "round"] = "floor"
    most: int = 1000  # `parts`: the highest number written
    decimals: int = 2  # `shares`
    digits: int = 1  # at least so many
    square: bool = False  # `shares`: of the image padded to a square, itself in the middle
    ref: tuple[str, ...] = ()  # what stands around a phrase; none: the model has no such marks
    box: str = ""
    quad: str = ""  # none: a quad is written as the box around it
    point: str = ""
    boxes: tuple[str, str, str] = ("", "", "")  # before, between and after the boxes of one phrase
    entry: str = ""  # a box with its {text}, or its {label}: the text as a JSON string
    entries: tuple[str, str, str] = ("", "", "")
    line: str = ""  # a line of a page: {text} or {label}, {box} or {quad}
    lines: tuple[str, str, str] = ("", "", "")


class Chat(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The chat template, a turn at a time; what stands between `[[` and `]]` is learnt."""

    user: str
    assistant: str
    system: str = ""
    default_system: str = ""  # said where a dialogue has no system turn; none: nothing is
    system_in_user: bool = False  # the system turn goes to the front of the first user turn


class Dialect(msgspec.Struct, frozen=True, forbid_unknown_fields=True, dict=True):
    """How a model family writes samples, and what its images cost."""

    name: str
    title: str
    image: ImageMarks
    chat: Chat
    tasks: dict[str, Format]
    end: str  # the token behind a text
    tokens: dict[str, int]  # special tokens, with their ids in the model's own vocabulary
    cost: Cost = Cost()
    places: PlaceNotation = PlaceNotation()
    start: str = ""  # the token before each sample, where there is one
    mean: tuple[float, float, float] = (0.48145466, 0.4578275, 0.40821073)  # of pixels from 0 to 1; CLIP's
    std: tuple[float, float, float] = (0.26862954, 0.26130258, 0.27577711)
    source: str = ""  # where its facts come from
    tokenizer: Literal["", "qwen"] = ""  # qwen: the ranks that ship with curate; else a file has to be given
    chat_tasks: bool = True  # the tasks are dialogues of one question and one answer
    refuse: tuple[str, ...] = ()  # further strings that raw text must not hold

    @property
    def one_setting(self) -> bool:
        """Whether written places fit one setting of `cost` only."""
        return bool(self.places.box) and self.places.unit == "pixels"

    @cached_property
    def digest(self) -> str:
        """The SHA-256 of all that it says."""
        import hashlib

        return hashlib.sha256(json.dumps(self.describe(), sort_keys=True).encode()).hexdigest()

    def describe(self) -> dict[str, Any]:
        """All that it says, as plain values."""
        described: dict[str, Any] = msgspec.to_builtins(self)
        return described


def names() -> list[str]:
    """The built-in dialects."""
    return sorted(path.stem for path in FOLDER.glob("*.toml"))


def load(name: str, settings: Mapping[str, Any] | None = None) -> Dialect:
    """A built-in dialect, or the one in a `.toml` file; `NAME:PRESET` takes one of its presets.

    `settings` are values by their dotted keys, such as `{"cost.max_pixels": 1_003_520}`, laid over all.

    Raises:
        ManifestError: there is none, or a key or value is wrong.
    """
    file, _, preset = (name, "", "") if name.endswith(".toml") else name.partition(":")
    raw = _read(file, MAX_BASES)
    presets = raw.pop("presets", {})
    if preset:
        if preset not in presets:
            raise ManifestError(f"dialect {file} has no preset {preset!r}{nearest(preset, presets)}")
        raw = _laid(raw, presets[preset])
    for key, value in (settings or {}).items():
        raw = _laid(raw, _nested(key, value))
    raw["tokens"] = {token: number for token, number in raw.get("tokens", {}).items() if number != -1}
    raw["name"] = f"{raw.get('name', file)}:{preset}" if preset else raw.get("name", file)
    return _checked(raw, name)


def load_with(name: str, settings: Sequence[str]) -> Dialect:
    """As `load`, with settings as a command line has them: `KEY=VALUE`, the value as in TOML.

    Raises:
        ManifestError: there is none, or a key or value is wrong.
    """
    given: dict[str, Any] = {}
    for setting in settings:
        key, there, value = setting.partition("=")
        if not there or not key.strip():
            raise ManifestError(
                f"{setting!r} is no setting of a dialect: say KEY=VALUE, as in cost.max_pixels=451584"
            )
        try:
            given[key.strip()] = parsing.loads(f"value = {value}")["value"]
        except ValueError:
            given[key.strip()] = value
    return load(name, given)


def _checked(raw: dict[str, Any], name: str) -> Dialect:
    try:
        raw["tasks"] = {
            task: msgspec.convert(made, dict[Literal["prompt", "target"], str])
            for task, made in raw.get("tasks", {}).items()
        }
        raw["tasks"] = {task: (made["prompt"], made["target"]) for task, made in raw["tasks"].items()}
        dialect = msgspec.convert(raw, Dialect)
    except (msgspec.ValidationError, KeyError) as error:
        raise ManifestError(f"dialect {name}: {error}") from None
    marks = [mark for mark in (dialect.image.pad, dialect.start, dialect.end) if mark]
    if lacking := [mark for mark in marks if mark not in dialect.tokens]:
        raise ManifestError(f"dialect {name}: [tokens] lacks {', '.join(lacking)}")
    return dialect


@functools.cache
def _built_in(path: Path, what: str) -> dict[str, Any]:
    return parsing.read(path, what)


def _read(name: str, depth: int) -> dict[str, Any]:
    """The tables of a file, laid over those of its base."""
    is_own = name.endswith(".toml")  # and may be another one by the next call
    if not is_own and name not in names():
        raise ManifestError(f"no dialect {name!r}{nearest(name, names())}")
    what = f"the dialect {name}"
    raw = dict(parsing.read(Path(name), what) if is_own else _built_in(FOLDER / f"{name}.toml", what))
    base = raw.pop("base", "")
    if not base:
        return raw
    if not depth:
        raise ManifestError(f"dialect {name}: more than {MAX_BASES} bases under one another")
    return _laid(_read(str(base), depth - 1), raw)


def _laid(below: Mapping[str, Any], above: Mapping[str, Any]) -> dict[str, Any]:
    """Tables over tables, key by key."""
    out = dict(below)
    for key, value in above.items():
        old = out.get(key)
        out[key] = _laid(old, value) if isinstance(value, dict) and isinstance(old, dict) else value
    return out


def _nested(key: str, value: Any) -> dict[str, Any]:
    for part in reversed(key.split(".")):
        value = {part: value}
    nested: dict[str, Any] = value
    return nested
