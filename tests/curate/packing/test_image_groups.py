"""What is asked of one image, packed as one dialogue."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

pytest.importorskip("tiktoken")

from curate import api
from curate.errors import ManifestError
from curate.packing import PackSettings, pack
from curate.packing.tokenizer import QWEN_SPECIAL, _qwen
from curate.tasks import load_dialect, parse_dialogue
from curate.verifying.command import verify
from tests.curate.packing.test_pack_dialect import picture, write_shards

QUAD = [146, 137, 615, 137, 615, 415, 146, 415]


@pytest.fixture(scope="module")
def shards(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Seven questions and two references of one image, one question of another, and a caption of each."""
    rows: list[dict[str, Any]] = []
    for number in range(12):
        side = 420 if number in (8, 11) else 640
        row = {
            "key": f"{number:032x}",
            "dataset": "d",
            "language": "en",
            "source": f"d#{number}",
            "task": "vqa",
        }
        row |= {"image": picture(side, 428), "format": "jpeg", "width": side, "height": 428}
        row |= {"text": f"Is it {number}? No.", "question": f"Is it {number}?", "answer": "No."}
        if number in (3, 4):
            row |= {"task": "referring", "text": f"it {number}", "regions": [{"text": "it", "quad": QUAD}]}
        if number in (10, 11):
            row |= {"task": "caption", "text": "a caption"}
        rows.append(row)
    return write_shards(tmp_path_factory.mktemp("grouped"), rows)


def texts(packs: Path, name: str) -> dict[str, str]:
    """What each sample says, by its key."""
    tiktoken = pytest.importorskip("tiktoken")
    import base64

    ranks = {base64.b64decode(a): int(b) for a, b in (line.split() for line in _qwen().splitlines() if line)}
    special = dict(load_dialect(name).tokens)
    if name == "qwen-vl":
        special = {token: max(ranks.values()) + 1 + n for n, token in enumerate(QWEN_SPECIAL)}
    encoding = tiktoken.Encoding("q", pat_str=r".+", mergeable_ranks=ranks, special_tokens=special)
    found = {}
    for row in pq.read_table(packs).to_pylist():
        for key, start, stop in zip(row["keys"], row["segments"], row["segments"][1:], strict=False):
            found[key] = encoding.decode(row["tokens"][start:stop])
    return found


@pytest.mark.parametrize("name", ["qwen-vl", "qwen2.5-vl", "qwen3-vl"])
def test_what_is_asked_of_an_image_is_one_sample(shards: Path, tmp_path: Path, name: str) -> None:
    packed = api.pack(shards, tmp_path / "packs", dialect=name, group="image").raw
    assert (packed["rows_in"], packed["rows_out"], packed["copies"]) == (12, 12, 4)
    assert packed["settings"]["group"] == "image"
    found = texts(tmp_path / "packs", name)
    (key,) = [key for key in found if " " in key]
    assert key.split() == [f"{number:032x}" for number in (0, 1, 2, 3, 4, 5, 6, 7, 9)]
    text = found[key].removesuffix("<|endoftext|>")
    if name == "qwen-vl":
        text = text.replace("<img>" + "<imgpad>" * 256 + "</img>", "<img>path</img>")
    messages = parse_dialogue(text, load_dialect(name)).messages if name != "qwen-vl" else None
    assert text.count("No.") == 7
    assert text.count("<|im_start|>user") == 9
    if messages is not None:
        assert [content.count("<image>") for _, content in messages] == [1, *[0] * 17]
    images = pq.read_table(tmp_path / "packs")["images"].to_pylist()
    assert sum(len(row) for row in images) == 4  # the dialogue, the lone question, two captions
    assert verify(str(tmp_path / "packs"))["damaged"] == {}


def test_a_dialogue_has_no_more_turns_than_asked_for_and_fits_a_sequence(
    shards: Path, tmp_path: Path
) -> None:
    packed = pack([str(shards)], str(tmp_path / "turns"), PackSettings(group="image", turns=4))
    assert (packed["rows_out"], packed["copies"]) == (12, 6)
    packed = pack([str(shards)], str(tmp_path / "short"), PackSettings(group="image", seq_len=320))
    assert packed["rows_out"] == 12
    assert packed["dropped"] == {}
    lengths = [len(row) for row in pq.read_table(tmp_path / "short")["tokens"].to_pylist()]
    assert max(lengths) <= 320
    assert 4 < packed["copies"] < 12


def test_without_groups_each_row_is_a_sample(shards: Path, tmp_path: Path) -> None:
    packed = pack([str(shards)], str(tmp_path / "packs"), PackSettings())
    assert packed["copies"] == 12
    assert "group" not in packed["settings"]
    for settings in (PackSettings(group="size"), PackSettings(group="image", turns=0)):  # type: ignore[arg-type]
        with pytest.raises(ManifestError):
            pack([str(shards)], str(tmp_path / "other"), settings)


def asked(number: int, question: str, size: tuple[int, int] = (64, 48)) -> dict[str, Any]:
    row = {"key": f"{number:032x}", "dataset": "d", "language": "en", "source": f"d#{number}", "task": "vqa"}
    row |= {"image": picture(*size), "format": "jpeg", "width": size[0], "height": size[1]}
    return row | {"text": f"{question} No.", "question": question, "answer": "No."}


@pytest.mark.parametrize("name", ["qwen-vl", "qwen3-vl"])
def test_a_question_that_speaks_of_a_placeholder_stands_alone(tmp_path: Path, name: str) -> None:
    said = ["Is it red?", "What does <image> do?", "Is it blue?", "Is <bbox> a tag?"]
    shards = write_shards(tmp_path / "shards", [asked(number, text) for number, text in enumerate(said)])
    made = pack([str(shards)], str(tmp_path / "packs"), PackSettings(dialect=name, group="image"))
    assert (made["rows_out"], made["dropped"]) == (4, {})
    found = {len(key.split()): text for key, text in texts(tmp_path / "packs", name).items() if " " in key}
    assert list(found) == [2]
    assert [text in found[2] for text in said] == [True, False, True, False]
    assert sum(len(row["images"]) for row in pq.read_table(tmp_path / "packs").to_pylist()) == 3


def test_each_row_of_a_group_that_falls_is_a_drop_of_its_own(tmp_path: Path) -> None:
    rows = [asked(number, f"Is it {number}?", (2000, 8)) for number in range(3)]
    rows += [asked(number, f"Is it {number}?") for number in range(3, 5)]
    for row in rows[:3]:  # a shard of other software that does not say how large they are
        row |= {"width": None, "height": None}
    shards = write_shards(tmp_path / "shards", rows)
    settings = PackSettings(dialect="qwen3-vl", group="image")
    made = pack([str(shards)], str(tmp_path / "packs"), settings)
    assert (made["rows_out"], made["dropped"]) == (2, {"image_too_elongated": 3})
    fell = pq.read_table(tmp_path / "packs" / "_dropped").to_pylist()
    assert [row["key"] for row in fell] == [row["key"] for row in rows[:3]]
    assert {row["detail"] for row in fell} == {"width=2000 height=8 ratio=250 max_ratio=200"}
