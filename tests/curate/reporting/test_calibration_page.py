"""The page of `curate calibrate --page`."""

from __future__ import annotations

import re
from html import unescape

import pytest

import curate as package
from curate.reporting.calibration_page import calibration_html

NAME = "b<i>d"


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> tuple[package.CalibrateResult, str]:
    place = tmp_path_factory.mktemp("page") / "deep" / "page.html"
    found = package.calibrate("laion", keep="40%", rules="clip_score_too_low", page=place, progress=False)
    return found, place.read_text()


def test_each_rule_and_each_threshold_is_on_the_page(made: tuple[package.CalibrateResult, str]) -> None:
    found, html = made
    rules = [row["rule"] for row in found.table if row["rule"]]
    assert all(f'<td class="mono">{rule}' in html for rule in rules)
    curves = [
        f"{row['rule']}.{curve['setting']}" for row in found.table for curve in row.get("thresholds", ())
    ]
    assert re.findall(r'aria-label="Share kept by ([\w.]+)"', html) == curves
    assert f"{100 * found.kept['share']:.1f} %" in html
    assert found.set[0] in html
    assert "now 0.32" in html
    assert f"found {found.threshold:.3g}" in html


def test_the_page_loads_and_runs_nothing(made: tuple[package.CalibrateResult, str]) -> None:
    html = made[1]
    assert "default-src 'none'" in unescape(html)
    assert not re.search(r"<script|(src|href)=\"(?!data:|#)", html)


def test_what_a_name_says_is_no_mark_up(made: tuple[package.CalibrateResult, str]) -> None:
    html = calibration_html(dict(made[0].raw) | {"manifest": NAME, "notes": [NAME]})
    assert "b<i>d" not in html
    assert html.count("b&lt;i&gt;d") == 3


@pytest.mark.parametrize("place", ["", "s3://bucket/page.html", "."])
def test_a_page_goes_into_a_file_of_this_machine(place: str) -> None:
    with pytest.raises(package.ManifestError, match="into a file of this machine"):
        package.calibrate("laion", page=place, progress=False)


def test_a_threshold_of_one_value_is_drawn(made: tuple[package.CalibrateResult, str]) -> None:
    step = {"threshold": 5, "keep": 0.5, "alone": 1.0}
    curve = {"setting": "min_chars", "values": 3, "least": 5, "largest": 5, "steps": [step]}
    table = [{"rule": "text_too_short", "settings": {"min_chars": 5}, "thresholds": [curve]}]
    row = dict.fromkeys(("alone", "in_order", "only"))
    found = dict(made[0].raw) | {"table": [table[0] | row], "solved": []}
    assert "Share kept by text_too_short.min_chars" in calibration_html(found)
