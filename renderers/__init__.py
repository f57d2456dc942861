"""Turn documents into page images with the positions of their texts: Arrow in, Arrow out.

Nothing heavy is imported here: `renderers.pdf.render` needs PyMuPDF, `renderers.html.render` Chromium.
"""

from __future__ import annotations


class RenderError(Exception):
    """A whole document that gives no page: `reason` is the name of a reason, `detail` says what was found.

    Both are the constructor's arguments, so that the error can be pickled and sent from a worker process.
    """

    def __init__(self, reason: str, detail: str = "") -> None:
        super().__init__(reason, detail)
        self.reason = reason
        self.detail = detail

    def __str__(self) -> str:
        return f"{self.reason}: {self.detail}" if self.detail else self.reason


class NotReadyError(Exception):
    """This machine lacks what a renderer needs; the message says what, and how to install it.

    No document causes this error, so curate ends the run instead of dropping the document.
    """

    not_ready = True  # `curate.children.child` imports no renderer and recognises the error by this
