"""The report as a browser shows it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from curate import reporting
from tests.curate.looking import Eyes, open_eyes
from tests.curate.reported import captions, pages
from tests.curate.runs import shards

SHOWN = "() => [...document.querySelectorAll('.card')].filter((c) => c.offsetParent).map((c) => c.dataset.%s)"
SET = """(id, value) => {
  const tool = document.querySelector(id);
  tool.value = value;
  tool.dispatchEvent(new Event("input"));
}"""


@pytest.fixture(scope="module")
def eyes() -> Iterator[Eyes]:
    opened = open_eyes()
    if isinstance(opened, str):
        pytest.skip(opened)
    yield opened
    opened.close()


@pytest.fixture(scope="module")
def hostile(tmp_path_factory: pytest.TempPathFactory) -> str:
    out = captions(tmp_path_factory.mktemp("captions"))
    reporting.write(str(out))
    return (out / "report.html").read_text()


@pytest.fixture(scope="module")
def paged(tmp_path_factory: pytest.TempPathFactory) -> Path:
    pytest.importorskip("pymupdf")
    out = pages(tmp_path_factory.mktemp("pages"))
    reporting.write(str(out))
    return out


@pytest.mark.parametrize(("width", "dark"), [(1440, False), (400, True)])
def test_it_shows_without_a_complaint_a_request_or_a_sideways_scroll(
    eyes: Eyes, hostile: str, width: int, dark: bool
) -> None:
    eyes.look(hostile, width, dark=dark)
    assert eyes.complaints == []
    assert [url for url in eyes.requests if not url.startswith("data:")] == []
    assert eyes.ask("() => document.documentElement.scrollWidth") == width
    paper = eyes.ask("() => getComputedStyle(document.body).backgroundColor")
    assert (paper == "rgb(18, 21, 24)") == dark


def test_hostile_texts_do_no_harm(eyes: Eyes, hostile: str) -> None:
    eyes.look(hostile)
    eyes.ask("() => document.querySelectorAll('.group button').forEach((button) => button.click())")
    assert eyes.ask("() => window.harmed") is None
    assert eyes.ask("() => document.scripts.length") == 1
    assert eyes.ask("() => document.querySelectorAll('a[href]:not([href^=\"#\"]), base').length") == 0
    assert eyes.ask("() => document.querySelectorAll('.card style, .card script').length") == 0
    assert "<script>window.harmed=1</script>" in eyes.ask(
        "() => document.querySelector('.gallery').innerText"
    )
    # a right-to-left override turns nothing round: it is not there but by its name
    assert not eyes.ask("() => /[\\u202a-\\u202e\\u2066-\\u2069]/.test(document.documentElement.outerHTML)")
    assert (
        eyes.ask("() => Math.max(...[...document.querySelectorAll('.card')].map((c) => c.offsetHeight))")
        < 900
    )


def test_the_gallery_filters_by_reason_and_by_text(eyes: Eyes, hostile: str) -> None:
    eyes.look(hostile)
    assert {"kept", "text_has_other_script", "image_too_small", "damaged"} <= set(eyes.ask(SHOWN % "reason"))
    eyes.ask(SET, "#by-reason", "image_too_small")
    assert eyes.ask(SHOWN % "reason") == ["image_too_small"]
    eyes.ask(SET, "#by-reason", "")
    eyes.ask(SET, "#by-text", "чехов")
    assert eyes.ask(SHOWN % "reason") == ["text_has_other_script"]
    assert eyes.ask("() => document.querySelector('.tools output').value").startswith("1 of ")
    eyes.ask(SET, "#by-text", "")
    eyes.ask("() => document.querySelector('a.reason[data-reason=damaged]').click()")
    assert eyes.ask(SHOWN % "reason") == ["damaged"]


def test_what_decided_is_marked_on_the_page(eyes: Eyes, hostile: str) -> None:
    eyes.look(hostile)
    assert (
        eyes.ask("() => document.querySelector('[data-reason=text_has_other_script] mark').innerText")
        == "Чехов"
    )


def test_a_duplicate_is_shown_with_the_image_it_shares(eyes: Eyes, hostile: str) -> None:
    eyes.look(hostile)
    assert eyes.ask("() => document.querySelectorAll('.card[data-reason=duplicate_pair] img').length") == 1


def test_a_group_shows_a_few_until_all_are_asked_for(eyes: Eyes, paged: Path, hostile: str) -> None:
    eyes.look(hostile)
    kept = eyes.ask("() => document.querySelectorAll('.card[data-reason=kept]').length")
    assert kept > 8
    assert eyes.ask(SHOWN % "reason").count("kept") == 8
    eyes.ask("() => document.querySelector('.group button:not([hidden])').click()")
    assert eyes.ask(SHOWN % "reason").count("kept") == kept
    assert eyes.ask("() => document.querySelectorAll('.group button:not([hidden])').length") == 0
    eyes.look(hostile, 400)
    assert eyes.ask(SHOWN % "reason").count("kept") == 4
    eyes.ask(SET, "#by-reason", "kept")
    assert eyes.ask(SHOWN % "reason") == ["kept"] * kept


def test_boxes_lie_where_the_regions_say(eyes: Eyes, paged: Path) -> None:
    eyes.look((paged / "report.html").read_text())
    eyes.ask(SET, "#by-reason", "kept")
    rows = [row for row in shards(paged).to_pylist() if row["regions"]]
    assert rows
    script = """(key) => {
      const card = document.querySelector(`[data-key="${key}"]`);
      const at = (e) => { const r = e.getBoundingClientRect(); return [r.left, r.top, r.right, r.bottom]; };
      return [at(card.querySelector("img")),
              [...card.querySelectorAll("polygon")].map((p) => [p.textContent, at(p)])];
    }"""
    for row in rows:
        (left, top, right, bottom), drawn = eyes.ask(script, row["key"])
        across, down = (right - left) / row["width"], (bottom - top) / row["height"]
        assert [text for text, _ in drawn] == [region["text"][:300] for region in row["regions"]]
        for region, (_, box) in zip(row["regions"], drawn, strict=True):
            x, y = region["quad"][0::2], region["quad"][1::2]
            there = [left + min(x) * across, top + min(y) * down, left + max(x) * across, top + max(y) * down]
            assert box == pytest.approx(there, abs=0.2)  # of a pixel of the screen


def test_a_box_says_its_text_and_an_image_opens_in_full(eyes: Eyes, paged: Path) -> None:
    eyes.look((paged / "report.html").read_text())
    said = eyes.ask("""() => {
      const box = document.querySelector("polygon");
      box.dispatchEvent(new PointerEvent("pointerover", { bubbles: true }));
      return [box.textContent, box.closest(".shown").querySelector(".said").textContent];
    }""")
    assert said[0] == said[1] != ""
    eyes.ask("() => document.querySelector('.shot img').click()")
    assert eyes.ask("() => document.querySelector('dialog').open")
    assert eyes.ask("() => document.querySelectorAll('dialog polygon').length") > 0
