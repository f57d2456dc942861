"""Report errors of the machine as one line and an exit code: a full disk, no memory, no more threads, a signal."""

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
LACKING = (errno.EMFILE, errno.ENOMEM, errno.EAGAIN)  # exit code 3: the machine lacks something
MEMORY = "this machine lacks memory for it: give it more (ulimit -v, the container's limit)"
LONGEST = 4000  # characters of a message
MEND_INSTALLATION = "make room if a disk is full, delete its folders __pycache__, or install it again"
SIGNS = (  # parts of messages by which libraries report a lack of memory or threads
    "can't start new thread",
    "cannot allocate memory",
    "failed to map segment",
    "std::bad_alloc",
    "failed to launch worker thread",
)


def early_interrupt() -> None:
    """Make SIGINT and SIGTERM end the process at once, with exit code 130: no command has begun that must be undone."""
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, _leave)


def _leave(number: int, frame: Any) -> NoReturn:
    os.write(2, b"curate: interrupted\n")
    os._exit(130)


def keep_bytecode_whole() -> None:
    """If file sizes are limited (ulimit -f), write no bytecode: Python would cut its files short and not load them."""
    if resource.getrlimit(resource.RLIMIT_FSIZE)[0] != resource.RLIM_INFINITY:
        sys.dont_write_bytecode = True
        os.environ["PYTHONDONTWRITEBYTECODE"] = "1"  # for child processes


class ProgramEnd:
    """Ends the process directly after the functions registered with `atexit`, without Python's own clean-up.

    During that clean-up, a thread of Arrow may release a buffer that belongs to Python; the process then ends by
    SIGABRT, exit 134. On a busy machine that happened in 5 of 60 runs that refused a damaged folder.
    """

    def __init__(self) -> None:
        self.exit_code = 0
        atexit.register(self._leave)  # registered first, so called last

    def after(self, command: Callable[[], object]) -> None:
        """Run `command`, and make the process end with its exit code, or with 1 after an exception."""
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
    """Report an error that the machine caused, and exit; raise any other error again. Call it in an `except` clause."""
    found = said(error)
    if found is None:
        raise error
    show(*found)
    sys.exit(found[1])


def leave_unloaded(error: Exception) -> NoReturn:
    """Report an error from importing curate's own modules in one line, and exit with code 3."""
    line, _ = said(error) or _unloadable(error)
    os.write(
        2, f"curate: {line}\n".encode(errors="backslashreplace")
    )  # without `show`, as the modules that it imports may be the broken ones
    sys.exit(3)


def said(error: BaseException) -> tuple[str, int] | None:
    """Return the message and exit code for an error that the machine caused; None for any other error."""
    if isinstance(error, MemoryError) or _is_memory(error):
        return MEMORY, 3
    if isinstance(error, EOFError | ImportError | SyntaxError) or "marshal data" in str(error):
        return _unloadable(error)
    if not isinstance(error, OSError):
        return None
    code = error.errno or 0
    what = " ".join(str(error.strerror or error).split())[:300] or type(error).__name__
    where = f" ({error.filename})" if error.filename else ""
    return f"cannot go on: {what}{where}; {MEND.get(code, 'mend that, then run the same command again')}", (
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
    """Write a message as one line to standard error, with unprintable characters escaped; as JSON if that is asked for.

    If standard error is closed, the process ends with exit code 1.
    """
    from curate.terminal import json_line, printable

    line = printable(line, LONGEST)
    try:
        if os.environ.get("CURATE_LOG") == "json":
            sys.stderr.write(json_line("error", line, exit_code=exit_code) + "\n")
        else:
            sys.stderr.write(f"curate: {line}\n")
    except OSError:
        os._exit(1)
