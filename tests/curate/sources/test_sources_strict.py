from __future__ import annotations

import io
import json
from typing import Any

import pytest

from curate.sources.strict import Strict

DOCUMENT: Any = {
    "NaN": [float("nan"), float("inf"), float("-inf"), 1.5, None, {"x": float("nan")}],
    "texts": [
        "NaN",
        "[-Infinity, NaN]",
        'a "NaN" \\',
        "\\\\",
        '\\"',
        'Infinity"NaN',
        "café NaN 春天",
        "N",
        "",
    ],
    'key "NaN" \\': float("nan"),
}


def read(content: bytes, size: int) -> bytes:
    stream = Strict(io.BytesIO(content))
    return b"".join(iter(lambda: stream.read(size), b""))


@pytest.mark.parametrize("size", [*range(1, 24), 65536])
def test_names_of_numbers_read_as_null_and_texts_stay(size: int) -> None:
    content = json.dumps(DOCUMENT, ensure_ascii=False).encode()
    assert json.loads(read(content, size)) == json.loads(content, parse_constant=lambda name: None)


@pytest.mark.parametrize("size", [1, 3, 65536])
def test_what_has_no_such_name_comes_as_it_is_but_for_broken_text(size: int) -> None:
    content = b'{"a": ["\\\\", "\\"", "I", -1, "In\\u0066"]}'
    assert read(content, size) == content
    assert read(b'\xef\xbb\xbf["caf\xe9", NaN', size) == '["caf\ufffd", null'.encode()


PAIR, HIGH, LOW = r"\ud83d\ude00", r"\uD83D", r"\ude00"


@pytest.mark.parametrize("size", [*range(1, 30), 65536])
@pytest.mark.parametrize(
    "texts",
    [
        [PAIR, HIGH, LOW, LOW + HIGH, HIGH + PAIR, PAIR + LOW, HIGH + "x" + LOW],
        [r"\\" + HIGH[1:], r"\\" + HIGH[1:] + LOW, r"\\" + HIGH, r"\\\\" + PAIR + r"\"", r"\u00af" + HIGH],
        ["\\\\" * n + HIGH for n in range(5)] + [r"\ud8", r"\\ud8"][1:],
    ],
)
def test_half_a_surrogate_pair_reads_as_a_replacement_character(texts: list[str], size: int) -> None:
    content = "[" + ", ".join(f'"{text}"' for text in texts) + "]"
    right = [
        "".join("\ufffd" if "\ud800" <= c <= "\udfff" else c for c in text) for text in json.loads(content)
    ]
    assert json.loads(read(content.encode(), size)) == right
