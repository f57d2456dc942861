"""The command line run as users run it, but in this process: for what takes many commands and starts no Ray."""

from __future__ import annotations

import contextlib
import gc
import io
import json
import logging
import signal
import subprocess
import sys
from collections.abc import Iterator
from typing import Any

import curate.cli.app as command_line


def curate(*arguments: object) -> subprocess.CompletedProcess[str]:
    """Run the command line; never raises."""
    command = ["curate", *map(str, arguments)]
    out, err, code = io.StringIO(), io.StringIO(), 0
    with _as_it_was(), contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        sys.argv = command
        try:
            command_line.main()
        except SystemExit as stop:
            code = stop.code if isinstance(stop.code, int) else 0
    return subprocess.CompletedProcess(command, code, out.getvalue(), err.getvalue())


def done(*arguments: object) -> dict[str, Any]:
    """The JSON result of a command that must succeed."""
    finished = curate(*arguments, "--json")
    assert finished.returncode == 0, finished.stderr
    result: dict[str, Any] = json.loads(finished.stdout)
    return result


@contextlib.contextmanager
def _as_it_was() -> Iterator[None]:
    """What a command changes of the process is as it was afterwards."""
    argv, threshold = sys.argv, gc.get_threshold()
    signals = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    root, ours = logging.getLogger(), logging.getLogger("curate")
    before = (root.handlers[:], root.level, ours.handlers[:], ours.propagate, ours.level)
    root.handlers = []
    try:
        yield
    finally:
        root.handlers, root.level, ours.handlers, ours.propagate, ours.level = before
        for number, handler in signals.items():
            signal.signal(number, handler)
        gc.unfreeze()
        gc.set_threshold(*threshold)
        sys.argv = argv
