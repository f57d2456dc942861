"""A dialect: how one model family writes a sample. Each is a data file, `dialects/NAME.toml` or a user's own.

A file may build on another (`base = "qwen2-vl"`): its keys then replace those of that file, table by table. In the same
way the keys of `[presets.X]` replace the file's when the dialect is asked for as `NAME:X`. Settings that are given
besides the name replace keys last.
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
from curate.manifest.declared import plain_fault
from curate.tasks.image_cost import Cost
from curate.tasks.setting_bounds import check_bounds
from curate.tasks.template_checks import check_tasks, check_templates

FOLDER = Path(__file__).with_name("dialects")
MAX_BASES = 8  # limit on a chain of files that build on one another


class Format(NamedTuple):
    """Templates of what the model reads and of what it is trained to say; see `curate.tasks.formats` for the fields."""

    prompt: str
    target: str


class ImageMarks(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """How an image is written: `before`, one `pad` for each token that the image costs, `after`."""

    pad: str
    before: str = ""
    after: str = ""
    shows_path: bool = False  # in text, the image's path is written in place of the pads
    numbered: str = ""  # in a dialogue before each image; {n} counts from 1 through the dialogue
    behind: str = ""  # in a dialogue after each image
    strip: Literal["", "behind", "both"] = ""  # in a dialogue: on which side of it white space is removed
    first: bool = False  # in a dialogue: images go to the front of their turn
    most: int = 0  # limit on the images of a sample; 0: no limit


class PlaceNotation(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """How boxes, quads and points are written. The fields of the templates are x1, y1, x2, y2, … and those named."""

    # Of the image's sides; pixels are the resized image's
    unit: Literal["parts", "pixels", "shares"] = "parts"
    parts: int = 1000  # `parts`: number of parts into which a side is divided
    rounding: Literal["floor", "round"] = "floor"
    most: int = 1000  # `parts`: the highest number written
    decimals: int = 2  # `shares`: digits behind the point
    digits: int = 1  # a number is padded with zeros to so many digits
    square: bool = False  # `shares`: of the image padded to a square, with the image in the middle
    ref: tuple[str, ...] = ()  # the marks before and after a phrase; empty: the model has none
    box: str = ""
    quad: str = ""  # empty: a quad is written as the box around it
    point: str = ""
    boxes: tuple[str, str, str] = ("", "", "")  # before, between and after the boxes of one phrase
    entry: str = ""  # a box with its {text}, or with its {label}, which is the text as a JSON string
    entries: tuple[str, str, str] = ("", "", "")
    line: str = ""  # a line of a page: {text} or {label}, {box} or {quad}
    lines: tuple[str, str, str] = ("", "", "")


class Chat(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The chat template, one template for the turns of each role; what is between `[[` and `]]` is learnt."""

    user: str
    assistant: str
    system: str = ""
    default_system: str = ""  # the system turn of dialogues without one; empty: none is added
    system_in_user: bool = False  # the system turn goes to the front of the first user turn


class Dialect(msgspec.Struct, frozen=True, forbid_unknown_fields=True, dict=True):
    """How a model family writes samples, and what its images cost."""

    name: str
    title: str
    image: ImageMarks
    chat: Chat
    tasks: dict[str, Format]
    end: str  # the token after a plain text
    tokens: dict[str, int]  # special tokens, with their ids in the model's own vocabulary
    added_tokens: dict[str, int] = {}  # tokens, with their ids, that raw text may hold
    cost: Cost = Cost()
    places: PlaceNotation = PlaceNotation()
    start: str = ""  # the token before each sample, where there is one
    mean: tuple[float, float, float] = (0.48145466, 0.4578275, 0.40821073)  # CLIP's, for pixels from 0 to 1
    std: tuple[float, float, float] = (0.26862954, 0.26130258, 0.27577711)
    source: str = ""  # where its facts come from
    tokenizer: Literal["", "qwen"] = ""  # qwen: the ranks that come with curate; empty: the user gives a file
    chat_tasks: bool = True  # tasks are written as dialogues of one question and one answer
    refuse: tuple[str, ...] = ()  # further strings that raw text must not hold

    @property
    def one_setting(self) -> bool:
        """Whether coordinates depend on `cost`, because they are pixels of the resized image."""
        return bool(self.places.box) and self.places.unit == "pixels"

    @cached_property
    def digest(self) -> str:
        """The SHA-256, in hex digits, of all settings of the dialect."""
        import hashlib

        return hashlib.sha256(json.dumps(self.describe(), sort_keys=True).encode()).hexdigest()

    def describe(self) -> dict[str, Any]:
        """All settings of the dialect, as JSON data."""
        described: dict[str, Any] = msgspec.to_builtins(self)
        return described


def names() -> list[str]:
    """The names of the built-in dialects, sorted."""
    return sorted(path.stem for path in FOLDER.glob("*.toml"))


def load(name: str, settings: Mapping[str, Any] | None = None) -> Dialect:
    """Load a built-in dialect, or the one in a `.toml` file; `NAME:PRESET` loads it with one of its presets.

    `settings` maps dotted keys to values that replace all others, such as `{"cost.max_pixels": 1_003_520}`.

    Raises:
        ManifestError: no such dialect or preset, or a key or value is wrong.
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
    """As `load`, with settings as they are written on a command line: `KEY=VALUE`, the value in TOML or a bare text.

    Raises:
        ManifestError: no such dialect or preset, or a key or value is wrong.
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
    if (wrong := parsing.not_utf8(raw)) is not None:
        raise ManifestError(
            f"dialect {name}: {wrong} is no UTF-8: write it without half characters (surrogates)"
        )
    try:
        raw["tasks"] = {
            task: msgspec.convert(made, dict[Literal["prompt", "target"], str])
            for task, made in raw.get("tasks", {}).items()
        }
        check_tasks(raw["tasks"])
        raw["tasks"] = {task: (made["prompt"], made["target"]) for task, made in raw["tasks"].items()}
        dialect = msgspec.convert(raw, Dialect)
        check_bounds(dialect)
        check_templates(dialect)
    except ValueError as error:  # msgspec's ValidationError is one
        raise ManifestError(f"dialect {name}: {plain_fault(str(error), Dialect)}") from None
    marks = [mark for mark in (dialect.image.pad, dialect.start, dialect.end) if mark]
    if lacking := [mark for mark in marks if mark not in dialect.tokens]:
        raise ManifestError(f"dialect {name}: [tokens] lacks {', '.join(lacking)}")
    return dialect


@functools.cache
def _built_in(path: Path, what: str) -> dict[str, Any]:
    return parsing.read(path, what)


def _read(name: str, depth: int) -> dict[str, Any]:
    """The tables of a file, merged with those of its base; at most `depth` bases are followed."""
    is_own = name.endswith(".toml")  # the user's file may change until the next call, so it is not cached
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
    """Merge two trees of tables: keys of `above` replace those of `below`; tables are merged key by key."""
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
