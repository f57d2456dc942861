"""The boxes are true: what an OCR engine reads in each is what its region says."""

from __future__ import annotations

import io
import os
import re
import shutil
import subprocess
import unicodedata
from pathlib import Path

import pytest
from PIL import Image

from renderers.html import Browser, HtmlSettings

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


@pytest.mark.parametrize(
    ("page", "language", "limit"), [("english", "eng", 0.03), ("chinese", "chi_sim", 0.06)]
)
def test_the_text_in_each_box_is_its_region_s(
    ready: None, tmp_path: Path, page: str, language: str, limit: float
) -> None:
    if shutil.which("tesseract") is None:
        pytest.skip("tesseract is not installed")
    with Browser(HtmlSettings(tabs=1, scale=2.0, format="png")) as browser:
        (batch,) = browser.render((SAMPLES / f"{page}.html").read_bytes())
    (row,) = batch.to_pylist()
    image = Image.open(io.BytesIO(row["image"])).convert("RGB")
    crops = [image.crop((*region["quad"][0:2], *region["quad"][4:6])) for region in row["regions"]]
    texts = read(crops, language, tmp_path)
    labels = [plain(region["text"]) for region in row["regions"]]
    wrong = sum(edits(label, plain(text)) for label, text in zip(labels, texts, strict=True))
    assert wrong / sum(map(len, labels)) < limit
