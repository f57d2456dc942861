"""Children of the tests' nursery are what curate's children are: tests that use them show what users get."""

from __future__ import annotations

import os
import resource
from pathlib import Path

import psutil
import pytest

from curate.children import process
from curate.children.pool import Children, Limits
from curate.images import protocol
from curate.manifest.settings import ImageSettings
from tests.curate.nursery import CLONE
from tests.curate.runs import picture

SETTINGS = protocol.child_settings(ImageSettings(), {})
LIMIT = 2**31


def leaders() -> set[int]:
    """Child processes of this one in a session of their own: nurseries, and children."""
    return {one.pid for one in psutil.Process().children() if os.getsid(one.pid) == one.pid}


@pytest.mark.skipif(CLONE is None, reason="there is no nursery on this machine")
def test_a_child_of_the_nursery_is_like_any_other_child() -> None:
    with Children(protocol.TARGET, 1, Limits(), SETTINGS) as children:  # the nursery is there from here on
        children.submit(picture(1)).result()
    there = leaders()
    with Children(protocol.TARGET, 1, Limits(memory_bytes=LIMIT), SETTINGS) as children:
        assert children.submit(picture(1)).result().reason is None
        (pid,) = leaders() - there
        child = psutil.Process(pid)
        assert "tests.curate.nursery" in child.cmdline(), "it came from the nursery"
        assert child.cwd() == "/"
        assert child.environ() == process.environment()
        held = child.rlimit(resource.RLIMIT_AS)[0] - LIMIT
        assert 0 < held < LIMIT, "beside its limit it has room for what it was born with"
        assert len([*Path(f"/proc/{pid}/fd").iterdir()]) == 5, "three standard ones, its socket, its lifeline"
        children.submit(b"no image").result()
        os.kill(pid, 9)
        assert children.submit(picture(2)).result().reason is None, "another one takes over"
    assert leaders() == there, "none is left, not even as a zombie"


@pytest.mark.skipif(CLONE is None, reason="there is no nursery on this machine")
def test_the_end_of_a_child_of_the_nursery_is_told_like_any_other() -> None:
    with (
        Children(protocol.TARGET, 1, Limits(), b"no settings") as children,
        pytest.raises(Exception, match="exit 1"),
    ):
        children.submit(picture(1)).result()
