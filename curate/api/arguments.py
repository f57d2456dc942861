"""Check the arguments of the commands' functions, turn paths into strings, and set up the display of progress."""

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

PLAIN: Mapping[Any, Any] = {  # a parameter's type → the type that its argument is converted to
    StrPath: str,
    StrPath | None: str | None,
    StrPaths: list[str],
}


def checked(function: Callable[P, R]) -> Callable[P, R]:
    """Decorate `function` so that its arguments are checked and converted to plain types before each call.

    Paths become strings; where a list of paths is taken, a single path becomes a list of one.

    Raises:
        ManifestError: (in a call) an argument has another type than the parameter.
    """
    signature = inspect.signature(function)

    @functools.wraps(function)
    def call(*args: P.args, **kwargs: P.kwargs) -> R:
        try:
            given, hints = signature.bind(*args, **kwargs), get_type_hints(function)
        except TypeError as error:  # as from Python itself, which names the function
            raise TypeError(f"curate.{function.__name__}() {error}") from None
        for name, value in given.arguments.items():
            given.arguments[name] = _plain(f"curate.{function.__name__}: {name}", value, hints[name])
        return function(*given.args, **given.kwargs)

    return call


def _plain(who: str, value: Any, hint: Any) -> Any:
    """Convert an argument to the plain type for `hint`; `who` names the parameter in an error."""
    import msgspec

    from curate.manifest.declared import plain_fault

    if hint == StrPaths and isinstance(value, str | os.PathLike):
        value = [value]
    if isinstance(value, Sequence) and not isinstance(value, str):
        value = [os.fspath(one) if isinstance(one, os.PathLike) else one for one in value]
    value = os.fspath(value) if isinstance(value, os.PathLike) else value
    try:
        return msgspec.convert(value, PLAIN.get(hint, hint))
    except msgspec.ValidationError as error:
        said = (
            f"say {' or '.join(get_args(hint))}"
            if get_origin(hint) is Literal
            else plain_fault(str(error), hint)
        )
        raise ManifestError(f"{who} is {value!r}: {said}") from None


def strings(paths: StrPaths) -> list[str]:
    """Return one path, or each of several, as a list of strings."""
    return [str(one) for one in ([paths] if isinstance(paths, str | os.PathLike) else paths)]


def view_of(progress: bool) -> Progress:
    """Return the display of progress, on standard error or below a notebook's cell; silent without `progress`."""
    from rich.console import Console

    from curate.engine.progress import Progress

    return Progress(Console(stderr=True, markup=False, emoji=False), quiet=not progress)
