"""What DataComp publishes of each image: boxes of faces, which are blurred, and the hash of its bytes."""

from __future__ import annotations

import hashlib
import io
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
from PIL import Image

from tests.curate.runs import done, dropped, picture, shards, write_pairs

HERE = ("--workers", "0")


def noise(seed: int, kind: str = "JPEG", exif: int = 1) -> bytes:
    """Sharp noise of 320 × 240 pixels."""
    out = io.BytesIO()
    pixels = np.random.default_rng(seed).integers(0, 255, (240, 320, 3)).astype(np.uint8)
    options = {}
    if exif != 1:
        told = Image.Exif()
        told[0x0112] = exif
        options["exif"] = told
    Image.fromarray(pixels).save(out, kind, **options)
    return out.getvalue()


def row(number: int, image: bytes, **more: object) -> dict[str, object]:
    return {
        "uid": f"{number:032x}",
        "url": f"https://a.example/{number}.jpg",
        "text": f"Two people on the old pier, number {number}",
        "original_width": 320,
        "original_height": 240,
        "clip_l14_similarity_score": 0.4,
        "image": image,
    } | more


def sharpness(pixels: np.ndarray) -> float:
    return float(np.abs(np.diff(pixels.astype(int), axis=1)).mean())


def opened(folder: Path) -> list[Image.Image]:
    bodies = [one["bytes"] for one in shards(folder)["image"].to_pylist()]
    return [Image.open(io.BytesIO(body)) for body in bodies]


def test_the_boxes_of_faces_are_blurred_and_nothing_else(tmp_path: Path) -> None:
    face = [[0.5, 0.25, 0.75, 0.75]]
    rows = [
        row(0, noise(0), face_bboxes=face),
        row(1, noise(1), face_bboxes=[]),
        row(2, noise(2, "PNG"), face_bboxes=face),
    ]
    source = write_pairs(tmp_path / "rows.parquet", rows)
    out = tmp_path / "out"
    done("run", "datacomp", "--input", source, "--out", out, "--set", "image.blur_boxes=face_bboxes", *HERE)
    jpeg, plain, png = (np.asarray(one.convert("L")) for one in opened(out))
    for pixels in (jpeg, png):
        assert sharpness(pixels[80:160, 180:220]) < 8
        assert sharpness(pixels[:, :80]) > 40
    assert shards(out)["image"][1]["bytes"].as_py() == rows[1]["image"]
    assert sharpness(plain[80:160, 180:220]) > 40
    assert [one.format for one in opened(out)] == ["JPEG", "JPEG", "PNG"]
    assert (
        shards(out)["sha256"][0].as_py()
        == hashlib.sha256(shards(out)["image"][0]["bytes"].as_py()).hexdigest()
    )
    done("verify", out)


@pytest.mark.parametrize(("turn", "left"), [(3, True), (6, False)])
def test_boxes_turn_with_their_image(turn: int, left: bool, tmp_path: Path) -> None:
    source = write_pairs(
        tmp_path / "rows.parquet", [row(0, noise(0, exif=turn), face_bboxes=[[0.7, 0.3, 0.9, 0.7]])]
    )
    out = tmp_path / "out"
    done("run", "datacomp", "--input", source, "--out", out, "--set", "image.blur_boxes=face_bboxes", *HERE)
    pixels = np.asarray(opened(out)[0].convert("L"))
    blurred = pixels[90:150, 45:80] if left else pixels[240:270, 90:150]  # upside down; turned right by 90°
    assert sharpness(blurred) < 10


def test_a_box_that_is_none_blurs_the_whole_image(tmp_path: Path) -> None:
    source = write_pairs(tmp_path / "rows.parquet", [row(0, noise(0), face_bboxes="nobody knows")])
    out = tmp_path / "out"
    done("run", "datacomp", "--input", source, "--out", out, "--set", "image.blur_boxes=face_bboxes", *HERE)
    assert sharpness(np.asarray(opened(out)[0].convert("L"))) < 8


def test_an_image_of_other_bytes_than_published_has_changed(tmp_path: Path) -> None:
    good, bad = picture(0), picture(1)
    rows = [
        row(0, good, sha256=hashlib.sha256(good).hexdigest()),
        row(1, bad, sha256="0" * 64),
        row(2, picture(2), sha256=None),
    ]
    source = write_pairs(tmp_path / "rows.parquet", rows)
    changed = ("--set", "rules.image_changed.on=true", "--set", "rules.image_changed.max_ratio_change=9")
    done("run", "datacomp", "--input", source, "--out", tmp_path / "out", *changed, *HERE)
    assert shards(tmp_path / "out")["source"].to_pylist() == ["rows.parquet#0", "rows.parquet#2"]
    assert dropped(tmp_path / "out") == {"rows.parquet#1": "image_changed"}
    (detail,) = pq.read_table(tmp_path / "out" / "_dropped")["detail"].to_pylist()
    assert detail.startswith("published=0000000000000000 found=")
    done("run", "datacomp", "--input", source, "--out", tmp_path / "off", *HERE)
    assert shards(tmp_path / "off").num_rows == 3
