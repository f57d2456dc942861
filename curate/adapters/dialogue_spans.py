"""Located phrases in the text of dialogues, as Qwen-VL's chat data has them: `<ref>a cat</ref><box>(1,2),(3,4)</box>`.

The numbers are thousandths of the image that was shown last before them. Some sets floored them, some rounded; each is
read as a quarter of a step above itself, so that it is written as the same number by models that do either.
"""

from __future__ import annotations

import re
from typing import NamedTuple

from curate.tasks.turns import BOX

POINT = r"\((\d{1,4}),(\d{1,4})\)"
SPOT = re.compile(rf"<box>{POINT},{POINT}</box>|<quad>{POINT},{POINT},{POINT},{POINT}</quad>")
_SPOTS = "(?:" + re.sub(r"\((?=\\d)", "(?:", SPOT.pattern) + ")+"
SPAN = re.compile(rf"<ref>(?P<phrase>[^<>]++)</ref>(?: ?(?P<its>{_SPOTS}))?|(?P<bare>{_SPOTS})")
STEPS = 1000
WITHIN = 0.25  # of a step: where in its step a number is read


class BoxBroken(ValueError):  # noqa: N818 - a reason, not an error
    """A place with numbers that cannot be: above 1000, or a box whose second corner is not the lower right one."""


class DialogueSpan(NamedTuple):
    """A box or quad in a dialogue, with its phrase where it has one."""

    text: str | None
    quad: tuple[float, ...]  # x1, y1, …, y4 as shares of the image's sides
    in_pixels: bool = False  # or in pixels of the image as published


def with_spans(said: str, found: list[DialogueSpan]) -> str:
    """The text with `<bbox>` in the place of each box and quad, which join `found`, in linear time.

    What is not exactly of the form stays as it is.

    Raises:
        BoxBroken: the numbers of one cannot be.
    """

    def replaced(match: re.Match[str]) -> str:
        phrase = match["phrase"]
        if phrase is not None and not phrase.strip():
            return match[0]
        spots = list(SPOT.finditer(match["its"] or match["bare"] or ""))
        found.extend(DialogueSpan(phrase, _shares(spot)) for spot in spots)
        return ("" if phrase is None else f"<ref>{phrase}</ref>") + BOX * len(spots)

    return SPAN.sub(replaced, said)


def _shares(spot: re.Match[str]) -> tuple[float, ...]:
    """Of a box its four corners, clockwise from the top left.

    Raises:
        BoxBroken: a number is above 1000, or the box is turned inside out.
    """
    steps = [int(number) for number in spot.groups() if number is not None]
    if max(steps) > STEPS:
        raise BoxBroken(f"{spot[0]}: more than {STEPS} thousandths")
    if len(steps) == 4:
        x1, y1, x2, y2 = steps
        if x1 > x2 or y1 > y2:
            raise BoxBroken(f"{spot[0]}: its second corner is not the lower right one")
        steps = [x1, y1, x2, y1, x2, y2, x1, y2]
    return tuple(min(step + WITHIN, STEPS) / STEPS for step in steps)
