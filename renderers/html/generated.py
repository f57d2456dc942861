"""Generated text in the browser's snapshot of a page: list markers, ::before, ::after, quotation marks."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NamedTuple

MARK = "data-curate-owner"  # the attribute by which reader/generated.js numbers the elements


class Generated(NamedTuple):
    """A stretch of generated text on one line, or (with an empty text) a box of generated content.

    Its place is in px from the document's corner.
    """

    owner: int
    kind: str  # before, after or marker
    text: str
    x: float
    y: float
    width: float
    height: float


def generated(snapshot: dict[str, Any]) -> list[Generated]:
    """Read from `DOMSnapshot.captureSnapshot` the generated text of the page itself, and the boxes that it stands in.

    Text comes in its order, a row for each stretch of a line; then, with an empty text, each box of ::before and
    ::after. Content of elements that reader/generated.js did not number is left out.
    """
    strings, document = snapshot["strings"], snapshot["documents"][0]
    nodes, layout = document["nodes"], document["layout"]
    kinds = dict(zip(nodes["pseudoType"]["index"], nodes["pseudoType"]["value"], strict=True))
    owners = {node: mark_of(nodes["attributes"][nodes["parentIndex"][node]], strings) for node in kinds}
    found = []
    for at, text, bounds in [*texts(document, strings), *boxes(layout)]:
        node = layout["nodeIndex"][at]
        owner = owners.get(node)
        if owner is not None:
            found.append(Generated(owner, strings[kinds[node]], text, *bounds))
    return found


BOXES = ("layoutIndex", "start", "length", "bounds")
Placed = tuple[
    int, str, list[float]
]  # an object of the layout by its number, its text, x, y, width and height


def texts(document: dict[str, Any], strings: list[str]) -> Iterator[Placed]:
    """Yield each stretch of text on one line, in the order of the text: a right-to-left one's come as they stand."""
    told = zip(*(document["textBoxes"][name] for name in BOXES), strict=True)
    for at, start, length, bounds in sorted(told, key=lambda box: box[:2]):
        text = strings[document["layout"]["text"][at]].encode("utf-16-le")[2 * start : 2 * (start + length)]
        yield at, text.decode("utf-16-le", "replace"), bounds


def boxes(layout: dict[str, Any]) -> Iterator[Placed]:
    """Yield each object of the layout that is no text, with an empty text."""
    for at, (text, bounds) in enumerate(zip(layout["text"], layout["bounds"], strict=True)):
        if text < 0:
            yield at, "", bounds


def mark_of(attributes: list[int], strings: list[str]) -> int | None:
    """Return the number that an element was marked with, or null. `attributes` are names and values in turn."""
    named = dict(zip(attributes[::2], attributes[1::2], strict=True))
    number = next((strings[value] for name, value in named.items() if strings[name] == MARK), "")
    return int(number) if number.isdecimal() else None
