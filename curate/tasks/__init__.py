"""The seven task formats of Qwen-VL (appendix B): columns to prompt and target, and back."""

from __future__ import annotations

from curate.tasks.faults import faults
from curate.tasks.formats import CONTROL_TOKEN, FORMATS, Format
from curate.tasks.parse import Parsed, Phrase, parse
from curate.tasks.render import render

__all__ = ["CONTROL_TOKEN", "FORMATS", "Format", "Parsed", "Phrase", "faults", "parse", "render"]
