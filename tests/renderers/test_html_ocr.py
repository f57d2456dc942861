"""The boxes are true: what an OCR engine reads in each is what its region says."""

from __future__ import annotations

import io
import math
import os
import re
import shutil
import subprocess
import unicodedata
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from renderers.html.render import Browser

SAMPLES = Path(__file__).parents[2] / "manifests" / "samples" / "html"


def read(crops: list[Image.Image], language: str, folder: Path) -> list[str]:
    """The one line of text that Tesseract reads in each crop, on a margin of its ground."""
    names = [folder / f"{number}.png" for number in range(len(crops))]
    for crop, name in zip(crops, names, strict=True):
        canvas = Image.new("RGB", (crop.width + 40, crop.height + 40), crop.getpixel((0, 0)))
        canvas.paste(crop, (20, 20))
        canvas.save(name)
    (folder / "names.txt").write_text("\n".join(map(str, names)))
    command = ["tesseract", str(folder / "names.txt"), "stdout", "-l", language, "--psm", "7", "--dpi", "200"]
    environment = {**os.environ, "OMP_THREAD_LIMIT": "1"}  # its threads wait for each other
    done = subprocess.run(command, capture_output=True, timeout=120, check=True, env=environment)
    return done.stdout.decode().split("\f")[: len(crops)]


def crop(image: Image.Image, quad: list[float]) -> Image.Image:
    """What stands in a quad, turned so that its text reads from the left."""
    top_left, top_right, bottom_right, bottom_left = zip(quad[::2], quad[1::2], strict=True)
    size = round(math.dist(top_left, top_right)), round(math.dist(top_left, bottom_left))
    ends = (*top_left, *bottom_left, *bottom_right, *top_right)
    return image.transform(size, Image.Transform.QUAD, ends, Image.Resampling.BICUBIC)


def plain(text: str) -> str:
    """Text without what fonts leave to taste: spaces, the width of characters, the shape of quotes."""
    return re.sub(r"\s", "", unicodedata.normalize("NFKC", text)).translate(str.maketrans("“”‘’—", "\"\"''-"))


def edits(one: str, other: str) -> int:
    """The Levenshtein distance."""
    row = list(range(len(other) + 1))
    for i, left in enumerate(one, 1):
        before, row = row, [i]
        for j, right in enumerate(other, 1):
            row.append(min(before[j] + 1, row[-1] + 1, before[j - 1] + (left != right)))
    return row[-1]


def error_rate(row: dict[str, Any], language: str, folder: Path) -> float:
    """How many of the characters that the regions name are read otherwise in their quads."""
    image = Image.open(io.BytesIO(row["image"])).convert("RGB")
    texts = read([crop(image, region["quad"]) for region in row["regions"]], language, folder)
    labels = [plain(region["text"]) for region in row["regions"]]
    wrong = sum(edits(label, plain(text)) for label, text in zip(labels, texts, strict=True))
    return wrong / sum(map(len, labels))


@pytest.mark.parametrize(
    ("page", "language", "limit"), [("english", "eng", 0.03), ("chinese", "chi_sim", 0.06)]
)
def test_the_text_in_each_box_is_its_region_s(
    sharp: Browser, tmp_path: Path, page: str, language: str, limit: float
) -> None:
    if shutil.which("tesseract") is None:
        pytest.skip("tesseract is not installed")
    (batch,) = sharp.render((SAMPLES / f"{page}.html").read_bytes())
    (row,) = batch.to_pylist()
    assert error_rate(row, language, tmp_path) < limit


TURNED = """<!DOCTYPE html><meta charset=utf-8><style>
div { position: absolute; width: 340px; font: 20px/1.6 'DejaVu Sans'; rotate: var(--turn) }
.zh { font-family: 'Noto Sans CJK SC' } .down { writing-mode: vertical-rl; width: auto; height: 340px }
</style><div style='left:90px;top:200px'>{english}</div>
<div class=zh style='left:560px;top:200px'>{chinese}</div>
<div class=down style='left:160px;top:500px'>{english}</div><p style='height:1000px'>"""
ENGLISH = (
    "Salt has been made on this coast since the Romans came. The sea fills its ponds, and wind dries them."
)
CHINESE = "城里的图书馆建在河边，每天早上八点开门。孩子们放学以后来这里看书，老人在窗前读报纸。"


@pytest.mark.parametrize("degrees", [-90, 90, 180, 12, -30])
@pytest.mark.parametrize(("language", "limit"), [("eng", 0.03), ("chi_sim", 0.06)])
def test_turned_text_in_each_quad_is_its_region_s(
    sharp: Browser, tmp_path: Path, degrees: int, language: str, limit: float
) -> None:
    if shutil.which("tesseract") is None:
        pytest.skip("tesseract is not installed")
    english, chinese = (ENGLISH, "") if language == "eng" else ("", CHINESE)
    page = TURNED.replace("var(--turn)", f"{degrees}deg")
    page = page.replace("{english}", english).replace("{chinese}", chinese)
    (batch,) = sharp.render(page.encode())
    (row,) = batch.to_pylist()
    text = "".join(row["text"].split())
    assert text == "".join((2 * english + chinese).split())
    assert error_rate(row, language, tmp_path) < limit
