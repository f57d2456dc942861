"""Make synthetic documents after SynthDoG: from seeds to Arrow tables of pages, with a quad for each line."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from synthdog.resources import Resources, check
    from synthdog.row_schema import ROWS
    from synthdog.settings import TemplateSettings
    from synthdog.template import Template

__all__ = ["ROWS", "Resources", "Template", "TemplateSettings", "check"]

# These names are imported only when they are used, because importing synthtiger takes more than a second
_HOMES = {
    "ROWS": "row_schema",
    "Resources": "resources",
    "Template": "template",
    "TemplateSettings": "settings",
    "check": "resources",
}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'synthdog' has no attribute {name!r}")
    return getattr(import_module(f"synthdog.{_HOMES[name]}"), name)
