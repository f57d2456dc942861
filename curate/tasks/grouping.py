"""Group the samples of one image into one dialogue (`--group image`), one turn for each question or region.

So the image is shown once, and costs its tokens once, however many questions there are.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable, Iterator
from typing import TypeVar

GROUPED = frozenset(("vqa", "ocr_vqa", "referring", "region_caption"))  # tasks of a question and an answer
MAX_TURNS = 20  # default limit on the questions of a dialogue

Item = TypeVar("Item")


def grouped(
    items: Iterable[Item], image_of: Callable[[Item], Hashable | None], most: int
) -> Iterator[list[Item]]:
    """Yield the items in groups that have the same image, at most `most` in each, in the order of their first items.

    `image_of` returns an item's image; an item for which it returns None is a group of its own.
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
