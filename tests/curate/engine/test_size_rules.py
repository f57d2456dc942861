"""Rules on an image's size judge the image that was found, at the size that it had before it was shrunk."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

import curate
from tests.curate.runs import pair, picture, write_pairs

OWN = '''
import pyarrow as pa
import pyarrow.compute as pc
import curate

@curate.rule("image_too_wide")
def image_too_wide(width: pa.Int32Array, *, max_width: int) -> pa.BooleanArray:
    """Keep images that are at most `max_width` pixels wide."""
    return pc.less_equal(width, max_width)
'''


@pytest.mark.parametrize("more", [{}, {"image.max_side": 100}])
def test_a_size_rule_of_ones_own_judges_images_whose_size_was_not_published(
    more: dict[str, int], tmp_path: Path
) -> None:
    (tmp_path / "own.py").write_text(OWN)
    rows = [
        pair(0, WIDTH=None, HEIGHT=None),
        pair(1, WIDTH=None, HEIGHT=None, image=picture(1, 360, 240)),
        pair(2, WIDTH=240, HEIGHT=240, image=picture(2, 360, 240)),  # the published size is wrong
        pair(3, WIDTH=None, HEIGHT=None, image=picture(3, 360, 90)),  # judged in the order of the manifest
    ]
    source = write_pairs(tmp_path / "in.parquet", rows)
    settings = {"plugins": [str(tmp_path / "own.py")], "rules.image_too_wide.max_width": 300, **more}
    out = tmp_path / "out"
    made = curate.run("laion", out=out, inputs=source, settings=settings, workers=0, progress=False)
    assert made.dropped == {"image_too_wide": 2, "image_too_elongated": 1}
    fate = curate.explain(out, "in.parquet#1")
    assert (fate.reason, fate.detail) == ("image_too_wide", "width=360")


def test_a_dialogues_image_that_is_shrunk_is_judged_as_it_came(tmp_path: Path) -> None:
    (tmp_path / "one.jpg").write_bytes(picture(1, 240, 220))
    said = [{"from": "human", "value": "<image>What?"}, {"from": "gpt", "value": "A harbour"}]
    source = tmp_path / "in.json"
    source.write_text(json.dumps([{"id": "a", "image": "one.jpg", "conversations": said}]))
    settings = {"image.max_side": 100, "rules.image_too_small.min_side": 200}
    out = tmp_path / "out"
    made = curate.run("llava-instruct", out=out, inputs=source, settings=settings, workers=0, progress=False)
    assert (made.rows_out, made.dropped) == (1, {})
