"""PyMuPDF (AGPL-3.0), without the layout models that it would load as well."""

from __future__ import annotations

import sys

LAYOUT = ("pymupdf.layout", "pymupdf4llm")  # they bring onnxruntime: most of a child's start, 100 MB, threads

shut_out = [name for name in LAYOUT if name not in sys.modules]
sys.modules.update(dict.fromkeys(shut_out))  # type: ignore[arg-type]  # None: not to be imported; PyMuPDF copes
try:
    import pymupdf
finally:
    for name in shut_out:
        del sys.modules[name]

mupdf = pymupdf.mupdf
pymupdf.TOOLS.mupdf_display_errors(False)
pymupdf.TOOLS.mupdf_display_warnings(False)
pymupdf.TOOLS.unset_quad_corrections(True)  # boxes as MuPDF measures them, without the font's own claims

__all__ = ["mupdf", "pymupdf"]
