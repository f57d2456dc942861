from __future__ import annotations

import os
from pathlib import Path

import pytest

from curate.errors import ManifestError
from curate.manifest import load, parsing
from curate.packing import mix

DEEP = [
    "a=" + "[" * 50_000 + "]" * 50_000,
    "a=" + "[" * 50_000,
    "a=" + "{a=" * 50_000,
    "a=" + "[" * 33 + "]" * 33,
    "[" + "a." * 50_000 + "a]",
    ".".join(["a"] * 100_000) + "=1",
    " . ".join(['"a b"'] * 5_000) + " = 1",
    'a = ["""a"""", ' + "[" * 50_000,
]


@pytest.mark.parametrize("text", DEEP, ids=range(len(DEEP)))
def test_toml_that_is_nested_too_deep_is_one_line(tmp_path: Path, text: str) -> None:
    path = tmp_path / "deep.toml"
    path.write_text(text)
    for read in (lambda: load.load(str(path)), lambda: mix.load(str(path))):
        with pytest.raises(ManifestError, match=r"deep\.toml is not TOML: nested deeper than 32") as caught:
            read()
        assert "\n" not in str(caught.value)
    with pytest.raises(ManifestError, match="nested deeper") as caught:
        load.load(
            "laion", [f"x.y={text.removeprefix('a=')}" if text.startswith("a=") else f"x=[{text}]", text]
        )
    assert len(str(caught.value)) < 500


def test_brackets_and_dots_within_texts_are_texts() -> None:
    text = 'a = "' + "[" * 500 + '"\nb = """' + "x.y " * 30 + '"""\n# ' + "[" * 500
    assert parsing.loads(text)["a"] == "[" * 500


@pytest.mark.parametrize("part", ["k", "-", "k ", "'", "''", "k'", "' k", "\t"])
def test_a_long_text_is_looked_through_once(part: str) -> None:
    text = part * (1_000_000 // len(part))  # hours, if it were looked through from each of its characters
    assert parsing.loads(f'a = "{text}"') == {"a": text}


def test_a_manifest_of_any_size_is_not_read_whole(tmp_path: Path) -> None:
    path = tmp_path / "large.toml"
    path.write_text("# " + "x" * parsing.MAX_BYTES)
    with pytest.raises(ManifestError, match="more than 1048576 bytes"):
        load.load(str(path))


@pytest.mark.parametrize(
    "wrong", ["max_value_bytes=0", "max_depth=0", "max_expansion=0", "max_unit_bytes=0", "memory_bytes=1000"]
)
def test_a_limit_that_nothing_fits_is_refused(wrong: str) -> None:
    with pytest.raises(ManifestError, match=f"input.{wrong.partition('=')[0]} must be"):
        load.load("laion", [f"input.{wrong}"])


def test_a_byte_order_mark_is_no_part_of_the_toml(tmp_path: Path) -> None:
    path = tmp_path / "mine.toml"
    path.write_bytes(b'\xef\xbb\xbfname = "mine"\r\n')
    assert parsing.read(path, "mine.toml") == {"name": "mine"}


def test_what_a_manifest_quotes_is_cut_in_the_middle(tmp_path: Path) -> None:
    path = tmp_path / "long.toml"
    path.write_text(f'"{"k" * 100_000}" = 1\n')
    with pytest.raises(ManifestError, match=r"^.*long\.toml.* has no key .*there are: ") as caught:
        load.load(str(path))
    assert len(str(caught.value)) < 3000


@pytest.mark.parametrize("setting", ["rules.image_in_evaluation_set.against=", "heads.x.model=", "plugins="])
def test_a_pipe_or_device_in_the_place_of_a_file_is_not_read(tmp_path: Path, setting: str) -> None:
    os.mkfifo(tmp_path / "pipe.py")
    for path in (tmp_path / "pipe.py", tmp_path / "zeros.py"):
        if not path.exists():
            path.symlink_to("/dev/zero")
        said = f"['{path}']" if "head" not in setting else f"'{path}'"
        with pytest.raises(ManifestError, match="it is no file"):
            load.load("laion", [setting + said])
