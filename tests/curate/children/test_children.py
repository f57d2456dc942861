from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import CancelledError
from contextlib import suppress
from pathlib import Path

import psutil
import pytest

from curate.children.pool import Children, Limits, Outcome
from curate.errors import MachineError

HERE = Path(__file__).parent
PATIENT = Limits(timeout_s=20)


@pytest.fixture(autouse=True)
def _targets_can_be_imported(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(HERE))


@pytest.fixture(autouse=True)
def _nothing_is_left_running() -> Iterator[None]:
    before = set(psutil.Process().children(recursive=True))
    yield
    since = set(psutil.Process().children(recursive=True)) - before
    assert [one for one in since if not _is_of(one, before)] == []


def _is_of(process: psutil.Process, others: set[psutil.Process]) -> bool:
    """Whether one of the others started it, such as a browser that another module's tests keep."""
    with suppress(psutil.NoSuchProcess):
        return not others.isdisjoint(process.parents())
    return True


def outcome(action: bytes, limits: Limits = PATIENT, target: str = "acts") -> Outcome:
    with Children(f"child_targets:{target}", 1, limits) as children:
        return children.submit(action).result()


def ended(pid: int) -> bool:
    """Whether a process goes away, if it has not yet."""
    deadline = time.monotonic() + 10
    while time.monotonic() < deadline:
        try:
            if psutil.Process(pid).status() == psutil.STATUS_ZOMBIE:
                return True
        except psutil.NoSuchProcess:
            return True
        time.sleep(0.02)
    return False


def test_every_payload_gets_its_own_answer() -> None:
    payloads = [b"%d" % number for number in range(1000)]
    with Children("child_targets:echo", 2, Limits(), settings=b"page ") as children:
        futures = [children.submit(payload) for payload in payloads]
        assert [future.result() for future in futures] == [
            Outcome(b"page " + payload) for payload in payloads
        ]


def test_twenty_segfaults_and_four_endless_loops_in_two_thousand_cost_only_themselves() -> None:
    payloads = [b"ok:%d" % number for number in range(2000)]
    payloads[5::100] = [b"segfault:%d" % number for number in range(20)]
    payloads[11::500] = [b"spin:%d" % number for number in range(4)]
    with Children("child_targets:acts", 2, Limits(timeout_s=0.5)) as children:
        outcomes = [future.result() for future in [children.submit(payload) for payload in payloads]]
    expected = {b"segfault": "crashed", b"spin": "timed_out", b"ok": None}
    assert [found.reason for found in outcomes] == [expected[each.partition(b":")[0]] for each in payloads]
    assert all(
        found.value == each for found, each in zip(outcomes, payloads, strict=True) if not found.reason
    )
    assert Counter(found.reason for found in outcomes) == {None: 1976, "crashed": 20, "timed_out": 4}


@pytest.mark.parametrize(
    ("action", "detail"),
    [(b"segfault", "SIGSEGV"), (b"abort", "SIGABRT"), (b"leave", "exit 3: last words")],
)
def test_a_crash_says_how(action: bytes, detail: str) -> None:
    assert outcome(action) == Outcome(reason="crashed", detail=detail)


@pytest.mark.parametrize("action", [b"hog", b"swell"])
def test_memory_beyond_the_address_space_limit_is_refused(action: bytes) -> None:
    found = outcome(action, Limits(memory_bytes=2**30))
    assert (found.value, found.reason) == (None, "out_of_memory")


@pytest.mark.parametrize("action", [b"swell", b"swell_elsewhere"])
def test_memory_beyond_the_pss_limit_ends_the_child_and_what_it_started(action: bytes) -> None:
    found = outcome(action, Limits(memory_bytes=2**28, memory_by="pss"))
    assert (found.value, found.reason) == (None, "out_of_memory")


def test_a_payload_does_not_pay_for_the_memory_that_others_leaked() -> None:
    with Children("child_targets:acts", 1, Limits(memory_bytes=2**29)) as children:
        futures = [children.submit(b"leak:%d" % number) for number in range(30)]
        assert [future.result().value for future in futures] == [b"leak:%d" % number for number in range(30)]


def test_an_exception_with_a_slug_for_a_reason_gives_it() -> None:
    assert outcome(b"refuse") == Outcome(reason="encrypted", detail="needs a password")


@pytest.mark.parametrize(("action", "says"), [(b"fail:", "KeyError"), (b"misdecode", "invalid start byte")])
def test_any_other_exception_is_a_crash_that_names_it(action: bytes, says: str) -> None:
    found = outcome(action)
    assert found.reason == "crashed"
    assert says in str(found.detail)


def test_payloads_and_answers_of_64_mb_pass() -> None:
    payload = os.urandom(2**20) * 64
    with Children("child_targets:echo", 1, Limits(memory_bytes=2**30)) as children:
        futures = [children.submit(payload) for _ in range(3)]
        assert all(future.result().value == payload for future in futures)


def test_an_answer_beyond_the_limit_is_not_taken() -> None:
    found = outcome(b"big:1001", Limits(max_answer_bytes=1000))
    assert found.reason == "crashed"
    assert "announced an answer of 1001 bytes" in str(found.detail)
    assert outcome(b"big:1000", Limits(max_answer_bytes=1000)).value == b"x" * 1000


def test_a_child_that_prints_megabytes_of_rubbish_still_answers() -> None:
    assert outcome(b"chatter") == Outcome(b"chatter")


@pytest.mark.parametrize("action", [b"forge", b"hang_up"])
def test_a_child_that_breaks_the_protocol_is_ended(action: bytes) -> None:
    found = outcome(action)
    assert (found.value, found.reason) == (None, "crashed")


def test_a_child_that_reads_nothing_does_not_hold_up_its_parent() -> None:
    payloads = [b"spin:", *[b"ok:" + b"x" * 2**22] * 20]
    with Children("child_targets:acts", 1, Limits(timeout_s=0.5)) as children:
        outcomes = [future.result() for future in [children.submit(payload) for payload in payloads]]
    assert [found.reason for found in outcomes] == ["timed_out", *[None] * 20]


@pytest.mark.parametrize("how", ["near:spin", "apart:spin", "near:segfault"])
def test_what_a_child_started_ends_with_it(how: str, tmp_path: Path) -> None:
    path = tmp_path / "pid"
    found = outcome(f"spawn:{path}:{how}".encode(), Limits(timeout_s=1.5))
    assert found.reason == ("crashed" if "segfault" in how else "timed_out")
    assert ended(int(path.read_text()))


def test_a_killed_parent_leaves_nothing_running(tmp_path: Path) -> None:
    path = tmp_path / "pid"
    script = f"""
import sys; sys.path[:0] = [{str(HERE)!r}, {str(HERE.parent.parent)!r}]
from curate.children.pool import Children, Limits
children = Children("child_targets:acts", 2, Limits())
print(children.submit(b"pid").result().value.decode(), flush=True)
children.submit(b"spawn:{path}:near:spin")  # the second child, busy with something it started
children.submit(b"spin").result()
"""
    parent = subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE, text=True)
    assert parent.stdout is not None
    idle = int(parent.stdout.readline())
    while not (path.exists() and path.read_text()):
        time.sleep(0.02)
    family = [each.pid for each in psutil.Process(parent.pid).children(recursive=True)]
    assert {idle, int(path.read_text())} <= set(family)
    parent.kill()
    parent.communicate()
    assert all(ended(pid) for pid in family)


def test_a_child_is_replaced_after_so_many_payloads() -> None:
    with Children("child_targets:acts", 1, Limits(recycle_after=10)) as children:
        pids = [future.result().value for future in [children.submit(b"pid") for _ in range(35)]]
    assert list(Counter(pids).values()) == [10, 10, 10, 5]


def test_a_child_sees_none_of_our_secrets(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "a-secret")
    assert b"a-secret" not in (outcome(b"environment").value or b"a-secret")


def stream(payload: bytes, limits: Limits = PATIENT) -> list[Outcome]:
    with Children("child_targets:pages", 1, limits) as children:
        return list(children.stream(payload))


def test_a_stream_gives_its_frames_in_order() -> None:
    assert stream(b"100:end") == [Outcome(b"%d" % page) for page in range(100)]


def test_a_stream_without_frames_is_empty() -> None:
    assert stream(b"0:end") == []


@pytest.mark.parametrize(
    ("after", "reason"),
    [("segfault", "crashed"), ("spin", "timed_out"), ("hog", "out_of_memory"), ("refuse", "encrypted")],
)
def test_the_frames_before_a_failure_are_kept(after: str, reason: str) -> None:
    *frames, last = stream(f"3:{after}".encode(), Limits(timeout_s=1))
    assert frames == [Outcome(b"0"), Outcome(b"1"), Outcome(b"2")]
    assert (last.value, last.reason) == (None, reason)


def test_a_stream_has_a_limit_of_its_own() -> None:
    *frames, last = stream(b"1000:slowly", Limits(timeout_s=5, stream_timeout_s=1))
    assert 1 <= len(frames) < 20
    assert last.reason == "timed_out"


def test_the_time_that_a_reader_takes_is_not_the_childs() -> None:
    pages = []
    with Children("child_targets:pages", 1, Limits(timeout_s=0.6, stream_timeout_s=5)) as children:
        for each in children.stream(b"12:end"):
            pages.append(each.value)
            time.sleep(0.1 if len(pages) != 6 else 1.0)
    assert pages == [b"%d" % page for page in range(12)]


def test_a_reader_that_goes_away_frees_the_child() -> None:
    with Children("child_targets:pages", 1, Limits(timeout_s=60)) as children:
        reader = children.stream(b"3:spin")
        assert next(reader) == Outcome(b"0")
        reader.close()
        assert [each.value for each in children.stream(b"2:end")] == [b"0", b"1"]


def test_an_answer_in_parts_where_one_is_due_is_a_crash() -> None:
    assert outcome(b"3:end", target="pages") == Outcome(reason="crashed", detail="answered in parts")


def test_a_payload_does_not_pay_for_a_tool_that_broke_before_it() -> None:
    with Children("child_targets:breaks_after_one", 1, PATIENT) as children:
        futures = [children.submit(payload) for payload in (b"1", b"2", b"bad", b"3")]
        outcomes = [future.result() for future in futures]
    assert [each.value for each in outcomes] == [b"1", b"2", None, b"3"]
    assert outcomes[2].reason == "crashed"  # alone in a new process: it is what breaks the tool
    assert "the tool is gone" in (outcomes[2].detail or "")


@pytest.mark.parametrize(
    ("target", "cause"),
    [("unready", "no such library"), ("absent", "absent"), ("toolless", "exit 1: the tool is missing")],
)
def test_a_target_that_cannot_start_is_an_error_of_the_machine(target: str, cause: str) -> None:
    with Children(f"child_targets:{target}", 2, Limits()) as children:
        future = children.submit(b"")
        with pytest.raises(MachineError, match=cause):
            future.result()
        with pytest.raises(MachineError, match=cause):
            children.submit(b"")
        with pytest.raises(MachineError, match=cause):
            list(children.stream(b""))


def test_closing_cancels_what_is_unanswered() -> None:
    with Children("child_targets:acts", 2, Limits()) as children:
        futures = [children.submit(b"spin") for _ in range(5)]
    for future in futures:
        with pytest.raises(CancelledError):
            future.result(timeout=0)
    with pytest.raises(CancelledError):
        children.submit(b"ok")


def test_submitting_waits_while_the_queue_is_full() -> None:
    accepted: list[object] = []

    def submit_many(children: Children) -> None:
        with suppress(CancelledError):
            for _ in range(1000):
                accepted.append(children.submit(b"spin"))

    with Children("child_targets:acts", 1, Limits()) as children:
        thread = threading.Thread(target=submit_many, args=(children,))
        thread.start()
        time.sleep(0.5)
        assert 0 < len(accepted) < 100
    thread.join(10)
    assert not thread.is_alive()


def test_many_threads_can_submit_at_once() -> None:
    def work(children: Children, name: int, check: Callable[[bool], None]) -> None:
        payloads = [b"%d %d" % (name, number) for number in range(300)]
        check([children.submit(payload).result().value for payload in payloads] == payloads)

    right: list[bool] = []
    with Children("child_targets:echo", 2, Limits()) as children:
        threads = [threading.Thread(target=work, args=(children, name, right.append)) for name in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert right == [True] * 8


def test_a_killed_child_is_started_again() -> None:
    with Children("child_targets:acts", 1, Limits()) as children:
        first = int(children.submit(b"pid").result().value or 0)
        os.kill(first, signal.SIGKILL)
        assert ended(first)
        assert int(children.submit(b"pid").result().value or 0) != first
