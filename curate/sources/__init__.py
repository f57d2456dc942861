"""Read input files of any published format as record batches: rows [start, stop) in order, in bounded memory."""

from __future__ import annotations

from curate.sources.blame import blamed
from curate.sources.inputs import FORMATS, NO_FILE, Input, check_is_file, expand, together
from curate.sources.opening import forget_opened, open_source
from curate.sources.parts import JOINED, PICKLES
from curate.sources.reading import DETAIL, PROBLEM, ROW, Source

__all__ = [
    "DETAIL",
    "FORMATS",
    "JOINED",
    "NO_FILE",
    "PICKLES",
    "PROBLEM",
    "ROW",
    "Input",
    "Source",
    "blamed",
    "check_is_file",
    "expand",
    "forget_opened",
    "open_source",
    "together",
]
