"""The ink test: what differs between a page with and without a line is that line's ink, effects included."""

from __future__ import annotations

import json

import numpy as np
import pytest

from synthdog import geometry, labels, painting
from synthdog.template import Template

CASES = [(language, strong) for language in ("en", "zh") for strong in (False, True)]


def share_and_margins(difference, quad):
    """The share of ink inside the quad, and the widest margin without visible ink (shares of the quad)."""
    rows, columns = np.nonzero(difference)
    ink = difference[rows, columns].astype(float)
    unit = geometry.between(quad, geometry.rectangle(1, 1))
    places = geometry.through(unit, np.stack([columns, rows], axis=1) + 0.5)
    inside = ((places >= 0) & (places <= 1)).all(axis=1)
    seen = places[ink >= 0.1 * ink.max()]
    return ink[inside].sum() / ink.sum(), max(seen.min(), 1 - seen.max())


@pytest.mark.parametrize(("language", "strong"), CASES)
def test_quads_hold_the_ink_and_little_else(template, language, strong):
    made = template(language, strong)
    measured = 0
    for index in range(3):
        plan = made.planner.plan(21, index)
        inks = painting.strips(plan)
        quads = labels.lines(plan, inks)
        blank = painting.paint(plan, []).astype(int)
        for line in range(0, len(plan.lines), 1 + len(plan.lines) // 3):
            painted = painting.paint(plan, [(plan.lines[line], inks[line])])
            difference = np.abs(painted - blank).max(axis=2)
            if difference.max() < 12:
                continue  # black on black: nothing to see
            share, margin = share_and_margins(difference, quads[line])
            assert share >= 0.99, (index, line, plan.lines[line].text)
            assert margin <= 0.25, (index, line, plan.lines[line].text)
            measured += 1
    assert measured > 5


@pytest.mark.parametrize(("language", "strong"), CASES)
def test_quads_lie_in_the_picture_and_run_clockwise(template, language, strong):
    for row in template(language, strong).generate(22, range(5)).to_pylist():
        for region in row["regions"]:
            quad = np.array(region["quad"]).reshape(4, 2)
            assert (quad >= 0).all()
            assert (quad <= [row["width"], row["height"]]).all()
            x, y = quad.T
            assert (x * np.roll(y, -1) - y * np.roll(x, -1)).sum() > 0


@pytest.mark.parametrize("language", ["en", "zh"])
def test_words_and_characters_have_quads_where_asked_for(template, language):
    row = template(language, True).generate(23, [0]).to_pylist()[0]
    extra = json.loads(row["extra"])
    chars = [row["text"][part["start"] : part["end"]] for part in extra["chars"]]
    assert "".join(chars) == "".join(row["text"].split())
    words = [row["text"][part["start"] : part["end"]] for part in extra["words"]]
    assert words == row["text"].split()


def test_characters_lie_within_their_line(template):
    row = template("en", True).generate(24, [0]).to_pylist()[0]
    for part in json.loads(row["extra"])["chars"]:
        line = next(r for r in row["regions"] if r["start"] <= part["start"] < r["end"])
        unit = geometry.between(np.array(line["quad"]).reshape(4, 2), geometry.rectangle(1, 1))
        middle = np.array(part["quad"]).reshape(4, 2).mean(axis=0)
        assert (np.abs(geometry.through(unit, middle) - 0.5) <= 0.5).all()


def test_what_leaves_the_picture_is_neither_painted_nor_labelled(template):
    turned = {
        "document": {
            "fullscreen": 1,
            "effect": {"rotation": {"prob": 1, "angle": [40, 50]}, "perspective": {"prob": 0}},
        }
    }
    made = Template(turned, language="en", resources=template("en").resources)
    whole = Template(
        {"document": {"fullscreen": 1, "effect": {"perspective": {"prob": 0}}}}, resources=made.resources
    )
    plans = [(made.planner.plan(25, index), whole.planner.plan(25, index)) for index in range(4)]
    assert sum(len(cut.lines) for cut, _ in plans) < sum(len(full.lines) for _, full in plans)
    for cut, full in plans:
        full_text = "\n".join(line.text for line in full.lines)
        for line in cut.lines:
            assert line.text in full_text
            corners = geometry.through(cut.matrix, geometry.quads(line.boxes()))
            assert geometry.inside(corners, *cut.size).all()


def test_blurred_ink_stays_in_quads_however_small_and_leaning_they_are():
    rng = np.random.default_rng(0)
    blur = np.array([[20.0, 7.7], [7.7, 14.6]])
    for quad in (
        [[0, 0], [60, 0], [60, 30], [0, 30]],
        [[0, 0], [40, 0], [40, 6], [0, 6]],
        [[244.2, 761.7], [251.9, 744.2], [250.8, 759.0], [243.0, 776.3]],
    ):
        corners = np.array([quad], float)
        to_quad = geometry.between(geometry.rectangle(1, 1), corners[0])
        ink = geometry.through(to_quad, rng.random((20_000, 2)))
        blurred = ink + rng.multivariate_normal([0, 0], blur, len(ink))
        to_unit = geometry.between(labels.widened(corners, blur)[0], geometry.rectangle(1, 1))
        places = geometry.through(to_unit, blurred)
        assert ((places >= 0) & (places <= 1)).all(axis=1).mean() >= 0.99


def test_sides_are_as_deep_as_the_quad_is_across_them():
    leaning = np.array([[[0.0, 0.0], [10, 0], [30, 4], [20, 4]]])
    across = 4 * 10 / np.hypot(20, 4)
    assert np.allclose(geometry.depths(leaning), [[4, across, 4, across]])
    assert np.allclose(geometry.grow(leaning, np.array([[1.0, 0, 1, 0]]))[0, :, 1], [-1, -1, 5, 5])
