"""A process that imports curate once and runs its command line in forks, one a line of input.

What a kind of command begins with and takes long for (`warm`), the first of its kind has done here, so that no later
one need.

A line is JSON: `arguments` of the command line, `out` and `err`, the files that take what it says, `folder`, where it
runs, and `changed`, variables of the environment and their values (null: none). The answer is the fork's process id,
then, on a line of its own, its exit code, negative for a signal.
"""

from __future__ import annotations

import contextlib
import gc
import importlib
import json
import os
import sys
from collections.abc import Callable
from functools import cache, partial

import pyarrow as pa
import typer

import curate.__main__
import curate.cli.app
import filters
from curate.children.no_pandas import hide_pandas
from curate.engine.making import software
from curate.manifest.load import load
from curate.packing import tokenizer
from curate.scorer.weights import open_clip_module
from tests.curate import nursery
from tests.curate.light_ray import light

# What commands import of curate once they are at work
MODULES = (
    "api", "calibrating", "engine.command", "engine.preview", "engine.retry", "engine.runners", "engine.unit",
    "exporting", "fetch.fetcher", "fingerprinting", "lineage.diff", "lineage.remove", "packing", "reporting",
    "reporting.explain", "reporting.trace", "verifying.command", "verifying.repair",
)  # fmt: skip


# What children of a command import as they start, by its data set: forks of a nursery then have it
OF_CHILDREN = {
    "pdf": "renderers.pdf.render",
    "html": "renderers.html.render",
    "synthdog-en": "synthdog.template",
    "synthdog-zh": "synthdog.template",
}


def fork(arguments: list[str], out: str, err: str, first: Callable[[], None] | None = None) -> int:
    """The process id of a fork that does `first`, if that is given, and runs the command line, in its own session."""
    warm(arguments)
    child = os.fork()
    if child:
        return child
    os.setsid()
    for path, standard in ((os.devnull, 0), (out, 1), (err, 2)):
        os.dup2(os.open(path, os.O_RDWR | os.O_CREAT, 0o600), standard)
    sys.argv = ["curate", *arguments]
    code = 1
    try:
        asks = nursery.forked()
        nursery.adopt(lambda: asks)
        if first is not None:
            first()
        with light() if "ray" in sys.modules else contextlib.nullcontext():
            curate.__main__.main()
        code = 0
    except SystemExit as stop:
        code = stop.code if isinstance(stop.code, int) else int(stop.code is not None)
    except BaseException:
        sys.excepthook(*sys.exc_info())
    finally:
        leave(code)


def leave(code: int) -> None:
    """End like an interpreter, with what was registered to be done at its exit, but without the server's own rest."""
    import atexit

    atexit._run_exitfuncs()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)


def prepare() -> None:
    """Do once for all forks what nearly each begins with: import, build the parser of arguments and the cleaners'
    searches."""
    hide_pandas()
    for name in MODULES:
        importlib.import_module(f"curate.{name}")
    importlib.import_module("pyarrow.dataset")
    typer.main.get_command = cache(typer.main.get_command)
    typer.main.get_command(curate.cli.app.app).make_context("curate", ["--version"])
    software()
    laion = load("laion")
    for name in laion.clean:
        filters.find_cleaner(name, laion.cleaners[name]).clean(
            pa.array(["A photograph"]), **laion.cleaners[name]
        )
    gc.freeze()  # looking through all of this for garbage, a fork would copy it


def warm(arguments: list[str]) -> None:
    """Have ready what takes long: of a command that scores some seconds, of one that packs or reports, or one on Ray,
    half a second and more."""
    if arguments[:1] == ["score"] or any("scorer." in one for one in arguments):
        warm_scorer()
    if arguments[:1] in (["pack"], ["report"]) and "--tokenizer" not in arguments:
        tokenizer.load()
    if arguments[:1] == ["report"]:
        for name in ("matplotlib.backends.backend_svg", "matplotlib.figure", "huggingface_hub.repocard_data"):
            importlib.import_module(name)
    for name in arguments[1:2]:
        if name in OF_CHILDREN:
            with contextlib.suppress(ImportError):  # an extra that is not installed
                importlib.import_module(OF_CHILDREN[name])
    if "--workers" in arguments and arguments[arguments.index("--workers") + 1] != "0":
        with contextlib.suppress(ImportError):
            importlib.import_module("ray")
    gc.freeze()


def warm_scorer() -> None:
    """Import what a scorer works with: open_clip, and of transformers what reads a tokenizer, which looks through
    thousands of files."""
    open_clip_module()
    with contextlib.suppress(ImportError):
        importlib.import_module("transformers").AutoTokenizer  # noqa: B018


def settle(folder: str, changed: dict[str, str | None]) -> None:
    """Go to the folder, and change the environment."""
    os.chdir(folder)
    for name, value in changed.items():
        os.environ.pop(name, None)
        if value is not None:
            os.environ[name] = value


if __name__ == "__main__":
    prepare()
    for line in sys.stdin:
        job = json.loads(line)
        first = partial(settle, job["folder"], job["changed"])
        child = fork(job["arguments"], job["out"], job["err"], first)
        print(child, flush=True)
        print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), flush=True)
