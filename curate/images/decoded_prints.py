"""Computes the fingerprints of encoded images, which are decoded in disposable child processes."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from types import TracebackType

from curate.children.pool import Children, Limits
from curate.images import protocol
from curate.images.fingerprint import SMALLEST_SIDE
from curate.manifest.settings import ImageSettings


class DecodedPrints:
    """Owns the child processes, one for each core, that decode images and compute fingerprints."""

    def __init__(self) -> None:
        settings = ImageSettings(max_side=2 * SMALLEST_SIDE, fingerprints=True)
        limits = Limits(timeout_s=settings.timeout_s, memory_bytes=settings.memory_bytes)
        count = len(os.sched_getaffinity(0))
        self._children = Children(protocol.TARGET, count, limits, protocol.child_settings(settings, {}))

    def of(self, bodies: Iterable[bytes]) -> Iterator[bytes | None]:
        """Yield the fingerprints of each image, in order; None if it cannot be decoded or shows too little.

        They are the BYTES bytes of all views; the first VIEW_BYTES are the PDQ hash of the whole image. All of `bodies`
        are in memory at once.
        """
        for body, future in [(body, self._children.submit(body)) for body in bodies]:
            outcome = future.result()
            answer = None if outcome.value is None else protocol.read_answer(outcome.value, body)
            yield None if answer is None else answer.fingerprint

    def __enter__(self) -> DecodedPrints:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._children.close()
