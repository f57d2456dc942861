"""Turn documents into page images with the place of every text: Arrow in, Arrow out.

Nothing heavy is imported here: `renderers.pdf.render` needs PyMuPDF, `renderers.html.render` Chromium.
"""

from __future__ import annotations


class RenderError(Exception):
    """A whole document that gives no page: `reason` is a slug, `detail` says what was found.

    Both are the constructor's arguments, so that the error survives the way out of a worker process.
    """

    def __init__(self, reason: str, detail: str = "") -> None:
        super().__init__(reason, detail)
        self.reason = reason
        self.detail = detail

    def __str__(self) -> str:
        return f"{self.reason}: {self.detail}" if self.detail else self.reason


class NotReadyError(Exception):
    """This machine lacks what a renderer needs; the message says what, and how to mend it.

    It is never a document's fault: where curate meets it, the run ends instead of dropping the document.
    """

    not_ready = True  # how `curate.children.child`, which imports no renderer, knows it
