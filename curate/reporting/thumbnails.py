"""Shrink images for a page, in disposable child processes, because the images are untrusted."""

from __future__ import annotations

import base64
import os
from collections.abc import Sequence

from curate.children.pool import Children, Limits
from curate.images import protocol
from curate.images.sniffing import sniff
from curate.manifest.settings import ImageSettings

SETTINGS = ImageSettings(max_side=640, quality=72)
TIMEOUT_S = 5.0
MAX_BYTES = 6 * 2**20  # bytes of all images of a report together
LARGEST = 400_000  # bytes of one image


def data_urls(bodies: Sequence[bytes | None]) -> list[str | None]:
    """The encoded images (N) as `data:` URLs (N), each shrunk to at most 640 pixels a side.

    None where there is no image, where it is damaged, or where it would exceed LARGEST or what is left of MAX_BYTES.
    """
    wanted = [body for body in bodies if body]
    if not wanted:
        return [None] * len(bodies)
    limits = Limits(timeout_s=TIMEOUT_S, memory_bytes=SETTINGS.memory_bytes)
    count = min(4, os.cpu_count() or 1, len(wanted))
    with Children(protocol.TARGET, count, limits, protocol.child_settings(SETTINGS, {})) as children:
        flying = [children.submit(body) if body else None for body in bodies]
        answers = [future.result().value if future else None for future in flying]
    urls, left = [], MAX_BYTES
    for body, answer in zip(bodies, answers, strict=True):
        made = protocol.read_answer(answer, body).image if body and answer else None
        made = made if made and len(made) <= min(left, LARGEST) else None
        left -= len(made or b"")
        urls.append(f"data:image/{sniff(made)};base64,{base64.b64encode(made).decode()}" if made else None)
    return urls
