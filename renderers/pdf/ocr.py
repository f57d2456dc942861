"""The text of scanned pages, read by Tesseract: a program of its own, with a time limit, at most as sure as it says."""

from __future__ import annotations

import io
import os
import shutil
import subprocess
from collections.abc import Iterable, Iterator, Sequence
from functools import lru_cache, reduce
from itertools import groupby
from typing import Any, NamedTuple

import numpy as np
from PIL import Image

from renderers import NotReadyError, RenderError
from renderers.page_text import normalise
from renderers.pdf.frames import LEVEL, Box, View, union
from renderers.pdf.line import SPACE, Glyph, Line
from renderers.pdf.mupdf import pymupdf
from renderers.pdf.ocr_boxes import apart
from renderers.pdf.pixels import Picture
from renderers.pdf.settings import PdfSettings

TESSERACT = "tesseract"
MOST_PX = 2**31
READ_SIDE = 3500  # px of the picture that is read, at the most
SUREST = 0.999  # 1 is the score of text that the document itself holds
LINE, WORD = "4", "5"  # levels of Tesseract's table
CLOSED_UP = (
    (0x2E80, 0xA000),
    (0xF900, 0xFB00),
    (0xFF00, 0xFFF0),
    (0x20000, 0x32000),
)  # written without spaces
MEND = "apt-get install tesseract-ocr tesseract-ocr-eng tesseract-ocr-chi-sim"


class ReadWord(NamedTuple):
    """A word as Tesseract gives it: its line's number, its box in points of the page, its text, how sure it is."""

    line: tuple[str, ...]
    box: Box
    text: str
    score: float


def check_engine(settings: PdfSettings) -> None:
    """Raises: NotReadyError: Tesseract, or one of the languages that it shall read, is not installed."""
    if settings.ocr != TESSERACT:
        return
    if shutil.which(TESSERACT) is None:
        raise NotReadyError(f"render.ocr needs Tesseract, which is not installed: {MEND}")
    listed = subprocess.run(
        [TESSERACT, "--list-langs"], capture_output=True, text=True, timeout=30, check=False
    )
    lacking = sorted(set(settings.ocr_languages.split("+")) - set(listed.stdout.split()))
    if lacking:
        raise NotReadyError(
            f"Tesseract has no data to read {', '.join(lacking)}: {MEND}, or set render.ocr_languages"
        )


@lru_cache(maxsize=1)
def engine() -> str:
    """Tesseract's name and version."""
    said = subprocess.run([TESSERACT, "--version"], capture_output=True, text=True, timeout=30, check=False)
    return (said.stdout or said.stderr).partition("\n")[0].strip()


def lines_read(
    display: pymupdf.DisplayList, px_a_point: float, settings: PdfSettings, *, text: bool = True
) -> list[Line]:
    """The lines that Tesseract reads on the page, in its order, each with how sure it is (`Line.score`).

    It is shown the page at twice `px_a_point`, within READ_SIDE; with its own text, or without.

    Raises:
        RenderError: `ocr_timed_out`; `ocr_failed`, with what Tesseract said; `ocr_uncertain`: it is less sure of the
            page than `ocr_min_score`.
    """
    width, height = display.rect.width, display.rect.height
    scale = max(px_a_point, min(2 * px_a_point, READ_SIDE / max(width, height)))
    picture = Picture(display, scale, colour=False, text=text)
    words = list(words_of(table_of(picture, settings), picture.view))
    score = mean_score(words)
    if words and score < settings.ocr_min_score:
        raise RenderError(
            "ocr_uncertain", f"score={score:.2f} of {sum(len(word.text) for word in words)} characters"
        )
    return apart([line_of(list(some)) for _, some in groupby(words, key=lambda word: word.line)], picture)


def table_of(picture: Picture, settings: PdfSettings) -> str:
    """What Tesseract finds on a picture, as its table of tab-separated values.

    Raises:
        RenderError: it took more than `ocr_s`, or failed.
    """
    buffer = io.BytesIO()
    image = Image.frombuffer("L", picture.view.size, picture.pixels, "raw", "L", 0, 1)
    image.save(buffer, "PNG", compress_level=1)
    dpi = str(max(70, round(picture.view.scale * 72)))
    command = [TESSERACT, "stdin", "stdout", "-l", settings.ocr_languages, "--psm", "3", "--dpi", dpi, "tsv"]
    environment = {"PATH": os.environ.get("PATH", os.defpath), "LANG": "C.UTF-8", "OMP_THREAD_LIMIT": "1"}
    try:
        done = subprocess.run(
            command,
            input=buffer.getvalue(),
            capture_output=True,
            timeout=settings.ocr_s,
            env=environment,
            check=False,
        )
    except subprocess.TimeoutExpired:
        raise RenderError("ocr_timed_out", f"Tesseract took more than {settings.ocr_s:g} s") from None
    if done.returncode:
        said = " ".join(done.stderr.decode(errors="replace").split())[:200]
        raise RenderError("ocr_failed", f"exit {done.returncode}: {said}")
    return done.stdout.decode(errors="replace")


def words_of(table: str, view: View) -> Iterator[ReadWord]:
    """The words of Tesseract's table that are not blank, no higher than the ink of their line.

    A line's box is drawn around its ink. A word whose ink Tesseract does not know has one as high as its line with
    all white space around it, which reaches into the lines above and below.
    """
    high, low = 0, MOST_PX
    for row in table.split("\n")[1:]:
        cells = row.split("\t", 11)
        if len(cells) < 12:
            continue
        left, top, width, height = map(int, cells[6:10])
        if cells[0] == LINE:
            high, low = top, top + height
        if cells[0] != WORD or not (text := normalise(cells[11])):
            continue
        top, bottom = max(top, high), min(top + height, low)
        (x0, y0), (x1, y1) = (
            ((x + view.origin[0]) / view.scale, (y + view.origin[1]) / view.scale)
            for x, y in ((left, top), (left + width, max(top, bottom)))
        )
        yield ReadWord(
            tuple(cells[1:5]), (x0, y0, x1, y1), text, min(SUREST, max(0.0, float(cells[10]) / 100))
        )


def not_among(read: Sequence[Line], own: Sequence[Line]) -> list[Line]:
    """The lines read but for those half of which, or more, lie under one of the page's own: that is its label."""
    if not read or not own:
        return list(read)
    theirs = np.array([line.box for line in read])
    level = [line.box for line in own if line.turn == LEVEL]
    shared = np.zeros(len(read))
    for x0, y0, x1, y1 in level:
        wide = np.minimum(theirs[:, 2], x1) - np.maximum(theirs[:, 0], x0)
        high = np.minimum(theirs[:, 3], y1) - np.maximum(theirs[:, 1], y0)
        shared = np.maximum(shared, wide.clip(0) * high.clip(0))
    areas = (theirs[:, 2] - theirs[:, 0]) * (theirs[:, 3] - theirs[:, 1])
    return [line for line, over in zip(read, (2 * shared >= areas).tolist(), strict=True) if not over]


def ocr_facts(read: Sequence[Line], settings: PdfSettings) -> dict[str, Any]:
    """What `extra` says of the lines read: the engine, its languages, how sure it is."""
    score = round(mean_score(read), 3)
    return {"engine": engine(), "languages": settings.ocr_languages, "score": score, "lines": len(read)}


def mean_score(parts: Iterable[ReadWord | Line]) -> float:
    """How sure Tesseract is of words or lines, by their characters; from 0 to 1."""
    weighed = [(len(part.text), part.score) for part in parts]
    return sum(count * score for count, score in weighed) / max(1, sum(count for count, _ in weighed))


def line_of(words: Sequence[ReadWord]) -> Line:
    """The words of one line as a line; each is one of its glyphs."""
    glyphs: list[Glyph] = []
    for word in words:
        if glyphs and not (closes_up(glyphs[-1]["c"][-1]) and closes_up(word.text[0])):
            glyphs.append(SPACE)
        glyphs.append({"c": word.text, "bbox": word.box})
    box = reduce(union, [word.box for word in words])
    text = "".join(glyph["c"] for glyph in glyphs)
    line = Line(text, box, LEVEL, LEVEL, box[3] - box[1], "", 0, -1, base=box[3], score=mean_score(words))
    line.glyphs = glyphs
    return line


def closes_up(character: str) -> bool:
    """True for what is written without spaces: Chinese, Japanese and their marks."""
    return any(low <= ord(character) < high for low, high in CLOSED_UP)
