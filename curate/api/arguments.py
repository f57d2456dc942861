"""What the commands' functions take: paths turned into strings, types checked, and who watches."""

from __future__ import annotations

import functools
import inspect
import os
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Literal, ParamSpec, TypeVar, get_args, get_origin, get_type_hints

from curate.errors import ManifestError

if TYPE_CHECKING:
    from curate.engine.progress import Progress

StrPath = str | os.PathLike[str]
StrPaths = StrPath | Sequence[StrPath]  # one, or a list of them

P = ParamSpec("P")
R = TypeVar("R")

PLAIN: Mapping[Any, Any] = {  # what arguments are turned into
    StrPath: str,
    StrPath | None: str | None,
    StrPaths: list[str],
}


def checked(function: Callable[P, R]) -> Callable[P, R]:
    """The function with its arguments turned into the plain types that it works with.

    Raises:
        ManifestError: an argument is of another type than the function's parameter.
    """
    signature = inspect.signature(function)

    @functools.wraps(function)
    def call(*args: P.args, **kwargs: P.kwargs) -> R:
        given, hints = signature.bind(*args, **kwargs), get_type_hints(function)
        for name, value in given.arguments.items():
            given.arguments[name] = _plain(f"curate.{function.__name__}: {name}", value, hints[name])
        return function(*given.args, **given.kwargs)

    return call


def _plain(who: str, value: Any, hint: Any) -> Any:
    """The argument as plain data: paths as strings, one path as a list where a list is taken."""
    import msgspec

    if hint == StrPaths and isinstance(value, str | os.PathLike):
        value = [value]
    if isinstance(value, Sequence) and not isinstance(value, str):
        value = [os.fspath(one) if isinstance(one, os.PathLike) else one for one in value]
    value = os.fspath(value) if isinstance(value, os.PathLike) else value
    try:
        return msgspec.convert(value, PLAIN.get(hint, hint))
    except msgspec.ValidationError as error:
        said = f"say {' or '.join(get_args(hint))}" if get_origin(hint) is Literal else str(error)
        raise ManifestError(f"{who} is {value!r}: {said}") from None


def strings(paths: StrPaths) -> list[str]:
    """The paths as strings."""
    return [str(one) for one in ([paths] if isinstance(paths, str | os.PathLike) else paths)]


def view_of(progress: bool) -> Progress:
    """What a person sees of a run, on standard error or below a notebook's cell."""
    from rich.console import Console

    from curate.engine.progress import Progress

    return Progress(Console(stderr=True, markup=False, emoji=False), quiet=not progress)
