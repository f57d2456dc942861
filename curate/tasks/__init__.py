"""Task formats: write columns as prompt and target in a model's dialect (default: Qwen-VL's, appendix B), or parse."""

from __future__ import annotations

from curate.tasks.dialect import Dialect, Format
from curate.tasks.dialect import load as load_dialect
from curate.tasks.dialect import names as dialect_names
from curate.tasks.fault_details import fault_details
from curate.tasks.formats import CONTROL_TOKEN, FORMATS, QWEN_VL
from curate.tasks.grammar import Phrase
from curate.tasks.image_cost import image_costs
from curate.tasks.parse import Parsed, parse
from curate.tasks.parse_chat import Spoken, parse_dialogue
from curate.tasks.render import render
from curate.tasks.row_faults import faults
from curate.tasks.rows import row_faults, row_strings

__all__ = [
    "CONTROL_TOKEN",
    "FORMATS",
    "QWEN_VL",
    "Dialect",
    "Format",
    "Parsed",
    "Phrase",
    "Spoken",
    "dialect_names",
    "fault_details",
    "faults",
    "image_costs",
    "load_dialect",
    "parse",
    "parse_dialogue",
    "render",
    "row_faults",
    "row_strings",
]
