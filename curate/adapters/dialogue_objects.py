"""Read the boxes of dialogues in ms-swift's form: a column `objects`, and `<ref-object>` and `<bbox>` in the messages.

`objects` is `{ref: [phrase, …], bbox: [[x1, y1, x2, y2], …], bbox_type, image_id}`. The i-th `<ref-object>` of the
text stands for the i-th phrase of `ref`, the i-th `<bbox>` for the i-th box of `bbox`. `bbox_type` is `real` (pixels of
the published image), `norm1` (shares of its sides) or `norm1000` (thousandths of its sides). `image_id` is a list that
numbers each box's image from 0; without it all boxes are in the first image.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Sequence
from typing import Any

from curate.adapters.dialogue_pictures import Unusable
from curate.adapters.dialogue_spans import BoxBroken, DialogueSpan
from curate.tasks.turns import BOX, IMAGE

REF = "<ref-object>"
PLACE = re.compile(rf"(?P<ref>{REF} ?(?=(?P<boxes>(?:{BOX})*)))|{BOX}|{IMAGE}")
UNITS = {"real": 1.0, "norm1": 1.0, "norm1000": 1000.0}  # divides a number into pixels, or shares of a side
FARTHEST = 2**24  # limit of a box's numbers: float32 holds every whole number up to here


def with_objects(
    messages: Sequence[tuple[str, str]], objects: Any
) -> tuple[list[tuple[str, str]], list[DialogueSpan]]:
    """Return the messages with `<ref>PHRASE</ref>` for each `<ref-object>`, and a span for each `<bbox>`, in order.

    A span has the phrase of the `<ref-object>` that stands directly before its `<bbox>`, or before several of them.

    Args:
        messages: role and content of each.
        objects: the column `objects` of the dialogue, JSON decoded.

    Raises:
        Unusable: `objects` has another form, or the text has more or fewer placeholders than phrases or boxes.
        BoxBroken: a box is not four numbers, has no area, or is in another image than its place says.
    """
    return ObjectPlaces(objects).messages(messages)


class ObjectPlaces:
    """The phrases and boxes of one `objects` value, assigned to the placeholders of the messages in their order."""

    def __init__(self, objects: Any) -> None:
        lists = [objects.get(name) or [] for name in ("ref", "bbox")] if isinstance(objects, dict) else [None]
        if not all(isinstance(one, list) for one in lists):
            raise Unusable("text_has_placeholder", "objects are not {ref: […], bbox: […]}")
        self._refs, self._boxes = (list[Any](one or ()) for one in lists)
        if (other := next((one for one in self._refs if not isinstance(one, str)), "")) != "":
            raise Unusable("text_has_placeholder", f"objects: a ref of type {type(other).__name__}")
        self._unit = objects.get("bbox_type") or "real"
        if not isinstance(self._unit, str) or self._unit not in UNITS:
            raise BoxBroken(f"bbox_type={str(self._unit)[:40]}")
        self._images = objects.get("image_id")
        self._used = [0, 0]  # how many phrases, how many boxes
        self._shown = 0  # how many images the messages have shown so far
        self._waits = False  # whether the present turn shows an image later in its text, and none so far

    def messages(
        self, messages: Sequence[tuple[str, str]]
    ) -> tuple[list[tuple[str, str]], list[DialogueSpan]]:
        """Return the messages and spans, see `with_objects`. Call it once."""
        spans: list[DialogueSpan] = []
        made = [(role, "".join(self._said(role, said, spans))) for role, said in messages]
        for name, used, given in zip((REF, BOX), self._used, (self._refs, self._boxes), strict=True):
            if used != len(given):
                raise Unusable("text_has_placeholder", f"{name}={used} objects={len(given)}")
        return made, spans

    def _said(self, role: str, said: str, spans: list[DialogueSpan]) -> Iterator[str]:
        done, phrase, boxes_left = 0, None, 0
        self._waits = role == "user" and IMAGE in said
        for match in PLACE.finditer(said):
            yield said[done : match.start()]
            done = match.end()
            if match[0] == IMAGE:
                self._shown += role == "user"
                self._waits = False
                yield IMAGE
            elif match["ref"] is not None:
                phrase = self._phrase()
                boxes_left = len(match["boxes"]) // len(BOX)
                yield f"<ref>{phrase}</ref>" + ("" if boxes_left else match[0].removeprefix(REF))
            else:
                spans.append(self._span(phrase if boxes_left else None))
                boxes_left -= boxes_left > 0
                yield BOX
        yield said[done:]

    def _phrase(self) -> str:
        self._used[0] += 1
        if self._used[0] > len(self._refs):
            return ""
        phrase: str = self._refs[self._used[0] - 1]
        return phrase

    def _span(self, phrase: str | None) -> DialogueSpan:
        number = self._used[1]
        self._used[1] += 1
        if number >= len(self._boxes):
            return DialogueSpan(phrase, (0.0,) * 8)
        image = self._images[number] if isinstance(self._images, list) and number < len(self._images) else 0
        shown = self._shown + self._waits
        if shown and image != shown - 1:
            raise BoxBroken(f"box {number + 1}: image_id={str(image)[:20]}, but it stands at image {shown}")
        return DialogueSpan(phrase, self._quad(number), self._unit == "real")

    def _quad(self, number: int) -> tuple[float, ...]:
        """Return x1, y1, …, y4 of box `number` (from 0), clockwise from the top left, in pixels or shares of the sides.

        Raises:
            BoxBroken: the box is not four finite numbers below `FARTHEST`, or has no area.
        """
        box = self._boxes[number]
        numbers = [one for one in box if isinstance(one, int | float)] if isinstance(box, list) else []
        if len(numbers) != 4 or len(box) != 4 or not all(abs(one) < FARTHEST for one in numbers):
            raise BoxBroken(f"box {number + 1}: {str(box)[:80]} is not four numbers")
        left, top, right, bottom = (one / UNITS[self._unit] for one in numbers)
        (left, right), (top, bottom) = sorted((left, right)), sorted((top, bottom))  # as ms-swift does
        if math.isclose(left, right, abs_tol=1e-6) or math.isclose(top, bottom, abs_tol=1e-6):
            raise BoxBroken(f"box {number + 1}: {str(box)[:80]} has no area")
        return left, top, right, top, right, bottom, left, bottom
