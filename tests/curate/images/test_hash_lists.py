"""Lists of hashes: what a line means, and that a bad one is refused in one line."""

from __future__ import annotations

import hashlib
from pathlib import Path

import pytest

from curate.errors import ManifestError
from curate.images.hash_lists import read_list

MD5, LONG = hashlib.md5(b"x").hexdigest(), hashlib.sha256(b"x").hexdigest()


def test_a_line_says_which_hash_it_is() -> None:
    text = f"# ours\r\n\r\n{MD5.upper()}\r\n{LONG}, why\nsha256: {LONG}\npdq:{LONG},98\n"
    found = read_list(text.encode(), Path("ours.txt"))
    assert found.md5 == {bytes.fromhex(MD5): 3}
    assert found.sha256 == {bytes.fromhex(LONG): 4}
    assert found.pdq == {bytes.fromhex(LONG): 6}
    assert found.of_bytes(b"x") == "md5 in ours:3"
    assert found.of_bytes(b"y") is None


def test_long_hashes_of_a_pdq_file_are_pdq() -> None:
    found = read_list(f"{LONG},100\nsha256:{LONG}".encode(), Path("others.PDQ"))
    assert (len(found.pdq), len(found.sha256)) == (1, 1)


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (f"{MD5}\n{LONG[:-1]}\n".encode(), "line 2: .* is no hash"),
        (f"md5:{LONG}".encode(), "line 1: .* is no hash"),
        (f"pdq:{MD5}".encode(), "line 1: .* is no hash"),
        (b"phash:0123", "line 1: .* is no hash"),
        (b"a" * 5000, "5000 characters"),
        (b"# nothing\n", "lists no hash"),
        (b"\xff\xfe", "not UTF-8 at byte 0"),
        (b"\x1b[31m" + b"\n" * 3, "is no hash"),
    ],
)
def test_a_line_that_is_none_is_refused(content: bytes, said: str) -> None:
    with pytest.raises(ManifestError, match=said) as refused:
        read_list(content, Path("list.txt"))
    assert str(refused.value).isprintable()
