"""Start Chromium in a sandbox of its own, send it commands, measure its memory, end it.

    this process ── pipe (CDP) ── bwrap: no network; only programs and fonts; its own processes and /tmp
                                    └─ Chromium, as an unprivileged user, with its own sandbox on

Inside, Chromium reaches no network even where one of its own switches fails. Its profile lies in a memory file
system, which goes when the browser ends, as all of its processes do. DevTools uses a pipe: no port is open.
"""

from __future__ import annotations

import asyncio
import os
import pwd
import shutil
import signal
import subprocess
import tempfile
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil
from pyppeteer.browser import Browser as PyppeteerBrowser
from pyppeteer.errors import NetworkError
from pyppeteer.page import Page as PyppeteerPage

from renderers import NotReadyError
from renderers.html.pipe import PipeConnection
from renderers.html.settings import HtmlSettings

NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "chrome")
SYSTEM = ("/usr", "/opt", "/etc/fonts", "/etc/alternatives", "/etc/chromium.d", "/var/cache/fontconfig")
ENVIRONMENT = {"PATH": "/usr/bin:/bin", "HOME": "/tmp", "LANG": "C.UTF-8", "TZ": "UTC"}
TARGET_S = 0.01
TO_PIPES = 'exec "$@" 3<&0 4>&1 0</dev/null 1>&2'  # DevTools reads descriptor 3 and writes 4

# A proxy that does not exist, a blocked resolver or offline mode leak, each by itself; the first two together do not.
NO_NETWORK = (
    "--host-resolver-rules=MAP * ~NOTFOUND",
    "--proxy-server=http://127.0.0.1:9",
    "--proxy-bypass-list=<-loopback>",
    "--webrtc-ip-handling-policy=disable_non_proxied_udp",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-domain-reliability",
    "--disable-sync",
    "--dns-prefetch-disable",
    "--no-pings",
)
QUIET = (
    "--headless=new",
    "--no-startup-window",  # saves the process of a first window that is never used
    "--remote-debugging-pipe",
    "--disable-gpu",
    "--disable-extensions",
    "--disable-default-apps",
    "--disable-breakpad",
    "--disable-crash-reporter",
    "--disable-notifications",
    "--disable-speech-api",
    "--disable-file-system",
    "--disable-features=Translate,MediaRouter,OptimizationHints,InterestFeedContentSuggestions",
    "--disable-backgrounding-occluded-windows",
    "--disable-renderer-backgrounding",
    "--disable-background-timer-throttling",
    "--block-new-web-contents",
    "--disable-frame-rate-limit",
    "--disable-gpu-vsync",
    "--mute-audio",
    "--no-first-run",
    "--no-default-browser-check",
    "--password-store=basic",
    # so that every machine draws the same pixels
    "--hide-scrollbars",
    "--force-color-profile=srgb",
    "--font-render-hinting=none",
    "--disable-lcd-text",
    "--lang=en-US",
)


class BrowserGoneError(Exception):
    """The browser ended, was killed, or does not answer."""


def find_chromium(executable: str | None = None) -> str:
    """Find the browser: `executable`, else $CURATE_CHROMIUM, else the first of NAMES on the path.

    Raises: NotReadyError.
    """
    asked = executable or os.environ.get("CURATE_CHROMIUM")
    for name in (asked,) if asked else NAMES:
        if found := shutil.which(name):
            return found
    what = f"there is no browser {asked!r}" if asked else "there is no Chromium"
    raise NotReadyError(f"{what}: install Debian's package `chromium`, or name one in CURATE_CHROMIUM")


@dataclass(frozen=True)
class Wall:
    """How the browser is started.

    `command` is put before the browser's own command, `user` is the account that it runs as (null: ours), and
    `switches` are added to its own.
    """

    command: tuple[str, ...]
    user: str | None
    switches: tuple[str, ...]

    def start_options(self) -> dict[str, Any]:
        """Return the options by which a subprocess runs as `user` instead of root."""
        if self.user is None:
            return {}
        account = pwd.getpwnam(self.user)
        return {"user": account.pw_uid, "group": account.pw_gid, "extra_groups": []}


def build_wall(program: str, settings: HtmlSettings) -> Wall:
    """Build the strongest sandbox around the browser that this machine allows.

    Raises: NotReadyError, where it has no bubblewrap, no user namespaces or no unprivileged user, unless
        `allow_unsandboxed`.
    """
    try:
        user = unprivileged_user(settings.user)
        wall = Wall((*bubblewrap(program), "--"), user, ())
        try_wall(wall)
    except NotReadyError as problem:
        if not settings.allow_unsandboxed:
            raise NotReadyError(f"{problem}; or set allow_unsandboxed=true to go without") from None
        return Wall((), None, ("--no-sandbox",))
    return wall


def unprivileged_user(name: str) -> str | None:
    """Return the account that the browser is to run as; null where this process is not root.

    Raises: NotReadyError.
    """
    if os.geteuid() != 0:
        return None
    try:
        if pwd.getpwnam(name).pw_uid != 0:
            return name
    except KeyError:
        pass
    raise NotReadyError(f"there is no unprivileged user {name!r} to run Chromium as")


def bubblewrap(program: str) -> tuple[str, ...]:
    """Return the command in which a program sees only the system's programs and fonts, and no network.

    Raises: NotReadyError.
    """
    bwrap = shutil.which("bwrap")
    if bwrap is None:
        raise NotReadyError("no bubblewrap to wall Chromium in: install Debian's package `bubblewrap`")
    shown = [*SYSTEM, str(Path(program).resolve().parent)]
    binds = [part for path in dict.fromkeys(shown) for part in ("--ro-bind-try", path, path)]
    links = [part for name in ("bin", "lib", "lib64") for part in ("--symlink", f"usr/{name}", f"/{name}")]
    own = ["--proc", "/proc", "--dev", "/dev", "--size", str(1 << 30), "--tmpfs", "/tmp", "--chdir", "/tmp"]
    return (bwrap, "--unshare-all", "--die-with-parent", "--new-session", *binds, *links, *own)


def try_wall(wall: Wall) -> None:
    """Try to start a program in the sandbox, and a user namespace in it, which Chromium's own sandbox needs.

    Raises: NotReadyError, where that fails.
    """
    inner = [shutil.which("unshare") or "true", "--user", "--map-root-user", "--net", "true"]
    command = [*wall.command, *(inner if len(inner) > 1 else inner[:1])]
    done = subprocess.run(
        command, capture_output=True, timeout=30, env=ENVIRONMENT, cwd="/", **wall.start_options()
    )
    if done.returncode != 0:
        said = done.stderr.decode(errors="replace").strip().splitlines()[-1:]
        raise NotReadyError(f"no user namespaces to wall Chromium in ({' '.join(said) or done.returncode})")


class Chromium:
    """A running browser, made by `start`. `kill` ends all of its processes."""

    def __init__(self, process: asyncio.subprocess.Process, profile: str | None) -> None:
        self.process = process
        self.connection = PipeConnection(process)
        self.pages = PyppeteerBrowser(self.connection, [], ignoreHTTPSErrors=False, defaultViewport=None)
        self.profile = profile
        self.verdict = "crashed"  # the reason to give when it ends
        self.started = 0  # documents
        self.users = 0  # documents under way

    @classmethod
    async def start(cls, program: str, wall: Wall, settings: HtmlSettings) -> Chromium:
        """Start a browser and wait for its first answer.

        Raises: BrowserGoneError, where it does not answer within `settings.start_s`.
        """
        profile = None if wall.command else tempfile.mkdtemp(prefix="curate-chromium-")
        home = profile or "/tmp"  # the sandbox has a /tmp of its own
        switches = (*QUIET, *NO_NETWORK, *wall.switches, f"--user-data-dir={home}/profile")
        process = await asyncio.create_subprocess_exec(
            *("/bin/sh", "-c", TO_PIPES, "sh", *wall.command, program, *switches),
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.DEVNULL,
            env=ENVIRONMENT | {"HOME": home},
            cwd="/",
            start_new_session=True,
            **wall.start_options(),
        )
        browser = cls(process, profile)
        try:
            async with asyncio.timeout(settings.start_s):
                await browser.connection.send("Target.setDiscoverTargets", {"discover": True})
                await browser.connection.send("Browser.setDownloadBehavior", {"behavior": "deny"})
        except (TimeoutError, NetworkError) as problem:
            await browser.kill()
            raise BrowserGoneError(f"{program} did not start") from problem
        return browser

    async def new_page(self) -> PyppeteerPage:
        """Open a blank page in a window of its own: Chromium does not paint a page behind another.

        Raises: NetworkError.
        """
        made = await self.connection.send("Target.createTarget", {"url": "about:blank", "newWindow": True})
        while not (found := [t for t in self.pages.targets() if t._targetId == made["targetId"]]):
            await asyncio.sleep(TARGET_S)  # Chromium's headless shell reports the page a little later
        return await found[0].page()

    @property
    def alive(self) -> bool:
        """Whether it runs and can be sent commands."""
        return self.connection.open and self.process.returncode is None

    def memory(self) -> int:
        """Return the bytes of all its processes, shared pages counted once (PSS).

        It is estimated for processes whose PSS may not be read.
        """
        total = 0
        for process in processes_of(self.process.pid):
            try:
                total += process.memory_full_info().pss
            except psutil.AccessDenied:
                info = process.memory_info()
                total += info.rss - info.shared
            except psutil.NoSuchProcess:
                continue
        return total

    async def kill(self) -> None:
        """End every process of the browser and remove what it wrote. Safe to call twice."""
        for process in [*processes_of(self.process.pid)]:
            try:
                process.kill()
            except psutil.NoSuchProcess:
                continue
        with suppress(ProcessLookupError):
            os.killpg(self.process.pid, signal.SIGKILL)
        await self.process.wait()
        await self.connection.dispose()
        if self.profile:
            shutil.rmtree(self.profile, ignore_errors=True)


def processes_of(pid: int) -> Sequence[psutil.Process]:
    """Return a process and all of its descendants; none where it has ended."""
    try:
        parent = psutil.Process(pid)
        return [parent, *parent.children(recursive=True)]
    except psutil.NoSuchProcess:
        return []
