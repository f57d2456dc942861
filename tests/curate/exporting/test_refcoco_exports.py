"""Boxes as RefCOCO publishes them, exported in each format and dialect and read back."""

from __future__ import annotations

from typing import Any

import pytest

from benchmarks.refcoco_exports import EXPORTS, HALF, compare

BOXES: list[tuple[tuple[int, int], list[float]]] = [
    ((640, 478), [414.48, 116.27, 194.86, 144.26]),
    ((640, 478), [184.94, 91.28, 127.9, 181.84]),
    ((480, 640), [0.0, 0.0, 480.0, 640.0]),  # the whole picture
    ((333, 500), [0.01, 499.0, 332.99, 1.0]),  # a line at its foot
    ((1024, 577), [1000.55, 3.45, 23.45, 500.5]),
    ((96, 640), [12.5, 12.5, 60.25, 600.75]),  # LLaVA pads it to a square by half of 544 pixels
]


def test_every_export_says_the_published_box_within_half_a_step(capsys: pytest.CaptureFixture[str]) -> None:
    lines: list[dict[str, Any]] = [
        {"img_id": f"COCO_train2014_{number:012}_{number}", "sents": f"thing {number}", "bbox": box,
         "width": width, "height": height}
        for number, ((width, height), box) in enumerate(BOXES)
    ]  # fmt: skip
    assert compare(lines) <= HALF
    told = capsys.readouterr().out.splitlines()
    assert len(told) == len(EXPORTS)
    assert all(" 6 rows, 6 read" in line for line in told)
