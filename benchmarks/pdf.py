"""How fast are pages of PDFs rendered, against a bare loop of PyMuPDF calls with the same encoder?

    python benchmarks/pdf.py [FOLDER] [--repeat 3]

Both take the same documents in turn, in one process, timed by its CPU seconds: those of FOLDER whose every
page gives a record. The bare loop opens, reads the text with its boxes (`get_text("dict")`), renders
(`get_pixmap`) and encodes: no reading order, no test of what can be seen, no record. The second bare loop
differs in its encoder alone, MuPDF's own.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pymupdf

from renderers import RenderError
from renderers.pdf import PdfSettings, encoded, render

SHARED = Path(__file__).parents[2] / "shared" / "data" / "pdf"


def ours(document: bytes, settings: PdfSettings) -> int:
    return sum(1 for _ in render(document, settings))


def bare(document: bytes, settings: PdfSettings, encode: Callable[[pymupdf.Pixmap], bytes]) -> int:
    pdf = pymupdf.open(stream=document, filetype="pdf")
    for page in pdf:
        page.get_text("dict", flags=pymupdf.TEXTFLAGS_WORDS)
        scale = min(settings.long_side / max(page.rect.width, page.rect.height), settings.max_dpi / 72)
        encode(page.get_pixmap(matrix=pymupdf.Matrix(scale, scale), alpha=False))
    return int(pdf.page_count)


def by_pillow(settings: PdfSettings) -> Callable[[pymupdf.Pixmap], bytes]:
    def encode(pixmap: pymupdf.Pixmap) -> bytes:
        pixels = np.frombuffer(pixmap.samples, np.uint8).reshape(pixmap.height, pixmap.width, 3)
        return encoded(pixels, settings)[0]

    return encode


def by_mupdf(settings: PdfSettings) -> Callable[[pymupdf.Pixmap], bytes]:
    return lambda pixmap: bytes(pixmap.tobytes("jpeg", jpg_quality=settings.quality))


def whole(path: Path, settings: PdfSettings) -> bool:
    try:
        return all(batch["dropped"][0].as_py() is None for batch in render(path.read_bytes(), settings))
    except RenderError:
        return False


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("folder", nargs="?", type=Path, default=SHARED)
    parser.add_argument("--repeat", type=int, default=3)
    options = parser.parse_args()
    settings = PdfSettings()
    documents = [path.read_bytes() for path in sorted(options.folder.glob("*.pdf")) if whole(path, settings)]
    runs: dict[str, Callable[[bytes], int]] = {
        "curate": lambda document: ours(document, settings),
        "bare loop": lambda document: bare(document, settings, by_pillow(settings)),
        "bare loop, MuPDF's encoder": lambda document: bare(document, settings, by_mupdf(settings)),
    }
    seconds = dict.fromkeys(runs, 0.0)
    pages = dict.fromkeys(runs, 0)
    for _ in range(options.repeat):
        for document in documents:
            for name, run in runs.items():
                start = time.process_time()
                pages[name] += run(document)
                seconds[name] += time.process_time() - start
    print(f"{len(documents)} documents, {pages['curate'] // options.repeat} pages, {options.repeat} times")
    for name in runs:
        rate = pages[name] / seconds[name]
        ratio = pages["curate"] / seconds["curate"] / rate
        print(f"{name:28} {rate:7.1f} pages/s   curate is {ratio:.2f} times as fast")


if __name__ == "__main__":
    main()
