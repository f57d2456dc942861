"""Runs whose images come from a web server, and second tries of what failed."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq

from tests.curate.runs import curate, done, dropped, files, pair, picture, shards, write_pairs
from tests.curate.web import Site

FEW = (
    "--workers",
    "0",
    "--set",
    "shard.rows=4",
    "--set",
    "fetch.retries=0",
    "--set",
    "rules.placeholder_image=false",
)
LOCAL = (*FEW, "--set", "fetch.allow_private=true")


def addressed(path: Path, urls: list[str]) -> Path:
    """Pairs without their images, at these addresses."""
    rows: list[dict[str, Any]] = []
    for number, url in enumerate(urls):
        row = pair(number, URL=url)
        del row["image"]
        rows.append(row)
    return write_pairs(path, rows)


def test_every_address_ends_as_a_record_or_as_a_failure_with_its_reason(site: Site, tmp_path: Path) -> None:
    found = addressed(
        tmp_path / "in.parquet",
        [
            site.answer("/0.jpg", body=picture(0)),
            site.answer("/gone.jpg", status=404),
            site.answer("/page.jpg", body=b"<html>not a picture</html>"),
            site.answer("/cut.jpg", body=picture(3)[:700]),
            site.answer("/mine.jpg", body=picture(4), X_Robots_Tag="noai"),
            "ftp://127.0.0.1/5.jpg",
            site.answer("/6.jpg", body=picture(6)),
            site.answer("/small.jpg", body=picture(7, 90, 80)),
            site.answer("/png.jpg", body=picture(8, kind="PNG")),
        ],
    )
    result = done("run", "laion", "--input", found, "--out", tmp_path / "out", *LOCAL)
    reasons = {int(source.split("#")[1]): reason for source, reason in dropped(tmp_path / "out").items()}
    assert reasons == {
        1: "http_404",
        2: "not_an_image",
        3: "damaged",
        4: "opted_out",
        5: "bad_url",
        7: "image_too_small",
    }
    assert result["rows_in"] == result["rows_out"] + sum(result["dropped"].values()) == 9
    kept = shards(tmp_path / "out").to_pylist()
    assert [row["image"]["bytes"] for row in kept] == [picture(0), picture(6), picture(8, kind="PNG")]
    assert [row["image"]["path"].rsplit(".")[-1] for row in kept] == ["jpg", "jpg", "png"]


def test_no_private_address_is_asked_unless_the_manifest_says_so(site: Site, tmp_path: Path) -> None:
    found = addressed(tmp_path / "in.parquet", [site.url(f"/{n}.jpg") for n in range(3)])
    result = done("run", "laion", "--input", found, "--out", tmp_path / "out", *FEW)
    assert result["dropped"] == {"blocked_address": 3}
    assert site.requests == []


def test_rows_that_fall_to_a_cheap_rule_are_never_fetched(site: Site, tmp_path: Path) -> None:
    rows = [pair(n, URL=site.answer(f"/{n}.jpg", body=picture(n))) for n in range(4)]
    rows[1] |= {"TEXT": "no"}
    rows[2] |= {"URL": rows[0]["URL"], "TEXT": rows[0]["TEXT"]}
    for row in rows:
        del row["image"]
    found = write_pairs(tmp_path / "in.parquet", rows)
    done("run", "laion", "--input", found, "--out", tmp_path / "out", *LOCAL)
    assert sorted(request.path for request in site.requests) == ["/0.jpg", "/3.jpg"]


def test_retry_asks_again_for_what_failed_and_for_nothing_else(site: Site, tmp_path: Path) -> None:
    urls = [site.answer(f"/{n}.jpg", body=picture(n)) for n in range(10)]
    for number in (2, 7):
        site.answer(f"/{number}.jpg", status=503)
    site.answer("/5.jpg", status=404)
    found = addressed(tmp_path / "in.parquet", urls)
    first = done("run", "laion", "--input", found, "--out", tmp_path / "first", *LOCAL)
    assert first["dropped"] == {"http_503": 2, "http_404": 1}
    site.requests.clear()
    for number in (2, 7):
        site.answer(f"/{number}.jpg", body=picture(number))
    again = ("retry", tmp_path / "first", "--reasons", "http_503", "--workers", 0)
    second = done(*again, "--out", tmp_path / "second")
    assert (second["rows_in"], second["rows_out"]) == (2, 2)
    assert sorted(request.path for request in site.requests) == ["/2.jpg", "/7.jpg"]
    assert shards(tmp_path / "second")["url"].to_pylist() == [urls[2], urls[7]]
    assert done("verify", tmp_path / "second")["damaged"] == {}


def test_retry_for_a_reason_that_never_occurred_names_the_nearest(site: Site, tmp_path: Path) -> None:
    urls = [site.answer("/0.jpg", status=404), site.answer("/1.jpg", body=picture(1))]
    found = addressed(tmp_path / "in.parquet", urls)
    done("run", "laion", "--input", found, "--out", tmp_path / "first", *LOCAL)
    refused = curate("retry", tmp_path / "first", "--reasons", "http_405", "--out", tmp_path / "second")
    assert refused.returncode == 2
    assert "did you mean 'http_404'?" in refused.stderr


def test_a_killed_run_never_fetches_a_finished_unit_again(site: Site, tmp_path: Path) -> None:
    urls = [site.answer(f"/{n}.jpg", body=picture(n)) for n in range(8)]
    found = addressed(tmp_path / "in.parquet", urls)
    done("run", "laion", "--input", found, "--out", tmp_path / "out", *LOCAL)
    before = files(tmp_path / "out")
    (tmp_path / "out" / "_manifest.json").unlink()  # as if killed just before it was written
    site.requests.clear()
    done("run", "laion", "--input", found, "--out", tmp_path / "out", *LOCAL)
    assert site.requests == []
    assert files(tmp_path / "out") == before


def test_explain_tells_each_fate(site: Site, tmp_path: Path) -> None:
    urls = [
        site.answer("/0.jpg", body=picture(0)),
        site.answer("/1.jpg", status=404),
        site.answer("/2.jpg", body=picture(2)),
    ]
    found = addressed(tmp_path / "in.parquet", urls)
    table = pq.read_table(found).to_pylist()
    table[2]["TEXT"] = "no"
    write_pairs(found, table)
    done("run", "laion", "--input", found, "--out", tmp_path / "out", *LOCAL)
    kept = done("explain", tmp_path / "out", urls[0])
    assert (kept["fate"], kept["shard"], kept["row"]) == ("kept", "shard-000000.parquet", 0)
    assert done("explain", tmp_path / "out", kept["key"])["url"] == urls[0]
    assert done("explain", tmp_path / "out", urls[1])["reason"] == "http_404"
    short = done("explain", tmp_path / "out", urls[2])
    assert (short["reason"], short["detail"], short["settings"]) == (
        "text_too_short",
        "chars=2",
        {"min_chars": 5},
    )
    unknown = curate("explain", tmp_path / "out", "https://elsewhere.example/", "--json")
    assert (unknown.returncode, json.loads(unknown.stdout)["fate"]) == (1, "unknown")


def test_verify_names_each_damaged_file(site: Site, tmp_path: Path) -> None:
    urls = [site.answer(f"/{n}.jpg", body=picture(n)) for n in range(12)]
    found = addressed(tmp_path / "in.parquet", urls)
    done("run", "laion", "--input", found, "--out", tmp_path / "out", *LOCAL)
    assert done("verify", tmp_path / "out") == {"shards": 3, "rows": 12, "damaged": {}}
    flipped, lost = (tmp_path / "out" / f"shard-00000{n}.parquet" for n in (0, 1))
    data = bytearray(flipped.read_bytes())
    data[len(data) // 2] ^= 1
    flipped.write_bytes(data)
    lost.unlink()
    (tmp_path / "out" / "shard-000009.parquet").write_bytes(b"")
    checked = curate("verify", tmp_path / "out", "--json")
    assert checked.returncode == 1
    damaged = json.loads(checked.stdout)["damaged"]
    assert {"shard-000000.parquet", "shard-000001.parquet", "shard-000009.parquet"} <= set(damaged)
    assert damaged["shard-000001.parquet"] == ["it is missing"]
