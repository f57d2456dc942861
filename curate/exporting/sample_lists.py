"""The lists of samples that trainers read: each shard's job writes a fragment, and the last step joins them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Any

from curate.exporting.sample_files import to_json
from curate.storage.store import HashingSink, Store

FOLDER = "_run/export/lists"


def write_fragment(store: Store, name: str, number: int, items: Iterable[Any]) -> None:
    """Write the items of shard `number` as a fragment of the list `name`."""
    between = b",\n" if is_array(name) else b"\n"

    def fill(sink: HashingSink) -> None:
        for start, item in _separated(items, between):
            sink.write(start + to_json(item))

    store.write(fragment_name(name, number), fill)


def join_fragments(store: Store, name: str, count: int) -> None:
    """Write the list `name`: the fragments of shards 0 to `count` - 1, joined. A missing fragment has no items."""
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
    """Name the temporary file of a fragment, such as `_run/export/lists/messages.jsonl/000012`."""
    return f"{FOLDER}/{name}/{number:06d}"


def system_in_question(turns: Sequence[tuple[str, str]]) -> list[tuple[str, str]]:
    """Return role and content of each turn, a system turn's content before that of the turn behind it.

    For trainers without a system role.
    """
    if len(turns) > 1 and turns[0][0] == "system":
        (_, told), (role, said), *more = turns
        return [(role, f"{told}\n{said}"), *more]
    return list(turns)


def is_array(name: str) -> bool:
    """Whether the list `name` is one JSON array (`.json`); else it has one item a line (`.jsonl`)."""
    return name.endswith(".json")


def _separated(items: Iterable[Any], between: bytes) -> Iterator[tuple[bytes, Any]]:
    for number, item in enumerate(items):
        yield (between if number else b""), item
