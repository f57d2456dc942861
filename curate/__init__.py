"""Turn raw public data into training shards for vision-language models.

    import curate

    result = curate.run("laion", out="shards/", settings={"rules.image_too_small.min_side": 224})
    result.rows_in, result.rows_out, result.dropped

Each command of the command line is a function here; docs/python.md shows every one. A name's module is imported when
the name is first used, so `import curate` itself takes only milliseconds.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from curate.version import __version__

if TYPE_CHECKING:
    from curate import loader, scorer
    from curate.api import (
        calibrate,
        diff,
        explain,
        export,
        fingerprint,
        held_out,
        pack,
        remove,
        report,
        retry,
        run,
        score,
        select,
        trace,
        verify,
    )
    from curate.errors import (
        CurateError,
        Halted,
        InputError,
        MachineError,
        ManifestError,
        OutputError,
        Stopped,
        UnitError,
    )
    from curate.plugins import adapter, cleaner, rule
    from curate.results import (
        CalibrateResult,
        DiffResult,
        ExplainResult,
        ExportResult,
        HeldOutResult,
        PackResult,
        PreviewResult,
        RemoveResult,
        ReportResult,
        RunResult,
        TraceResult,
        VerifyResult,
    )

__all__ = [
    "CalibrateResult",
    "CurateError",
    "DiffResult",
    "ExplainResult",
    "ExportResult",
    "FingerprintResult",
    "Halted",
    "HeldOutResult",
    "InputError",
    "MachineError",
    "ManifestError",
    "OutputError",
    "PackResult",
    "PreviewResult",
    "RemoveResult",
    "ReportResult",
    "RunResult",
    "Stopped",
    "TraceResult",
    "UnitError",
    "VerifyResult",
    "__version__",
    "adapter",
    "calibrate",
    "cleaner",
    "diff",
    "explain",
    "export",
    "fingerprint",
    "held_out",
    "loader",
    "pack",
    "remove",
    "report",
    "retry",
    "rule",
    "run",
    "score",
    "scorer",
    "select",
    "trace",
    "verify",
]

_ERRORS = (
    *("CurateError", "Halted", "InputError", "MachineError", "ManifestError", "OutputError", "Stopped"),
    "UnitError",
)
_DECORATORS = ("adapter", "cleaner", "rule")
_MODULES = ("loader", "scorer")


def __getattr__(name: str) -> Any:
    """Import the module, function or class of a public name when the name is first used."""
    if name not in __all__:
        raise AttributeError(f"module 'curate' has no attribute {name!r}")
    if name in _MODULES:
        return importlib.import_module(f"curate.{name}")
    value = getattr(importlib.import_module(f"curate.{_module(name)}"), name)
    globals()[name] = value
    return value


def _module(name: str) -> str:
    """The module of `curate` that defines the public function or class `name`."""
    if name in _ERRORS:
        return "errors"
    if name in _DECORATORS:
        return "plugins"
    return "results" if name.endswith("Result") else "api"


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
