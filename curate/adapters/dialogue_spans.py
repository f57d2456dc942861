"""Read boxes and quads in the text of dialogues, as in Qwen-VL's chat data: `<ref>a cat</ref><box>(1,2),(3,4)</box>`.

The numbers are thousandths (steps) of the sides of the image that they stand at (`curate.tasks.turns`). Some data sets
rounded them down, others to the nearest step. So a number n is read as n + 0.25 steps: both ways of rounding give n
again.
"""

from __future__ import annotations

import re
from typing import NamedTuple

from curate.tasks.turns import BOX

POINT = r"\((\d{1,4}),(\d{1,4})\)"
SPOT = re.compile(rf"<box>{POINT},{POINT}</box>|<quad>{POINT},{POINT},{POINT},{POINT}</quad>")
_SPOTS = "(?:" + re.sub(r"\((?=\\d)", "(?:", SPOT.pattern) + ")+"
SPAN = re.compile(rf"<ref>(?P<phrase>[^<>]++)</ref>(?: ?(?P<spots>{_SPOTS}))?|(?P<bare>{_SPOTS})")
STEPS = 1000  # of a side
WITHIN = 0.25  # steps that are added to each number


class BoxBroken(ValueError):  # noqa: N818 - a reason, not an error
    """A box or quad cannot be used: its numbers are impossible, or it is in another image than its place says.

    Impossible are thousandths above 1000, a box whose second corner is not the lower right one, or one without area.
    """


class DialogueSpan(NamedTuple):
    """A box or quad in a dialogue, and the phrase that it belongs to, if any."""

    text: str | None
    quad: tuple[float, ...]  # x1, y1, …, y4, clockwise from the top left
    in_pixels: bool = False  # pixels of the published image; else shares of the image's sides


def with_spans(said: str, found: list[DialogueSpan]) -> str:
    """Return the text with each box and quad replaced by `<bbox>`, and append their spans to `found`.

    Text that is not exactly in the form of a box or quad stays as it is. Takes time linear in the text's length.

    Args:
        said: the text.
        found: a list to which a span is appended for each `<bbox>`, in order.

    Raises:
        BoxBroken: a box or quad has impossible numbers.
    """

    def replaced(match: re.Match[str]) -> str:
        phrase = match["phrase"]
        if phrase is not None and not phrase.strip():
            return match[0]
        spots = list(SPOT.finditer(match["spots"] or match["bare"] or ""))
        found.extend(DialogueSpan(phrase, _shares(spot)) for spot in spots)
        return ("" if phrase is None else f"<ref>{phrase}</ref>") + BOX * len(spots)

    return SPAN.sub(replaced, said)


def _shares(spot: re.Match[str]) -> tuple[float, ...]:
    """Return x1, y1, …, y4 of a quad, or of a box's corners clockwise from the top left, as shares of the sides.

    Raises:
        BoxBroken: a number is above 1000, or a box's second corner is not the lower right one.
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
