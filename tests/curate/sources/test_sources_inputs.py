from __future__ import annotations

import os
import re
import socket
from pathlib import Path

import pytest
from aiohttp import web

from curate.errors import InputError
from curate.manifest.settings import InputSettings
from curate.sources import expand, open_source
from curate.sources.inputs import glob_regex, suffixes
from tests.curate.web import Site


def write(folder: Path, *names: str) -> None:
    for name in names:
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("a,b\n1,2\n")


def test_a_folder_gives_its_readable_files_sorted_with_their_place_in_it(tmp_path: Path) -> None:
    write(tmp_path, "b.csv", "a.jsonl.gz", "deep/er/c.parquet", "readme.md", "_dropped/x.parquet", ".tmp.csv")
    write(tmp_path, "_manifest.json", "d.tar.zst")
    assert [one.name for one in expand([str(tmp_path)])] == [
        "a.jsonl.gz",
        "b.csv",
        "d.tar.zst",
        "deep/er/c.parquet",
    ]


def test_a_link_back_to_a_folder_that_it_lies_in_is_not_followed(tmp_path: Path) -> None:
    write(tmp_path, "a.csv", "other/b.csv")
    (tmp_path / "other" / "back").symlink_to(tmp_path)
    (tmp_path / "twice").symlink_to(tmp_path / "other")
    names = [one.name for one in expand([str(tmp_path)])]
    assert names == ["a.csv", "other/b.csv", "twice/b.csv"]
    assert [one.name for one in expand([f"{tmp_path}/**/b.csv"])] == ["other/b.csv", "twice/b.csv"]


def test_a_broken_link_is_an_input_that_is_no_file(tmp_path: Path) -> None:
    write(tmp_path, "a.csv")
    (tmp_path / "b.csv").symlink_to(tmp_path / "gone")
    (tmp_path / "b.md").symlink_to(tmp_path / "gone")
    assert [(one.name, one.is_file) for one in expand([str(tmp_path)])] == [("a.csv", True), ("b.csv", False)]
    assert [one.name for one in expand([f"{tmp_path}/b.*"])] == ["b.csv", "b.md"]


def test_a_broken_link_or_a_pipe_that_is_named_is_refused(tmp_path: Path) -> None:
    (tmp_path / "link.csv").symlink_to(tmp_path / "gone")
    os.mkfifo(tmp_path / "pipe.csv")
    for name in ("link.csv", "pipe.csv"):
        with pytest.raises(InputError, match="is no file, but a broken link, a pipe or a device"):
            expand([str(tmp_path / name)])


def test_globs_stay_within_a_folder_unless_doubled(tmp_path: Path) -> None:
    write(tmp_path, "a1.csv", "a2.csv", "b1.csv", "deep/a3.csv", "deep/er/a4.csv")
    assert [one.name for one in expand([f"{tmp_path}/a*.csv"])] == ["a1.csv", "a2.csv"]
    assert [one.name for one in expand([f"{tmp_path}/a[!1].csv"])] == ["a2.csv"]
    assert [one.name for one in expand([f"{tmp_path}/*/a?.csv"])] == ["deep/a3.csv"]
    assert [one.name for one in expand([f"{tmp_path}/**/a*.csv"])] == [
        "a1.csv",
        "a2.csv",
        "deep/a3.csv",
        "deep/er/a4.csv",
    ]


def test_a_file_whose_name_looks_like_a_glob_is_that_file(tmp_path: Path) -> None:
    write(tmp_path, "part[1].csv", "part1.csv")
    assert [one.name for one in expand([f"{tmp_path}/part[1].csv"])] == ["part[1].csv"]


def test_an_input_named_twice_is_read_once(tmp_path: Path) -> None:
    write(tmp_path, "a.csv", "b.csv")
    found = expand([f"{tmp_path}/b.csv", f"{tmp_path}/*.csv", str(tmp_path)])
    assert [Path(one.uri).name for one in found] == ["a.csv", "b.csv"]


@pytest.mark.parametrize("uri", ["nowhere.csv", "empty", "none*.csv", "empty/*"])
def test_nothing_found_says_what_to_give(tmp_path: Path, uri: str) -> None:
    (tmp_path / "empty").mkdir()
    with pytest.raises(InputError, match=rf"{re.escape(uri)}.*give a file, a folder or a glob"):
        expand([f"{tmp_path}/{uri}"])


def test_a_changed_file_has_another_fingerprint_and_a_copied_one_the_same(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    path.write_text("a,b\n1,2\n")
    before = expand([str(path)])[0].fingerprint
    (tmp_path / "copy").mkdir()
    (tmp_path / "copy" / "a.csv").write_bytes(path.read_bytes())
    assert expand([str(tmp_path / "copy" / "a.csv")])[0].fingerprint == before
    os.utime(path, (1, 1))
    assert expand([str(path)])[0].fingerprint == before
    path.write_text("a,b\n1,3\n")
    assert expand([str(path)])[0].fingerprint != before


def test_a_byte_changed_inside_a_large_file_changes_the_fingerprint(tmp_path: Path) -> None:
    path = tmp_path / "large.jsonl"
    with path.open("wb") as file:
        file.truncate(20 * 2**20)
    before = expand([str(path)])[0].fingerprint
    assert expand([str(path)])[0].fingerprint == before
    with path.open("r+b") as file:
        file.seek(10 * 2**20 + 12345)
        file.write(b"x")
    assert expand([str(path)])[0].fingerprint != before


@pytest.mark.parametrize(
    ("name", "found"),
    [
        ("a.csv", (".csv", "")),
        ("A.CSV.GZ", (".csv", ".gz")),
        ("x.y.tar.zst", (".tar", ".zst")),
        ("x.tgz", (".tgz", ".tgz")),
        ("x.gz", ("", ".gz")),
        ("x.txt", ("", "")),
        ("folder.csv/x", ("", "")),
    ],
)
def test_format_and_packing_are_told_by_the_name(name: str, found: tuple[str, str]) -> None:
    assert suffixes(name) == found


def test_an_unclosed_bracket_in_a_glob_is_a_bracket() -> None:
    assert re.fullmatch(glob_regex("/a/[x*.csv"), "/a/[x1.csv")


def test_an_empty_file_and_an_unknown_format_are_refused(tmp_path: Path) -> None:
    (tmp_path / "empty.csv").touch()
    (tmp_path / "notes.txt").write_text("hello")
    with pytest.raises(InputError, match=r"empty\.csv is empty"):
        open_source(expand([f"{tmp_path}/empty.csv"])[0], InputSettings(), tmp_path)
    with pytest.raises(InputError, match=r"cannot tell the format of .*notes\.txt.*input\.format"):
        open_source(expand([f"{tmp_path}/notes.txt"])[0], InputSettings(), tmp_path)


@pytest.mark.parametrize(
    ("status", "said"),
    [(403, "its server answers 403: Forbidden"), (500, "its server answers 500"), (404, "no input at")],
)
def test_what_a_web_server_refuses_is_not_said_to_be_missing(status: int, said: str) -> None:
    async def answer(request: web.Request) -> web.Response:
        return web.Response(status=status)

    site = Site()
    try:
        site.handlers["/part.parquet"] = answer
        with pytest.raises(InputError, match=said):
            expand([site.url("/part.parquet")])
    finally:
        site.close()


def test_a_web_server_that_nobody_reaches_is_said_to_be_so() -> None:
    with socket.socket() as taken:  # bound, and nobody listens
        taken.bind(("127.0.0.1", 0))
        with pytest.raises(InputError, match="its server cannot be reached"):
            expand([f"http://127.0.0.1:{taken.getsockname()[1]}/part.parquet"])
