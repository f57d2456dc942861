"""What befalls a command from outside, as one line and an exit code: a full disk, no memory, no thread, a signal."""

from __future__ import annotations

import atexit
import errno
import os
import resource
import signal
import sys
from collections.abc import Callable
from contextlib import suppress
from typing import Any, NoReturn

MEND = {
    errno.ENOSPC: "make room, then the same command goes on",
    errno.EDQUOT: "make room in your quota, then the same command goes on",
    errno.EFBIG: "raise the limit on file sizes (ulimit -f), then the same command goes on",
    errno.EROFS: "give a folder that can be written",
    errno.EACCES: "give a folder that you may use",
    errno.EPERM: "give a folder that you may use",
    errno.EMFILE: "raise the limit on open files (ulimit -n)",
    errno.ENOMEM: "give it more memory (ulimit -v, the container's limit)",
    errno.EAGAIN: "raise the limits on processes and memory (ulimit -u, ulimit -v)",
}
LACKING = (errno.EMFILE, errno.ENOMEM, errno.EAGAIN)
MEMORY = "this machine lacks memory for it: give it more (ulimit -v, the container's limit)"
LONGEST = 4000  # characters of a line
MEND_INSTALLATION = "make room if a disk is full, delete its folders __pycache__, or install it anew"
SIGNS = (
    "can't start new thread",
    "cannot allocate memory",
    "failed to map segment",
    "std::bad_alloc",
    "failed to launch worker thread",
)


def early_interrupt() -> None:
    """Until a command is at work there is nothing to undo: a signal ends the process at once, exit 130."""
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, _leave)


def _leave(number: int, frame: Any) -> NoReturn:
    os.write(2, b"curate: interrupted\n")
    os._exit(130)


def keep_bytecode_whole() -> None:
    """Under a limit on file sizes write no bytecode: Python would cut it there, and nothing would load ever after."""
    if resource.getrlimit(resource.RLIMIT_FSIZE)[0] != resource.RLIM_INFINITY:
        sys.dont_write_bytecode = True
        os.environ["PYTHONDONTWRITEBYTECODE"] = "1"  # for child processes


class ProgramEnd:
    """The end of the program's process: at once, after all that was registered to be done at its exit.

    Without it Python takes itself apart first. A thread of Arrow's that lets go of a buffer of Python's meanwhile ends
    the process by SIGABRT, exit 134: of 60 refusals of a damaged folder 5 did, on a busy machine.
    """

    def __init__(self) -> None:
        self.exit_code = 0
        atexit.register(self._leave)  # the first to be registered is the last to be done

    def after(self, command: Callable[[], object]) -> None:
        """Do `command`, and end with its exit code; 1 after an error that nobody expected."""
        try:
            command()
        except SystemExit as stop:
            self.exit_code = stop.code if isinstance(stop.code, int) else int(stop.code is not None)
            raise
        except BaseException:
            self.exit_code = 1
            raise

    def _leave(self) -> None:
        for stream in (sys.stdout, sys.stderr):
            with suppress(OSError, ValueError, AttributeError):  # closed, or none at all
                stream.flush()
        os._exit(self.exit_code)


def leave(error: BaseException) -> NoReturn:
    """End with the line and exit code of an error that is the machine's; raise any other, from an `except` clause."""
    found = said(error)
    if found is None:
        raise error
    show(*found)
    sys.exit(found[1])


def leave_unloaded(error: Exception) -> NoReturn:
    """End with the line and exit code 3 of an error that was met while our own modules were imported."""
    line, _ = said(error) or _unloadable(error)
    os.write(
        2, f"curate: {line}\n".encode(errors="backslashreplace")
    )  # what `show` needs may be what is broken
    sys.exit(3)


def said(error: BaseException) -> tuple[str, int] | None:
    """The line and exit code of an error that is the machine's; None for any other."""
    if isinstance(error, MemoryError) or _is_memory(error):
        return MEMORY, 3
    if isinstance(error, EOFError | ImportError | SyntaxError) or "marshal data" in str(error):
        return _unloadable(error)
    if not isinstance(error, OSError):
        return None
    code = error.errno or 0
    what = " ".join(str(error.strerror or error).split())[:300] or type(error).__name__
    where = f" ({error.filename})" if error.filename else ""
    return f"cannot go on: {what}{where}; {MEND.get(code, 'mend that, then the same command')}", (
        3 if code in LACKING else 1
    )


def _unloadable(error: BaseException) -> tuple[str, int]:
    why = " ".join(str(error).split())[:300]
    return (
        f"this installation of curate cannot be loaded ({type(error).__name__}: {why}); {MEND_INSTALLATION}",
        3,
    )


def _is_memory(error: BaseException) -> bool:
    text = str(error).casefold()
    return isinstance(error, RuntimeError | ImportError | OSError) and any(sign in text for sign in SIGNS)


def show(line: str, exit_code: int = 1) -> None:
    """One line on standard error, even where that has gone, whatever names and texts of others it quotes."""
    from curate.terminal import json_line, printable

    line = printable(line, LONGEST)
    try:
        if os.environ.get("CURATE_LOG") == "json":
            sys.stderr.write(json_line("error", line, exit_code=exit_code) + "\n")
        else:
            sys.stderr.write(f"curate: {line}\n")
    except OSError:
        os._exit(1)
