"""Libraries without others that they import where these are installed, and that curate has no use for.

pyarrow imports pandas as soon as a list becomes an array. That costs every process a third of a second and 50 MB, for a
check that no list of curate's needs. `to_pandas` still imports it.
"""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Iterator


class _Missing:
    """Says, as a finder of modules, that some are not installed."""

    def __init__(self, names: tuple[str, ...]) -> None:
        self._names = names

    def find_spec(self, name: str, path: object = None, target: object = None) -> None:
        """None for every other module: another finder has it.

        Raises:
            ImportError: the module is one of those.
        """
        if name in self._names:
            raise ImportError(name)


@contextlib.contextmanager
def without(*names: str) -> Iterator[None]:
    """Have these modules, unless they were imported before, not be found meanwhile."""
    missing = _Missing(names)
    sys.meta_path.insert(0, missing)
    try:
        yield
    finally:
        sys.meta_path.remove(missing)


def hide_pandas() -> None:
    """Let pyarrow look for pandas once, in vain. For processes of curate's own alone: pyarrow then takes a Series for
    any iterable, until a plug-in has imported pandas (`curate.plugins.content`)."""
    if "pandas" in sys.modules:
        return
    with without("pandas"):
        import pyarrow as pa

        pa.array([0])
