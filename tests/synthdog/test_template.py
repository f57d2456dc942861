from __future__ import annotations

import hashlib
import io
import json
import random
import subprocess
import sys

import cv2
import numpy as np
import pytest
from PIL import Image

from synthdog import ROWS, Template, compat
from synthdog.errors import SettingsError

DIGESTS = """
import hashlib, sys
from synthdog import Template
rows = Template(language="en").generate(5, map(int, sys.argv[1:])).to_pylist()
print(*(hashlib.sha256(row["image"] + row["extra"].encode()).hexdigest() for row in rows))
"""


def digests(rows):
    return [hashlib.sha256(row["image"] + row["extra"].encode()).hexdigest() for row in rows]


@pytest.mark.parametrize("language", ["en", "zh"])
def test_an_image_is_the_same_whatever_was_made_before_it(template, language):
    forward = template(language).generate(5, [0, 1, 2]).to_pylist()
    backward = template(language).generate(5, [2, 1, 0]).to_pylist()
    assert digests(forward) == digests(backward)[::-1]
    assert len(set(digests(forward))) == 3


def test_an_image_is_the_same_in_another_process(template):
    command = [sys.executable, "-c", DIGESTS, "3", "0"]
    there = subprocess.run(command, capture_output=True, text=True, check=True, timeout=120).stdout.split()
    assert there == digests(template("en").generate(5, [3, 0]).to_pylist())


def test_other_seeds_give_other_images(template):
    rows = [template("en").generate(seed, [0]).to_pylist()[0] for seed in (0, 1, 2**63)]
    assert len(set(digests(rows))) == 3


def test_the_state_of_global_generators_makes_no_difference(template):
    made = []
    for seed in (1, 2):
        random.seed(seed)
        np.random.seed(seed)
        cv2.setRNGSeed(seed)
        made.append(digests(template("en").generate(5, [4]).to_pylist()))
    assert made[0] == made[1]


def test_what_nothing_here_needs_is_not_imported():
    command = "import sys, synthdog; synthdog.Template({}, language='en'); print('imgaug' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", command], capture_output=True, text=True, timeout=120)
    if "typefaces for 'en' is installed" in done.stderr:
        pytest.skip("none of the English typefaces is installed")
    assert done.stdout.strip() == "False", done.stderr


def test_synthtigers_own_effects_still_work():
    layers = compat.synthtiger().layers
    layer = layers.RectLayer((8, 8), (255, 255, 255, 255))
    with compat.legacy():
        compat.synthtiger().components.GaussianBlur((1, 1)).apply([layer])
    assert layer.image.shape == (8, 8, 4)


def test_no_global_state_is_left_changed(template):
    np.random.seed(3)
    cv2.setNumThreads(2)
    expected = np.random.RandomState(3).random_sample(4)
    template("en").generate(1, [0])
    assert np.array_equal(np.random.random_sample(4), expected)
    assert cv2.getNumThreads() == 2


@pytest.mark.parametrize("language", ["en", "zh"])
def test_rows_are_whole(template, language):
    batch = template(language).generate(11, range(4))
    assert batch.schema == ROWS
    for index, row in enumerate(batch.to_pylist()):
        with Image.open(io.BytesIO(row["image"])) as image:
            assert (image.format, image.size) == ("JPEG", (row["width"], row["height"]))
        extra = json.loads(row["extra"])
        assert (extra["seed"], extra["index"], row["language"]) == (11, index, language)
        assert extra["fonts"]
        assert extra["effects"]["shadow"]


@pytest.mark.parametrize("language", ["en", "zh"])
def test_offsets_find_each_line_in_the_text(template, language):
    for row in template(language).generate(12, range(4)).to_pylist():
        assert [region["text"] for region in row["regions"]] == row["text"].split("\n")
        for region in row["regions"]:
            assert row["text"][region["start"] : region["end"]] == region["text"]
            assert region["text"] == region["text"].strip()


def test_lines_hold_whole_words_or_parts_of_those_that_no_line_holds(template):
    text = template("en").resources.text.window(0, 10**9)
    words = set(text.split())
    for row in template("en").generate(13, range(4)).to_pylist():
        parts = set(row["text"].split()) - words
        assert all(part.removesuffix("-") in text for part in parts)
        assert len(parts) < 0.25 * len(row["text"].split())


def test_a_page_that_nothing_fits_on_is_a_dropped_row(template):
    settings = {
        "document": {"content": {"layout": {"text_scale": [1, 1], "max_col": 1}, "margin": [0.499, 0.499]}}
    }
    made = Template(settings, language="en", resources=template("en").resources).generate(1, [0, 1])
    for row in made.to_pylist():
        assert row["dropped"] == "layout_failed"
        assert "no text fits" in row["detail"]
        assert row["image"] is None
        assert json.loads(row["extra"])["seed"] == 1


def test_a_negative_seed_is_refused(template):
    with pytest.raises(SettingsError, match="must not be negative"):
        template("en").generate(-1, [0])
