"""The table of document renderers: the code and the settings of each, and which documents it takes."""

from __future__ import annotations

import importlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal, get_type_hints


@dataclass(frozen=True)
class Renderer:
    """A renderer of documents, and how it is run.

    Its module's `render(document, settings)` yields batches of `renderers.schema.PAGES`. Where the module has
    them, `check_machine(settings)` is called before anything is read, and `start(settings)` once in each child
    process before its first document; both raise `renderers.NotReadyError` where the machine lacks something.
    """

    module: str
    settings: str  # the name of its settings' class, a frozen dataclass in that module
    extra: str  # the extra of curate that installs the packages it needs
    suffixes: tuple[str, ...]  # of its documents' file names, in lower case
    media_types: tuple[str, ...]  # of its documents in a WARC file
    # What `documents.memory_bytes` bounds: the address space of the child process (rlimit), or the memory of
    # it and of all that it starts (pss), as a browser reserves far more addresses than it uses.
    # browser: this process holds one Chromium for many documents at a time, bounded by `render.max_memory`.
    memory_by: Literal["rlimit", "pss", "browser"] = "rlimit"


RENDERERS: Mapping[str, Renderer] = {  # by the name that a manifest's `adapter` gives it
    "pdf": Renderer(
        "renderers.pdf.render", "PdfSettings", "pdf", (".pdf",), ("application/pdf", "application/x-pdf")
    ),
    "html": Renderer(
        "renderers.html.render",
        "HtmlSettings",
        "html",
        (".html", ".htm", ".xhtml", ".mhtml", ".mht"),
        ("text/html", "application/xhtml+xml"),
        memory_by="browser",
    ),
}


def setting_types(adapter: str) -> dict[str, Any]:
    """Return the settings of a renderer: name -> type; empty if `adapter` is no renderer, or is not installed."""
    renderer = RENDERERS.get(adapter)
    if renderer is None:
        return {}
    try:
        return get_type_hints(getattr(importlib.import_module(renderer.module), renderer.settings))
    except ImportError:
        return {}
