"""Accidents at what commits pass through: of a command line in a process of its own, or of a call in this one."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from typing import Any

import pytest

from tests.curate.runs import ROOT


class Crasher:
    """tests/curate/engine/crash.py, running: it has imported curate, for all tests that kill."""

    def __init__(self) -> None:
        command = [sys.executable, str(ROOT / "tests" / "curate" / "engine" / "crash.py")]
        environment = os.environ | {"PYTHONPATH": str(ROOT)}
        self._process = subprocess.Popen(
            command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env=environment,
        )

    def run(self, call: str, number: int, accident: str, *arguments: object) -> tuple[int, int]:
        """The exit code of a command line that meets with it, negative for a signal, and how many calls there were."""
        job = {"call": call, "number": number, "accident": accident, "arguments": list(map(str, arguments))}
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(json.dumps(job) + "\n")
        self._process.stdin.flush()
        code, calls = json.loads(self._process.stdout.readline())
        return code, calls

    def close(self) -> None:
        self._process.communicate(timeout=20)


class Interrupting:
    """Stands in for a function of `os`: its call number `at`, counted from 1 since `seen` was 0, is a Ctrl-C."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, call: str) -> None:
        self._real = getattr(os, call)
        self.seen, self.at = 0, 1
        monkeypatch.setattr(os, call, self)

    def __call__(self, *arguments: Any, **options: Any) -> Any:
        self.seen += 1
        if self.seen == self.at:
            raise KeyboardInterrupt
        return self._real(*arguments, **options)


def points(calls: int, wanted: int) -> list[int]:
    """`wanted` numbers spread evenly over 1 to `calls`, both included."""
    return sorted({1 + round(step * (calls - 1) / (wanted - 1)) for step in range(wanted)})
