"""Packs in other dialects than Qwen-VL's, beside what the models' own templates and processors give."""

from __future__ import annotations

import hashlib
import io
import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

from curate.errors import InputError, ManifestError
from curate.manifest.settings import ShardSettings
from curate.packing import PackSettings, pack
from curate.packing.encode import encode_pieces
from curate.packing.fit import fit, within
from curate.packing.tokenizer import load
from curate.schema import MESSAGE, SAMPLE, SHARD, shard_metadata
from curate.storage.shards import image_path, shard_name, to_shard, write_tables
from curate.storage.store import Store
from curate.tasks import image_costs, load_dialect, parse_dialogue, render, row_strings
from curate.tasks.chat import dialogue_faults, dialogue_pieces
from curate.verifying.command import verify

SIZES = [(64, 64), (640, 480), (333, 500), (1024, 300), (90, 1200), (1241, 1754)]
ROWS: list[dict[str, Any]] = [
    {"task": "caption", "text": "a cat (assistant)"},
    {"task": "vqa", "question": "Is it?", "answer": "No."},
    {"task": "referring", "text": "it", "regions": [{"text": "it", "quad": [1, 2, 30, 2, 30, 40, 1, 40]}]},
    {"task": "text", "text": "one two three " * 300, "image": None},
]


def picture(width: int, height: int) -> bytes:
    out = io.BytesIO()
    noise = np.random.default_rng(width).integers(0, 255, (height, width, 3), np.uint8)
    Image.fromarray(noise).save(out, "JPEG", quality=30)
    return out.getvalue()


def write_shards(folder: Path, rows: list[dict[str, Any]]) -> Path:
    """A finished run's folder of these rows of SAMPLE."""
    store = Store(str(folder))
    table = pa.Table.from_pylist(rows, SAMPLE)
    image = table["image"].combine_chunks().cast(pa.binary())
    shard = to_shard(table, image, *render(table, image_path(table)))
    schema = SHARD.with_metadata(shard_metadata("made"))
    file = write_tables(store, shard_name(0, 0), [shard], schema, ShardSettings())
    store.write_bytes("_manifest.json", json.dumps({"shards": [msgspec.to_builtins(file)]}).encode())
    store.delete_folder("_run")
    return folder


@pytest.fixture(scope="module")
def shards(tmp_path_factory: pytest.TempPathFactory) -> Path:
    rows = []
    for number, (width, height) in enumerate(SIZES):
        for row in ROWS:
            key = hashlib.sha256(f"{number}{row['task']}".encode()).hexdigest()[:32]
            made = {"key": key, "dataset": "d", "language": "en", "source": f"d#{number}"}
            if "image" not in row:
                made |= {"image": picture(width, height), "format": "jpeg", "width": width, "height": height}
            rows.append(made | row)
    return write_shards(tmp_path_factory.mktemp("sized"), rows)


def packed(shards: Path, out: Path, **settings: Any) -> tuple[dict[str, Any], pa.Table]:
    manifest = pack([str(shards)], str(out), PackSettings(**settings))
    return manifest, pa.concat_tables([pq.read_table(path) for path in sorted(out.glob("pack-*.parquet"))])


def samples(table: pa.Table) -> Iterator[tuple[str, list[int], list[int]]]:
    """Key, tokens and learnt tokens of each sample."""
    for row in table.to_pylist():
        edges = zip(row["segments"][:-1], row["segments"][1:], strict=True)
        for key, (start, stop) in zip(row["keys"], edges, strict=True):
            tokens, loss = row["tokens"][start:stop], row["loss_mask"][start:stop]
            yield key, tokens, [token for token, learnt in zip(tokens, loss, strict=True) if learnt]


def ids(text: str) -> list[int]:
    """What Qwen2's tokenizer makes of a text with special tokens in it."""
    tokenizer = load(dialect=load_dialect("qwen2.5-vl"))
    parts = [part for part in tokenizer.split(text) if part]
    return [
        t
        for part in parts
        for t in ([tokenizer.special[part]] if part in tokenizer.special else tokenizer.encode([part])[0])
    ]


@pytest.mark.parametrize("name", ["qwen2.5-vl", "qwen3-vl", "internvl3", "llava-onevision"])
def test_an_image_takes_as_many_tokens_as_its_size_costs(shards: Path, tmp_path: Path, name: str) -> None:
    manifest, table = packed(shards, tmp_path / "packs", dialect=name, seq_len=8192)
    dialect = load_dialect(name)
    pad, seen = dialect.tokens[dialect.image.pad], 0
    costs = image_costs(dialect.cost, *np.array(SIZES).T)
    by_key = {
        hashlib.sha256(f"{n}{row['task']}".encode()).hexdigest()[:32]: n
        for n in range(len(SIZES))
        for row in ROWS
    }
    for key, tokens, learnt in samples(table):
        if pad in tokens:
            assert tokens.count(pad) == costs.tokens[by_key[key]]
            seen += 1
        assert pad not in learnt
    assert seen == 3 * len(SIZES) == manifest["rows_out"] - len(SIZES)
    assert ("image_grid_thw" in table.column_names) == (dialect.cost.rule == "smart_resize")
    assert manifest["dialect"]["name"] == name
    assert not verify(str(tmp_path / "packs"))["damaged"]


def test_the_grids_are_those_of_the_images_in_their_order(shards: Path, tmp_path: Path) -> None:
    _, table = packed(shards, tmp_path / "packs", dialect="qwen2.5-vl", seq_len=8192)
    dialect = load_dialect("qwen2.5-vl")
    pad, start = dialect.tokens["<|image_pad|>"], dialect.tokens["<|vision_start|>"]
    for row in table.to_pylist():
        assert len(row["images"]) == len(row["image_grid_thw"])
        for image, (_, rows, columns) in zip(row["images"], row["image_grid_thw"], strict=True):
            width, height = Image.open(io.BytesIO(image["bytes"])).size
            found = image_costs(dialect.cost, np.array([width]), np.array([height]))
            assert (rows, columns) == (found.rows[0], found.columns[0])
            at, count = image["start"], rows * columns // 4
            assert row["tokens"][at] == start
            assert row["tokens"][at + 1 : at + 1 + count] == [pad] * count


def test_tokens_are_those_of_the_models_template_and_the_answers_are_learnt(
    shards: Path, tmp_path: Path
) -> None:
    _, table = packed(shards, tmp_path / "packs", dialect="qwen2.5-vl", seq_len=8192)
    key = hashlib.sha256(b"0vqa").hexdigest()[:32]
    (found,) = [(tokens, learnt) for k, tokens, learnt in samples(table) if k == key]
    text = (
        "<|im_start|>system\nYou are a helpful assistant.<|im_end|>\n<|im_start|>user\n<|vision_start|>"
        + "<|image_pad|>" * 4
        + "<|vision_end|>Is it?<|im_end|>\n<|im_start|>assistant\nNo.<|im_end|>\n"
    )
    assert found == (ids(text), ids("No.<|im_end|>\n"))


def test_a_long_text_goes_on_in_the_next_sequence_and_nothing_is_lost(shards: Path, tmp_path: Path) -> None:
    manifest, table = packed(shards, tmp_path / "packs", dialect="qwen3-vl", seq_len=400, seed=1)
    key, whole = hashlib.sha256(b"0text").hexdigest()[:32], ids("one two three " * 300)
    found = [tokens for k, tokens, _ in samples(table) if k == key]
    assert sorted(map(len, found)) == sorted([400] * (len(whole) // 400) + [len(whole) % 400 + 1])
    assert sum(map(len, found)) == len(whole) + 1  # the end token
    assert manifest["tasks"]["text"]["samples"] == len(found) * len(SIZES)
    dropped, _ = packed(shards, tmp_path / "dropped", dialect="qwen3-vl", seq_len=400, long_texts="drop")
    assert dropped["dropped"]["sample_too_long"] == manifest["dropped"]["sample_too_long"] + len(SIZES)


def test_a_setting_of_the_dialect_changes_what_images_cost(shards: Path, tmp_path: Path) -> None:
    plain, _ = packed(shards, tmp_path / "a", dialect="qwen2.5-vl", seq_len=8192)
    small, _ = packed(
        shards,
        tmp_path / "b",
        dialect="qwen2.5-vl",
        dialect_settings=("cost.max_pixels=50176",),
        seq_len=8192,
    )
    assert small["tasks"]["vqa"]["tokens"] < plain["tasks"]["vqa"]["tokens"]
    assert small["dialect"]["cost"]["max_pixels"] == 50176
    assert small["dialect"]["boxes_fit_one_setting"] is True
    with pytest.raises(ManifestError, match="KEY=VALUE"):
        packed(shards, tmp_path / "c", dialect="qwen2.5-vl", dialect_settings=("max_pixels",))


def test_a_cap_of_images_and_patches_holds(shards: Path, tmp_path: Path) -> None:
    _, table = packed(shards, tmp_path / "a", dialect="qwen2.5-vl", seq_len=16384, max_images=2)
    counts = [len(images) for images in table["images"].to_pylist()]
    assert max(counts) == 2
    assert sum(counts) == 3 * len(SIZES)
    _, table = packed(shards, tmp_path / "b", dialect="qwen2.5-vl", seq_len=16384, max_patches=6000)
    for grids in table["image_grid_thw"].to_pylist():
        assert sum(rows * columns for _, rows, columns in grids) <= 6000 or len(grids) == 1


def test_bins_are_parted_until_each_is_within_the_second_amount() -> None:
    rng = np.random.default_rng(0)
    lengths, amounts = rng.integers(1, 50, 500), rng.integers(0, 20, 500)
    bins = within(fit(lengths, 200), lengths, 200, amounts, 40)
    assert np.bincount(bins, weights=amounts).max() <= 40
    assert np.bincount(bins, weights=lengths).max() <= 200
    assert set(np.unique(bins)) == set(range(bins.max() + 1))


def test_llava_needs_its_own_tokenizer() -> None:
    with pytest.raises(InputError, match="--tokenizer"):
        load(dialect=load_dialect("llava"))


def test_qwens_later_tokens_have_their_published_ids() -> None:
    special = load(dialect=load_dialect("qwen2.5-vl")).special
    assert (special["<|im_start|>"], special["<|vision_start|>"], special["<|image_pad|>"]) == (
        151644,
        151652,
        151655,
    )
    assert load(dialect=load_dialect("internvl3")).image_pad == 151667
    assert ids("assistant\n") == [77091, 198]


TOOL_CALLS = {"<tool_call>": 151657, "</tool_call>": 151658}
THOUGHTS = {"<tool_response>": 151665, "</tool_response>": 151666, "<think>": 151667, "</think>": 151668}


@pytest.mark.parametrize(
    ("name", "added"),
    [
        ("qwen2-vl", {}),
        ("qwen2.5-vl", TOOL_CALLS),
        ("qwen3-vl", TOOL_CALLS | THOUGHTS),
        ("internvl2.5", TOOL_CALLS),
        ("internvl3", TOOL_CALLS),
        ("llava-onevision", {}),
    ],
)
def test_added_tokens_in_raw_text_have_the_ids_of_the_models_tokenizer(
    name: str, added: dict[str, int]
) -> None:
    dialect, known = load_dialect(name), TOOL_CALLS | THOUGHTS
    tokenizer = load(dialect=dialect)
    said = "".join(f"a{token}\n" for token in known)
    talk = [{"role": "user", "content": said}, {"role": "assistant", "content": said}]
    messages = pa.array([talk], pa.list_(MESSAGE))
    assert not dialogue_faults(messages, np.zeros(1, np.int64), dialect)[0].is_valid
    pieces = dialogue_pieces(messages, dialect)
    encoded = encode_pieces(pieces, np.zeros(1, bool), tokenizer)
    found = [token for token in encoded.tokens.tolist() if token in known.values()]
    learnt = [token for token in encoded.tokens[encoded.loss].tolist() if token in known.values()]
    wanted = list(added.values())
    if name.startswith("internvl"):  # whose own tokens have the other ids
        found, learnt = ([token for token in ids if token < 151665] for ids in (found, learnt))
    assert (found, learnt) == (wanted * 2, wanted)
    read = parse_dialogue("".join(pieces.text.to_pylist()), dialect).messages
    assert read[-1] == ("assistant", said)


def finetune(messages: list[tuple[str, str]], tokenizer: Any) -> tuple[list[int], list[int]]:
    """What Qwen-VL's finetune.py makes of a dialogue: its tokens and labels (-100 where nothing is learnt)."""
    start, end, newline = tokenizer.special["<|im_start|>"], tokenizer.special["<|im_end|>"], [198]

    def ids_of(text: str) -> list[int]:
        return [
            token
            for part in re.split(r"(<img>.*?</img>)", text)
            if part
            for token in (
                [151857, *[151859] * 256, 151858] if part.startswith("<img>") else tokenizer.encode([part])[0]
            )
        ]

    system = [start, *ids_of("system"), *newline, *ids_of("You are a helpful assistant."), end, *newline]
    tokens, labels = [*system], [start, *[-100] * (len(system) - 3), end, *newline]
    for role, said in messages:
        turn = [start, *ids_of(role), *newline, *ids_of(said), end, *newline]
        tokens += turn
        learnt = turn[3:-2] if role == "assistant" else [-100] * (len(turn) - 5)
        labels += [start, -100, -100, *learnt, end, *newline]
    return tokens, labels


def test_a_dialogue_is_learnt_as_qwen_vls_own_trainer_learns_it(tmp_path: Path) -> None:
    shards = tmp_path / "shards"
    shown = [("user", "<image>\n<image>\nCompare them, please."), ("assistant", "Red.\nBlue. 小")]
    more = [("user", "(assistant) why?"), ("assistant", "Because of 12 reasons.")]
    row = {
        "key": "a" * 32, "dataset": "d", "task": "conversation", "language": "en", "source": "d#0", "text": "x",
        "messages": [{"role": role, "content": said} for role, said in shown + more],
        "images": [{"bytes": None, "path": f"d/k-{n}.jpg", "url": None, "slot": n} for n in range(2)],
    }  # fmt: skip
    table = pa.Table.from_pylist([row], SAMPLE)
    images = pa.array(
        [[{"bytes": picture(64, 64), "path": f"d/k-{n}.jpg"} for n in range(2)]], SHARD.field("images").type
    )
    store = Store(str(shards))
    shard = to_shard(table, pa.nulls(1, pa.binary()), *row_strings(table, pa.nulls(1, pa.string())), images)
    file = write_tables(
        store, shard_name(0, 0), [shard], SHARD.with_metadata(shard_metadata("made")), ShardSettings()
    )
    store.write_bytes("_manifest.json", json.dumps({"shards": [msgspec.to_builtins(file)]}).encode())
    store.delete_folder("_run")
    _, packs = packed(shards, tmp_path / "packs")
    (made,) = packs.to_pylist()
    path = "Picture {}: <img>p</img>\n"
    spoken = [("user", path.format(1) + path.format(2) + "Compare them, please."), *shown[1:], *more]
    tokens, labels = finetune(spoken, load())
    assert made["tokens"] == tokens
    assert [
        t if learnt else -100 for t, learnt in zip(made["tokens"], made["loss_mask"], strict=True)
    ] == labels
    assert [image["path"] for image in made["images"]] == ["d/k-0.jpg", "d/k-1.jpg"]
    assert [made["tokens"][image["start"]] for image in made["images"]] == [151857, 151857]
    cut, packs = packed(shards, tmp_path / "cut", seq_len=560, truncate=True)
    assert packs.to_pylist()[0]["tokens"] == finetune(spoken[:2], load())[0]
    assert cut["dropped"] == {}
