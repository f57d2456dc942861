from __future__ import annotations

from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from curate.images.region_scaling import fit
from curate.schema import SAMPLE
from tests.curate.tasks_runs import corners, curated, write_json, write_picture

NAN = float("nan")


def region(*box: float) -> dict[str, Any]:
    x0, y0, x1, y1 = box
    return {"text": "it", "start": None, "end": None, "quad": [x0, y0, x1, y0, x1, y1, x0, y1], "score": 0.5}


def fitted(
    published: tuple[int | None, int | None], stored: tuple[int, int], *boxes: Any, turn: int | None = 1
) -> list[list[float]]:
    columns = {"regions": [[region(*box) for box in boxes]], "width": [stored[0]], "height": [stored[1]]}
    table = pa.table({f.name: pa.array(columns.get(f.name, [None]), f.type) for f in SAMPLE}, schema=SAMPLE)
    before = pa.table(
        {"width": pa.array([published[0]], pa.int32()), "height": pa.array([published[1]], pa.int32())}
    )
    turns = pa.array([turn], pa.int32())
    return corners(fit(table, before, turns, turns.is_valid()).to_pylist()[0])


def test_regions_keep_their_shares_of_width_and_height() -> None:
    assert fitted((100, 80), (50, 160), (10, 20, 40, 60)) == [[5, 40, 20, 120]]


def test_regions_of_an_image_of_the_published_size_stay_to_the_bit() -> None:
    box = (318.09, 44.0, 517.74, 480.0)
    assert fitted((640, 480), (640, 480), box) == [[pytest.approx(side, rel=1e-7) for side in box]]


def test_regions_without_a_published_size_are_of_the_stored_image() -> None:
    assert fitted((None, None), (50, 40), (10, 20, 60, 30)) == [[10, 20, 50, 30]]


def test_what_lies_outside_is_cut_off_or_goes() -> None:
    assert fitted((100, 80), (100, 80), (-5, 70, 20, 90), (200, 10, 210, 20), (NAN, 1, 2, 3)) == [
        [0, 70, 20, 80]
    ]


def test_an_image_that_was_not_decoded_keeps_its_regions() -> None:
    assert fitted((100, 80), (50, 40), (10, 20, 400, 60), turn=None) == [[10, 20, 400, 60]]


@pytest.mark.parametrize(
    ("turn", "box"),
    [(5, [20, 10, 30, 14]), (6, [50, 10, 60, 14]), (7, [50, 86, 60, 90]), (8, [20, 86, 30, 90])],
)
def test_boxes_of_a_picture_on_its_side_are_turned_with_it(turn: int, box: list[float]) -> None:
    assert fitted((100, 80), (80, 100), (10, 20, 14, 30), turn=turn) == [box]


def test_boxes_of_an_upright_picture_are_not_turned_again() -> None:
    assert fitted((80, 100), (80, 100), (10, 20, 14, 30), turn=6) == [[10, 20, 14, 30]]


def test_a_box_stays_on_what_it_shows_when_the_image_is_turned_and_shrunk(tmp_path: Path) -> None:
    write_picture(tmp_path / "images" / "1.jpg", 100, 60, orientation=6)  # upright it is 60 by 100
    found = {"region_id": 1, "image_id": 1, "phrase": "it", "x": 0, "y": 0, "width": 20, "height": 30}
    files = [
        write_json(tmp_path / "in" / "region_descriptions.json", [{"id": 1, "regions": [found]}]),
        write_json(
            tmp_path / "in" / "image_data.json", [{"image_id": 1, "url": "u", "width": 100, "height": 60}]
        ),
    ]
    sets = [f"image.folder={tmp_path / 'images'}", "image.max_side=50"]
    _, kept = curated("visual-genome", tmp_path / "out", files, sets)
    row = kept.to_pylist()[0]
    assert (row["width"], row["height"]) == (30, 50)
    assert corners(row) == [[15, 0, 30, 10]]  # the left edge is the top now, the top the right edge
