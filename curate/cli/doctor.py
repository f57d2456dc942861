"""`curate doctor`: check what this machine has and lacks for curate, and how to mend it."""

from __future__ import annotations

import importlib.metadata
import importlib.util
import os
import resource
import shutil
import subprocess
import sys
import tempfile
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

from curate.cli.showing import write_result

CODE_FOLDERS = ("curate", "filters", "renderers", "synthdog")
MIN_FREE_BYTES = 5 * 2**30
MIN_OPEN_FILES = 1024
WAIT_S = 20.0
IMPORT_WAIT_S = 120.0  # longer than WAIT_S, as importing torch reads much from the disk


class Check(NamedTuple):
    """One result: whether `what` is ready, what was found, and, if it is not, how to mend it."""

    what: str
    ready: bool
    found: str
    mend: str = ""


def checks() -> list[dict[str, Any]]:
    """Run all checks, and return their results as plain data: `what`, `ready`, `found`, `mend`."""
    return [check._asdict() for group in CHECKS for check in group()]


def report(found: list[dict[str, Any]]) -> None:
    """Print the results of `checks` for a person."""
    for one in found:
        write_result(f"{'ok  ' if one['ready'] else '--  '}{one['what']:22} {one['found']}")
        if not one["ready"] and one["mend"]:
            write_result(f"{'':26} mend: {one['mend']}")


def _python() -> Iterator[Check]:
    version = ".".join(map(str, sys.version_info[:3]))
    yield Check("python", sys.version_info >= (3, 11), version, "use Python 3.11 or later")
    for name in ("pyarrow", "pillow", "ray"):
        yield Check(name, True, importlib.metadata.version(name))


def _names() -> Iterator[Check]:
    """Check that no other package owns one of curate's import names, which are generic."""
    owners = importlib.metadata.packages_distributions()
    for name in CODE_FOLDERS:
        others = sorted(set(owners.get(name, [])) - {"curate"})
        spec = importlib.util.find_spec(name)
        where = str(Path(spec.origin).parent) if spec and spec.origin else "not found"
        mend = f"uninstall {', '.join(others)}, or give curate an environment of its own"
        yield Check(
            f"import {name}",
            not others,
            where + (f", also owned by {', '.join(others)}" if others else ""),
            mend,
        )


def _machine() -> Iterator[Check]:
    free = shutil.disk_usage(tempfile.gettempdir()).free
    yield Check(
        "temporary space", free >= MIN_FREE_BYTES, f"{free / 2**30:.0f} GiB in {tempfile.gettempdir()}",
        "set TMPDIR to a larger disk: the images of unfinished units are stored there",
    )  # fmt: skip
    files = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    yield Check("open files", files < 0 or files >= MIN_OPEN_FILES, str(files), "raise it with ulimit -n")
    yield Check("cores", True, str(len(os.sched_getaffinity(0))))


def _extras() -> Iterator[Check]:
    for extra, modules in (
        ("pdf", ("pymupdf", "bidi")),
        ("html", ("pyppeteer", "warcio")),
        ("synthdog", ("synthtiger", "fontTools")),
        ("score", ("torch", "open_clip", "transformers")),
        ("heads", ("onnxruntime",)),
        ("dedup", ("faiss",)),
        ("tokenizers", ("tokenizers", "sentencepiece")),
    ):
        missing = [name for name in modules if importlib.util.find_spec(name) is None]
        found = f"{', '.join(missing)} not installed" if missing else "installed"
        yield Check(
            f"extra [{extra}]", not missing, found, f"pip install 'curate[{extra}]' -c constraints.txt"
        )


def _torchvision() -> Iterator[Check]:
    """Check that torchvision can be imported: PyPI's build fails beside a CPU build of torch."""
    if importlib.util.find_spec("torch") is None or importlib.util.find_spec("torchvision") is None:
        return
    works, found = _succeeds([sys.executable, "-P", "-c", "import torchvision"], IMPORT_WAIT_S)
    build = importlib.metadata.version("torch").partition("+")[2] or "same"
    mend = (
        f"install torchvision's {build} build from the index that torch came from, or uninstall it: curate does not "
        "need it, but transformers' image processors and some trainers do"
    )
    yield Check("torchvision", works, found if works else f"cannot be imported: {found}", mend)


def _chromium() -> Iterator[Check]:
    path = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
    found = _output([path, "--version"]) if path else "not found"
    yield Check("chromium", path is not None, found, "apt-get install chromium (for `curate run html`)")


def _wall() -> Iterator[Check]:
    """Check bubblewrap, which keeps web pages from the network and the files, and the permission to use it."""
    path = shutil.which("bwrap")
    found, works = "not found", False
    if path:
        command = [path, "--unshare-all", "--die-with-parent", "--ro-bind", "/", "/", "true"]
        works, found = _succeeds(command)
    mend = "apt-get install bubblewrap, and allow user namespaces (for `curate run html`)"
    yield Check("bubblewrap", works, found, mend)


def _succeeds(command: list[str], wait_s: float = WAIT_S) -> tuple[bool, str]:
    """Run a command; return whether its exit code is 0, and `works` or else the last line on its standard error."""
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=wait_s, check=False)
    except (OSError, subprocess.TimeoutExpired) as error:
        return False, f"does not answer: {error}"
    words = done.stderr.strip().rpartition("\n")[2]
    return done.returncode == 0, "works" if done.returncode == 0 else words or f"exit {done.returncode}"


def _cluster() -> Iterator[Check]:
    """Check that a Ray cluster requires a token; else everybody who reaches its ports can run code there."""
    address = os.environ.get("RAY_ADDRESS", "")
    mode = os.environ.get("RAY_AUTH_MODE", "")
    if not address:
        yield Check("Ray cluster", True, "RAY_ADDRESS names none; a Ray started here requires a token")
        return
    has_token = bool(os.environ.get("RAY_AUTH_TOKEN") or os.environ.get("RAY_AUTH_TOKEN_PATH"))
    has_token = has_token or (Path.home() / ".ray" / "auth_token").is_file()
    mend = "start every node with RAY_AUTH_MODE=token and one RAY_AUTH_TOKEN, and set both here"
    found = f"{address}, RAY_AUTH_MODE={mode or 'disabled'}" + ("" if has_token else ", no token here")
    yield Check("Ray cluster", mode == "token" and has_token, found, mend)


def _fonts() -> Iterator[Check]:
    families = (
        set(_output(["fc-list", ":lang=zh", "family"]).splitlines()) if shutil.which("fc-list") else set()
    )
    found = f"{len(families)} families" if families else "none"
    yield Check("Chinese fonts", bool(families), found, "apt-get install fontconfig fonts-noto-cjk")


def _typefaces() -> Iterator[Check]:
    """Check the typefaces that synthdog draws with, and name their licences."""
    if importlib.util.find_spec("fontTools") is None or not shutil.which("fc-list"):
        return
    from synthdog import fonts

    for language, name in (("en", "English"), ("zh", "Chinese")):
        faces = [found for found in fonts.report() if found.language == language]
        missing = [found.typeface for found in faces if found.path is None]
        lacks = (
            "; missing: " + ", ".join(f"{face.family} ({face.licence})" for face in missing)
            if missing
            else ""
        )
        licences = Counter(found.typeface.licence for found in faces if found.path is not None)
        under = "; ".join(f"{licence}: {count}" for licence, count in licences.most_common())
        mend = fonts.install_command(missing) if missing else ""
        have = f"{licences.total()} of {len(faces)}" + (f" ({under})" if under else "")
        yield Check(f"{name} typefaces", not missing, have + lacks, mend)


def _backgrounds() -> Iterator[Check]:
    """Say what the backgrounds of synthetic pages are: photographs only if the user gives a run some."""
    from curate.origins.seeds import PHOTOGRAPHS

    if importlib.util.find_spec("synthtiger") is not None:
        found = f"procedural; SynthDoG's are photographs: to use some, {PHOTOGRAPHS}"
        yield Check("SynthDoG backgrounds", True, found)


def _gpu() -> Iterator[Check]:
    path = shutil.which("nvidia-smi")
    found = _output([path, "--query-gpu=name,memory.total", "--format=csv,noheader"]) if path else ""
    yield Check("GPU", bool(found), found or "none", "not needed: `curate score` runs on the CPU too, slowly")


def _output(command: list[str]) -> str:
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=WAIT_S, check=False)
    except (OSError, subprocess.TimeoutExpired) as error:
        return f"does not answer: {error}"
    return done.stdout.strip()


CHECKS: tuple[Callable[[], Iterator[Check]], ...] = (
    _python, _names, _machine, _extras, _torchvision, _chromium, _wall, _cluster, _fonts, _typefaces, _backgrounds,
    _gpu,
)  # fmt: skip
