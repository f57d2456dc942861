from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import msgspec
import pyarrow as pa
import pyarrow.compute as pc
import pytest
from hypothesis import given
from hypothesis import strategies as st

from curate.adapters import adapter, available, pairs
from curate.adapters.row_keys import languages
from curate.errors import InputError, ManifestError
from curate.manifest.load import load
from curate.manifest.settings import ImageSettings, InputSettings, Manifest
from curate.schema import SAMPLE
from curate.sources import DETAIL, PROBLEM, expand, open_source

DATA = Path(__file__).parents[4] / "shared" / "data"
real = pytest.mark.skipif(not DATA.is_dir(), reason="needs the read-only test data beside the repository")


def manifest(**changes: Any) -> Manifest:
    plain = Manifest(name="test", title="t", licence="l", homepage="h")
    return msgspec.structs.replace(plain, **changes)


def row(columns: dict[str, Any], of: Manifest | None = None) -> dict[str, Any]:
    """The first row of one batch through the adapter."""
    table = columns if isinstance(columns, pa.Table) else pa.table(columns)
    found: dict[str, Any] = pairs(table, of or manifest(), "a.parquet", 7).to_pylist()[0]
    return found


def pair(**columns: Any) -> dict[str, Any]:
    return {"url": ["http://x/a.jpg"], "text": ["a cat"]} | columns


def strings(*values: bytes | None) -> pa.Array:
    """A string column as a careless writer leaves it: its bytes were never checked."""
    return pa.array(values, pa.binary()).cast(options=pc.CastOptions(pa.string(), allow_invalid_utf8=True))


def test_a_pair_becomes_the_sample_schema() -> None:
    table = pairs(pa.table(pair(width=[3], other=["x"])), manifest(), "f.parquet", 41)
    assert table.schema == SAMPLE
    assert {k: v for k, v in table.to_pylist()[0].items() if v is not None} == {
        "key": "9b01b63d623f2a548681daafc9adc4f5",
        "dataset": "test",
        "task": "caption",
        "language": "en",
        "url": "http://x/a.jpg",
        "source": "f.parquet#41",
        "width": 3,
        "text": "a cat",
        "extra": '{"other":"x"}',
    }


def test_the_first_name_found_wins_as_written_before_any_case() -> None:
    of = manifest(columns={"text": ("TEXT", "caption"), "url": ("URL",)})
    assert row({"Url": ["u"], "caption": ["lower"], "text": ["folded"]}, of)["text"] == "lower"
    assert row({"Url": ["u"], "text": ["folded"]}, of)["text"] == "folded"
    assert row({"Url": ["u"], "text": ["folded"], "TEXT": ["exact"]}, of)["text"] == "exact"


def test_a_row_without_the_first_name_has_the_next_one_it_has() -> None:
    columns = {"caption": ["a", None, " ", None], "txt": ["b", "c", "d", None], "url": ["u", "u", None, None]}
    table = pairs(pa.table(columns | {"image_url": [None, None, "v", "w"]}), load("cc12m"), "in", 0)
    assert table["text"].to_pylist() == ["a", "c", "d", None]
    assert table["url"].to_pylist() == ["u", "u", "v", "w"]
    broken = pa.table(
        {"caption": pa.array([None, "ok"]), "txt": strings(b"\xff", b"\xff"), "url": ["u", "u"]}
    )
    assert pairs(broken, load("cc12m"), "in", 0)["dropped"].to_pylist() == ["text_not_utf8", None]


def test_a_missing_column_is_named_with_what_is_there() -> None:
    schema = pa.schema([("url", pa.string()), ("label", pa.string())])
    with pytest.raises(InputError, match=r"no column for text: looked for TEXT, text, caption.*label, url"):
        available(schema, manifest(columns={"text": ("TEXT", "text", "caption")}))
    with pytest.raises(
        InputError, match="no column for an image or its address: looked for url, image, image_path"
    ):
        available(pa.schema([("text", pa.string())]), manifest())


def test_what_an_input_gives_is_known_before_it_is_read() -> None:
    schema = pa.schema([("url", pa.string()), ("text", pa.string()), ("width", pa.int32())])
    assert available(schema, manifest()) == {"url", "text", "width"}


@pytest.mark.parametrize(
    ("values", "size"),
    [
        ([600], 600),
        (["600"], 600),
        ([" 600.0 "], 600),
        ([600.0], 600),
        (["600px"], None),
        ([""], None),
        ([None], None),
        ([math.nan], None),
        ([600.5], None),
        ([0], None),
        ([-4], None),
        ([2**40], None),
        (["99999999999999999999"], None),
        ([math.inf], None),
        (pa.array([600], pa.uint64()), 600),
        (pa.array([2**64 - 1], pa.uint64()), None),
        (pa.array(["600.00"]).cast(pa.decimal128(9, 2)), 600),
        (pa.array([600.0], pa.float16()), 600),
        (pa.array(["600"]).dictionary_encode(), 600),
        ([True], None),
        ([[600]], 600),
        ([{"w": 600}], None),
    ],
)
def test_sizes_are_read_from_whatever_holds_them(values: Any, size: int | None) -> None:
    assert row(pair(width=values))["width"] == size


@pytest.mark.parametrize(
    ("values", "score"),
    [
        ([0.25], 0.25),
        (["0.25"], 0.25),
        ([" 2.5e-1 "], 0.25),
        (["high"], None),
        ([math.nan], None),
        ([31.5], None),
        ([-0.5], -0.5),
        (pa.array([0.25], pa.float16()), 0.25),
        ([[0.125, 0.25, 0.1]], 0.25),
        ([[]], None),
        ([None], None),
    ],
)
def test_similarities_are_cosines_or_nothing(values: Any, score: float | None) -> None:
    assert row(pair(clip_score=values))["clip_score"] == score


def test_several_rows_of_score_lists_each_give_their_best() -> None:
    scores = pa.array([[0.1, 0.2], None, [], [0.5], [None, 0.3]])
    table = pa.table({"url": ["u"] * 5, "text": ["t"] * 5, "clip_score": scores})
    best = pairs(table, manifest(), "f", 0)["clip_score"].to_pylist()
    assert best == pytest.approx([0.2, None, None, 0.5, 0.3])


def test_broken_utf8_drops_its_own_row_with_a_reason() -> None:
    table = pa.table({"url": strings(b"u1", b"u2", b"u\xff"), "text": strings(b"good", b"caf\xe9", b"fine")})
    found = pairs(table, manifest(), "f", 0).to_pylist()
    assert [r["dropped"] for r in found] == [None, "text_not_utf8", "url_not_utf8"]
    assert found[1]["text"] == "caf\ufffd"
    assert found[1]["stage"] == "read"


def test_broken_utf8_beside_the_pair_is_repaired_and_costs_nothing() -> None:
    found = row(pair(other=strings(b"caf\xe9"), deep=pa.ListArray.from_arrays([0, 1], strings(b"\xff"))))
    assert found["dropped"] is None
    assert json.loads(found["extra"]) == {"other": "caf\ufffd", "deep": None}


@pytest.mark.parametrize("text", [None, "", " \n\t", "\u3000"])
def test_a_row_without_text_says_so(text: str | None) -> None:
    assert row(pair(text=pa.array([text], pa.string())))["dropped"] == "text_missing"


def test_a_row_without_an_image_says_so() -> None:
    null = pa.array([None], pa.string())
    assert row(pair(url=null))["dropped"] == "url_missing"
    assert row(pair(url=null, image=pa.array([None], pa.binary())))["dropped"] == "image_missing"
    assert row(pair(url=null, image=pa.array([b"x"], pa.binary())))["dropped"] is None


def test_a_problem_of_the_source_comes_first() -> None:
    found = row(
        pair(**{"text": pa.array([None], pa.string()), PROBLEM: ["row_malformed"], DETAIL: ["1 fields"]})
    )
    assert (found["dropped"], found["stage"], found["detail"]) == ("row_malformed", "read", "1 fields")
    assert found["extra"] == "{}"


@pytest.mark.parametrize(
    "image",
    [
        pa.array([b"bytes"], pa.binary()),
        pa.array([b"bytes"], pa.large_binary()),
        pa.array([b"bytes"], pa.binary(5)),
        pa.array([{"bytes": b"bytes", "path": "x.jpg"}]),
        pa.array(
            [{"path": None, "bytes": b"bytes"}], pa.struct([("path", pa.string()), ("bytes", pa.binary())])
        ),
        pa.array([[b"bytes"]]),
        pa.array([[{"bytes": b"bytes"}]]),
    ],
)
def test_image_bytes_are_found_in_all_their_wrappings(image: pa.Array) -> None:
    found = row(pair(image=image))
    assert (found["image"], found["image_path"]) == (b"bytes", None)


def test_rows_with_several_images_are_not_guessed_at() -> None:
    found = row({"text": ["two"], "image": [[b"a", b"b"]]})
    assert (found["image"], found["dropped"]) == (None, "image_missing")


def test_local_images_are_named_only_where_the_manifest_gives_a_folder() -> None:
    named = {"text": ["t"], "url": ["http://x/y/b%20c.jpg?w=1#/z"], "image": ["../a.jpg"]}
    assert row(named)["image_path"] is None
    inside = manifest(image=ImageSettings(folder="pictures"))
    assert row(named, inside)["image_path"] == "../a.jpg"
    assert row({k: v for k, v in named.items() if k != "image"}, inside)["image_path"] == "b%20c.jpg"
    assert row(pair(url=["http://x/y/"]), inside)["image_path"] is None


def test_an_image_that_is_only_named_needs_a_folder_or_an_address() -> None:
    named = {"text": ["t"], "image": ["a.jpg"]}
    assert row(named)["dropped"] == "image_missing"
    assert row(named, manifest(image=ImageSettings(folder="pictures")))["dropped"] is None
    assert row({"text": ["t"], "image": ["HTTPS://x/a.jpg"]})["url"] == "HTTPS://x/a.jpg"


def test_originals_of_laion_have_their_sides_swapped_back() -> None:
    of = manifest(input=InputSettings(swapped_sides_with="SAMPLE_ID"))
    found = row(pair(width=[30], height=[40], SAMPLE_ID=[1]), of)
    assert (found["width"], found["height"]) == (40, 30)
    found = row(pair(width=[30], height=[40]), of)
    assert (found["width"], found["height"]) == (30, 40)


def test_rows_of_another_set_are_dropped_where_a_column_tells() -> None:
    of = manifest(only={"LANGUAGE": ("zh", "zh-CN")})
    table = pa.table({"url": ["u"] * 3, "text": ["t"] * 3, "LANGUAGE": ["zh", "ja", None]})
    dropped = pairs(table, of, "f", 0)["dropped"].to_pylist()
    assert dropped == [None, "row_not_selected", "row_not_selected"]
    assert row(pair(), of)["dropped"] is None


def test_keys_depend_on_nothing_but_the_data_set_and_what_identifies_the_row() -> None:
    one = row(pair(width=[3]))["key"]
    assert len(one) == 32
    assert row(pair(other=["x"]))["key"] == one
    table = pa.table({"text": ["b", "a cat"], "url": ["u", "http://x/a.jpg"]})
    assert pairs(table, manifest(), "other.csv", 99)["key"].to_pylist()[1] == one
    assert row(pair(), manifest(name="another"))["key"] != one
    assert row(pair(text=["a cat."]))["key"] != one


def test_ids_are_the_same_as_integers_floats_and_strings() -> None:
    of = manifest(key=("id",))
    kinds = [[18289068833], [18289068833.0], ["18289068833"], pa.array([18289068833], pa.uint64())]
    assert len({row(pair(id=kind), of)["key"] for kind in kinds}) == 1
    assert row(pair(id=[2**60]), of)["key"] != row(pair(id=[2**60 + 1]), of)["key"]


def test_a_key_column_that_is_not_there_is_refused() -> None:
    with pytest.raises(InputError, match="no column 'uid'"):
        row(pair(), manifest(key=("uid",)))


def test_parts_of_a_key_do_not_run_together() -> None:
    assert row(pair(url=["a1:b"], text=["c"]))["key"] != row(pair(url=["a"], text=["1:b1:c"]))["key"]
    assert row(pair(url=["ab"], text=["c"]))["key"] != row(pair(url=["a"], text=["bc"]))["key"]


def test_images_without_address_are_told_apart_by_their_bytes() -> None:
    table = pa.table({"text": ["same", "same", "same"], "image": [b"1", b"2", b"1"]})
    one, two, again = pairs(table, manifest(), "f", 0)["key"].to_pylist()
    assert one == again != two


@pytest.mark.parametrize(
    ("text", "language"),
    [
        ("a cat", "en"),
        ("彩绘百合花图片", "zh"),
        ("照相机 HD 股票视频", "zh"),
        ("iPhone 手机壳", "zh"),
        ("Calligraphy of the character 福 on red paper", "en"),
        ("café crème", "en"),
        ("日本語のテキスト", "zh"),
        ("2023年", "zh"),
        ("«»", "en"),
    ],
)
def test_language_is_told_by_script(text: str, language: str) -> None:
    assert row(pair(text=[text]))["language"] == language


def test_languages_of_many_texts_are_told_one_by_one() -> None:
    texts = pa.array(["", "福", "", None, "a long sentence about 福", "", "百合花"], pa.large_string())
    assert languages(texts.slice(1)).to_pylist() == ["zh", "en", "en", "en", "en", "zh"]
    assert languages(texts.slice(0, 0)).to_pylist() == []


def test_a_manifest_can_settle_the_language() -> None:
    assert row(pair(text=["福"]), manifest(language="en"))["language"] == "en"


def test_extra_keeps_every_kind_of_value() -> None:
    columns = {
        "big": pa.array([2**63 - 1], pa.int64()),
        "unsigned": pa.array([2**64 - 1], pa.uint64()),
        "nan": [math.nan],
        "inf": [-math.inf],
        "single": pa.array([0.319336], pa.float32()),
        "half": pa.array([0.5], pa.float16()),
        'na"me': ['quote " back \\ line \n nul \x00 é'],
        "none": pa.array([None], pa.string()),
        "flag": [True],
        "boxes": [[[0.1, math.nan], []]],
        "thumb": [b"\x00\xff"],
        "when": pa.array([0], pa.timestamp("s")),
        "where": pa.array([0], pa.timestamp("s", "Nowhere/Land")),
        "never": pa.array([2**62], pa.timestamp("s")),
        "price": pa.array(["1.50"]).cast(pa.decimal128(5, 2)),
        "label": pa.array(["x"]).dictionary_encode(),
        "deep": [{"a": [{"b": "c"}]}],
        "nothing": pa.nulls(1),
        "pairs": pa.array([[("k", 1)]], pa.map_(pa.string(), pa.int64())),
    }
    assert json.loads(row(pair(**columns))["extra"]) == {
        "big": 2**63 - 1,
        "unsigned": 2**64 - 1,
        "nan": None,
        "inf": None,
        "single": 0.319336,
        "half": 0.5,
        'na"me': 'quote " back \\ line \n nul \x00 é',
        "none": None,
        "flag": True,
        "boxes": [[0.1, None], []],
        "thumb": "AP8=",
        "when": "1970-01-01 00:00:00",
        "where": None,
        "never": "<value out of range: 4611686018427387904>",
        "price": 1.5,
        "label": "x",
        "deep": {"a": [{"b": "c"}]},
        "nothing": None,
        "pairs": [["k", 1]],
    }


@given(st.lists(st.text(), min_size=1, max_size=20))
def test_extra_is_json_whatever_the_text(texts: list[str]) -> None:
    texts = [text.encode("utf-8", "ignore").decode() for text in texts]
    table = pa.table({"url": ["u"] * len(texts), "text": ["t"] * len(texts), "other": texts})
    found = pairs(table, manifest(), "f", 0)["extra"].to_pylist()
    assert [json.loads(value)["other"] for value in found] == texts


def test_an_unknown_adapter_is_refused() -> None:
    with pytest.raises(ManifestError, match=r"no adapter 'pears' \(did you mean 'pairs'\?\)"):
        adapter("pears")


def read(name: str, path: Path, work: Path, *assignments: str) -> pa.Table:
    of = load(name, assignments)
    found = expand([str(path)])[0]
    source = open_source(found, of.input, work)
    at, tables = 0, []
    for batch in source.batches(0, source.rows):
        tables.append(adapter(of.adapter)(pa.table(batch), of, found.name, at))
        at += batch.num_rows
    table = pa.concat_tables(tables)
    assert table.num_rows == source.rows
    return table


@real
@pytest.mark.parametrize(
    ("name", "path", "rows"),
    [
        ("laion", "laion/laion400m_10k/laion400m_sample.jsonl", 5981),
        ("laion", "laion/laion400m_fullmeta/laion400m_fullmeta.jsonl", 12),
        ("coyo", "coyo/coyo_rows.jsonl", 3),
        ("cc3m", "cc3m/cc3m_validation.jsonl", 9507),
        ("coco", "coco/coco_captions_val2017.jsonl", 15072),
    ],
)
def test_real_rows_all_arrive_with_keys_of_their_own(name: str, path: str, rows: int, tmp_path: Path) -> None:
    table = read(name, DATA / path, tmp_path)
    assert table.num_rows == rows
    distinct = set(zip(table["url"].to_pylist(), table["text"].to_pylist(), strict=True))
    assert len(set(table["key"].to_pylist())) == len(distinct)
    assert pc.all(pc.is_valid(table["text"])).as_py()


@real
def test_sides_of_laion_400m_stand_under_each_others_name(tmp_path: Path) -> None:
    table = read("laion", DATA / "laion/laion400m_fullmeta/laion400m_fullmeta.jsonl", tmp_path)
    newsok = table.filter(pc.match_substring(table["url"], "/w640-")).to_pylist()[
        0
    ]  # 640 pixels wide, it says
    assert (newsok["width"], newsok["height"]) == (640, 511)
    portrait = table.filter(pc.match_substring(table["url"], "chictopia")).to_pylist()[
        0
    ]  # a dress, head to toe
    assert portrait["width"] < portrait["height"]


@real
def test_a_real_webdataset_tar_gives_its_images(tmp_path: Path) -> None:
    import tarfile

    with tarfile.open(tmp_path / "cc12m.tar", "w") as tar:
        for file in sorted((DATA / "cc12m").iterdir()):
            tar.add(file, file.name)
    table = read("cc12m", tmp_path / "cc12m.tar", tmp_path)
    assert table.num_rows == 18
    assert {value[:2] for value in table["image"].to_pylist()} == {b"\xff\xd8"}


@real
def test_data_juicers_image_bytes_are_found_in_their_lists(tmp_path: Path) -> None:
    path = DATA / "data_juicer" / "demo-dataset-images-bytes.parquet"
    table = read("laion", path, tmp_path, 'columns.image=["image_bytes"]')
    assert {value[:4] for value in table["image"].to_pylist()} == {b"\x89PNG", b"\xff\xd8\xff\xe0"}
    assert table["dropped"].null_count == table.num_rows


@real
@pytest.mark.parametrize("name", ["coco_cn_test", "flickr30k_cn_test"])
def test_real_chinese_captions_are_chinese(name: str, tmp_path: Path) -> None:
    image_path = '["file_name", "image"]'
    table = read(
        "laion-zh",
        DATA / "zh_captions" / f"{name}.jsonl",
        tmp_path,
        f"columns.image_path={image_path}",
        "image.folder=pictures",
    )
    assert set(table["language"].to_pylist()) == {"zh"}
    assert table["dropped"].null_count == table.num_rows
