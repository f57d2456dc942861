"""Samples of one image as one dialogue (`--group image`): its questions, regions and references, turn by turn.

So an image is shown once, and costs its tokens once, however much is asked of it.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable, Iterator
from typing import TypeVar

GROUPED = frozenset(("vqa", "ocr_vqa", "referring", "region_caption"))  # tasks of a question and an answer
MAX_TURNS = 20  # questions of a dialogue, unless another number is given

Item = TypeVar("Item")


def grouped(
    items: Iterable[Item], image_of: Callable[[Item], Hashable | None], most: int
) -> Iterator[list[Item]]:
    """The items in groups of one image, at most `most` each, in the order of their first ones.

    An item whose `image_of` is None stands alone.
    """
    groups: list[list[Item]] = []
    open_ones: dict[Hashable, list[Item]] = {}
    for item in items:
        image = image_of(item)
        group = open_ones.get(image) if image is not None else None
        if group is None or len(group) >= most:
            group = []
            groups.append(group)
            if image is not None:
                open_ones[image] = group
        group.append(item)
    yield from groups
