from __future__ import annotations

import json
import re
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from curate import reporting
from curate.errors import InputError
from curate.reporting.failures import failures, worth_retrying
from curate.reporting.funnel import steps
from curate.reporting.marks import LONGEST, pieces, plain
from curate.reporting.measures import Measure, Threshold, measures
from curate.reporting.plots import bins, compact, histogram
from curate.reporting.sampling import evenly, hosts, read_dropped, read_kept
from curate.storage.store import Store
from tests.curate.reported import CYRILLIC, captions
from tests.curate.runs import curate


@pytest.fixture(scope="module")
def out(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = captions(tmp_path_factory.mktemp("captions"))
    reporting.write(str(folder))
    return folder


def manifest_of(folder: Path) -> dict[str, object]:
    read: dict[str, object] = json.loads((folder / "_manifest.json").read_bytes())
    return read


def test_the_funnel_ends_at_what_was_kept_and_names_every_reason(out: Path) -> None:
    manifest = manifest_of(out)
    found = steps(manifest, read_dropped(Store(str(out))))
    assert {step.reason: step.dropped for step in found} == manifest["dropped"]
    assert found[-1].left == manifest["rows_out"]
    stages = [stage["name"] for stage in manifest["stages"]]  # type: ignore[attr-defined]
    assert [stages.index(step.stage) for step in found] == sorted(stages.index(step.stage) for step in found)
    assert {step.reason for step in found if not step.is_rule} == {"damaged", "not_an_image"}


def test_a_row_that_nobody_asked_for_is_no_failure() -> None:
    manifest = {
        "rows_in": 9,
        "stages": [{"name": "read"}, {"name": "fetch"}],
        "manifest": {"rules": {}},
        "dropped": {"row_not_selected": 3, "http_404": 2, "timed_out": 1},
    }
    url, other = "https://a.example/1", "https://b.example/2"
    rows = [
        *({"stage": "read", "reason": "row_not_selected", "url": url, "detail": None} for _ in range(3)),
        {"stage": "fetch", "reason": "http_404", "url": url, "detail": "404 Not Found"},
        {"stage": "fetch", "reason": "http_404", "url": other, "detail": "404 Not Found"},
        {"stage": "fetch", "reason": "timed_out", "url": url, "detail": "connect 10 s"},
    ]
    dropped = pa.Table.from_pylist(rows)
    found = failures(steps(manifest, dropped), dropped)
    assert [(one.reason, one.rows) for one in found] == [("http_404", 2), ("timed_out", 1)]
    assert found[0].said == ["404 Not Found (100 %)", "a.example (50 %)", "b.example (50 %)"]
    assert worth_retrying(manifest["dropped"]) == ["timed_out"]  # type: ignore[arg-type]


def test_a_count_is_exact_where_few_of_its_rows_were_written_down(out: Path) -> None:
    manifest = manifest_of(out) | {"dropped": {"image_too_small": 1001}, "rows_in": 2000, "rows_out": 999}
    rows = [{"stage": "rules", "reason": "image_too_small"}] * 2 + [
        {"stage": "size", "reason": "image_too_small"}
    ]
    found = steps(manifest, pa.Table.from_pylist(rows))
    assert [(step.stage, step.dropped) for step in found] == [("rules", 667), ("size", 334)]
    assert found[-1].left == 999


def test_a_report_is_one_file_that_may_load_nothing(out: Path) -> None:
    html = (out / "report.html").read_text()
    assert "default-src &#39;none&#39;" in html
    assert not re.search(r"<(?:link|script|img|iframe|object)[^>]+(?:src|href)=[\"'](?!data:)", html)
    assert html.count("<script") == 1


def test_the_same_run_gives_the_same_report(out: Path, tmp_path: Path) -> None:
    before = (out / "report.html").read_bytes()
    reporting.write(str(out))
    assert (out / "report.html").read_bytes() == before


def test_a_report_leaves_the_run_as_it_was(out: Path) -> None:
    assert curate("verify", out).returncode == 0
    assert {path.name for path in out.iterdir() if not path.name.startswith(("_", ".", "shard-"))} == {
        "report.html",
        "README.md",
        "croissant.json",
        "domains.csv",
    }


def test_a_folder_without_a_complete_run_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no complete run"):
        reporting.write(str(tmp_path))


def test_a_damaged_shard_is_named_as_such(out: Path, tmp_path: Path) -> None:
    copy = tmp_path / "copy"
    for path in (out / "_manifest.json", *out.glob("shard-*")):
        copy.mkdir(exist_ok=True)
        (copy / path.name).write_bytes(path.read_bytes()[: -100 if path.suffix == ".parquet" else None])
    with pytest.raises(InputError, match="curate verify"):
        reporting.write(str(copy))


def test_a_run_that_kept_nothing_has_a_report(tmp_path: Path) -> None:
    source = tmp_path / "rows.parquet"
    row = {"URL": "https://a.example/1.jpg", "TEXT": "", "WIDTH": 300, "HEIGHT": 300, "similarity": 0.4}
    pq.write_table(pa.Table.from_pylist([row]), source)
    finished = curate("run", "laion", "--input", source, "--out", tmp_path / "out", "--workers", 0)
    assert finished.returncode == 0, finished.stderr
    reporting.write(str(tmp_path / "out"))
    assert "Nothing was kept." in (tmp_path / "out/report.html").read_text()


def test_what_decided_is_marked() -> None:
    marked = [piece.text for piece in pieces(CYRILLIC, "text_has_other_script") if piece.kind == "mark"]
    assert marked == ["Чехов"]
    assert pieces("smile 🙂 on", "text_has_emoji")[1] == ("mark", "🙂")
    assert pieces("a <PERSON> b", "text_has_special_tag", {"tags": ["<PERSON>"]})[1] == ("mark", "<PERSON>")
    assert pieces("Łódź", "text_has_latin_extended")[0] == ("mark", "Ł")


def test_emoji_are_not_what_another_script_fell_to() -> None:
    kinds = {piece.text: piece.kind for piece in pieces("👩🏽‍🚀 и", "text_has_other_script")}
    assert kinds["и"] == "mark"
    assert all("mark" not in kind for text, kind in kinds.items() if text != "и")


def test_a_mark_far_into_a_long_text_is_shown() -> None:
    found = pieces("x" * 50_000 + "Ж" + "y" * 50_000, "text_has_other_script")
    assert [piece.kind for piece in found] == ["more", "", "mark", "", "more"]
    assert sum(len(piece.text) for piece in found if piece.kind != "more") <= LONGEST


def test_characters_that_are_not_seen_are_named() -> None:
    found = pieces("a\u202eb\x00c\ufdd0")
    assert [piece.text for piece in found if piece.kind == "sign"] == ["U+202E", "U+0000"]
    assert "\u202e" not in plain("a\u202eb")
    assert plain("x" * 1000, 10) == "x" * 10 + "…"


def test_hosts_are_read_from_addresses() -> None:
    url = pa.chunked_array([["https://WWW.A.example:80/x?http://b", "//u:p@c.example", "data:,x", "x", None]])
    assert hosts(url).to_pylist() == ["a.example", "c.example", None, None, None]


def test_a_part_of_many_is_spread_over_all() -> None:
    assert evenly(range(10), 20) == list(range(10))
    assert evenly(range(101), 5) == [0, 25, 50, 75, 100]


def test_measures_have_the_thresholds_of_their_rules_and_what_these_cut_off(out: Path) -> None:
    manifest = manifest_of(out)
    store = Store(str(out))
    kept = read_kept(store, manifest["shards"])  # type: ignore[arg-type]
    found = {m.title: m for m in measures(manifest, kept.table, read_dropped(store), [3, 4])}
    assert found["CLIP score"].thresholds == (Threshold("clip_score_too_low", 0.32, "min"),)
    assert found["CLIP score"].cut.tolist() == pytest.approx([0.1])
    assert found["Width"].cut.tolist() == [100]
    assert {limit.value for limit in found["Text length"].thresholds} == {5, 95_000}
    assert set(found) >= {"Height", "Aspect ratio", "Tokens a sample"}
    assert len(found["Width"].kept) == manifest["rows_out"]


def test_bins_hold_every_value_and_near_thresholds() -> None:
    values = np.concatenate([np.full(5000, 300.0), [5.0, 90_000.0]])
    limits = (Threshold("text_too_long", 500, "max"),)
    edges, log = bins(Measure("Text", "", values, np.zeros(0), (1, 1), limits))
    assert edges[0] <= 300 <= edges[-1]
    assert edges[-1] >= 500 or not log
    one, _ = bins(Measure("One", "", np.array([7.0]), np.zeros(0), (1, 1)))
    assert one[0] < 7 < one[-1]
    assert len(one) > 4


def test_a_threshold_at_the_end_of_the_values_has_room_for_its_line() -> None:
    limits = (Threshold("image_too_small", 200, "min"), Threshold("other", 1280, "max"))
    edges, _ = bins(Measure("Width", "px", np.linspace(200, 1280, 300), np.array([200.0]), (1, 1), limits))
    assert edges[0] < 200
    assert edges[-1] > 1280


def test_a_plot_takes_its_colours_from_the_page() -> None:
    limits = (Threshold("image_too_small", 200, "min"),)
    svg = histogram(Measure("Width", "px", np.arange(100, 900.0), np.arange(50, 200.0), (1, 1), limits))
    assert svg.startswith("<svg")
    assert "var(--kept)" in svg
    assert "var(--cut)" in svg
    assert "min 200" in svg
    assert "#01020" not in svg
    assert "<style" not in svg


@pytest.mark.parametrize(
    ("value", "said"),
    [(0.32, "0.32"), (1152.5, "1,152"), (20_000, "20k"), (3_500_000, "3.5M"), (1e10, "10G"), (0, "0")],
)
def test_numbers_are_short(value: float, said: str) -> None:
    assert compact(value) == said
