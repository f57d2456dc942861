"""Keep libraries from importing other installed libraries that curate does not need.

pyarrow imports pandas, if it is installed, when a list is first turned into an array. That costs every process a third
of a second and 50 MB, for a check that curate never needs. `to_pandas` still imports pandas.
"""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Iterator


class _Missing:
    """A finder for `sys.meta_path` that makes some modules look as if they were not installed."""

    def __init__(self, names: tuple[str, ...]) -> None:
        self._names = names

    def find_spec(self, name: str, path: object = None, target: object = None) -> None:
        """Return None for every other module: the next finder is asked.

        Raises:
            ImportError: the module is one that looks missing.
        """
        if name in self._names:
            raise ImportError(name)


@contextlib.contextmanager
def without(*names: str) -> Iterator[None]:
    """Within this context, importing one of these modules fails, unless it was imported before."""
    missing = _Missing(names)
    sys.meta_path.insert(0, missing)
    try:
        yield
    finally:
        sys.meta_path.remove(missing)


def hide_pandas() -> None:
    """Make pyarrow look for pandas now, and not find it; pyarrow does not look again.

    Only for curate's own processes: pyarrow then treats a pandas Series like any other iterable, until a plug-in has
    imported pandas (`curate.plugins.content`).
    """
    if "pandas" in sys.modules:
        return
    with without("pandas"):
        import pyarrow as pa

        pa.array([0])
