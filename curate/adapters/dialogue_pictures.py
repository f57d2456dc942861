"""Find the images of a dialogue: by markers in a turn's text, image parts of its content, or `<img>PATH</img>`."""

from __future__ import annotations

import base64
import binascii
import hashlib
import re
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from curate.tasks.turns import IMAGE

OF_XTUNER = "<IMG_CONTEXT>"  # in XTuner's form it marks, in the text parts, where the image parts go
MARKER = re.compile(rf"{IMAGE}|{OF_XTUNER}|<ImageHere>|<\|vision_start\|><\|image_pad\|><\|vision_end\|>")
SHOWN = re.compile(r"(?:Picture \d+: ?)?<img>([^<]{1,4096})</img>\n?")  # Qwen-VL writes paths into the text
ADDRESS = re.compile(r"https?://", re.IGNORECASE)
DATA_URI = re.compile(r"data:image/[\w.+-]{1,40};base64,", re.IGNORECASE)
LONGEST_PATH = 4096  # characters


class DialogueImage(NamedTuple):
    """One image of a dialogue: its encoded bytes, its path or its URL; the other two are None."""

    bytes: bytes | None = None
    path: str | None = None
    url: str | None = None

    @property
    def identity(self) -> str:
        """What the image is identified by in keys: its URL, its path, or the SHA-256 (hex) of its bytes."""
        return self.url or self.path or hashlib.sha256(self.bytes or b"").hexdigest()


class Unusable(Exception):  # noqa: N818 - a reason, not an error
    """A dialogue cannot be read. `reason` is the slug that it is dropped for, `detail` says what was found."""

    def __init__(self, reason: str, detail: str) -> None:
        self.reason, self.detail = reason, detail


class ShownPictures:
    """Collects the images of one dialogue, in the order in which its turns show them.

    In a form without markers, and in a dialogue whose content has image parts, the text does not say where an image
    goes. An `<image>` in such a text is meant literally, but trainers would take it for a marker, so the dialogue is
    dropped.
    """

    def __init__(
        self, waiting: list[DialogueImage], markers: bool, turns: Sequence[tuple[Any, Any]] = ()
    ) -> None:
        """Take a dialogue.

        Args:
            waiting: the images of the dialogue's column of images, in order; a marker shows the next of them.
            markers: whether texts of this form show images by markers.
            turns: role and content of each turn.
        """
        self._waiting = waiting
        self._literal = not markers or any(
            _is_image(part) for _, content in turns for part in _parts(content)
        )
        self._found: list[DialogueImage] = []
        self._marks = 0  # how many of `waiting` were shown

    def rest(self) -> int:
        """Return how many images of the column no turn has shown so far."""
        return len(self._waiting) - self._marks

    def all(self, rest_first: bool) -> list[DialogueImage]:
        """Return all images in the order in which the messages show them. Call it after `content` of every turn.

        Images that no turn shows come last, or first with `rest_first`. With `rest_first`, a dialogue that names no
        image in its turns keeps the order of its column: as in ms-swift, the images shown before the first question
        are the first ones of the column.
        """
        rest = self._waiting[self._marks :]
        if rest_first:
            return self._waiting if len(self._found) == self._marks else rest + self._found
        return self._found + rest

    def content(self, content: Any, turn: int) -> str:
        """Return the text of a turn, with `<image>` in the place of each image, and collect these images.

        Args:
            content: the turn's content: a text, a list of parts, or None (an empty text).
            turn: the turn's number from 1, for messages.

        Raises:
            Unusable: the content is something else, has a part that is neither text nor image, or a marker in a text
                where markers do not show images.
        """
        if content is None:
            return ""
        if isinstance(content, str):
            return self._text(content, turn)
        if not isinstance(content, list):
            raise Unusable("turn_empty", f"turn {turn}: content of type {type(content).__name__}")
        images = [part for part in content if _is_image(part)]
        texts = [_text_of(part, turn) for part in content if not _is_image(part)]
        if images and sum(text.count(OF_XTUNER) for text in texts) == len(images):
            for part in images:
                self._take(part, turn)
            return "".join(
                IMAGE.join(self._text(text, turn) for text in whole.split(OF_XTUNER)) for whole in texts
            )
        said = ""
        for part in content:
            if _is_image(part):
                self._take(part, turn)
                said += f"{IMAGE}\n"
            else:
                said += self._text(_text_of(part, turn), turn)
        return said

    def _take(self, part: Mapping[str, Any], turn: int) -> None:
        """Collect the image of an image part. A part that names no image stands for the next image of the column."""
        named = part.get("image_url", part.get("image", part.get("path", part.get("url"))))
        if named is None and self._marks < len(self._waiting):
            self._found.append(self._next())
        else:
            named = named.get("url") if isinstance(named, dict) and "url" in named else named
            self._found.append(picture(named, f"turn {turn}: "))

    def _next(self) -> DialogueImage:
        self._marks += 1
        return self._waiting[self._marks - 1]

    def _text(self, text: str, turn: int) -> str:
        """Return a text with `<image>` for each marker and each `<img>PATH</img>`, and collect these images.

        A marker stands for the next image of the column.

        Raises:
            Unusable: the text has a marker, and markers do not show images in this dialogue.
        """
        if self._literal:
            if (marker := MARKER.search(text)) is not None:
                raise Unusable("text_has_placeholder", f"turn {turn}: {marker[0]}")
            return text
        pieces, done = list[str](), 0
        for match in re.finditer(f"{MARKER.pattern}|{SHOWN.pattern}", text):
            pieces += [text[done : match.start()], IMAGE if match[1] is None else f"{IMAGE}\n"]
            done = match.end()
            if match[1] is not None:
                self._found.append(picture(match[1], f"turn {turn}: "))
            elif self._marks < len(self._waiting):
                self._found.append(self._next())
        return "".join([*pieces, text[done:]])


def _parts(content: Any) -> list[Any]:
    return content if isinstance(content, list) else []


def _is_image(part: Any) -> bool:
    return isinstance(part, dict) and (part.get("type") in ("image", "image_url") or "image_url" in part)


def _text_of(part: Any, turn: int) -> str:
    """Return the text of a content part.

    Raises:
        Unusable: the part is not text, but a video, a sound or something else.
    """
    if isinstance(part, str):
        return part
    if isinstance(part, dict) and isinstance(part.get("text"), str):
        return str(part["text"])
    kind = part.get("type") if isinstance(part, dict) else type(part).__name__
    raise Unusable("part_unknown", f"turn {turn}: a content part of type {kind}")


def picture(value: Any, where: str = "") -> DialogueImage:
    """Return where an image is.

    Args:
        value: a path, a URL, a data URI, encoded bytes, or a dict with `bytes`, `path` or `url`.
        where: the beginning of the detail of an error, such as `turn 2: `. Default: empty.

    Raises:
        Unusable: `value` says nowhere that an image could be.
    """
    if isinstance(value, dict):
        body = value.get("bytes")
        value = body if body is not None else value.get("path", value.get("url"))
    if isinstance(value, bytes):
        return DialogueImage(bytes=value)
    if not isinstance(value, str) or not value.strip():
        raise Unusable("image_missing", f"{where}an image without a path, address or bytes")
    if ADDRESS.match(value):
        return DialogueImage(url=value)
    if value[:5].casefold() == "data:":
        try:
            if DATA_URI.match(value):
                return DialogueImage(bytes=base64.b64decode(value.partition(",")[2], validate=True))
        except binascii.Error:
            pass
        raise Unusable("image_missing", f"{where}a data URI that is not an image in base64: {value[:40]!r}")
    if len(value) > LONGEST_PATH:
        raise Unusable("image_missing", f"{where}a path of {len(value):,} characters")
    return DialogueImage(path=value.strip())
