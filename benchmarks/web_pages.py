"""Web pages a second: one reused browser and its tabs, against a plain pyppeteer loop and against Playwright.

    python benchmarks/web_pages.py PAGES_FOLDER [--limit 24] [--rounds 3] [--playwright PYTHON]

All sides get the same documents, the same Chromium and viewport, no network, and give text with boxes and
JPEGs of quality 90. The peers take the text nodes' client rectangles and one picture of the whole page; ours
cuts lines, judges what is seen, cuts pages and encodes each. PYTHON is an interpreter that has Playwright
(PyPI `playwright`); it runs this file with `--peer`. Rounds take turns; the median of each side counts.

    python -m benchmarks.web_pages PAGES_FOLDER --own [--tabs 3]

says instead what ours takes: CPU seconds of this process and of the browser's, which hold on a busy machine as well,
and the browser's memory at its peak (PSS). CURATE_CHROMIUM names another browser.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import statistics
import subprocess
import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

NETWORK_OFF = [
    "--host-resolver-rules=MAP * ~NOTFOUND",
    "--proxy-server=http://127.0.0.1:9",
    "--proxy-bypass-list=<-loopback>",
]
VIEW = {"width": 1280, "height": 1280}
BOXES = """() => {
  const found = [], range = document.createRange();
  const walker = document.createTreeWalker(document.documentElement, NodeFilter.SHOW_TEXT);
  for (let node = walker.nextNode(); node; node = walker.nextNode()) {
    range.selectNodeContents(node);
    for (const box of range.getClientRects()) found.push([node.data, box.x, box.y, box.width, box.height]);
  }
  return found;
}"""


def ours(documents: list[bytes], tabs: int) -> float:
    """Seconds, the browser's start not counted."""
    from renderers import RenderError
    from renderers.html.render import Browser, Document, HtmlSettings

    with Browser(HtmlSettings(tabs=tabs, recycle_after=10**6)) as browser:
        list(browser.render_many([Document("warm", b"<p>warm up</p>")] * tabs))
        began = time.perf_counter()
        for _, pages in browser.render_many(Document(str(i), content) for i, content in enumerate(documents)):
            if isinstance(pages, RenderError):
                raise pages
        return time.perf_counter() - began


def own(documents: list[bytes], tabs: int) -> None:
    """Print what ours takes, the browser's start included."""
    import psutil

    from renderers.html.render import Browser, Document, HtmlSettings

    images = peak = 0
    before = time.process_time()
    with Browser(HtmlSettings(tabs=tabs, recycle_after=10**6)) as browser:
        for _, pages in browser.render_many(Document(str(i), content) for i, content in enumerate(documents)):
            images += len(pages) if isinstance(pages, list) else 0
            chromium = browser.pool.chromium
            peak = max(peak, chromium.memory() if chromium else 0)
        here = time.process_time() - before
        others = psutil.Process().children(recursive=True)
        there = sum(sum(process.cpu_times()[:2]) for process in others if process.is_running())
    print(
        f"{len(documents)} documents, {images} images: {here:.1f} s of CPU here, {there:.1f} s in the browser"
    )
    print(f"{1000 * (here + there) / images:.0f} ms of CPU an image; the browser's peak {peak >> 20} MB")


async def plain(documents: list[bytes]) -> float:
    """Seconds of a loop over pyppeteer as its documentation writes it."""
    from pyppeteer import launch

    from renderers.html.browser import find_chromium
    from renderers.html.charset import decode

    browser = await launch(
        executablePath=find_chromium(),
        args=["--no-sandbox", "--headless=new", "--disable-gpu", *NETWORK_OFF],
        handleSIGINT=False,
        handleSIGTERM=False,
        handleSIGHUP=False,
    )
    began = time.perf_counter()
    for content in documents:
        page = await browser.newPage()
        await page.setViewport(VIEW)
        await page.setJavaScriptEnabled(False)
        await page.setContent(decode(content)[0])
        await page.evaluate(BOXES)
        await page.screenshot(type="jpeg", quality=90, fullPage=True)
        await page.close()
    seconds = time.perf_counter() - began
    await browser.close()
    return seconds


def playwright(texts: list[str], executable: str) -> float:
    """Seconds of the same loop over Playwright."""
    from playwright.sync_api import sync_playwright

    with sync_playwright() as driver:
        browser = driver.chromium.launch(
            executable_path=executable, args=["--no-sandbox", "--disable-gpu", *NETWORK_OFF]
        )
        began = time.perf_counter()
        for text in texts:
            page = browser.new_page(viewport=VIEW, java_script_enabled=False)
            page.set_content(text)
            page.evaluate(BOXES)
            page.screenshot(type="jpeg", quality=90, full_page=True)
            page.close()
        seconds = time.perf_counter() - began
        browser.close()
        return seconds


def ask_peer(python: str, folder: Path, limit: int) -> float:
    """Playwright's seconds, from an interpreter that has it."""
    from renderers.html.browser import find_chromium
    from renderers.html.charset import decode

    texts = [decode(content)[0] for content in read(folder, limit)]
    task = json.dumps({"texts": texts, "executable": find_chromium()})
    done = subprocess.run(
        [python, __file__, "--peer"], input=task, capture_output=True, text=True, check=True, timeout=900
    )
    return float(done.stdout)


def read(folder: Path, limit: int) -> list[bytes]:
    """Evenly spread documents of the folder."""
    files = sorted(folder.glob("*.htm*"))
    return [file.read_bytes() for file in files[:: max(1, len(files) // limit)]][:limit]


def main() -> None:
    arguments = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    arguments.add_argument("folder", type=Path, nargs="?")
    arguments.add_argument("--limit", type=int, default=24)
    arguments.add_argument("--rounds", type=int, default=3)
    arguments.add_argument("--tabs", type=int, default=3)
    arguments.add_argument("--playwright", metavar="PYTHON")
    arguments.add_argument("--own", action="store_true")
    arguments.add_argument("--peer", action="store_true", help=argparse.SUPPRESS)
    chosen = arguments.parse_args()
    if chosen.peer:
        print(playwright(**json.load(sys.stdin)))
        return
    documents = read(chosen.folder, chosen.limit)
    if chosen.own:
        own(documents, chosen.tabs)
        return
    sides = {
        "plain pyppeteer": lambda: asyncio.run(plain(documents)),
        "ours, 1 tab": lambda: ours(documents, 1),
        f"ours, {chosen.tabs} tabs": lambda: ours(documents, chosen.tabs),
    }
    if chosen.playwright:
        sides["Playwright"] = lambda: ask_peer(chosen.playwright, chosen.folder, chosen.limit)
    taken: dict[str, list[float]] = {name: [] for name in sides}
    for _ in range(chosen.rounds):
        for name, run in sides.items():
            taken[name].append(run())
    reference = statistics.median(taken["plain pyppeteer"])
    load = f"load {os.getloadavg()[0]:.1f} on {os.cpu_count()} cores"
    print(f"{len(documents)} documents, {chosen.rounds} rounds, {load}")
    for name, seconds in taken.items():
        median = statistics.median(seconds)
        print(f"{name:16} {len(documents) / median:6.2f} documents/s   {reference / median:5.2f} x plain")


if __name__ == "__main__":
    main()
