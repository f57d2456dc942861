"""The errors that users see. Each message is one line: the value, the cause, and what to do about it.

A bad row is never an error: it is dropped with a reason. The command line ends with the exit code of the error.

    CurateError
     x ManifestError   the command, the manifest or a setting is wrong        exit 2
       x OrderForbidsError  inputs cannot be added to a finished run           exit 2
     x InputError      an input cannot be read, or lacks what is needed       exit 2
       x UnreadableInputError  the input's content is damaged (if other inputs can be read: one dropped row, no error)
       x DamagedError  a finished folder lacks a file, or holds damaged data  exit 1
     x DamagedStateError  a file in `_run` that an unfinished run goes on from is damaged  exit 1
     x OutputError     the output folder is another run's, or not writable    exit 2
     x MachineError    this machine lacks something                           exit 3
     x UnitError       a unit of work could not be finished                   exit 1
     x Halted          the run cannot go on for now: disk full, network down  exit 1
     x Stopped         interrupted; the same command goes on                  exit 130
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable

LONGEST_MESSAGE = 2500  # characters of a message that are shown


class CurateError(Exception):
    """Base of every error that is reported as one line."""

    exit_code = 1

    def __str__(self) -> str:
        """The message. One longer than `LONGEST_MESSAGE` is shortened to its beginning and its end."""
        said = super().__str__()
        half = LONGEST_MESSAGE // 2
        return said if len(said) <= LONGEST_MESSAGE else f"{said[:half]} … {said[-half:]}"


class ManifestError(CurateError):
    """The command, the manifest or one of its settings is wrong: nothing was read or written."""

    exit_code = 2


class OrderForbidsError(ManifestError):
    """Inputs cannot be added to a finished run without another result than a run on all inputs from the start gives.

    The run stays as it is.
    """


class InputError(CurateError):
    """An input cannot be read or lacks what the manifest needs: nothing was written."""

    exit_code = 2


class UnreadableInputError(InputError):
    """An input's content is damaged or empty. If other inputs can be read, it is one row, dropped for `reason`."""

    def __init__(self, message: str, reason: str = "unreadable") -> None:
        super().__init__(message)
        self.reason = reason


class DamagedError(InputError):
    """A finished folder does not hold what it lists, or its data were changed since they were written."""

    exit_code = 1


class OutputError(CurateError):
    """The output folder belongs to another run, is in use, or cannot be written."""

    exit_code = 2


class DamagedStateError(DamagedError):
    """A file in `_run` is damaged, without which an unfinished run cannot go on: no other job can use it either."""


class MachineError(CurateError):
    """This machine lacks something; the message says what and how to mend it."""

    exit_code = 3


class UnitError(CurateError):
    """One unit of work could not be finished; the run goes on with the other units."""

    exit_code = 1


class Halted(CurateError):  # noqa: N818 - names a state of the run; no input is at fault
    """The run cannot go on for now (disk full, network down); the same command resumes it."""

    exit_code = 1


class Stopped(CurateError):  # noqa: N818 - the user asked for it
    """The run was interrupted; the same command resumes it."""

    exit_code = 130


HOPELESS = (
    DamagedStateError,
    Halted,
    MachineError,
    ManifestError,
)  # errors that every other job would meet, too: the run stops


def nearest(name: str, known: Iterable[str]) -> str:
    """The end of a message about an unknown `name`: ` (did you mean 'X'?)`, or, if no known name is like it, all names.

    It begins with a space. All names are written as ` (there are: A, B)`.
    """
    names = sorted(set(known))
    close = difflib.get_close_matches(name, names, n=1)
    return f" (did you mean {close[0]!r}?)" if close else f" (there are: {', '.join(names) or 'none'})"
