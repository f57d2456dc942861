"""A page reaches no network and no file: counted by a server on localhost, beside a control that does."""

from __future__ import annotations

import asyncio
import shutil
import time
from pathlib import Path
from typing import Any

import psutil
import pytest

from renderers import RenderError
from renderers.html.browser import build_wall, find_chromium
from renderers.html.render import Browser, Document, HtmlSettings, NotReadyError

HOSTILE = """<!DOCTYPE html><title>x</title><p>hostile page</p>
<link rel=icon href=BASE/favicon><link rel=stylesheet href=BASE/style><link rel=prefetch href=BASE/prefetch>
<link rel=preload as=image href=BASE/preload><link rel=dns-prefetch href=BASE><link rel=preconnect href=BASE>
<link rel=modulepreload href=BASE/modulepreload><link rel=manifest href=BASE/manifest>
<style>@import url(BASE/import); p { background: url(BASE/background) }
@font-face { font-family: f; src: url(BASE/font) } p { font-family: f }</style>
<img src=BASE/image><img srcset="BASE/srcset 1x"><iframe src=BASE/frame></iframe>
<iframe srcdoc="<img src=BASE/srcdoc>"></iframe><object data=BASE/object></object><embed src=BASE/embed>
<video src=BASE/video poster=BASE/poster></video><audio src=BASE/audio autoplay></audio>
<svg><image href=BASE/svg /><use href="BASE/use#a"/></svg><script src=BASE/script></script>
<input type=image src=BASE/input><table background=BASE/table><tr><td>cell</table>
<form id=f action=BASE/form target=other><input name=a></form>
<a id=a href=BASE/ping ping=BASE/ping download>a</a>
<script type=speculationrules>{"prefetch":[{"source":"list","urls":["BASE/speculation"]}]}</script>
<script>
const quietly = (f) => { try { const r = f(); r && r.catch && r.catch(() => 0) } catch (e) {} }
quietly(() => fetch('BASE/fetch', {mode: 'no-cors'}))
quietly(() => { const x = new XMLHttpRequest(); x.open('GET', 'BASE/xhr'); x.send() })
quietly(() => new WebSocket('BASE/websocket'.replace('http', 'ws')))
quietly(() => new EventSource('BASE/eventsource'))
quietly(() => navigator.sendBeacon('BASE/beacon', 'x'))
quietly(() => new Worker(URL.createObjectURL(new Blob(["fetch('BASE/worker', {mode: 'no-cors'})"]))))
quietly(() => new SharedWorker(URL.createObjectURL(new Blob(["fetch('BASE/shared', {mode: 'no-cors'})"]))))
quietly(() => navigator.serviceWorker.register('BASE/service'))
quietly(() => import('BASE/module'))
quietly(() => { new Image().src = 'BASE/newimage' })
quietly(() => { const c = new RTCPeerConnection({iceServers: [{urls: 'stun:127.0.0.1:PORT'}]})
  c.createDataChannel('x'); return c.createOffer().then((o) => c.setLocalDescription(o)) })
quietly(() => new WebTransport('BASE/webtransport'.replace('http', 'https')))
quietly(() => open('BASE/popup'))
quietly(() => document.getElementById('f').submit())
quietly(() => document.getElementById('a').click())
quietly(() => alert('stop')); quietly(() => print())
</script>"""

PAGES = {
    "everything": HOSTILE,
    "refresh": "<p>hostile page</p><meta http-equiv=refresh content='0;url=BASE/refresh'>",
    "location": "<p>hostile page</p><script>location = 'BASE/location'</script>",
}


def hostile(port: int, page: str) -> str:
    """A page that tries every way to the server at `port`."""
    return PAGES[page].replace("BASE", f"http://127.0.0.1:{port}").replace("PORT", str(port))


CONTROL = {
    "/image",
    "/srcset",
    "/frame",
    "/srcdoc",
    "/fetch",
    "/xhr",
    "/websocket",
    "/worker",
    "/prefetch",
    "/preload",
}
CONTROL |= {
    "/style",
    "/import",
    "/background",
    "/font",
    "/popup",
    "/script",
    "/module",
    "/beacon",
    "/favicon.ico",
    "/svg",
}
CONTROL |= {"/refresh", "/location", "/form?a="}
CONTROL_S = 120.0  # for all of these to arrive, on a busy machine


def visit(browser: Browser, counter: Any) -> int:
    documents = [
        Document(page, hostile(counter.port, page).encode(), None, f"http://127.0.0.1:{counter.port}/")
        for page in PAGES
    ]
    for _, result in browser.render_many(documents):
        assert not isinstance(result, RenderError), result
        assert str(result[0]["text"][0]).startswith("hostile page")
    time.sleep(0.5)  # for what a page may have set off
    return counter.touched


@pytest.mark.parametrize("javascript", [False, True])
def test_a_hostile_page_reaches_nothing(ready: None, javascript: bool, counter: Any) -> None:
    with Browser(HtmlSettings(tabs=1, javascript=javascript)) as browser:
        assert visit(browser, counter) == 0


def test_a_hostile_page_reaches_nothing_by_the_switches_alone(
    ready: None, unwalled: None, counter: Any
) -> None:
    with Browser(HtmlSettings(tabs=1, javascript=True, allow_unsandboxed=True)) as browser:
        assert visit(browser, counter) == 0


def test_the_same_pages_reach_the_counter_in_an_unprotected_browser(ready: None, counter: Any) -> None:
    asyncio.run(unprotected(counter))
    assert set(counter.paths) >= CONTROL


async def unprotected(counter: Any) -> None:
    """What everyone else runs: pyppeteer as it comes. Pages are opened again while a busy machine holds some back."""
    from pyppeteer import launch

    browser = await launch(
        executablePath=find_chromium(),
        args=["--no-sandbox", "--headless=new"],
        handleSIGINT=False,
        handleSIGTERM=False,
        handleSIGHUP=False,
    )
    until = time.monotonic() + CONTROL_S
    while not set(counter.paths) >= CONTROL and time.monotonic() < until:
        for name in PAGES:
            page = await browser.newPage()
            page.on("dialog", lambda dialog: asyncio.ensure_future(dialog.dismiss()))
            await asyncio.wait(
                [asyncio.ensure_future(page.setContent(hostile(counter.port, name)))], timeout=5
            )
            await asyncio.sleep(2)
    await browser.close()


def test_a_page_reads_no_file(browser: Browser, scripted: Browser, tmp_path: Path) -> None:
    secret = tmp_path / "secret.txt"
    secret.write_text("SECRET")
    for folder in (tmp_path, *tmp_path.parents[:2]):
        folder.chmod(0o755)
    address = secret.as_uri()
    html = f"""<p>SHOWN</p><iframe src={address}></iframe><object data={address}></object>
    <script>fetch('{address}').then(r => r.text()).then(t => document.body.append(t));
    const x = new XMLHttpRequest(); x.open('GET', '{address}', false);
    try {{ x.send(); document.body.append(x.responseText) }} catch (e) {{}}
    try {{ location = '{address}' }} catch (e) {{}}</script>"""
    for one in (browser, scripted):
        (page,) = one.render(html.encode(), url=address)
        assert page["text"][0].as_py() == "SHOWN"


def test_the_page_s_process_is_sandboxed_and_has_no_network(browser: Browser) -> None:
    browser.render(b"<p>x</p>")
    assert browser.pool.chromium is not None
    tree = psutil.Process(browser.pool.chromium.process.pid).children(recursive=True)
    renderers = [p for p in tree if "--type=renderer" in p.cmdline()]
    assert renderers
    for process in renderers:
        status = Path(f"/proc/{process.pid}/status").read_text()
        assert "Seccomp:\t2" in status
        assert "NoNewPrivs:\t1" in status
        assert process.uids().effective != 0
        assert "--no-sandbox" not in process.cmdline()
        devices = Path(f"/proc/{process.pid}/net/dev").read_text()
        assert {line.split(":")[0].strip() for line in devices.splitlines()[2:]} <= {"lo"}


@pytest.fixture
def unwalled(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A machine without bubblewrap."""
    for name in ("chromium", "fc-list"):
        (tmp_path / name).symlink_to(str(shutil.which(name)))
    monkeypatch.setenv("PATH", str(tmp_path))


def test_a_machine_that_cannot_wall_the_browser_in_is_refused(ready: None, unwalled: None) -> None:
    with pytest.raises(
        NotReadyError, match=r"install Debian's package `bubblewrap`; or set allow_unsandboxed"
    ):
        Browser(HtmlSettings())


def test_a_user_that_is_root_is_refused(ready: None) -> None:
    if psutil.Process().uids().effective != 0:
        pytest.skip("only root needs somebody else")
    with pytest.raises(NotReadyError, match="no unprivileged user 'root'"):
        build_wall(find_chromium(), HtmlSettings(user="root"))


def test_a_machine_without_chromium_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CURATE_CHROMIUM", "no-such-browser")
    with pytest.raises(NotReadyError, match=r"'no-such-browser'.*CURATE_CHROMIUM"):
        Browser(HtmlSettings())
