from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pyarrow.dataset
import pyarrow.parquet
import pytest

from curate.engine.journal import OUR_CARD
from curate.reporting import card
from curate.reporting.card import licence, size_category
from tests.curate.runs import ROOT, curate, done, pair, write_pairs


@pytest.fixture(scope="module")
def out(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("card")
    rows = [*(pair(n) for n in range(9)), pair(9, similarity=0.1)]
    source = write_pairs(folder / "rows.parquet", rows)
    done("run", "laion", "--input", source, "--out", folder / "out", "--workers", 0, "--set", "shard.rows=4")
    card.write(str(folder / "out"), ["en"])
    return folder / "out"


def test_datasets_loads_the_folder_by_its_name(out: Path, tmp_path: Path) -> None:
    datasets = pytest.importorskip("datasets")
    (out / "report.html").write_text("<p>beside the data</p>")
    loaded = datasets.load_dataset(str(out), split="train", cache_dir=str(tmp_path))
    assert loaded.num_rows == 9
    assert loaded[0]["image"].size == (240, 220)


def test_readers_take_the_folder_as_the_documents_say(out: Path) -> None:
    (out / "report.html").write_text("<p>beside the data</p>")
    paths = sorted(map(str, out.glob("shard-*.parquet")))
    page = (ROOT / "docs/report.md").read_text()
    assert 'dataset("DIR", exclude_invalid_files=True)' in page
    assert pyarrow.dataset.dataset(out, exclude_invalid_files=True).count_rows() == 9
    assert pyarrow.parquet.read_table(paths).num_rows == 9
    for name, count in (
        ("pandas", lambda module: len(module.read_parquet(paths, columns=["key"]))),
        ("polars", lambda module: module.scan_parquet(out / "shard-*.parquet").collect().height),
        ("duckdb", lambda module: len(module.sql(f"SELECT key FROM '{out}/shard-*.parquet'"))),
    ):
        assert count(pytest.importorskip(name)) == 9


def test_the_hub_reads_the_card(out: Path) -> None:
    huggingface_hub = pytest.importorskip("huggingface_hub")
    data = huggingface_hub.DatasetCard.load(out / "README.md").data
    assert data.language == ["en"]
    assert data.size_categories == ["n<1K"]
    assert data.configs[0]["data_files"] == [{"split": "train", "path": "shard-*.parquet"}]


def test_the_card_says_counts_licence_rules_and_limits(out: Path) -> None:
    text = (out / "README.md").read_text()
    assert "| clip_score_too_low | 1 | 10.00% |" in text
    assert "`clip_score_too_low`: `min_score = 0.32`" in text
    assert "CC-BY-4.0" in text
    assert "## Known limits" in text


def test_a_card_that_a_person_wrote_is_left_alone(out: Path, tmp_path: Path) -> None:
    mine = tmp_path / "run"
    mine.mkdir()
    (mine / "_manifest.json").write_bytes((out / "_manifest.json").read_bytes())
    (mine / "README.md").write_text("# Mine")
    assert card.write(str(mine)) == {"wrote": ["croissant.json"], "left": ["README.md"]}
    assert (mine / "README.md").read_text() == "# Mine"
    (mine / "README.md").write_text(OUR_CARD)
    assert card.write(str(mine))["left"] == []


def test_croissant_names_every_shard_with_its_checksum(out: Path) -> None:
    described = json.loads((out / "croissant.json").read_bytes())
    listed = json.loads((out / "_manifest.json").read_bytes())["shards"]
    files = [one for one in described["distribution"] if one["@type"] == "cr:FileObject"]
    assert [(one["contentUrl"], one["sha256"]) for one in files] == [(s["path"], s["sha256"]) for s in listed]


def test_mlcroissant_accepts_the_metadata_and_reads_the_rows_by_it(out: Path) -> None:
    mlcroissant = pytest.importorskip("mlcroissant")
    loaded = mlcroissant.Dataset(str(out / "croissant.json"))
    assert not loaded.metadata.ctx.issues.errors
    assert not loaded.metadata.ctx.issues.warnings
    rows: list[dict[str, Any]] = list(loaded.records("samples"))
    assert len(rows) == 9
    assert {row["samples/text"] for row in rows} == {pair(n)["TEXT"].encode() for n in range(9)}


def test_a_card_does_not_stand_in_the_way_of_a_resumed_or_verified_run(out: Path) -> None:
    assert curate("verify", out).returncode == 0


@pytest.mark.parametrize(
    ("said", "name"),
    [
        ("Apache-2.0", {"license": "apache-2.0"}),
        (
            "CC-BY-4.0 (the metadata)",
            {"license": "other", "license_name": "cc-by-4.0", "license_link": "https://a.example"},
        ),
        (
            "Google: free for any use",
            {
                "license": "other",
                "license_name": "google-free-for-any-use",
                "license_link": "https://a.example",
            },
        ),
    ],
)
def test_a_licence_is_said_in_the_hubs_terms(said: str, name: dict[str, str]) -> None:
    assert licence(said, "https://a.example") == name


@pytest.mark.parametrize(
    ("rows", "category"),
    [(0, "n<1K"), (999, "n<1K"), (1000, "1K<n<10K"), (99_999, "10K<n<100K"), (2_000_000_000, "1B<n<10B")],
)
def test_sizes_are_the_hubs(rows: int, category: str) -> None:
    assert size_category(rows) == category


@pytest.fixture(scope="module")
def sourced(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of rows on twelve hosts, some of them written by an enemy, of which two name licences."""
    folder = tmp_path_factory.mktemp("sourced")
    rows = [pair(n, URL=f"https://WWW.host{min(n, 11)}.example:8080/{n}.jpg") for n in range(14)]
    rows[0]["URL"] = 'https://=cmd("x"),|<b>/0.jpg'
    rows[1] |= {"LICENSE": "CC-BY-2.0"}
    rows[2] |= {"LICENSE": "<script>|", "URL": "https://user@host3.example/2.jpg"}
    table = [{"LICENSE": None} | row for row in rows]
    source = write_pairs(folder / "rows.parquet", table)
    done("run", "laion", "--input", source, "--out", folder / "out", "--workers", 0, "--set", "shard.rows=4")
    card.write(str(folder / "out"), ["en"])
    return folder / "out"


def test_the_card_says_domains_licences_dates_and_requests(sourced: Path) -> None:
    text = (sourced / "README.md").read_text()
    assert "| host11.example | 3 | 21.4% |" in text
    assert "| host3.example | 2 | 14.3% |" in text
    assert "| CC-BY-2.0 | 1 |" in text
    assert "<script>" not in text
    assert "were honoured: 0 rows" in text
    assert "- Removed on request: 0 rows." in text
    day = json.loads((sourced / "_manifest.json").read_bytes())["finished"][:10]
    assert f"- Read and fetched: {day} (UTC)" in text


def test_the_top_tenth_of_the_domains_is_listed_by_size(sourced: Path) -> None:
    lines = (sourced / "domains.csv").read_text().splitlines()
    assert lines[0] == "domain,rows,share,bytes"
    rows = [line.split(",") for line in lines[1:]]
    assert [row[0] for row in rows] == ["host11.example", "host3.example"]  # of eleven hosts the largest two
    kept = pyarrow.parquet.read_table(sorted(sourced.glob("shard-*.parquet"))).to_pylist()
    for host, count, share, size in rows:
        mine = [len(row["image"]["bytes"]) for row in kept if f"{host}" in row["url"].lower()]
        assert (int(count), int(size)) == (len(mine), sum(mine))
        assert float(share) == pytest.approx(len(mine) / 14, abs=1e-6)


def test_croissant_has_its_part_on_responsible_ai_and_is_accepted(sourced: Path) -> None:
    mlcroissant = pytest.importorskip("mlcroissant")
    described = json.loads((sourced / "croissant.json").read_bytes())
    assert "http://mlcommons.org/croissant/RAI/1.0" in described["conformsTo"]
    assert "Web Scraping" in described["rai:dataCollectionType"]
    loaded = mlcroissant.Dataset(str(sourced / "croissant.json"))
    assert not loaded.metadata.ctx.issues.errors
    assert not loaded.metadata.ctx.issues.warnings
    assert loaded.metadata.data_biases
    assert "removed on request" in str(loaded.metadata.data_release_maintenance_plan)
