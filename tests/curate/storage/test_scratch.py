"""Temporary folders whose processes were killed."""

from __future__ import annotations

import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

from curate.storage.scratch import SCRATCH, ScratchFolder

KILLED = """
import os
from curate.storage.scratch import ScratchFolder
kept = ScratchFolder()
(kept.path / "large").write_bytes(bytes(1000))
print(kept.path, flush=True)
os.kill(os.getpid(), 9)
"""


def test_what_a_killed_process_left_is_removed_and_what_is_in_use_is_not(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    monkeypatch.setattr(tempfile, "tempdir", None)
    ended = subprocess.run([sys.executable, "-c", KILLED], capture_output=True, text=True, check=False)
    left = Path(ended.stdout.strip())
    assert (left / "large").exists()
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    (tmp_path / f"{SCRATCH}link").symlink_to(elsewhere)
    with ScratchFolder() as one, ScratchFolder() as other:
        assert one != other
        assert one.exists()
        assert not left.exists()
        assert elsewhere.exists()
    assert not one.exists()
