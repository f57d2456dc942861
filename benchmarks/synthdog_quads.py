"""Do the quads hold the ink, and do readers read there what the labels say?

    python -m benchmarks.synthdog_quads ink [--images 500] [--lines 4]
    python -m benchmarks.synthdog_quads read [--images 40]
    python -m benchmarks.synthdog_quads show --images 100 --side 130 --out FOLDER

`ink` paints single lines onto the same picture again: what differs is that line's ink, all effects included.
It prints the shares of ink inside the quads and the widest empty margins, as shares of the quad's side.
`read` cuts lines out by their quads and has an OCR engine (English: tesseract, Chinese: rapidocr) read them.
`show` draws images of the default strength with their quads, to be looked at: a sheet for each language.
"""

from __future__ import annotations

import argparse
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from benchmarks.levenshtein import distance
from synthdog import geometry, labels, painting
from synthdog.errors import ItemError
from synthdog.page_plan import PagePlan
from synthdog.template import Template

EXTREME: dict[str, Any] = {
    "document": {
        "effect": {
            "elastic": {"alpha": [20, 40], "sigma": [4, 8]},
            "noise": {"scale": [16, 32]},
            "rotation": {"prob": 1, "angle": [-15, 15]},
            "perspective": {"weights": [1], "percents": [[[0.5, 1]] * 4]},
        }
    },
    "effect": {
        "motion_blur": {"prob": 1, "k": [5, 15]},
        "blur": {"sigma": [0, 4]},
        "contrast": {"alpha": [1, 2]},
    },
}
STRONG: dict[str, Any] = {
    "document": {
        "effect": {
            "elastic": {"alpha": [5, 20], "sigma": [3, 6]},
            "noise": {"scale": [8, 16]},
            "rotation": {"prob": 1, "angle": [-8, 8]},
            "perspective": {"weights": [1], "percents": [[[0.7, 1]] * 4]},
        }
    },
    "effect": {"motion_blur": {"prob": 1, "k": [3, 9]}, "blur": {"sigma": [0, 2]}},
}
STRENGTHS = {"default": {}, "strong": STRONG, "extreme": EXTREME}
UNSEEN = 12  # gray levels: ink fainter than this against its paper is not measured
VISIBLE = 0.1  # of the line's strongest ink: where a margin ends


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("what", choices=("ink", "read", "show"))
    parser.add_argument("--images", type=int, default=40, help="of each language and strength")
    parser.add_argument("--lines", type=int, default=4, help="measured an image")
    parser.add_argument("--side", type=int, default=300, help="of an image that is shown (px)")
    parser.add_argument("--out", type=Path, default=Path(), help="folder for what is shown")
    options = parser.parse_args()
    if options.what == "show":
        for language in ("en", "zh"):
            file = options.out / f"synthdog-{language}-{options.images}.jpg"
            cv2.imwrite(str(file), sheet(Template({}, language=language), options.images, options.side))
        return
    for strength, settings in STRENGTHS.items():
        for language in ("en", "zh"):
            template = Template(settings, language=language)
            print(f"{strength} {language}: ", end="", flush=True)
            print((ink if options.what == "ink" else read)(template, options.images, options.lines))


def ink(template: Template, images: int, lines: int) -> str:
    """The ink test over some lines of each image."""
    found = [line for plan in plans(template, images) for line in measured(plan, lines)]
    inside, margin = np.array([(share, max(margins)) for share, margins in found]).T
    return (
        f"{len(found)} lines; ink inside: least {inside.min():.4f}, mean {inside.mean():.4f}, "
        f"{(inside < 0.99).sum()} under 0.99; widest margin: {margin.max():.3f}, mean {margin.mean():.3f}, "
        f"{(margin > 0.25).sum()} over 0.25"
    )


def plans(template: Template, count: int) -> Iterator[PagePlan]:
    for index in range(count):
        try:
            yield template.planner.plan(7, index)
        except ItemError as problem:
            print(f"image {index}: {problem}")


def measured(plan: PagePlan, lines: int) -> Iterator[tuple[float, tuple[float, ...]]]:
    """Of some lines: the share of ink inside the quad, and the empty margins left, top, right, bottom."""
    inks = painting.strips(plan)
    quads = labels.lines(plan, inks)
    blank = painting.paint(plan, []).astype(np.int16)
    for index in np.random.default_rng(plan.seed).permutation(len(plan.lines))[:lines]:
        painted = painting.paint(plan, [(plan.lines[index], inks[index])])
        difference = np.abs(painted - blank).max(axis=2)
        if difference.max() >= UNSEEN:
            yield within(difference, quads[index])


def within(difference: np.ndarray, quad: np.ndarray) -> tuple[float, tuple[float, ...]]:
    rows, columns = np.nonzero(difference)
    weights = difference[rows, columns].astype(float)
    unit = geometry.between(quad, geometry.rectangle(1, 1))
    places = geometry.through(unit, np.stack([columns, rows], axis=1) + 0.5)
    inside = ((places >= 0) & (places <= 1)).all(axis=1)
    seen = places[weights >= VISIBLE * weights.max()]
    low, high = seen.min(axis=0), seen.max(axis=0)
    return weights[inside].sum() / weights.sum(), (low[0], low[1], 1 - high[0], 1 - high[1])


def read(template: Template, images: int, lines: int) -> str:
    """The character error rate of an OCR engine on lines cut out by their quads."""
    errors = characters = 0
    engine = (tesseract if template.language == "en" else rapidocr)()
    for plan in plans(template, images):
        inks = painting.strips(plan)
        picture = painting.paint(plan, zip(plan.lines, inks, strict=True))
        quads = labels.lines(plan, inks)
        for index in np.random.default_rng(plan.seed).permutation(len(plan.lines))[:lines]:
            wanted = plan.lines[index].text.replace(" ", "")
            got = engine(cut(picture, quads[index])).replace(" ", "")
            errors += min(distance(wanted, got), len(wanted))
            characters += len(wanted)
    return f"character error rate {errors / characters:.3f} over {characters} characters"


def sheet(template: Template, images: int, side: int) -> np.ndarray:
    """Images with their quads in rows of `side` px squares, a dot at the text's own top left."""
    across = 10 if images >= 50 else 5
    rows = -(-images // across)
    shown = np.full((rows * side, across * side, 3), 255, np.uint8)
    for index, row in enumerate(template.generate(7, range(images)).to_pylist()):
        if row["image"] is None:
            continue
        picture = cv2.imdecode(np.frombuffer(row["image"], np.uint8), cv2.IMREAD_COLOR)
        scale = (side - 4) / max(picture.shape)
        picture = cv2.resize(picture, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA)
        for region in row["regions"]:
            corners = np.array(region["quad"]).reshape(4, 2) * scale
            cv2.polylines(picture, [np.int32(corners * 16)], True, (0, 160, 0), 1, cv2.LINE_AA, 4)
            cv2.circle(picture, tuple(np.int32(corners[0])), max(side // 150, 1), (0, 0, 230), -1)
        top = index // across * side + (side - picture.shape[0]) // 2
        left = index % across * side + (side - picture.shape[1]) // 2
        shown[top : top + picture.shape[0], left : left + picture.shape[1]] = picture
    return shown


def cut(picture: np.ndarray, quad: np.ndarray) -> np.ndarray:
    """The line upright, 48 px high, with a rim of its own edge."""
    width, height = np.linalg.norm(quad[1] - quad[0]), np.linalg.norm(quad[3] - quad[0])
    size = (max(int(48 * width / height), 8), 48)
    matrix = geometry.between(quad, geometry.rectangle(*size))
    line = cv2.warpPerspective(picture, geometry.pixel_matrix(matrix), size, borderMode=cv2.BORDER_REPLICATE)
    return np.asarray(cv2.copyMakeBorder(line, 8, 8, 8, 8, cv2.BORDER_REPLICATE))


def tesseract() -> Any:
    command = ["tesseract", "stdin", "stdout", "--psm", "7", "-l", "eng"]

    def engine(line: np.ndarray) -> str:
        png = cv2.imencode(".png", line)[1].tobytes()
        return subprocess.run(command, input=png, capture_output=True, check=True, timeout=60).stdout.decode()

    return lambda line: engine(line).strip()


def rapidocr() -> Any:
    from rapidocr import RapidOCR

    reader = RapidOCR(params={"Global.log_level": "error"})

    def engine(line: np.ndarray) -> str:
        found = reader(line, use_det=False, use_cls=False, use_rec=True)
        return "".join(found.txts or ())

    return engine


if __name__ == "__main__":
    main()
