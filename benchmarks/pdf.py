"""How fast are pages of PDFs rendered, isolation included, against a bare loop of PyMuPDF calls?

    python -m benchmarks.pdf [FOLDER] [--processes 2] [--rounds 5]
    OPENBLAS_NUM_THREADS=1 python -m benchmarks.pdf [FOLDER] --stages

The documents are those of FOLDER whose every page gives a record. Ours is the origin that `curate run pdf`
reads: killable child processes, text, order, what can be seen, image, records as samples in this process.
The bare loops run in as many processes, which open, read the text with its boxes (`get_text("dict")`), render
(`get_pixmap`) and encode, and return nothing: no reading order, no test of what can be seen, no record. One
hands pixels to Pillow as PyMuPDF's documentation does, one renders four bytes a pixel as we do, which Pillow
encodes without a copy, and one takes MuPDF's own JPEG encoder; all at the same quality and subsampling.

`--stages` says instead where the CPU time goes, in this process: of each stage of ours, and of the bare loop. With one
thread for numpy's products of matrices, as in curate's children: more wait for each other, which counts as CPU time.

All processes are warm. Rounds take turns; CPU seconds are user and system time of all processes of a side.
"""

from __future__ import annotations

import argparse
import contextlib
import multiprocessing
import os
import shutil
import statistics
import tempfile
import time
from collections.abc import Callable
from functools import partial
from io import BytesIO
from pathlib import Path
from typing import Any

import psutil
import pymupdf
from PIL import Image

from curate.manifest.load import load
from curate.origins import find, open_origin
from renderers import RenderError
from renderers.pdf import page_content
from renderers.pdf import render as drawing
from renderers.pdf.mupdf import pymupdf as reader
from renderers.pdf.render import render
from renderers.pdf.settings import PdfSettings

SHARED = Path(__file__).parents[2] / "shared" / "data" / "pdf"
SETTINGS = PdfSettings()

STAGES = (  # functions that page_content or render calls, none of which calls another; the display list goes before
    *("structured", "Rules", "plain_lines", "page_lines", "fitted", "layers_of", "image_share", "coloured"),
    *(
        "Picture",
        "seen",
        "distinct",
        "in_order",
        "page_regions",
        "encoded",
        "unlabelled_share",
        "unlike_share",
        "record",
    ),
)

Side = tuple[Callable[[], int], Callable[[], list[psutil.Process]]]  # what it runs, and in which processes


def bare(encode: str, path: str) -> int:
    pdf = pymupdf.open(stream=Path(path).read_bytes(), filetype="pdf")
    for page in pdf:
        page.get_text("dict", flags=pymupdf.TEXTFLAGS_WORDS)
        scale = min(SETTINGS.long_side / max(page.rect.width, page.rect.height), SETTINGS.max_dpi / 72)
        pixmap = page.get_pixmap(matrix=pymupdf.Matrix(scale, scale), alpha=encode == "RGBX")
        if encode == "mupdf":
            pixmap.tobytes("jpeg", jpg_quality=SETTINGS.quality)
            continue
        size = pixmap.width, pixmap.height
        mode = encode if encode == "RGBX" else "RGB"
        image = Image.frombuffer(mode, size, pixmap.samples_mv, "raw", mode, 0, 1)
        image.save(BytesIO(), "JPEG", quality=SETTINGS.quality)
        del image  # before the pixels that it may be a view of
    count = int(pdf.page_count)
    pdf.close()
    return count


def print_stages(paths: list[Path]) -> None:
    """CPU milliseconds a page of each stage, and of the bare loop, in this process."""
    spent: dict[str, float] = dict.fromkeys(("get_displaylist", *STAGES), 0.0)
    homes = {name: page_content if hasattr(page_content, name) else drawing for name in STAGES}
    originals = {name: getattr(home, name) for name, home in homes.items()}
    display_list = reader.Page.get_displaylist

    def timed(name: str, function: Callable[..., Any]) -> Callable[..., Any]:
        def run(*args: Any, **named: Any) -> Any:
            start = time.process_time()
            try:
                found = function(*args, **named)
                return list(found) if name == "in_order" else found
            finally:
                spent[name] += time.process_time() - start

        return run

    total = {"ours": 0.0, "bare loop": 0.0}
    pages = 0
    for path in paths:
        for name, function in originals.items():
            setattr(homes[name], name, timed(name, function))
        reader.Page.get_displaylist = timed("get_displaylist", display_list)
        start = time.process_time()
        pages += sum(1 for _ in render(path.read_bytes(), SETTINGS))
        total["ours"] += time.process_time() - start
        for name, function in originals.items():
            setattr(homes[name], name, function)
        reader.Page.get_displaylist = display_list
        start = time.process_time()
        bare("RGB", str(path))
        total["bare loop"] += time.process_time() - start
    for name, seconds in {**spent, "other": total["ours"] - sum(spent.values()), **total}.items():
        print(f"{name:18} {1000 * seconds / pages:6.2f} ms a page")


def whole(path: Path) -> bool:
    try:
        return all(batch["dropped"][0].as_py() is None for batch in render(path.read_bytes(), SETTINGS))
    except RenderError:
        return False


def cpu(processes: list[psutil.Process]) -> float:
    return sum(sum(process.cpu_times()[:2]) for process in processes)


def measure(run: Callable[[], int], processes: Callable[[], list[psutil.Process]]) -> tuple[float, float]:
    """CPU and wall seconds a page."""
    before, start = cpu(processes()), time.perf_counter()
    pages = run()
    return (cpu(processes()) - before) / pages, (time.perf_counter() - start) / pages


def bare_loops(paths: list[str], processes: int, stack: contextlib.ExitStack) -> dict[str, Side]:
    """The bare loops, each in a pool of its own."""
    sides = {}
    kinds = {"bare loop": "RGB", "bare loop, RGBX": "RGBX", "bare loop, MuPDF's encoder": "mupdf"}
    for name, kind in kinds.items():
        pool = stack.enter_context(multiprocessing.get_context("spawn").Pool(processes))
        workers = [psutil.Process(worker.pid) for worker in pool._pool]  # type: ignore[attr-defined]
        sides[name] = (
            lambda pool=pool, kind=kind: sum(pool.imap_unordered(partial(bare, kind), paths)),
            lambda workers=workers: workers,
        )
    return sides


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("folder", nargs="?", type=Path, default=SHARED)
    parser.add_argument("--processes", type=int, default=2)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--stages", action="store_true")
    options = parser.parse_args()
    if options.stages:
        print_stages([path for path in sorted(options.folder.glob("*.pdf")) if whole(path)])
        return
    me = psutil.Process()
    with contextlib.ExitStack() as stack:
        work = stack.enter_context(tempfile.TemporaryDirectory())
        folder = Path(work, "pdf")
        folder.mkdir()
        for path in sorted(options.folder.glob("*.pdf")):
            if whole(path):
                shutil.copy(path, folder)
        paths = [str(path) for path in sorted(folder.iterdir())]
        bare_sides = bare_loops(paths, options.processes, stack)
        known = {child.pid for child in me.children(recursive=True)}
        manifest = load("pdf")
        (found,) = find(manifest, [str(folder)])
        origin = open_origin(found, manifest, Path(work), options.processes)
        sides = {
            "curate": (
                lambda: sum(table.num_rows for table in origin.read(0, origin.size)),
                lambda: [me, *(child for child in me.children(recursive=True) if child.pid not in known)],
            )
        } | bare_sides
        taken: dict[str, list[tuple[float, float]]] = {name: [] for name in sides}
        pages = {name: run() for name, (run, _) in sides.items()}  # warms up
        for _ in range(options.rounds):
            for name, side in sides.items():
                taken[name].append(measure(*side))
        origin.close()
    print_rates(len(paths), pages["curate"], taken)


def print_rates(documents: int, pages: int, taken: dict[str, list[tuple[Any, ...]]]) -> None:
    load = f"load {os.getloadavg()[0]:.1f} on {os.cpu_count()} cores"
    print(f"{documents} documents, {pages} pages, {len(taken['curate'])} rounds, {load}")
    for name, figures in taken.items():
        ms = [1000 * statistics.median(each) for each in zip(*figures, strict=True)]
        ratios = [
            statistics.median(
                theirs[i] / ours[i] for ours, theirs in zip(taken["curate"], figures, strict=True)
            )
            for i in (0, 1)
        ]
        print(f"{name:28} {ms[0]:6.1f} ms CPU, {ms[1]:6.1f} ms wall a page; "
              f"curate is {ratios[0]:.2f} (CPU), {ratios[1]:.2f} (wall) times as fast")  # fmt: skip


if __name__ == "__main__":
    main()
