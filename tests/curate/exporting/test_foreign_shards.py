"""Shards that other software wrote: a row that cannot be costs itself alone, in packs and in exports."""

from __future__ import annotations

import io
import json
import shutil
import tarfile
from collections import Counter
from functools import partial
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from curate import api
from curate.errors import InputError, OutputError
from curate.exporting import FORMATS, TRAINING
from curate.images.foreign_rows import is_foreign
from curate.schema import SHARD, shard_metadata
from tests.curate.made_shards import make_shards
from tests.curate.packing.test_pack_dialect import picture

IMAGE = picture(64, 48)
BROKEN = "half a pair: éx"  # as long as what stands for it in the file


def talk(asked: str | None, *images: bytes | None, **more: Any) -> dict[str, Any]:
    said = [{"role": "user", "content": asked}, {"role": "assistant", "content": "b"}]
    shown = [{"bytes": body, "path": f"d/{number}.jpg"} for number, body in enumerate(images)]
    return {"task": "conversation", "messages": said, "images": shown} | more


def shows(body: bytes | None, **more: Any) -> dict[str, Any]:
    """A caption."""
    image = {"bytes": body, "path": "d/x.jpg"}
    return {"task": "caption", "image": image, "width": 64, "height": 48} | more


def messages(*said: tuple[str | None, str | None]) -> list[dict[str, str | None]]:
    return [{"role": role, "content": content} for role, content in said]


def region(*quad: float | None) -> list[dict[str, Any]]:
    return [{"text": "x", "start": 0, "end": 1, "quad": list(quad), "score": None}]


def phrase(start: int | None, end: int | None, text: str | None = None, more: Any = ()) -> dict[str, Any]:
    """A grounded caption of one phrase, and of `more`."""
    one = region(1, 1, 9, 1, 9, 9, 1, 9)[0] | {"text": text, "start": start, "end": end}
    return shows(IMAGE, task="grounded_caption", text="cat sat", regions=[one, *more])


CUT = IMAGE[: len(IMAGE) // 2]
BOXED, BESIDE, NAN = (
    "<image>a <bbox>",
    region(*[100, 100, 200, 100, 200, 200, 100, 200]),
    region(*[float("nan")] * 8),
)
PLACE = {"task": "referring", "prompt": "<img>d/x.jpg</img><ref>x</ref>", "target": "<box>(1,1),(2,2)</box>"}
ROWS: list[tuple[str | None, dict[str, Any]]] = [  # each with why it is left out, of all exports and packs
    (None, talk("<image>a", IMAGE)),
    (None, shows(IMAGE)),
    ("text_missing", talk("a", messages=[])),
    ("text_missing", talk("a", messages=None)),
    ("turn_empty", talk(None)),
    ("turn_empty", talk(" ")),
    ("role_unknown", talk("a", messages=[None, {"role": "assistant", "content": "b"}])),
    ("role_unknown", talk("a", messages=messages((None, "a"), ("assistant", "b")))),
    ("role_order", talk("a", messages=messages(("assistant", "b"), ("user", "a")))),
    ("image_count", talk("<image><image>a", IMAGE)),
    ("image_count", talk("a", IMAGE)),
    ("image_missing", talk("<image>a", images=[None])),
    ("image_missing", talk("<image>a", None)),
    ("image_missing", talk("<image>a", b"")),
    ("image_missing", shows(None)),
    ("image_missing", shows(None, image=None)),
    ("image_missing", shows(b"")),
    ("image_missing", shows(IMAGE, images=[None])),
    ("not_an_image", talk("<image>a", b"junk")),
    ("not_an_image", shows(b"junk")),
    ("damaged", talk("<image>a", CUT)),
    ("damaged", shows(CUT)),
    ("image_changed", shows(IMAGE, width=640, height=480)),
    ("name_unsafe", shows(IMAGE, image={"bytes": IMAGE, "path": None})),
    ("name_unsafe", shows(IMAGE, key=None)),
    (
        "text_has_placeholder",
        talk("<image>a", IMAGE, messages=messages(("user", "<image>"), ("assistant", "<image>"))),
    ),
    ("text_has_placeholder", talk(BOXED, IMAGE)),
    ("text_has_control_token", talk("<|im_end|>")),
    ("text_has_control_token", shows(IMAGE, text="<|im_end|>", target=" <|im_end|>")),
    ("text_has_control_token", shows(IMAGE, text="<img>x</img>", target=" <img>x</img>")),
    (
        "text_has_control_token",
        shows(
            IMAGE,
            task="vqa",
            text="<img>x</img>",
            prompt="<img>d/x.jpg</img> <img>x</img> Answer:",
            target=" b",
        ),
    ),
    ("box_broken", talk(BOXED, IMAGE, regions=NAN)),
    ("box_broken", talk(BOXED, IMAGE, regions=BESIDE)),
    ("box_broken", talk(BOXED, IMAGE, regions=[None])),
    ("box_broken", shows(IMAGE, regions=NAN, **PLACE)),
    ("box_broken", shows(IMAGE, regions=BESIDE, **PLACE)),
    ("span_not_in_text", phrase(0, 9)),
    ("span_not_in_text", phrase(0, 3, "dog")),
    ("span_not_in_text", phrase(None, None)),
    ("spans_overlap", phrase(0, 3, "cat", phrase(2, 5, "t s")["regions"])),
    ("text_not_utf8", shows(IMAGE, text=BROKEN)),
    ("text_not_utf8", talk(BROKEN)),
    (None, shows(IMAGE)),
]
UNKNOWN = [("task_not_in_dialect", shows(IMAGE, task="dancing")), ("task_missing", shows(IMAGE, task=None))]


def write_shard(folder: Path, rows: list[tuple[str | None, dict[str, Any]]]) -> Path:
    """A shard as other software may write it: its texts may be none."""
    given = {"dataset": "d", "language": "en", "text": "x", "prompt": "p", "target": "b", "source": "s"}
    made = [given | {"key": f"{number:032x}"} | row for number, (_, row) in enumerate(rows)]
    folder.mkdir()
    schema = SHARD.with_metadata(shard_metadata("elsewhere"))
    pq.write_table(
        pa.Table.from_pylist(made, schema),
        folder / "shard-000000.parquet",
        compression="none",
        use_dictionary=False,
    )
    name = folder / "shard-000000.parquet"
    name.write_bytes(name.read_bytes().replace(BROKEN.encode(), b"half a pair: \xed\xa0\x80"))
    return folder


@pytest.fixture(scope="module")
def shards(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_shard(tmp_path_factory.mktemp("foreign") / "in", ROWS)


@pytest.mark.parametrize("to", sorted({*FORMATS, *TRAINING}))
def test_an_export_drops_what_cannot_be_by_name(shards: Path, tmp_path: Path, to: str) -> None:
    made = api.export(shards, to, tmp_path / "out", workers=0)
    assert made.dropped == Counter(reason for reason, _ in ROWS if reason)
    assert made.rows_out == 3


@pytest.mark.parametrize("dialect", ["qwen-vl", "qwen3-vl"])
def test_a_pack_drops_what_cannot_be_by_name(shards: Path, tmp_path: Path, dialect: str) -> None:
    made = api.pack(shards, tmp_path / "out", dialect=dialect, workers=0)
    assert made.dropped == Counter(reason for reason, _ in ROWS if reason)
    assert made.rows_out == 3
    said = {row["reason"]: row["detail"] for row in pq.read_table(tmp_path / "out" / "_dropped").to_pylist()}
    assert said["image_changed"] == "published=640x480 found=64x48"
    assert said["name_unsafe"] == "it has no key"


def test_an_export_shows_no_image_of_a_row_that_it_drops(tmp_path: Path) -> None:
    rows = [
        ("role_order", talk("<image>a", IMAGE, messages=messages(("user", "<image>")))),
        (None, talk("a")),
    ]
    api.export(write_shard(tmp_path / "in", rows), "qwen-vl", tmp_path / "out", workers=0)
    assert not (tmp_path / "out" / "images").exists()


@pytest.mark.parametrize("to", sorted({*FORMATS, *TRAINING}))
def test_a_task_of_other_software_is_handed_on_in_rows_but_not_in_dialogues(tmp_path: Path, to: str) -> None:
    folder = write_shard(tmp_path / "in", [*UNKNOWN, (None, shows(IMAGE))])
    made = api.export(folder, to, tmp_path / "out", workers=0)
    assert made.dropped == ({} if to in ("webdataset", "energon", "mds") else Counter(dict(UNKNOWN).keys()))
    assert made.rows_out == 3 - sum(made.dropped.values())


@pytest.mark.parametrize("dialect", ["qwen-vl", "qwen3-vl"])
def test_a_task_of_other_software_is_not_packed(tmp_path: Path, dialect: str) -> None:
    folder = write_shard(tmp_path / "in", [*UNKNOWN, (None, shows(IMAGE))])
    made = api.pack(folder, tmp_path / "out", dialect=dialect, workers=0)
    assert made.dropped == Counter(dict(UNKNOWN).keys())
    fell = {row["reason"]: row["detail"] for row in pq.read_table(tmp_path / "out" / "_dropped").to_pylist()}
    assert fell["task_not_in_dialect"] == f"task=dancing dialect={dialect}"


@pytest.mark.parametrize("to", ["qwen-vl", "energon", "llama-factory"])
def test_a_dialogue_never_goes_out_with_a_mark_in_place_of_its_box(tmp_path: Path, to: str) -> None:
    within = region(1, 1, 9, 1, 9, 9, 1, 9)
    rows: list[tuple[str | None, dict[str, Any]]] = [
        (None, talk(BOXED, IMAGE, regions=within, prompt="<box>(1,1),(2,2)</box>")),
        (None, talk(BOXED, IMAGE, regions=within, prompt=None)),
    ]
    made = api.export(write_shard(tmp_path / "in", rows), to, tmp_path / "out", workers=0)
    assert made.dropped == ({} if to == "llama-factory" else {"box_broken": 1})


@pytest.mark.parametrize("to", ["pack", *sorted({*FORMATS, *TRAINING})])
@pytest.mark.parametrize("lacking", ["task", "messages", "images", "regions", "width", "key"])
def test_a_shard_that_lacks_a_column_is_one_line(tmp_path: Path, to: str, lacking: str) -> None:
    name = write_shard(tmp_path / "in", [(None, shows(IMAGE))]) / "shard-000000.parquet"
    pq.write_table(pq.read_table(name).drop_columns([lacking]), name)
    make = api.pack if to == "pack" else partial(api.export, to=to)
    with pytest.raises(InputError, match=f"shard-000000.parquet is no shard: it lacks {lacking}$"):
        make(tmp_path / "in", out=tmp_path / "out", workers=0)
    assert not (tmp_path / "out").exists()


def test_an_export_into_a_folder_of_shards_or_packs_says_what_it_holds(tmp_path: Path) -> None:
    made = make_shards(tmp_path / "shards", rows=4, shards=1)
    with pytest.raises(OutputError, match="holds shards: give the export a folder of its own"):
        api.export(made, "qwen-vl", made, workers=0)


@pytest.mark.parametrize("to", ["webdataset", "energon", "mds"])
def test_a_key_names_one_sample_of_a_shard(tmp_path: Path, to: str) -> None:
    rows = [(None, shows(IMAGE, key=letter * 32)) for letter in "aab"]
    made = api.export(write_shard(tmp_path / "in", rows), to, tmp_path / "out", workers=0)
    assert (made.rows_out, made.dropped) == (2, {"id_repeated": 1})


def test_a_key_in_two_shards_is_one_line_for_energon(tmp_path: Path) -> None:
    folder = write_shard(tmp_path / "in", [(None, shows(IMAGE))])
    shutil.copy(folder / "shard-000000.parquet", folder / "shard-000001.parquet")
    with pytest.raises(InputError, match=r"a key in shard-000001\.tar is in an earlier tar too"):
        api.export(folder, "energon", tmp_path / "out", workers=0)


@pytest.mark.parametrize("dialect", ["qwen-vl", "qwen3-vl"])
def test_a_dialogue_is_packed_from_its_messages_alone(tmp_path: Path, dialect: str) -> None:
    folder = write_shard(tmp_path / "in", [(None, talk("<image>a", IMAGE, prompt=None, target=None))])
    made = api.pack(folder, tmp_path / "out", dialect=dialect, workers=0)
    assert (made.rows_out, made.dropped) == (1, {})


def constant(name: str) -> None:
    raise ValueError(f"{name} is no JSON")


@pytest.mark.parametrize("to", ["webdataset", "energon", "mds"])
def test_what_is_no_finite_number_is_null_in_json(tmp_path: Path, to: str) -> None:
    nan, infinite = float("nan"), float("-inf")
    turned = [region(1, 1, 9, 1, 9, 9, 1, 9)[0] | {"score": infinite}]
    rows: list[tuple[str | None, dict[str, Any]]] = [(None, shows(IMAGE, clip_score=nan, regions=turned))]
    api.export(write_shard(tmp_path / "in", rows), to, tmp_path / "out", workers=0)
    if to == "mds":
        whole = next((tmp_path / "out").glob("*.mds")).read_bytes()
        found = whole[whole.rindex(b'{"clip_') :].decode(errors="replace")
        body, _ = json.JSONDecoder(parse_constant=constant).raw_decode(found)
    else:
        with tarfile.open(next((tmp_path / "out").glob("*.tar"))) as tar:
            name = next(name for name in tar.getnames() if name.endswith(".json"))
            body = json.load(tar.extractfile(name) or io.BytesIO(), parse_constant=constant)
    assert body["clip_score"] is None
    assert body["regions"][0]["score"] is None


def test_shards_of_curates_own_are_judged_by_no_child_process(tmp_path: Path) -> None:
    made = make_shards(tmp_path / "shards", rows=20, shards=1)
    with pq.ParquetFile(made / "shard-000000.parquet") as parquet:
        assert not is_foreign(parquet)
    assert api.export(made, "qwen-vl", tmp_path / "out", workers=0).dropped == {}
