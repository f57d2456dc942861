"""The errors a person meets: one line each, with the value, the cause and the way out.

A bad row is never an error: it is a drop with a reason. The exit codes are the command line's.

    CurateError
     x ManifestError   the command, the manifest or a setting is wrong        exit 2
       x OrderForbidsError  inputs cannot be added to a finished run           exit 2
     x InputError      an input cannot be read, or lacks what is needed       exit 2
       x UnreadableInputError  its content is damaged; among others it is one dropped row
       x DamagedError  a finished folder lacks a file, or holds damaged data  exit 1
     x OutputError     the output folder is another run's, or not writable    exit 2
     x MachineError    this machine lacks something                           exit 3
     x UnitError       a unit of work could not be finished                   exit 1
     x Halted          the run cannot go on for now: disk full, network down  exit 1
     x Stopped         interrupted; the same command goes on                  exit 130
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable

LONGEST_MESSAGE = 2500  # characters


class CurateError(Exception):
    """Base of every error that is reported as one line."""

    exit_code = 1

    def __str__(self) -> str:
        """The message; of one that quotes something very long, its beginning and its end."""
        said = super().__str__()
        half = LONGEST_MESSAGE // 2
        return said if len(said) <= LONGEST_MESSAGE else f"{said[:half]} … {said[-half:]}"


class ManifestError(CurateError):
    """The command, the manifest or one of its settings is wrong: nothing was read or written."""

    exit_code = 2


class OrderForbidsError(ManifestError):
    """A finished run cannot take in more inputs as if it had had them from the beginning; it stays as it is."""


class InputError(CurateError):
    """An input cannot be read or lacks what the manifest needs: nothing was written."""

    exit_code = 2


class UnreadableInputError(InputError):
    """An input's content is damaged or empty. Beside readable inputs it is one dropped row, for this `reason`."""

    def __init__(self, message: str, reason: str = "unreadable") -> None:
        super().__init__(message)
        self.reason = reason


class DamagedError(InputError):
    """A finished folder does not hold what it lists, or its data were changed since they were written."""

    exit_code = 1


class OutputError(CurateError):
    """The output folder belongs to another run, is in use, or cannot be written."""

    exit_code = 2


class MachineError(CurateError):
    """This machine lacks something; the message says what and how to mend it."""

    exit_code = 3


class UnitError(CurateError):
    """A unit of work could not be finished; the others go on."""

    exit_code = 1


class Halted(CurateError):  # noqa: N818 - a state of the run, and the row's fault least of all
    """The run cannot go on for now (disk full, network down); the same command resumes it."""

    exit_code = 1


class Stopped(CurateError):  # noqa: N818 - what the user asked for
    """The run was interrupted; the same command resumes it."""

    exit_code = 130


HOPELESS = (Halted, MachineError, ManifestError)  # what would befall every other job too


def nearest(name: str, known: Iterable[str]) -> str:
    """A hint for an unknown `name`: ` (did you mean X?)`, or ` (there are: …)` when none is near."""
    names = sorted(set(known))
    close = difflib.get_close_matches(name, names, n=1)
    return f" (did you mean {close[0]!r}?)" if close else f" (there are: {', '.join(names) or 'none'})"
