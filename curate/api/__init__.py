"""The commands as functions: `import curate` offers them, and the command line calls them.

Each function takes the arguments of its command, and raises the errors that the command reports (`curate.errors`). A
folder, file or manifest is a string or a path object; `s3://…`, `gs://…` and `hf://…` are strings. A wrong type or an
unknown setting raises a `ManifestError` with the same message as on the command line. Progress is written to standard
error; `progress=False` switches it off.
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
