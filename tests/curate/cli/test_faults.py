"""What befalls a command from outside: one line on standard error, its exit code, and no traceback."""

from __future__ import annotations

import os
import resource
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest
import typer

from curate.cli import app, faults
from curate.storage.stores import plain_errors
from curate.terminal import duration_said
from tests.curate.runs import ROOT, curate, dropped


def test_brackets_in_a_path_are_no_mark_up(tmp_path: Path) -> None:
    finished = curate("run", "laion", "--out", tmp_path / "x[/b][bold]:smile:", "--workers", "0")
    assert finished.returncode == 0
    assert "x[/b][bold]:smile:, " in finished.stderr


@pytest.mark.parametrize(
    ("error", "code", "said"),
    [
        (MemoryError(), 3, "lacks memory"),
        (RuntimeError("can't start new thread"), 3, "lacks memory"),
        (ImportError("x.so: failed to map segment from shared object"), 3, "lacks memory"),
        (OSError(28, "No space left on device", "/out/x"), 1, "No space left on device (/out/x); make room"),
        (OSError(30, "Read-only file system"), 1, "a folder that can be written"),
        (OSError(24, "Too many open files"), 3, "ulimit -n"),
    ],
)
def test_the_machines_faults_are_one_line(error: Exception, code: int, said: str) -> None:
    found = faults.said(error)
    assert found is not None
    assert found[1] == code
    assert said in found[0]


ENDING = """
import atexit, sys
from curate.cli.faults import ProgramEnd

class Kept:
    def __del__(self):
        print("taken apart")

kept = Kept()
end = ProgramEnd()
atexit.register(print, "registered")
end.after(lambda: (print("done"), sys.exit(7)))
"""


def test_the_program_ends_before_python_takes_itself_apart() -> None:
    """Or a thread of Arrow's that lets go of Python's bytes then would abort it, whatever its exit code."""
    ended = subprocess.run([sys.executable, "-c", ENDING], capture_output=True, text=True, check=False)
    assert (ended.returncode, ended.stdout, ended.stderr) == (7, "done\nregistered\n", "")


def test_a_fault_of_ours_stays_one() -> None:
    assert faults.said(RuntimeError("no such thing")) is None


def test_a_clock_that_was_set_back_tells_no_time() -> None:
    assert "unknown" in duration_said(-767 * 3600)


def test_whatever_a_stores_client_raises_is_an_error_of_one_line() -> None:
    class ConnectError(Exception):
        pass

    @plain_errors
    def ask() -> None:
        raise ConnectError("refused\nby  the hub")

    with pytest.raises(OSError, match=r"^ConnectError: refused by the hub$") as caught:
        ask()
    assert caught.value.__cause__ is None


def test_a_signal_before_anything_is_imported_is_one_line() -> None:
    code = (
        "import os, signal; from curate.cli import faults; faults.early_interrupt(); "
        "os.kill(os.getpid(), signal.SIGINT); import time; time.sleep(30)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=False
    )
    assert (done.returncode, done.stderr) == (130, "curate: interrupted\n")


@pytest.mark.parametrize("command", ["pack", "export", "report"])
def test_a_file_size_limit_ends_in_one_line_and_the_command_goes_on(tmp_path: Path, command: str) -> None:
    shards = tmp_path / "shards"
    assert curate("run", "laion", "--out", shards, "--workers", "0").returncode == 0
    arguments = {
        "pack": ["pack", shards, "--out", tmp_path / "o"],
        "export": ["export", shards, "--to", "webdataset", "--out", tmp_path / "o"],
        "report": ["report", shards],
    }[command]
    before = sorted(path.name for path in shards.rglob("*"))
    failed = subprocess.run(
        [sys.executable, "-m", "curate", *map(str, arguments)],
        capture_output=True,
        text=True,
        check=False,
        preexec_fn=lambda: _limit_files(20_000),
    )
    assert failed.returncode == 1, failed.stderr
    assert failed.stderr.startswith("curate: ")
    assert failed.stderr.count("\n") == 1, failed.stderr
    made = {path.name for path in shards.rglob("*")} - set(before)
    assert made <= {"tmp", "README.md"}  # each written whole, or empty
    assert curate(*arguments).returncode == 0


def test_rows_that_this_machine_has_no_room_to_hand_over_are_not_the_files_fault(tmp_path: Path) -> None:
    shards, out = tmp_path / "shards", tmp_path / "again"
    assert curate("run", "laion", "--out", shards, "--workers", "0").returncode == 0
    arguments = ["retry", shards, "--reasons", "damaged", "--out", out, "--workers", "0"]
    failed = curate(*arguments, preexec_fn=lambda: _limit_files(20_000))
    assert failed.returncode == 3, failed.stderr
    assert "no room to hand over the rows of" in failed.stderr
    assert "ulimit -f" in failed.stderr
    assert curate(*arguments).returncode == 0
    assert list(dropped(out).values()) == ["damaged"]


def _limit_files(size: int) -> None:
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, size))
    os.environ["MPLCONFIGDIR"] = "/nonexistent"


def test_a_file_that_ends_too_early_is_no_interruption(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def cut(**options: object) -> None:
        raise typer.Abort from EOFError("marshal data too short")  # as click does

    monkeypatch.setattr(app, "app", cut)
    with pytest.raises(SystemExit) as ended:
        app.main()
    assert ended.value.code == 3
    assert "install it again" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("module", "data"),
    [("app.py", b"def"), ("app.py", b"raise EOFError('marshal data too short')"), ("run_commands.py", b"")],
)
def test_a_module_of_ours_that_cannot_be_loaded_is_one_line(tmp_path: Path, module: str, data: bytes) -> None:
    (tmp_path / "curate").mkdir()
    for path in (ROOT / "curate").iterdir():
        (tmp_path / "curate" / path.name).symlink_to(path)
    (tmp_path / "curate" / "cli").unlink()
    shutil.copytree(ROOT / "curate" / "cli", tmp_path / "curate" / "cli")
    (tmp_path / "curate" / "cli" / module).write_bytes(data)
    ended = curate("--version", env=os.environ | {"PYTHONPATH": f"{tmp_path}:{ROOT}"}, cwd=tmp_path)
    assert ended.returncode == 3
    assert ended.stderr.startswith("curate: this installation of curate cannot be loaded (")
    assert ended.stderr.endswith("install it again\n")
    assert ended.stderr.count("\n") == 1


@pytest.mark.parametrize("place", ["file", "folder", "out"])
def test_a_name_that_is_no_utf_8_is_one_line(tmp_path: Path, place: str) -> None:
    name = tmp_path / os.fsdecode(b"a\xffb.parquet")
    name.touch()
    source = [] if place == "out" else ["--input", name if place == "file" else tmp_path]
    out = name if place == "out" else tmp_path / "o"
    ended = curate("run", "laion", *source, "--out", out, cwd=ROOT)
    assert ended.returncode == 2
    assert "not UTF-8" in ended.stderr.splitlines()[-1]
    assert "Traceback" not in ended.stderr
