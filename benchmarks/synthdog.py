"""How many synthetic documents does a CPU second give, against plain synthtiger at the same hyperparameters?

    python -m benchmarks.synthdog [--language zh] [--images 50] [--background FOLDER --paper FOLDER]

Both sides write the same corpus in the same faces on the same pictures, encode JPEG, and run on one thread in
one process. The table is what the images hold: means with standard errors; |z| under 3 is agreement. What is
not used counts as an effect of strength 0. `--plain FILE` keeps what plain synthtiger gave for another time.
"""

from __future__ import annotations

import argparse
import json
import resource
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from fontTools.ttLib import TTFont

from benchmarks.synthdog_plain import PlainSynthDoG, jpeg
from synthdog import compat, corpus, fonts, procedural
from synthdog.settings import load
from synthdog.template import Template

PAGE = ("characters", "lines", "characters a line", "width", "height", "mean gray", "contrast", "bytes")
STRENGTHS = {
    "background blur": ("background_blur", "sigma"),
    "elastic alpha": ("elastic", "alpha"),
    "elastic sigma": ("elastic", "sigma"),
    "noise": ("noise", "scale"),
    "perspective": ("perspective", "meta"),  # the mean of its four shares
    "colour": ("color", "alpha"),
    "shadow intensity": ("shadow", "intensity"),
    "shadow amount": ("shadow", "amount"),
    "contrast added": ("contrast", "alpha"),
    "brightness": ("brightness", "beta"),
    "motion blur": ("motion_blur", "k"),
    "blur": ("blur", "sigma"),
}


def main() -> None:
    options = arguments()
    cv2.setNumThreads(1)
    with tempfile.TemporaryDirectory() as folder:
        settings, text = prepare(Path(folder), options)
        template, setup_s = timed(lambda: Template(settings, language=options.language))
        template.generate(0, range(4))  # what is read on first use
        ours, ours_s = ours_of(template, options.images)
        peak_mb = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e3
        plain, plain_s = kept(
            options.plain,
            lambda: plain_of(template.settings, text, Path(folder), options.plain_images),
        )
    ours_rate, plain_rate = len(ours) / ours_s, len(plain) / plain_s
    print(
        f"{options.language}: synthdog {ours_rate:.1f} images a CPU second (set up in {setup_s:.1f} s, peak"
    )
    print(f"{peak_mb:.0f} MB), plain synthtiger {plain_rate:.2f}: {ours_rate / plain_rate:.1f} times")
    compare(ours, plain)


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--language", choices=("en", "zh"), default="en")
    parser.add_argument("--images", type=int, default=200)
    parser.add_argument("--plain-images", type=int, default=40)
    parser.add_argument("--plain", type=Path, help="file of what plain synthtiger gave; made if not there")
    parser.add_argument("--background", help="folder of pictures; default: the procedural ones")
    parser.add_argument("--paper", help="folder of paper textures; default: the procedural ones")
    return parser.parse_args()


def prepare(folder: Path, options: argparse.Namespace) -> tuple[dict[str, Any], str]:
    """The settings of both sides: pictures as files, a file for every face, as synthtiger wants it."""
    given = {"background": options.background, "paper": options.paper}
    places = {kind: place or str(written(kind, folder)) for kind, place in given.items()}
    faces = folder / "fonts"
    faces.mkdir()
    for found in fonts.report():
        if found.language == options.language and found.path:
            with TTFont(found.path, fontNumber=found.index, lazy=True) as font:
                font.save(faces / f"{found.typeface.family}.ttf", reorderTables=None)
    for kind, place in places.items():
        (folder / f"{kind}.path").write_text(place)
    settings = {
        "background": {"image": {"paths": [places["background"]], "weights": [1]}},
        "document": {
            "paper": {"paths": [places["paper"]], "weights": [1]},
            "content": {"font": {"paths": [str(faces)]}},
        },
    }
    text = corpus.load(load(None, options.language).document.content.text, options.language)
    return settings, text.window(0, len(text))


def written(kind: str, folder: Path) -> Path:
    """The procedural pictures of a kind as JPEG files, of the size that photographs and scans have."""
    (folder / kind).mkdir()
    for name in procedural.names(kind)[::3]:
        picture = cv2.resize(procedural.picture(name), (1600, 1200) if kind == "paper" else (640, 480))
        cv2.imwrite(str(folder / kind / f"{name}.jpg"), picture)
    return folder / kind


def kept(file: Path | None, measure: Callable[[], Any]) -> Any:
    """What the file holds, or what is measured now, and put there."""
    if file is None or not file.exists():
        found = measure()
        if file is not None:
            file.write_text(json.dumps(found))
        return found
    return json.loads(file.read_text())


def ours_of(template: Template, count: int) -> tuple[list[list[float]], float]:
    """The measures of so many images, and the CPU seconds that making them took."""
    made, seconds = [], 0.0
    for start in range(0, count, 20):
        batch, taken = timed(lambda start=start: template.generate(1, range(start, min(start + 20, count))))
        seconds += taken
        for row in batch.to_pylist():
            assert row["dropped"] is None, row["detail"]
            texts = [region["text"] for region in row["regions"]]
            made.append(measured(row["image"], texts, json.loads(row["extra"])["effects"]))
    return made, seconds


def plain_of(settings: Any, text: str, folder: Path, count: int) -> tuple[list[list[float]], float]:
    """The same of plain synthtiger."""
    places = [(folder / f"{kind}.path").read_text() for kind in ("background", "paper")]
    np.random.seed(1)
    made, seconds = [], 0.0
    with compat.legacy():
        plain = PlainSynthDoG(settings, text, str(folder / "fonts"), *places)
        for _ in range(count):
            (image, texts, quality, strengths), taken = timed(plain.generate)
            seconds += (
                taken + timed(lambda image=image, q=quality: jpeg(image, q, str(folder / "plain.jpg")))[1]
            )
            made.append(measured((folder / "plain.jpg").read_bytes(), texts, strengths.record()))
    return made, seconds


def measured(encoded: bytes, texts: list[str], effects: dict[str, Any]) -> list[float]:
    """PAGE and STRENGTHS of one image."""
    gray = cv2.imdecode(np.frombuffer(encoded, np.uint8), cv2.IMREAD_GRAYSCALE)
    characters = float(sum(map(len, texts)))
    height, width = gray.shape
    mean, deviation = cv2.meanStdDev(gray)
    spread = (float(mean[0, 0]), float(deviation[0, 0]))
    page = [characters, len(texts), characters / max(len(texts), 1), width, height, *spread, len(encoded)]
    return page + [strength(effects.get(effect), name) for effect, name in STRENGTHS.values()]


def strength(draw: dict[str, Any] | None, name: str) -> float:
    """One parameter of an effect as drawn; 0 where the effect is not used."""
    if draw is None:
        return 0.0
    return float(np.mean(draw[name]["percents"] if name == "meta" else draw[name]))


def timed(task: Callable[[], Any]) -> tuple[Any, float]:
    start = time.process_time()
    return task(), time.process_time() - start


def compare(ours: list[list[float]], plain: list[list[float]]) -> None:
    for name, a, b in zip((*PAGE, *STRENGTHS), np.array(ours).T, np.array(plain).T, strict=True):
        errors = a.std(ddof=1) / len(a) ** 0.5, b.std(ddof=1) / len(b) ** 0.5
        z = (a.mean() - b.mean()) / float(np.hypot(*errors))
        ours_mean, plain_mean = (
            f"{side.mean():10.5g} ± {error:7.2g}" for side, error in ((a, errors[0]), (b, errors[1]))
        )
        print(f"{name:18} {ours_mean}   plain {plain_mean}   z {z:+.1f}")


if __name__ == "__main__":
    main()
