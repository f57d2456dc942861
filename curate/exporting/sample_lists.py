"""The lists of samples that trainers read: made shard by shard, as fragments, and put together at the end."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

from curate.exporting.sample_files import to_json
from curate.storage.store import HashingSink, Store

FOLDER = "_run/export/lists"


def write_fragment(store: Store, name: str, number: int, items: Iterable[Any]) -> None:
    """Write one shard's items of the list `name`."""
    between = b",\n" if is_array(name) else b"\n"

    def fill(sink: HashingSink) -> None:
        for start, item in _separated(items, between):
            sink.write(start + to_json(item))

    store.write(fragment_name(name, number), fill)


def join_fragments(store: Store, name: str, count: int) -> None:
    """Write the list `name` of so many shards' fragments."""
    start, between, end = (b"[\n", b",\n", b"\n]\n") if is_array(name) else (b"", b"\n", b"\n")

    def fill(sink: HashingSink) -> None:
        before = start
        fragments = (store.read_bytes(fragment_name(name, number)) for number in range(count))
        for fragment in filter(None, fragments):
            sink.write(before + fragment)
            before = between
        sink.write(end if before == between else b"[]\n" if is_array(name) else b"")

    store.write(name, fill)


def fragment_name(name: str, number: int) -> str:
    """`_run/export/lists/messages.jsonl/000012`."""
    return f"{FOLDER}/{name}/{number:06d}"


def is_array(name: str) -> bool:
    """Whether a list is one JSON array, and not a line an item."""
    return name.endswith(".json")


def _separated(items: Iterable[Any], between: bytes) -> Iterator[tuple[bytes, Any]]:
    for number, item in enumerate(items):
        yield (between if number else b""), item
