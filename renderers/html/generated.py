"""Generated text in the browser's snapshot of a page: list markers, ::before, ::after, quotation marks."""

from __future__ import annotations

from typing import Any, NamedTuple

MARK = "data-curate-owner"  # the attribute by which reader/generated.js numbers the elements


class Generated(NamedTuple):
    """A stretch of one line of generated text: px from the document's corner."""

    owner: int
    kind: str  # before, after or marker
    text: str
    x: float
    y: float
    width: float
    height: float


def generated(snapshot: dict[str, Any]) -> list[Generated]:
    """What `DOMSnapshot.captureSnapshot` tells of generated text in the page itself, in its order."""
    strings, document = snapshot["strings"], snapshot["documents"][0]
    nodes, layout, boxes = document["nodes"], document["layout"], document["textBoxes"]
    kinds = dict(zip(nodes["pseudoType"]["index"], nodes["pseudoType"]["value"], strict=True))
    found = []
    told = zip(*(boxes[name] for name in BOXES), strict=True)
    for at, start, length, bounds in sorted(
        told, key=lambda box: box[:2]
    ):  # right-to-left ones come as they stand
        node = layout["nodeIndex"][at]
        if node not in kinds:
            continue
        owner = mark_of(nodes["attributes"][nodes["parentIndex"][node]], strings)
        text = strings[layout["text"][at]].encode("utf-16-le")[2 * start : 2 * (start + length)]
        if owner is not None:
            kind = strings[kinds[node]]
            found.append(Generated(owner, kind, text.decode("utf-16-le", "replace"), *bounds))
    return found


BOXES = ("layoutIndex", "start", "length", "bounds")


def mark_of(attributes: list[int], strings: list[str]) -> int | None:
    """The number that an element was marked with; its attributes are names and values in turn."""
    named = dict(zip(attributes[::2], attributes[1::2], strict=True))
    number = next((strings[value] for name, value in named.items() if strings[name] == MARK), "")
    return int(number) if number.isdecimal() else None
