"""From a packed sequence to the rows that it was made of."""

from __future__ import annotations

import shutil
from pathlib import Path

import pyarrow.parquet as pq
import pytest

import curate
from curate.errors import InputError, ManifestError
from tests.curate.runs import curate as command
from tests.curate.runs import pair, shards, write_pairs


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of three units, `out`, and packs of it with two samples or so a sequence, `packs`."""
    folder = tmp_path_factory.mktemp("made")
    source = write_pairs(folder / "rows.parquet", [pair(n) for n in range(10)])
    curate.run("laion", folder / "out", source, settings={"shard.rows": 4}, workers=0, progress=False)
    curate.pack(folder / "out", folder / "packs", seq_len=640)
    return folder


def test_a_sequence_is_traced_to_shard_source_and_url(made: Path) -> None:
    packed = pq.read_table(made / "packs" / "pack-000000.parquet").to_pylist()
    kept = {row["key"]: row for row in shards(made / "out").to_pylist()}
    for number, sequence in enumerate(packed):
        found = curate.trace(made / "packs", str(number))
        assert [one["key"] for one in found.samples] == sequence["keys"]
        for one in found.samples:
            row = kept[one["key"]]
            assert (one["url"], one["source"]) == (row["url"], row["source"])
            there = pq.read_table(made / "out" / one["shard"]).slice(one["shard_row"], 1).to_pylist()[0]
            assert there["key"] == one["key"]


def test_every_token_is_of_the_sample_whose_tokens_it_is_among(made: Path) -> None:
    sequence = pq.read_table(made / "packs" / "pack-000000.parquet").slice(1, 1).to_pylist()[0]
    for number in (0, sequence["segments"][1] - 1, sequence["segments"][1], len(sequence["tokens"]) - 1):
        (one,) = curate.trace(made / "packs" / "pack-000000.parquet", f"1:{number}").samples
        assert one["tokens"][0] <= number < one["tokens"][1]
        place = sequence["segments"].index(one["tokens"][0])
        assert one["key"] == sequence["keys"][place]


def test_a_key_is_traced_to_where_it_was_packed_and_from(made: Path) -> None:
    for key in shards(made / "out")["key"].to_pylist():
        (one,) = curate.trace(made / "packs", key).samples
        assert one["key"] == key
        assert key in pq.read_table(made / "packs" / one["pack"])["keys"][one["row"]].as_py()
        assert one["url"].startswith("https://pictures.example/")


def test_the_command_tells_it_in_lines_and_in_json(made: Path) -> None:
    key = shards(made / "out")["key"][7].as_py()
    told = command("trace", made / "packs", key)
    assert told.returncode == 0, told.stderr
    assert "https://pictures.example/7.jpg" in told.stdout
    assert "rows.parquet#7" in told.stdout
    assert "shard-000001.parquet, row 3" in told.stdout


def test_what_is_not_there_is_one_line(made: Path, tmp_path: Path) -> None:
    unknown = command("trace", made / "packs", "0" * 32)
    assert (unknown.returncode, unknown.stdout.count("\n")) == (1, 1)
    for asked, said in (
        ("999", "numbered from 0: there is no 999"),
        ("0:99999", "numbered from 0: there is no 99999"),
        ("pack-000009.parquet#0", "there is no 0"),
        ("what", "none of: a key"),
        ("-1", "none of: a key"),
    ):
        with pytest.raises(ManifestError, match=said):
            curate.trace(made / "packs", asked)
    with pytest.raises(InputError, match="holds no packs"):
        curate.trace(made / "out", "0")


def test_shards_that_are_gone_are_named_and_another_version_may_stand_in(made: Path, tmp_path: Path) -> None:
    out = Path(shutil.copytree(made / "out", tmp_path / "out"))
    curate.pack(out, tmp_path / "packs", seq_len=640)
    moved = out.rename(tmp_path / "moved")
    found = curate.trace(tmp_path / "packs", "0")
    assert found.gone == [str(out)]
    assert all("shard" not in one for one in found.samples)
    found = curate.trace(tmp_path / "packs", "0", shards=moved)
    assert all(one["url"] for one in found.samples)
