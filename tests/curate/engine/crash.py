"""A process that imports curate once and runs it in forks that meet with accidents, one a line of input.

A line is JSON: `call` (a function of `os` that commits pass through), `number` (which call of it, from 1),
`accident` (`kill before`, `kill after`, `ENOSPC`, `EIO`, or `none`) and `arguments` of the command line. The
answer is the fork's exit code, negative for a signal, and how many calls there were.
"""

from __future__ import annotations

import errno
import json
import os
import signal
import sys
from collections.abc import Callable
from typing import Any

from tests.curate.fork_server import fork, prepare


def arrange(call: str, number: int, accident: str, report: int) -> None:
    """Replace `os.call` by one that fails at its `number`th call; each call is reported as one byte."""
    real: Callable[..., Any] = getattr(os, call)
    seen = 0

    def faulty(*arguments: Any, **options: Any) -> Any:
        nonlocal seen
        seen += 1
        os.write(report, b".")
        if seen != number:
            return real(*arguments, **options)
        if accident == "kill before":
            os.kill(os.getpid(), signal.SIGKILL)
        if accident in ("ENOSPC", "EIO"):
            code = getattr(errno, accident)
            raise OSError(code, os.strerror(code))
        try:
            return real(*arguments, **options)
        finally:  # also of a call that fails: one may try before it makes a folder
            if accident == "kill after":
                os.kill(os.getpid(), signal.SIGKILL)

    setattr(os, call, faulty)


def run(job: dict[str, Any]) -> tuple[int, int]:
    """One fork; its exit code and the number of calls."""
    reading, writing = os.pipe()

    def first() -> None:
        os.close(reading)
        arrange(job["call"], job["number"], job["accident"], writing)

    child = fork(job["arguments"], os.devnull, os.devnull, first)
    os.close(writing)
    calls = 0
    while seen := os.read(reading, 4096):
        calls += len(seen)
    os.close(reading)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), calls


if __name__ == "__main__":
    prepare()
    for line in sys.stdin:
        print(json.dumps(run(json.loads(line))), flush=True)
