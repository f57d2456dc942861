from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest

from curate.errors import InputError, ManifestError, OutputError, UnitError
from curate.scorer import load
from curate.scoring import score
from curate.scoring.command import ScoreSettings
from curate.scoring.shard import ShardReading
from curate.storage.listing import DROPPED_FILES, SHARDS
from curate.storage.store import Store
from tests.curate.runs import ROOT, curate, done, dropped, files, shards
from tests.curate.scored import MODEL, asked, change_rows, run_shapes, shape

pytest.importorskip("torch")


@pytest.fixture(scope="module")
def plain(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two shards of twelve rows, as a run leaves them."""
    return run_shapes(tmp_path_factory.mktemp("plain") / "run")


@pytest.fixture(scope="module")
def whole(plain: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same, scored."""
    folder = copied(plain, tmp_path_factory.mktemp("whole"))
    score(str(folder), asked())
    return folder


def copied(folder: Path, where: Path) -> Path:
    return Path(shutil.copytree(folder, where / "run"))


def manifest(folder: Path) -> dict[str, Any]:
    read: dict[str, Any] = json.loads((folder / "_manifest.json").read_text())
    return read


def verified(folder: Path) -> dict[str, Any]:
    """What `curate verify` finds damaged."""
    found = curate("verify", folder, "--json")
    damaged: dict[str, Any] = json.loads(found.stdout)["damaged"]
    return damaged


def scorer_in(path: Path) -> Any:
    return json.loads(pq.read_schema(path).metadata[b"curate"])["scorer"]


def test_scoring_fills_the_columns_and_names_the_scorer_everywhere(plain: Path, whole: Path) -> None:
    before, after = shards(plain), shards(whole)
    assert after["clip_score"].null_count == after["clip_features"].null_count == 0
    assert pc.unique(pc.list_value_length(after["clip_features"])).to_pylist() == [64]
    same = [name for name in before.column_names if name not in ("clip_score", "clip_features")]
    assert before.select(same).equals(after.select(same))
    said = manifest(whole)["scorer"]
    assert {json.dumps(scorer_in(path), sort_keys=True) for path in whole.glob("shard-*")} == {
        json.dumps(said, sort_keys=True)
    }
    assert (said["precision"], said["dimension"], said["context_length"]) == ("fp32", 64, 16)
    assert len(said["weights_sha256"]) == 64
    assert verified(whole) == {}
    assert not (whole / "_run" / "score").exists()


def test_captions_of_their_own_picture_score_above_those_of_others(whole: Path) -> None:
    scores = np.array(shards(whole)["clip_score"].to_pylist())
    others = np.arange(len(scores)) % 3 == 2
    assert np.median(scores[~others]) > 0.5 > np.median(scores[others])


def test_row_groups_and_the_way_of_writing_stay(plain: Path, whole: Path) -> None:
    for path in plain.glob("shard-*"):
        old, new = pq.ParquetFile(path), pq.ParquetFile(whole / path.name)
        sizes = [
            [one.metadata.row_group(n).num_rows for n in range(one.num_row_groups)] for one in (old, new)
        ]
        assert sizes[0] == sizes[1]
        image = new.schema_arrow.get_field_index("image")
        assert new.metadata.row_group(0).column(image).compression == "UNCOMPRESSED"


def test_the_same_command_again_does_nothing(whole: Path) -> None:
    before = files(whole), (whole / "_manifest.json").stat().st_mtime_ns
    assert score(str(whole), asked()) == manifest(whole)
    assert before == (files(whole), (whole / "_manifest.json").stat().st_mtime_ns)


def test_the_scorer_is_built_again_from_the_shards_in_a_fresh_process(whole: Path, tmp_path: Path) -> None:
    code = (
        "import sys, numpy as np, pyarrow.parquet as pq, curate.scorer\n"
        "row = pq.read_table(sys.argv[1] + '/shard-000001.parquet').slice(3, 1).to_pylist()[0]\n"
        "with curate.scorer.load(sys.argv[1], device='cpu', cores=1) as scorer:\n"
        "    image = scorer.embed_images([row['image']['bytes']])[0]\n"
        "    text = scorer.embed_texts([row['text']])[0]\n"
        "print(np.abs(image - np.array(row['clip_features'])).max() < 1e-3)\n"
        "print(abs(image @ text - row['clip_score']) < 1e-5)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, str(whole)], cwd=tmp_path, env={"PYTHONPATH": str(ROOT), "PATH": ""},
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.stdout == "True\nTrue\n", done.stderr


def test_other_weights_are_not_taken_for_the_scorer(whole: Path, tmp_path: Path) -> None:
    from safetensors.torch import load_file, save_file

    weights = load_file(next((ROOT / MODEL).glob("*.safetensors")))
    save_file({**weights, "logit_scale": weights["logit_scale"] + 1}, tmp_path / "other.safetensors")
    with pytest.raises(Exception, match=r"not the scorer of .*weights_sha256"):
        load(str(whole), pretrained=str(tmp_path / "other.safetensors"), device="cpu", cores=1)


def test_unscored_shards_have_no_scorer_to_load(plain: Path) -> None:
    with pytest.raises(InputError, match="was not scored"):
        load(str(plain))


def test_a_threshold_drops_rows_and_the_books_balance(plain: Path, tmp_path: Path) -> None:
    folder = copied(plain, tmp_path)
    result = score(str(folder), asked(threshold=0.5))
    fell = result["dropped"]["clip_score_too_low"]
    assert 0 < fell < 24
    assert result["rows_out"] == 24 - fell == shards(folder).num_rows
    assert result["rows_in"] == result["rows_out"] + sum(result["dropped"].values())
    assert result["stages"][-1]["name"] == "score"
    assert pc.min(shards(folder)["clip_score"]).as_py() >= 0.5
    assert sorted(dropped(folder).values()) == ["clip_score_too_low"] * fell
    assert verified(folder) == {}
    row = pq.read_table(next((folder / "_dropped").glob("*.parquet"))).to_pylist()[0]
    assert row["stage"] == "score"
    assert row["detail"].startswith("clip_score=")
    told = json.loads(curate("explain", folder, row["key"], "--json").stdout)
    assert (told["fate"], told["reason"]) == ("dropped", "clip_score_too_low")


def test_what_fell_here_can_be_tried_again_like_any_other_row(plain: Path, tmp_path: Path) -> None:
    folder = copied(plain, tmp_path)
    fell = score(str(folder), asked(threshold=0.5))["dropped"]["clip_score_too_low"]
    again = done(
        "retry", folder, "--reasons", "clip_score_too_low", "--out", tmp_path / "again", "--workers", "0"
    )
    assert (again["rows_in"], again["rows_out"]) == (fell, fell)
    assert {*shards(tmp_path / "again")["source"].to_pylist()} == {*dropped(folder)}


def test_texts_without_an_image_are_not_embedded(plain: Path, tmp_path: Path) -> None:
    folder = copied(plain, tmp_path)
    change_rows(folder, lambda rows: rows[3].update(image=None, sha256=None))
    reading = ShardReading(Store(str(folder)), "shard-000000.parquet", 12)
    assert [number for number, text in enumerate(reading.texts) if text is None] == [3]


def test_thresholds_one_after_the_other_give_what_the_higher_gives_at_once(
    plain: Path, tmp_path: Path
) -> None:
    (tmp_path / "a").mkdir()
    (tmp_path / "b").mkdir()
    twice, once = copied(plain, tmp_path / "a"), copied(plain, tmp_path / "b")
    for threshold in (None, 0.1, 0.5):
        score(str(twice), asked(threshold=threshold))
    score(str(once), asked(threshold=0.5))
    assert dropped(twice) == dropped(once)
    assert manifest(twice)["dropped"] == manifest(once)["dropped"]
    assert {k: v for k, v in files(twice).items() if k[0] != "_"} == {
        k: v for k, v in files(once).items() if k[0] != "_"
    }
    assert verified(twice) == {}


def test_a_shard_that_loses_every_row_is_gone_and_accounted_for(plain: Path, tmp_path: Path) -> None:
    folder = copied(plain, tmp_path)
    result = score(str(folder), asked(threshold=1.0))
    assert (result["rows_out"], result["shards"], result["dropped"]) == (0, [], {"clip_score_too_low": 24})
    assert not list(folder.glob("shard-*"))
    assert verified(folder) == {}


def test_pure_text_stays_damaged_images_are_counted_and_dropped_only_with_a_threshold(
    plain: Path, tmp_path: Path
) -> None:
    def harm(rows: list[dict[str, Any]]) -> None:
        rows[0] |= {"image": None, "sha256": None, "width": None, "height": None, "task": "text"}
        rows[1]["image"]["bytes"] = rows[1]["image"]["bytes"][:500]
        rows[2]["text"] = " "

    folder = copied(plain, tmp_path)
    change_rows(folder, harm)
    result = score(str(folder), asked())
    assert result["scored"]["without_feature"] == {"damaged": 1}
    first = pq.read_table(folder / "shard-000000.parquet")
    assert first["clip_score"].is_valid().to_pylist()[:4] == [False, False, False, True]
    assert first["clip_features"].is_valid().to_pylist()[:4] == [False, False, True, True]
    result = score(str(folder), asked(threshold=-1.0))
    assert result["dropped"] == {"clip_score_missing": 1}
    assert pq.read_table(folder / "shard-000000.parquet").num_rows == 11


def test_another_scorer_is_refused_replaces_on_request_or_stands_beside(whole: Path, tmp_path: Path) -> None:
    folder = copied(whole, tmp_path)
    before = files(folder)
    with pytest.raises(OutputError, match=r"is scored by .*--rescore replaces its scores, --name"):
        score(str(folder), asked(precision="bf16"))
    assert files(folder) == before
    beside = score(str(folder), asked(precision="bf16", name="half"))
    assert files(folder) == before
    assert beside["scorers"]["half"]["scorer"]["precision"] == "bf16"
    assert beside["scorer"]["precision"] == "fp32"
    found = pq.read_table(folder / "_scores" / "half" / "shard-000000.parquet")
    own = pq.read_table(folder / "shard-000000.parquet")
    assert found["key"].equals(own["key"])
    assert pc.max(pc.abs(pc.subtract(found["clip_score"], own["clip_score"]))).as_py() < 0.02
    with load(str(folder), name="half", device="cpu", cores=1) as scorer:
        assert scorer.identity.precision == "bf16"
    replaced = score(str(folder), asked(precision="bf16", rescore=True))
    assert replaced["scorer"]["precision"] == "bf16"
    assert {scorer_in(path)["precision"] for path in folder.glob("shard-*")} == {"bf16"}
    assert verified(folder) == {}


def test_scores_alone_can_be_kept(plain: Path, tmp_path: Path) -> None:
    folder = copied(plain, tmp_path)
    score(str(folder), asked(features=False))
    assert shards(folder)["clip_features"].null_count == 24
    score(str(folder), asked())
    assert shards(folder)["clip_features"].null_count == 0
    assert verified(folder) == {}


def test_near_duplicates_fall_to_the_first_of_them(plain: Path, tmp_path: Path) -> None:
    def repeat(rows: list[dict[str, Any]]) -> None:
        for name in ("image", "sha256"):
            rows[5][name] = rows[1][name]

    folder = copied(plain, tmp_path)
    change_rows(folder, repeat)
    first, key = (pq.read_table(folder / "shard-000000.parquet")["key"][row].as_py() for row in (1, 5))
    result = score(str(folder), asked(max_similarity=0.99999))
    fallen = [row for path in (folder / "_dropped").glob("*") for row in pq.read_table(path).to_pylist()]
    assert key in {row["key"] for row in fallen}
    assert {row["reason"] for row in fallen} == {"near_duplicate"}
    assert result["dropped"]["near_duplicate"] == len(fallen)
    assert next(row["detail"] for row in fallen if row["key"] == key).endswith(f" to {first}")
    assert verified(folder) == {}
    assert score(str(folder), asked(max_similarity=0.99999)) == result


def test_a_shard_that_cannot_be_read_costs_itself_alone(plain: Path, tmp_path: Path) -> None:
    folder = copied(plain, tmp_path)
    good = (folder / "shard-000000.parquet").read_bytes()
    (folder / "shard-000000.parquet").write_bytes(good[:200] + b"\0" * 5000 + good[5200:])
    with pytest.raises(UnitError, match=r"1 of 2 shards could not be scored, first shard-000000.parquet"):
        score(str(folder), asked())
    assert scorer_in(folder / "shard-000001.parquet") is not None
    (folder / "shard-000000.parquet").write_bytes(good)
    score(str(folder), asked())
    assert verified(folder) == {}


def test_an_unfinished_scoring_by_another_is_refused_and_accounted_for_on_request(
    plain: Path, tmp_path: Path
) -> None:
    folder = copied(plain, tmp_path)
    good = (folder / "shard-000001.parquet").read_bytes()
    (folder / "shard-000001.parquet").write_bytes(b"nothing")
    with pytest.raises(UnitError):
        score(str(folder), asked(threshold=0.5))
    (folder / "shard-000001.parquet").write_bytes(good)
    with pytest.raises(OutputError, match="unfinished scoring"):
        score(str(folder), asked(precision="bf16"))
    result = score(str(folder), asked(precision="bf16", rescore=True))
    assert {scorer_in(path)["precision"] for path in folder.glob("shard-*")} == {"bf16"}
    assert result["rows_out"] + result["dropped"]["clip_score_too_low"] == 24
    assert verified(folder) == {}


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"threshold": 2.0}, "a cosine"),
        ({"name": "A B"}, "must be like"),
        ({"name": "x", "threshold": 0.1}, "without --name"),
        ({"max_similarity": 0.9, "features": False}, "needs the shards' own features"),
        ({"batch_size": 0}, "at least 1"),
    ],
)
def test_settings_that_make_no_sense_are_refused(plain: Path, changes: dict[str, Any], says: str) -> None:
    with pytest.raises(ManifestError, match=says):
        score(str(plain), asked(**changes))


def test_a_folder_without_a_complete_run_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="holds no complete run"):
        score(str(tmp_path), ScoreSettings(scorer=asked().scorer))


def test_batches_of_any_size_give_the_same_scores(plain: Path, whole: Path, tmp_path: Path) -> None:
    folder = copied(plain, tmp_path)
    score(str(folder), asked(batch_size=5))
    difference = pc.subtract(shards(folder)["clip_score"], shards(whole)["clip_score"])
    assert pc.max(pc.abs(difference)).as_py() < 1e-5


def test_features_are_read_back_by_datasets(whole: Path) -> None:
    datasets = pytest.importorskip("datasets")
    found = datasets.Dataset.from_parquet(
        str(whole / "shard-000000.parquet"), cache_dir=str(whole.parent / "hf")
    )
    assert len(found[0]["clip_features"]) == 64
    assert pa.types.is_float16(found.features.arrow_schema.field("clip_features").type.value_type)
    assert shape(0)[1] in found[0]["text"]


def test_the_tables_of_files_are_those_of_the_scored_shards(plain: Path, tmp_path: Path) -> None:
    out = copied(plain, tmp_path)
    score(str(out), asked())
    scores = pc.fill_null(shards(out)["clip_score"], -1).to_numpy()
    score(str(out), asked(threshold=float(np.median(scores)), rescore=True))
    listed = {
        row["path"]: row["sha256"]
        for name in (SHARDS, DROPPED_FILES)
        for row in pq.read_table(out / name).to_pylist()
    }
    assert any(name.startswith("_dropped/") for name in listed)
    assert listed == files(out)
