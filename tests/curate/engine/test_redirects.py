"""Placeholder pictures that redirects lead to: many addresses that end at one of another name."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import curate
from curate.engine.staged_pairs import fallen_detail, sha256_of, with_redirects
from curate.errors import ManifestError
from curate.verifying.repair import repair
from tests.curate.runs import dropped, files, pair, picture, shards, write_pairs
from tests.curate.web import Site

LOCAL = {"shard.rows": 4, "fetch.allow_private": True, "fetch.retries": 0}


def run(
    out: Path, inputs: Sequence[Path], workers: int = 0, limit: int | None = None, **settings: Any
) -> Any:
    uris = [str(one) for one in inputs]
    return curate.run(
        "laion", out, uris, settings=LOCAL | settings, workers=workers, limit=limit, progress=False
    )


def addressed(path: Path, urls: Sequence[str], first: int = 0) -> Path:
    """Pairs without their images, at these addresses."""
    rows = [pair(number, URL=url) for number, url in enumerate(urls, first)]
    for row in rows:
        del row["image"]
    return write_pairs(path, rows)


def redirects(site: Site, asked: Sequence[str], location: str) -> list[str]:
    return [site.redirect(path, location) for path in asked]


def test_what_ten_addresses_lead_to_is_a_placeholder_and_what_nine_lead_to_is_none(
    site: Site, tmp_path: Path
) -> None:
    for number, name in enumerate(("gone", "rare", "one", "direct")):
        site.answer(f"/{name}.jpg", body=picture(number))
    urls = redirects(site, [f"/a/{n}.jpg" for n in range(10)], "/gone.jpg")
    urls += redirects(site, [f"/b/{n}.jpg" for n in range(9)], "/rare.jpg")
    urls += redirects(site, [f"/{n}/one.jpg" for n in range(10)], "/one.jpg")
    for number in range(10):  # a host that serves all its pictures elsewhere
        moved = site.answer(f"/cdn/{number}.png", body=picture(10 + number))
        urls.append(site.redirect(f"/show?id={number}", moved))
    urls.append(site.url("/direct.jpg"))
    result = run(tmp_path / "out", [addressed(tmp_path / "in.parquet", urls)])
    assert result.dropped == {"placeholder_image": 10}
    lost = pq.read_table(tmp_path / "out/_dropped/dropped-000000.parquet").to_pylist()[0]
    assert (lost["stage"], lost["reason"]) == ("across", "placeholder_image")
    assert lost["detail"].endswith(f" redirected_to={site.url('/gone.jpg')}")
    said = [
        json.loads(extra or "{}").get("curate_redirected_to")
        for extra in shards(tmp_path / "out")["extra"].to_pylist()
    ]
    elsewhere = [site.url("/rare.jpg")] * 9 + [None] * 10 + [site.url(f"/cdn/{n}.png") for n in range(10)]
    assert said == [*elsewhere, None]
    assert curate.verify(tmp_path / "out", workers=0).damaged == {}


def test_the_threshold_is_a_setting_and_addresses_count_once(site: Site, tmp_path: Path) -> None:
    site.answer("/gone.jpg", body=picture(0))
    urls = redirects(site, ["/0.jpg", "/1.jpg", "/2.jpg"], "/gone.jpg")
    found = addressed(tmp_path / "in.parquet", [*urls, *urls])
    name = "rules.placeholder_image.max_addresses"
    assert run(tmp_path / "two", [found], **{name: 2}).dropped == {"placeholder_image": 6}
    assert run(tmp_path / "three", [found], **{name: 3}).dropped == {}
    assert run(tmp_path / "any", [found], **{name: 0}).dropped == {}
    assert "curate_redirected_to" not in str(shards(tmp_path / "any")["extra"].to_pylist())
    assert run(tmp_path / "few", [found], limit=2).dropped == {}
    with pytest.raises(ManifestError, match="max_addresses"):
        run(tmp_path / "none", [found], **{name: -1})


@pytest.mark.parametrize("counts", [(4, 3, 4), (10, 1, 0)])
def test_a_placeholder_falls_in_a_run_that_grows_as_in_one_run(
    site: Site, tmp_path: Path, counts: tuple[int, ...]
) -> None:
    for name in ("gone", "same"):
        site.answer(f"/{name}.jpg", body=picture(7))
    parts, first = [], 100  # later texts are longer
    for part, count in enumerate(counts):
        urls = redirects(site, [f"/{part}-{n}.jpg" for n in range(count)], "/gone.jpg")
        urls.append(site.redirect(f"/same-{part}.jpg", "/same.jpg"))
        urls += [site.answer(f"/good-{part}-{n}.jpg", body=picture(20 + 5 * part + n)) for n in range(4)]
        parts.append(addressed(tmp_path / f"part-{part}.parquet", urls, first))
        first *= 10
    longest = {  # of the same picture one row is kept, until it is known to be a placeholder
        "rules.shorter_text_of_same_image": {},
        "rules.placeholder_image.max_texts": 20,
    }
    together, grown = tmp_path / "together", tmp_path / "grown"
    run(together, parts, **longest)
    assert list(dropped(together).values()).count("placeholder_image") == 11
    for count in (1, 2, 3):
        run(grown, parts[:count], **longest)
    assert files(grown) == files(together)
    assert curate.verify(grown, workers=0).damaged == {}


def test_what_fell_by_its_redirects_falls_again_when_it_is_repaired(site: Site, tmp_path: Path) -> None:
    site.answer("/gone.jpg", body=picture(0))
    urls = redirects(site, [f"/{n}.jpg" for n in range(10)], "/gone.jpg")
    urls.append(site.answer("/good.jpg", body=picture(1)))
    run(tmp_path / "out", [addressed(tmp_path / "in.parquet", urls)])
    before = files(tmp_path / "out")
    for name in ("_dropped/dropped-000001.parquet", "shard-000002.parquet"):
        (tmp_path / "out" / name).unlink()
    assert repair(str(tmp_path / "out"))["damaged"] == {}
    assert files(tmp_path / "out") == before


def test_a_redirect_is_said_beside_what_the_source_says() -> None:
    extra = pa.array([None, '{"a":1.50,"b":"ü"}', '{"curate_redirected_to":7}', "{}"], pa.large_string())
    ends = pa.array(["http://a/x.jpg", 'http://a/"', None, None])
    said = with_redirects(extra, ends)
    assert said.to_pylist() == [
        '{"curate_redirected_to":"http://a/x.jpg"}',
        '{"a":1.50,"b":"ü","curate_redirected_to":"http://a/\\""}',
        '{"curate_redirected_to":7}',
        "{}",
    ]
    rows = pa.table({"sha256": pa.array(["0" * 64] * 4), "extra": said.cast(pa.string())})
    details = fallen_detail(rows).to_pylist()
    hashed = "sha256=" + "0" * 64
    assert details == [
        f"{hashed} redirected_to=http://a/x.jpg",
        f'{hashed} redirected_to=http://a/"',
        hashed,
        hashed,
    ]
    assert {sha256_of(detail) for detail in details} == {"0" * 64}
    assert sha256_of("distance=3 to KEY") is None
