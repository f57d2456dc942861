"""Arrow without pandas. pyarrow imports pandas, where it is installed, as soon as a list becomes an array.

That costs every process a third of a second and 50 MB, for a check that no list of curate's needs. `to_pandas` still
imports it.
"""

from __future__ import annotations

import sys


class _Missing:
    """Says, as a finder of modules, that there is no pandas."""

    @staticmethod
    def find_spec(name: str, path: object = None, target: object = None) -> None:
        """None for every other module: another finder has it.

        Raises:
            ImportError: the module is pandas.
        """
        if name == "pandas":
            raise ImportError(name)


def hide_pandas() -> None:
    """Let pyarrow look for pandas once, in vain. For processes of curate's own alone: pyarrow then takes a Series for
    any iterable, until a plug-in has imported pandas (`curate.plugins.content`)."""
    if "pandas" in sys.modules:
        return
    sys.meta_path.insert(0, _Missing)
    try:
        import pyarrow as pa

        pa.array([0])
    finally:
        sys.meta_path.remove(_Missing)
