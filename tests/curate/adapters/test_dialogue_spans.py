from __future__ import annotations

import pytest

from curate.adapters.dialogue_spans import BoxBroken, DialogueSpan, with_spans

PLACE = "<box>(588,499),(725,789)</box>"
CORNERS = (588, 499, 725, 499, 725, 789, 588, 789)
SHARES = tuple((step + 0.25) / 1000 for step in CORNERS)


@pytest.mark.parametrize(
    ("said", "read", "phrases"),
    [
        (f"<ref>shirt</ref>{PLACE}", "<ref>shirt</ref><bbox>", ["shirt"]),
        (f"a <ref>big dog</ref> {PLACE}{PLACE}!", "a <ref>big dog</ref><bbox><bbox>!", ["big dog"] * 2),
        (f"What is {PLACE}?", "What is <bbox>?", [None]),
        ("Where is <ref>x</ref>?", "Where is <ref>x</ref>?", []),
        (f"<ref> </ref>{PLACE}", f"<ref> </ref>{PLACE}", []),
        ("<box>(1,2)</box>", "<box>(1,2)</box>", []),
        ("<box>(1,2),(3,4)", "<box>(1,2),(3,4)", []),
        ("<box>(1, 2),(3,4)</box>", "<box>(1, 2),(3,4)</box>", []),
        ("<quad>(1,2),(3,4)</quad>", "<quad>(1,2),(3,4)</quad>", []),
        ("<box>(1,2),(3,4)</quad>", "<box>(1,2),(3,4)</quad>", []),
        ("<box>(-1,2),(3,4)</box>", "<box>(-1,2),(3,4)</box>", []),
    ],
)
def test_what_is_exactly_of_the_form_is_read(said: str, read: str, phrases: list[str | None]) -> None:
    found: list[DialogueSpan] = []
    assert with_spans(said, found) == read
    assert found == [DialogueSpan(phrase, SHARES) for phrase in phrases]


def test_a_quad_keeps_its_corners_and_1000_is_the_far_edge() -> None:
    found: list[DialogueSpan] = []
    assert with_spans("<quad>(0,1),(1000,2),(999,30),(3,40)</quad>", found) == "<bbox>"
    assert found == [DialogueSpan(None, (0.00025, 0.00125, 1.0, 0.00225, 0.99925, 0.03025, 0.00325, 0.04025))]


@pytest.mark.parametrize("place", ["(1,2),(1001,4)", "(3,2),(1,4)", "(1,4),(3,2)"])
def test_numbers_that_cannot_be_are_refused(place: str) -> None:
    with pytest.raises(BoxBroken, match=r"more than 1000|not the lower right"):
        with_spans(f"<box>{place}</box>", [])


@pytest.mark.parametrize(
    "piece", ["<ref>", "<ref>a", "<ref>a</ref> ", "<box>(1,2),", "<ref> ", "<quad>(1,2)"]
)
def test_hostile_text_is_read_in_linear_time(piece: str) -> None:
    text = piece * 200_000  # in time that grew with the square of it this would not end
    assert with_spans(text, []) == text
    assert with_spans("<ref>" + "a " * 400_000, []) == "<ref>" + "a " * 400_000
