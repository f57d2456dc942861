"""New versions of a run without what a list names, and what later runs make of them."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

import curate
from curate.engine.tombstones import Tombstone, Tombstones, plain_url, tombstones_table
from curate.errors import CurateError, DamagedError, InputError, OutputError
from tests.curate.crasher import Interrupting
from tests.curate.runs import curate as command
from tests.curate.runs import files, pair, picture, shards, write_pairs

FOUR = {"shard.rows": 4}


def rows() -> list[dict[str, Any]]:
    """Twelve rows of three units; the seventh is the picture of the first with another text."""
    made = [pair(n) for n in range(12)]
    made[6] |= {"image": made[0]["image"]}
    made[9]["TEXT"] = "no"
    return made


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_pairs(tmp_path_factory.mktemp("in") / "rows.parquet", rows())


@pytest.fixture(scope="module")
def whole(source: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("whole") / "out"
    curate.run("laion", out, source, settings=FOUR, workers=0, progress=False)
    return out


def listed(folder: Path, *lines: str) -> Path:
    (folder / "list.txt").write_text("# what was asked for\n\n" + "\n".join(lines) + "\n")
    return folder / "list.txt"


def numbers(folder: Path) -> list[int]:
    return [int(url.split("/")[-1].split(".")[0]) for url in shards(folder)["url"].to_pylist()]


def key_of(folder: Path, number: int) -> str:
    table = shards(folder)
    place = table["url"].to_pylist().index(f"https://pictures.example/{number}.jpg")
    key: str = table["key"][place].as_py()
    return key


def test_a_key_a_url_and_an_image_go_and_the_rest_is_shared(whole: Path, tmp_path: Path) -> None:
    sha256 = shards(whole)["sha256"][0].as_py()
    asked = listed(tmp_path, key_of(whole, 1), "https://pictures.example/2.jpg", sha256.upper())
    before = files(whole)
    found = curate.remove(whole, asked, tmp_path / "new", reason="ticket 7")
    assert numbers(tmp_path / "new") == [3, 4, 5, 7, 8, 10, 11]
    assert (found.rows_removed, found.rows_out, found.rewritten, found.shared) == (4, 7, 2, 1)
    assert files(whole) == before
    untouched = "shard-000002.parquet"
    assert (tmp_path / "new" / untouched).samefile(whole / untouched)
    assert curate.verify(tmp_path / "new", workers=0).damaged == {}
    manifest = json.loads((tmp_path / "new" / "_manifest.json").read_text())
    assert manifest["rows_in"] == manifest["rows_out"] + sum(manifest["dropped"].values())
    assert manifest["dropped"]["removed_on_request"] == 4
    assert {one["reason"] for one in manifest["removed"]} == {"ticket 7"}
    assert all(len(one["hash"]) == 64 and one["date"] for one in manifest["removed"])


def test_the_new_version_tells_nobody_what_was_removed(whole: Path, tmp_path: Path) -> None:
    asked = listed(tmp_path, "https://pictures.example/2.jpg")
    curate.remove(whole, asked, tmp_path / "new")
    text = pair(2)["TEXT"].encode()
    for path in (tmp_path / "new").rglob("*"):
        if path.suffix == ".parquet" and path.parent.name == "_dropped":
            gone = [one for one in pq.read_table(path).to_pylist() if one["reason"] == "removed_on_request"]
            assert all(one["url"] is None and one["text"] is None and one["key"] for one in gone)
        elif path.is_file() and path.suffix != ".parquet":
            assert b"pictures.example/2.jpg" not in path.read_bytes()
            assert text not in path.read_bytes()


def test_explain_knows_of_what_was_removed_by_its_key_and_by_its_address(whole: Path, tmp_path: Path) -> None:
    key, url = key_of(whole, 2), "https://pictures.example/2.jpg"
    curate.remove(whole, listed(tmp_path, url), tmp_path / "new")
    for name in (key, url):
        told = curate.explain(tmp_path / "new", name)
        assert (told.fate, told.reason) == ("dropped", "removed_on_request")
    assert curate.explain(tmp_path / "new", "https://pictures.example/3.jpg").fate == "kept"


@pytest.mark.parametrize(
    ("line", "left"),
    [
        ("host:pictures.example", []),
        ("host:EXAMPLE", []),
        ("https://pictures.example/1*", [0, 2, 3, 4, 5, 6, 7, 8]),
        ("prefix:https://pictures.example/11", [0, 1, 2, 3, 4, 5, 6, 7, 8, 10]),
        ("HTTPS://Pictures.EXAMPLE/11.jpg", [0, 1, 2, 3, 4, 5, 6, 7, 8, 10]),
        ("prefix:https://PICTURES.example/11", [0, 1, 2, 3, 4, 5, 6, 7, 8, 10]),
        ("url:https://pictures.example/11.jpg", [0, 1, 2, 3, 4, 5, 6, 7, 8, 10]),
    ],
)
def test_patterns(whole: Path, tmp_path: Path, line: str, left: list[int]) -> None:
    curate.remove(whole, listed(tmp_path, line), tmp_path / "new")
    if left:
        assert numbers(tmp_path / "new") == left
    else:
        assert list((tmp_path / "new").glob("shard-*")) == []
    assert curate.verify(tmp_path / "new", workers=0).damaged == {}


@pytest.mark.parametrize("kind", ["url", "prefix"])
def test_scheme_and_host_match_in_any_case_and_older_tombstones_still_do(kind: str) -> None:
    given, others = "https://Example.org:80/A", ("HTTPS://example.org:80/A", "https://user@EXAMPLE.org:80/A")
    for hashed in (given, plain_url(given)):  # the first form is that of older versions
        digest, length = hashlib.sha256(hashed.encode()).digest(), len(hashed) if kind == "prefix" else None
        marks = Tombstones(tombstones_table([Tombstone(kind, digest, length)], "r", "d"))
        assert [*marks.of_names(None, given)] == [Tombstone(kind, digest, length)]
        assert [*marks.of_names(None, "https://example.org:80/a")] == []
        assert [*marks.of_names(None, others[1])] == []
    assert [*marks.of_names(None, others[0])] == [Tombstone(kind, digest, length)]
    assert plain_url("no address at ALL") == "no address at ALL"
    assert plain_url("HTTP://Me:PW@Example.ORG/Q?R#S") == "http://Me:PW@example.org/Q?R#S"


def test_a_unit_that_loses_all_its_rows_has_no_shard(whole: Path, tmp_path: Path) -> None:
    asked = listed(tmp_path, *(f"https://pictures.example/{n}.jpg" for n in range(4)))
    assert curate.remove(whole, asked, tmp_path / "new").emptied == 1
    assert not (tmp_path / "new" / "shard-000000.parquet").exists()
    assert curate.verify(tmp_path / "new", workers=0).damaged == {}


def test_a_list_without_a_match_is_said_and_leaves_nothing(whole: Path, tmp_path: Path) -> None:
    asked = listed(tmp_path, "https://elsewhere.example/1.jpg")
    said = command("remove", whole, "--list", asked, "--out", tmp_path / "new")
    assert said.returncode == 1
    assert len(said.stderr.strip().splitlines()) == 1
    assert "nothing was written" in said.stderr
    assert not (tmp_path / "new").exists()


def test_lines_that_match_nothing_are_counted_and_kept_out_later(whole: Path, tmp_path: Path) -> None:
    asked = listed(tmp_path, "https://pictures.example/2.jpg", "https://elsewhere.example/1.jpg")
    found = curate.remove(whole, asked, tmp_path / "new")
    assert found.unmatched == 1
    assert found.raw["unmatched_lines"] == ["4: https://elsewhere.example/1.jpg"]


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"", "lists nothing"),
        (b"# only this\n", "lists nothing"),
        (b"\xff\xfe\x00", "not UTF-8"),
        (b"PAR1\x00\x01", "is none of"),
        (b"what is this", "line 1: 'what is this' is none of"),
        (b"0123", "is none of"),
        (b"https://pictures.example*", "no beginning of a URL"),
        (b"https://*", "no beginning of a URL"),
        (b"https:///*", "is none of"),
        (b"https://*/", "not its end"),
        (b"https://pictures.example/*/1.jpg", "not its end"),
        (b"https://pictures.example/*/1*", "not its end"),
        (b"host:", "no host"),
        (b"host:*", "no host"),
        (b"host:a/b", "no host"),
        (b"key:123", "no key"),
        (b"sha256:123", "no sha256"),
        (b"https://a.example/" + b"x" * 70_000, "characters"),
    ],
)
def test_a_bad_list_is_one_line(whole: Path, tmp_path: Path, content: bytes, said: str) -> None:
    (tmp_path / "list.txt").write_bytes(content)
    with pytest.raises(InputError, match=said) as refused:
        curate.remove(whole, tmp_path / "list.txt", tmp_path / "new")
    assert "\n" not in str(refused.value)
    assert not (tmp_path / "new").exists()


def test_a_list_that_is_not_there_is_one_line(whole: Path, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="cannot read the list"):
        curate.remove(whole, tmp_path / "no.txt", tmp_path / "new")


def test_a_list_from_windows_is_read(whole: Path, tmp_path: Path) -> None:
    (tmp_path / "list.txt").write_bytes(b"\xef\xbb\xbfhttps://pictures.example/2.jpg\r\n")
    assert curate.remove(whole, tmp_path / "list.txt", tmp_path / "new").rows_removed == 1


def test_the_run_itself_and_other_folders_are_not_written_over(whole: Path, tmp_path: Path) -> None:
    asked = listed(tmp_path, "https://pictures.example/2.jpg")
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "mine.txt").write_text("mine")
    for out, said in (
        (whole, "is the run itself"), (whole / "v2", "or lies in it"), (tmp_path / "other", "is not empty")
    ):  # fmt: skip
        with pytest.raises(OutputError, match=said):
            curate.remove(whole, asked, out)
    curate.remove(whole, asked, tmp_path / "new")
    again = listed(tmp_path, "https://pictures.example/3.jpg")
    with pytest.raises(OutputError, match="holds something else already"):
        curate.remove(whole, again, tmp_path / "new")


def test_the_same_removal_again_does_nothing(whole: Path, tmp_path: Path) -> None:
    asked = listed(tmp_path, "https://pictures.example/2.jpg")
    first = curate.remove(whole, asked, tmp_path / "new")
    before = {path: path.stat().st_mtime_ns for path in (tmp_path / "new").rglob("*")}
    assert curate.remove(whole, asked, tmp_path / "new").rows_removed == first.rows_removed
    assert {path: path.stat().st_mtime_ns for path in (tmp_path / "new").rglob("*")} == before


@pytest.mark.parametrize("call", ["replace", "link", "fsync"])
def test_a_removal_that_is_stopped_anywhere_goes_on(
    whole: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, call: str
) -> None:
    asked = listed(tmp_path, "https://pictures.example/2.jpg", "https://pictures.example/7.jpg")
    curate.remove(whole, asked, tmp_path / "straight")
    interrupting = Interrupting(monkeypatch, call)
    while True:
        interrupting.seen = 0
        try:
            curate.remove(whole, asked, tmp_path / "new")
            break
        except (CurateError, KeyboardInterrupt):
            assert call == "fsync" or not (tmp_path / "new" / "_manifest.json").exists()
            interrupting.at += 1
    monkeypatch.undo()
    assert interrupting.at > 1
    assert shards(tmp_path / "new").equals(shards(tmp_path / "straight"))
    assert set(files(tmp_path / "new")) == set(files(tmp_path / "straight"))
    assert curate.verify(tmp_path / "new", workers=0).damaged == {}


def test_an_unfinished_removal_is_of_no_use_to_readers_nor_to_another_list(
    whole: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = listed(tmp_path, "https://pictures.example/2.jpg")

    def stopped(*_: Any, **__: Any) -> Any:
        raise KeyboardInterrupt

    monkeypatch.setattr(os, "link", stopped)
    with pytest.raises(CurateError, match="the same command goes on"):
        curate.remove(whole, asked, tmp_path / "new")
    monkeypatch.undo()
    with pytest.raises(CurateError):
        curate.pack(tmp_path / "new", tmp_path / "packs")
    other = listed(tmp_path, "https://pictures.example/3.jpg")
    with pytest.raises(OutputError, match="unfinished removal of another list"):
        curate.remove(whole, other, tmp_path / "new")


def test_a_damaged_or_missing_shard_is_named(whole: Path, tmp_path: Path) -> None:
    asked = listed(tmp_path, "https://pictures.example/2.jpg")
    out = Path(shutil.copytree(whole, tmp_path / "out"))
    (out / "shard-000002.parquet").unlink()
    with pytest.raises(DamagedError, match=r"shard-000002.parquet is missing"):
        curate.remove(out, asked, tmp_path / "new")
    assert not (tmp_path / "new").exists()


def test_a_version_outlives_its_parent_and_is_a_parent_itself(whole: Path, tmp_path: Path) -> None:
    out = Path(shutil.copytree(whole, tmp_path / "out"))
    curate.remove(out, listed(tmp_path, "https://pictures.example/2.jpg"), tmp_path / "second")
    shutil.rmtree(out)
    curate.remove(tmp_path / "second", listed(tmp_path, "https://pictures.example/3.jpg"), tmp_path / "third")
    assert curate.verify(tmp_path / "third", workers=0).damaged == {}
    assert numbers(tmp_path / "third") == [0, 1, 4, 5, 6, 7, 8, 10, 11]
    manifest = json.loads((tmp_path / "third" / "_manifest.json").read_text())
    assert manifest["dropped"]["removed_on_request"] == 2
    assert sum(one["kind"] == "url" for one in manifest["removed"]) == 2


@pytest.mark.parametrize("journal", [True, False])
def test_a_version_is_a_finished_run_whether_or_not_its_parent_has_its_journal(
    whole: Path, source: Path, tmp_path: Path, journal: bool
) -> None:
    out = Path(shutil.copytree(whole, tmp_path / "out"))
    if not journal:
        shutil.rmtree(out / "_run")
    curate.remove(out, listed(tmp_path, "https://pictures.example/2.jpg"), tmp_path / "new")
    before = files(tmp_path / "new")
    again = curate.run("laion", tmp_path / "new", source, settings=FOUR, workers=0, progress=False)
    assert (again.rows_out, files(tmp_path / "new")) == (10, before)
    (tmp_path / "new" / "_manifest.json").unlink()
    again = curate.run("laion", tmp_path / "new", source, settings=FOUR, workers=0, progress=False)
    assert (again.rows_out, files(tmp_path / "new")) == (10, before)
    assert curate.verify(tmp_path / "new", workers=0).damaged == {}
    assert again.raw["removed"]


def test_what_was_removed_stays_out_when_the_run_begins_anew(
    whole: Path, source: Path, tmp_path: Path
) -> None:
    sha256 = shards(whole)["sha256"][0].as_py()
    asked = listed(tmp_path, "https://pictures.example/2.jpg", sha256, key_of(whole, 8))
    curate.remove(whole, asked, tmp_path / "new")
    left = numbers(tmp_path / "new")
    anew = curate.run(
        "laion", tmp_path / "new", source, settings=FOUR, workers=0, overwrite=True, progress=False
    )
    assert numbers(tmp_path / "new") == left == [1, 3, 4, 5, 7, 10, 11]
    assert anew.dropped["removed_on_request"] == 4
    assert curate.verify(tmp_path / "new", workers=0).damaged == {}


def test_what_was_removed_stays_out_of_inputs_that_are_added(
    whole: Path, source: Path, tmp_path: Path
) -> None:
    curate.remove(
        whole, listed(tmp_path, "https://pictures.example/2.jpg", "host:gone.example"), tmp_path / "new"
    )
    more = [
        pair(2, TEXT="The same address with another text"),
        pair(21, image=picture(2), TEXT=pair(2)["TEXT"]),
        pair(22, URL="https://images.gone.example/1.jpg"),
        pair(23),
    ]
    added = write_pairs(tmp_path / "zz.parquet", more)
    grown = curate.run("laion", tmp_path / "new", [source, added], settings=FOUR, workers=0, progress=False)
    assert numbers(tmp_path / "new") == [0, 1, 3, 4, 5, 6, 7, 8, 10, 11, 23]
    assert grown.dropped["removed_on_request"] == 4
    assert curate.verify(tmp_path / "new", workers=0).damaged == {}


def test_a_damaged_file_of_tombstones_stops_a_run(whole: Path, source: Path, tmp_path: Path) -> None:
    curate.remove(whole, listed(tmp_path, "https://pictures.example/2.jpg"), tmp_path / "new")
    (tmp_path / "new" / "_manifest" / "removed.parquet").write_bytes(b"PAR1 is what it begins with")
    with pytest.raises(DamagedError, match=r"removed.parquet is damaged"):
        curate.run(
            "laion", tmp_path / "new", source, settings=FOUR, workers=0, overwrite=True, progress=False
        )


@pytest.mark.parametrize("left", [None, b"junk"])
@pytest.mark.parametrize("way", ["overwrite", "more", "retry", "remove", "unfinished"])
def test_without_its_tombstones_no_run_takes_back_what_was_removed(
    whole: Path, source: Path, tmp_path: Path, way: str, left: bytes | None
) -> None:
    out = tmp_path / "new"
    curate.remove(whole, listed(tmp_path, "https://pictures.example/2.jpg"), out)
    (out / "_manifest" / "removed.parquet").unlink()
    if left is not None:
        (out / "_manifest" / "removed.parquet").write_bytes(left)
    if way == "unfinished":
        (out / "_manifest.json").unlink()
    before = files(out)
    more = write_pairs(tmp_path / "zz.parquet", [pair(2)])
    inputs = [source, more] if way == "more" else [source]

    def go_on() -> None:
        if way == "remove":
            curate.remove(out, listed(tmp_path, "https://pictures.example/3.jpg"), tmp_path / "newer")
        elif way == "retry":
            curate.retry(out, ["text_too_short"], tmp_path / "newer", progress=False)
        else:
            over = way == "overwrite"
            curate.run("laion", out, inputs, settings=FOUR, workers=0, progress=False, overwrite=over)

    with pytest.raises(DamagedError, match=r"removed.parquet is (gone|damaged)"):
        go_on()
    assert files(out) == before
    if way == "more":  # the folder is as complete as before, though `_run` says that inputs were to be added
        assert set(curate.verify(out, workers=0).damaged) == {"_manifest/removed.parquet"}


@pytest.mark.parametrize("left", [None, b"junk"])
def test_lost_tombstones_are_made_anew_of_the_manifest(
    whole: Path, tmp_path: Path, left: bytes | None
) -> None:
    out = tmp_path / "new"
    asked = listed(
        tmp_path, "https://pictures.example/2.jpg", "prefix:https://other.example/", "pdq:" + "5" * 64
    )
    curate.remove(whole, asked, out)
    place = out / "_manifest" / "removed.parquet"
    before = place.read_bytes()
    place.unlink()
    if left is not None:
        place.write_bytes(left)
    assert "_manifest/removed.parquet" in curate.verify(out, workers=0).damaged
    assert curate.verify(out, repair=True, workers=0).damaged == {}
    assert place.read_bytes() == before


def test_packs_and_exports_of_the_older_version_are_named_with_their_commands(
    whole: Path, tmp_path: Path
) -> None:
    out = Path(shutil.copytree(whole, tmp_path / "runs" / "out"))
    curate.pack(out, tmp_path / "elsewhere" / "packs", seq_len=1024)
    curate.export(out, "webdataset", tmp_path / "runs" / "tars")
    curate.export(tmp_path / "elsewhere" / "packs", "mds", tmp_path / "mds")
    asked = listed(tmp_path, "https://pictures.example/2.jpg")
    found = curate.remove(out, asked, tmp_path / "new")
    named = {Path(one["folder"]).name: one for one in found.made_of_parent}
    assert set(named) == {"packs", "tars", "mds"}
    remake = named["packs"]["remake"].split()
    assert remake[:3] == ["curate", "pack", str(tmp_path / "new")]
    assert remake[-2:] == ["--seq-len", "1024"]
    done = command(*remake[1:])
    assert done.returncode == 0, done.stderr
    keys = {
        key
        for path in (tmp_path / "elsewhere" / "packs-anew").glob("pack-*.parquet")
        for keys in pq.read_table(path)["keys"].to_pylist()
        for key in keys
    }
    assert keys == set(shards(tmp_path / "new")["key"].to_pylist())


def test_scores_beside_the_shards_lose_the_same_rows(whole: Path, tmp_path: Path) -> None:
    out = Path(shutil.copytree(whole, tmp_path / "out"))
    manifest = json.loads((out / "_manifest.json").read_text())
    listed_files = []
    for shard in manifest["shards"]:
        path = out / "_scores" / "mine" / shard["path"]
        path.parent.mkdir(parents=True, exist_ok=True)
        pq.write_table(pq.read_table(out / shard["path"], columns=["key", "clip_score"]), path)
        digest = hashlib.sha256(path.read_bytes()).hexdigest()
        of = {"path": f"_scores/mine/{shard['path']}", "rows": shard["rows"], "bytes": path.stat().st_size}
        listed_files.append(of | {"sha256": digest})
    manifest["scorers"] = {"mine": {"scorer": None, "files": listed_files}}
    (out / "_manifest.json").write_text(json.dumps(manifest))
    curate.remove(out, listed(tmp_path, "https://pictures.example/2.jpg"), tmp_path / "new")
    for path in (tmp_path / "new").glob("shard-*.parquet"):
        beside = pq.read_table(tmp_path / "new" / "_scores" / "mine" / path.name)
        assert beside["key"].to_pylist() == pq.read_table(path)["key"].to_pylist()
    assert curate.verify(tmp_path / "new", workers=0).damaged == {}


@pytest.mark.parametrize(
    "name", ["../../stolen", "_dropped/../../stolen", "/etc/passwd", "shard-000000.parquet/x"]
)
def test_a_manifest_that_names_files_elsewhere_is_refused(whole: Path, tmp_path: Path, name: str) -> None:
    out = Path(shutil.copytree(whole, tmp_path / "out"))
    manifest = json.loads((out / "_manifest.json").read_text())
    files_of_scores = [{"path": name, "rows": 1, "bytes": 4, "sha256": "0" * 64}]
    manifest["scorers"] = {"mine": {"files": files_of_scores}}
    (out / "_manifest.json").write_text(json.dumps(manifest))
    with pytest.raises(InputError, match="which is no file of a run"):
        curate.remove(out, listed(tmp_path, "https://pictures.example/2.jpg"), tmp_path / "new")


def test_a_version_can_be_reported_exported_loaded_and_tried_again(whole: Path, tmp_path: Path) -> None:
    out = Path(shutil.copytree(whole, tmp_path / "out"))
    curate.remove(out, listed(tmp_path, "https://pictures.example/2.jpg"), tmp_path / "new")
    curate.report(tmp_path / "new")
    card = (tmp_path / "new" / "README.md").read_text()
    assert "- Removed on request: 1 row." in card
    assert "2 tombstones (hashes" in card
    assert curate.export(tmp_path / "new", "qwen-vl", tmp_path / "qwen").rows_out == 10
    assert len(curate.loader.ShardMap(str(tmp_path / "new"))) == 10
    again = curate.retry(
        tmp_path / "new", ["removed_on_request"], tmp_path / "again", workers=0, progress=False
    )
    assert (again.rows_in, again.dropped) == (1, {"removed_on_request": 1})
