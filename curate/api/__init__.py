"""The commands as functions: what `import curate` offers, and what the command line calls.

Each takes what its command takes and raises what its command reports (`curate.errors`). A folder, file or manifest is
a string or a path object; `s3://…`, `gs://…` and `hf://…` are strings. Wrong types and unknown settings are
`ManifestError`s with the command line's words. People's output goes to standard error; `progress=False` silences it.
"""

from __future__ import annotations

from curate.api.findings import diff, explain, report, trace, verify
from curate.api.outputs import export, fingerprint, held_out, pack, remove, score
from curate.api.runs import calibrate, retry, run, select

__all__ = [
    "calibrate",
    "diff",
    "explain",
    "export",
    "fingerprint",
    "held_out",
    "pack",
    "remove",
    "report",
    "retry",
    "run",
    "score",
    "select",
    "trace",
    "verify",
]
