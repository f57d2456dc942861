"""A process that imports the scorer once and scores each folder named on its input in a fork that is killed.

A line is JSON: `folder`, `number` (which `os.replace` of the fork to die at, from 1; 0: none), `before`
(whether just before it or just after), `model`, `threshold`, and for near duplicates, which are found by the
index then, `max_similarity`. The answer is the fork's exit code, negative for a signal.
"""

from __future__ import annotations

import json
import os
import signal
import sys
from typing import Any

import filters.near_duplicate
from curate.manifest.settings import ScorerSettings
from curate.scoring import score
from curate.scoring.command import ScoreSettings
from tests.curate import nursery
from tests.curate.fork_server import warm_scorer


def die_at(number: int, before: bool) -> None:
    """Be killed at the `number`th `os.replace`, through which everything is published."""
    real, seen = os.replace, 0

    def replace(*arguments: Any, **options: Any) -> None:
        nonlocal seen
        if seen + 1 == number and before:
            os.kill(os.getpid(), signal.SIGKILL)
        real(*arguments, **options)  # one that finds no folder is made again, and counts once
        seen += 1
        if seen == number:
            os.kill(os.getpid(), signal.SIGKILL)

    os.replace = replace


def attempt(job: dict[str, Any]) -> int:
    """One fork; its exit code."""
    child = os.fork()
    if child == 0:
        asks = nursery.forked()
        nursery.adopt(lambda: asks)
        die_at(job["number"], job["before"])
        scorer = ScorerSettings(model=job["model"], device="cpu")
        asked = {name: job.get(name) for name in ("threshold", "max_similarity")}
        score(job["folder"], ScoreSettings(scorer=scorer, **asked))
        os._exit(0)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


if __name__ == "__main__":
    warm_scorer()
    filters.near_duplicate.EXACT_ROWS = 0
    for line in sys.stdin:
        sys.stdout.write(f"{attempt(json.loads(line))}\n")
        sys.stdout.flush()
