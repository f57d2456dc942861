from __future__ import annotations

import io
import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

from curate.errors import InputError
from curate.verifying.command import verify
from curate.verifying.repair import repair
from tests.curate.made_shards import make_shards
from tests.curate.runs import curate, done, files, pair, picture, write_pairs


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of three units with rows that fell to every kind of rule across it."""
    folder = tmp_path_factory.mktemp("whole")
    rows = [pair(n) for n in range(10)] + [pair(10, similarity=0.1)]
    rows += [
        pair(3),
        pair(11, TEXT=pair(4)["TEXT"], image=picture(4)),
    ]  # the same pair; the same image and text
    source = write_pairs(folder / "rows.parquet", rows)
    done("run", "laion", "--input", source, "--out", folder / "out", "--workers", 0, "--set", "shard.rows=5")
    assert verify(str(folder / "out"))["damaged"] == {}
    return folder / "out"


@pytest.fixture
def out(whole: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(whole, tmp_path / "out"))


def change(path: Path, name: str, values: list[Any]) -> None:
    """Write a shard again with another first row in one of its columns, its schema and form kept."""
    table = pq.read_table(path)
    column = [*values, *table[name].to_pylist()[len(values) :]]
    at = table.schema.get_field_index(name)
    table = table.set_column(at, table.schema.field(at), pa.array(column, table.schema.field(at).type))
    pq.write_table(table, path, write_page_checksum=True)


def problems(folder: Path, name: str = "shard-000000.parquet") -> str:
    return " | ".join(verify(str(folder))["damaged"].get(name, []))


def encoded(width: int, height: int, kind: str = "JPEG", mode: str = "RGB") -> dict[str, Any]:
    body = io.BytesIO()
    Image.new(mode, (width, height)).save(body, kind)
    return {"bytes": body.getvalue(), "path": "laion/x.jpg"}


@pytest.mark.parametrize(
    ("column", "values", "said"),
    [
        ("image", [encoded(100, 100)], "not the one of its sha256"),
        ("image", [encoded(100, 100)], "is 100x100 instead of 240x220"),
        ("image", [{"bytes": picture(0)[:-500], "path": "laion/x.jpg"}], "cannot be decoded (damaged)"),
        ("image", [encoded(240, 220, mode="CMYK")], "upright RGB"),
        ("prompt", ["Say something:"], "prompt or target"),
        ("target", [" something else"], "prompt or target"),
        ("key", ["0123"], "hex digits"),
    ],
)
def test_a_row_that_is_not_what_it_says_is_found(
    out: Path, column: str, values: list[Any], said: str
) -> None:
    change(out / "shard-000000.parquet", column, values)
    assert said in problems(out)


def test_a_region_outside_its_image_is_found(out: Path) -> None:
    region = {"text": "far", "start": None, "end": None, "quad": [0, 0, 900, 0, 900, 10, 0, 10], "score": 1}
    change(out / "shard-000000.parquet", "regions", [[region]])
    assert "outside its image" in problems(out)


def test_a_question_that_its_row_does_not_hold_is_found(tmp_path: Path) -> None:
    done("run", "vqav2", "--out", tmp_path / "out", "--workers", 0)
    assert verify(str(tmp_path / "out"))["damaged"] == {}
    shard = tmp_path / "out/shard-000000.parquet"
    asked = pq.read_table(shard)["prompt"][0].as_py()
    change(shard, "prompt", [asked.replace("?", "??", 1)])
    assert "prompt or target" in problems(tmp_path / "out")
    done("run", "vqav2", "--out", tmp_path / "clean", "--workers", 0, "--set", 'clean=["patterns"]')
    assert verify(str(tmp_path / "clean"))["damaged"] == {}


def test_damaged_and_missing_files_of_dropped_rows_are_named(out: Path) -> None:
    data = bytearray((out / "_dropped/dropped-000002.parquet").read_bytes())
    data[60] ^= 1
    (out / "_dropped/dropped-000002.parquet").write_bytes(data)
    assert "cannot be read" in problems(out, "_dropped/dropped-000002.parquet")
    (out / "_dropped/dropped-000002.parquet").unlink()
    assert "0 rows instead of 3" in problems(out, "_dropped/dropped-000002.parquet")


def test_a_repair_brings_back_the_very_bytes(out: Path, whole: Path) -> None:
    (out / "shard-000000.parquet").write_bytes(b"PAR1")
    (out / "shard-000001.parquet").unlink()
    untouched = (out / "_dropped/dropped-000002.parquet").stat().st_mtime_ns
    found = repair(str(out))
    assert found["repaired"] == ["shard-000000.parquet", "shard-000001.parquet"]
    assert found["damaged"] == {}
    assert files(out) == files(whole)
    assert (out / "_dropped/dropped-000002.parquet").stat().st_mtime_ns == untouched
    assert not (out / "_run/repair").exists()


def test_a_unit_that_lost_rows_across_the_run_loses_them_again(tmp_path: Path) -> None:
    rows = [pair(n, TEXT=f"One picture under name {n}", image=picture(0)) for n in range(12)]
    rows += [pair(n) for n in range(20, 24)]
    source = write_pairs(tmp_path / "rows.parquet", rows)
    done(
        *("run", "laion", "--input", source, "--out", tmp_path / "out", "--workers", 0),
        *("--set", "shard.rows=14", "--set", "rules.placeholder_image.max_texts=3"),
    )
    before = files(tmp_path / "out")
    (tmp_path / "out/shard-000000.parquet").unlink()
    assert repair(str(tmp_path / "out"))["damaged"] == {}
    assert files(tmp_path / "out") == before


def test_dropped_rows_are_repaired_too(tmp_path: Path) -> None:
    source = write_pairs(tmp_path / "rows.parquet", [pair(0), pair(1, similarity=0.1)])
    done("run", "laion", "--input", source, "--out", tmp_path / "out", "--workers", 0)
    before = files(tmp_path / "out")
    (tmp_path / "out/_dropped/dropped-000000.parquet").write_bytes(b"PAR1")
    found = repair(str(tmp_path / "out"))
    assert found["repaired"] == ["_dropped/dropped-000000.parquet"]
    assert files(tmp_path / "out") == before


def test_what_fell_across_the_run_is_judged_again_where_its_record_is_lost(out: Path, whole: Path) -> None:
    lost = "_dropped/dropped-000002.parquet"
    assert "across" in pq.read_table(out / lost)["stage"].cast(pa.string()).to_pylist()
    (out / lost).unlink()
    (out / "shard-000001.parquet").unlink()
    found = repair(str(out))
    assert found["repaired"] == [lost, "shard-000001.parquet"]
    assert found["damaged"] == {}
    assert files(out) == files(whole)


def test_what_fell_across_the_run_is_not_guessed_where_only_a_share_of_it_was_written(tmp_path: Path) -> None:
    rows = [pair(n, TEXT=f"One picture under name {n}", image=picture(0)) for n in range(12)]
    source = write_pairs(tmp_path / "rows.parquet", [*rows, pair(20)])
    done(
        *("run", "laion", "--input", source, "--out", tmp_path / "out", "--workers", 0),
        *("--set", "drops.sample=0.5"),
    )
    (tmp_path / "out/shard-000000.parquet").unlink()
    (tmp_path / "out/_dropped/dropped-000000.parquet").write_bytes(b"PAR1")
    found = repair(str(tmp_path / "out"))
    assert (found["repaired"], len(found["damaged"])) == ([], 2)


@pytest.mark.parametrize("needed", ["manifest", b"huggingface", b"curate"])
def test_what_a_shard_says_of_itself_is_checked(out: Path, needed: str | bytes) -> None:
    path = out / "shard-000000.parquet"
    table = pq.read_table(path)
    metadata = dict(table.schema.metadata)
    if needed == "manifest":
        metadata[b"curate"] = metadata[b"curate"].replace(b'"manifest": "', b'"manifest": "0')
    else:
        del metadata[needed]
    pq.write_table(table.replace_schema_metadata(metadata), path, write_page_checksum=True)
    assert "metadata are not of this run" in problems(out)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda m: m.update(rows_in=99), "99 rows in, but 10 out and 3 dropped"),
        (lambda m: m.update(rows_out=99), "shards hold 10 rows instead of 99"),
        (lambda m: m["dropped"].update(duplicate_pair=1, clip_score_too_low=2), "dropped is not the sum"),
        (lambda m: m.update(inputs_in=99), "inputs_in is not the sum"),
        (lambda m: m["inputs"][0].update(rows=99), "not those that were planned"),
        (lambda m: m["stages"][0].update(rows_out=7), "7 and 13 rows between read and render"),
        (lambda m: m["manifest"]["rules"]["image_too_small"].update(min_side=1), "not those of its digest"),
        (lambda m: m["shards"].pop(), "shards hold"),
        (lambda m: m.pop("shards"), "is damaged (it lacks shards)"),
    ],
)
def test_a_manifest_that_was_changed_is_found(out: Path, change: Callable[[Any], None], said: str) -> None:
    manifest = json.loads((out / "_manifest.json").read_bytes())
    change(manifest)
    (out / "_manifest.json").write_text(json.dumps(manifest))
    assert said in problems(out, "_manifest.json")
    finished = curate("verify", out)
    assert finished.returncode == 1
    assert "_manifest.json: " in finished.stdout


def test_a_manifest_that_cannot_be_read_is_named_and_the_same_command_writes_it_anew(out: Path) -> None:
    before = json.loads((out / "_manifest.json").read_bytes())
    (out / "_manifest.json").write_text('{"rows_in":')
    finished = curate("verify", out, "--repair")
    assert finished.returncode == 1
    assert "delete it and run the same command again" in finished.stdout
    assert curate("report", out).returncode == 2
    (out / "_manifest.json").unlink()
    source = before["inputs"][0]["uri"]
    after = done("run", "laion", "--input", source, "--out", out, "--workers", 0, "--set", "shard.rows=5")
    assert after | {"finished": ""} == before | {"finished": ""}


def test_dropped_rows_with_another_reason_or_of_no_unit_are_found(out: Path) -> None:
    name = "_dropped/dropped-000002.parquet"
    shutil.copy(out / name, out / "_dropped/dropped-000077.parquet")
    table = pq.read_table(out / name)
    reason = pa.array(["http_404"] * table.num_rows).dictionary_encode()
    at = table.schema.get_field_index("reason")
    table = table.set_column(at, table.schema.field(at), reason.cast(table.schema.field(at).type))
    pq.write_table(table, out / name, write_page_checksum=True)
    assert "instead of" in problems(out, name)
    assert "instead of 0" in problems(out, "_dropped/dropped-000077.parquet")
    assert repair(str(out))["repaired"] == [name]


def test_shards_that_changed_places_and_strange_ones_are_named(out: Path, whole: Path) -> None:
    one, two = (out / f"shard-00000{n}.parquet" for n in range(2))
    shutil.copy(one, out / "shard-000099.parquet")
    one.rename(out / "aside")
    two.rename(one)
    (out / "aside").rename(two)
    assert set(verify(str(out))["damaged"]) == {one.name, two.name, "shard-000099.parquet"}
    found = repair(str(out))
    assert found["repaired"] == [one.name, two.name]
    assert set(found["damaged"]) == {"shard-000099.parquet"}


def test_packs_and_exports_are_no_run(tmp_path: Path) -> None:
    make_shards(tmp_path / "shards", rows=4, shards=1)
    assert curate("pack", tmp_path / "shards", "--out", tmp_path / "packs").returncode == 0
    for command in ("verify --repair", "report", "explain", "score"):
        more = ["x"] if command == "explain" else []
        finished = curate(*command.split(), tmp_path / "packs", *more)
        assert (finished.returncode, finished.stderr.count("\n")) == (2, 1)
        assert "holds packs: give the folder of `curate run`" in finished.stderr


def test_a_repair_that_comes_out_otherwise_is_not_put_in_place(out: Path) -> None:
    manifest = json.loads((out / "_manifest.json").read_bytes())
    manifest["shards"][0]["sha256"] = "0" * 64
    (out / "_manifest.json").write_text(json.dumps(manifest))
    before = files(out)
    found = repair(str(out))
    assert found["repaired"] == []
    assert "shard-000000.parquet" in found["damaged"]
    assert files(out) == before


def test_nothing_is_made_where_nothing_is_damaged(out: Path) -> None:
    assert repair(str(out)) == verify(str(out)) | {"repaired": []}


def test_changed_inputs_are_refused(tmp_path: Path) -> None:
    source = write_pairs(tmp_path / "rows.parquet", [pair(0), pair(1)])
    done("run", "laion", "--input", source, "--out", tmp_path / "out", "--workers", 0)
    write_pairs(source, [pair(0), pair(2), pair(3)])
    (tmp_path / "out/shard-000000.parquet").unlink()
    with pytest.raises(InputError, match="have changed"):
        repair(str(tmp_path / "out"))
