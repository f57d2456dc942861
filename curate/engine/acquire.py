"""Get images from the network or a local folder, and turn them into bytes that any reader can decode.

One thread with an event loop fetches; disposable child processes decode. Both go on at the same time; a bounded
number of fetched bodies waits between them.
"""

from __future__ import annotations

import zipfile
from collections import deque
from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

from curate.children.pool import Children, Limits, Outcome
from curate.fetch.exchange import Exchange
from curate.images import protocol
from curate.images.folder import Pictures
from curate.manifest.load import image_folder
from curate.manifest.settings import Manifest

if TYPE_CHECKING:
    from curate.fetch import Fetcher

AHEAD = 64  # bodies that may wait or be decoded, for each child process
RECYCLE_AFTER = 5_000  # images after which a child process is replaced, which costs as much as fifty images


@dataclass(frozen=True, slots=True)
class RawImage:
    """An image as it was published, or why there is none."""

    data: bytes | None  # encoded; None after a failure
    stage: str | None = None  # the stage that failed
    reason: str | None = None
    detail: str | None = None
    boxes: tuple[tuple[float, float, float, float], ...] = ()  # to blur: x0, y0, x1, y1, shares of the sides
    redirected_to: str | None = None  # where redirects led, if to a file of another name


@dataclass(frozen=True, slots=True)
class AcquiredImage:
    """An image that can be stored, or why there is none: a reason, or a size that the size rules will drop."""

    image: bytes | None = None
    format: str | None = None
    width: int | None = None
    height: int | None = None
    turn: int | None = None  # the EXIF orientation (1 to 8) that was undone
    stage: str | None = None
    reason: str | None = None
    detail: str | None = None
    fingerprint: bytes | None = None  # of the image and its crops; None unless it was asked for
    full: tuple[int, int] = (
        0,
        0,
    )  # width and height of the upright image before it was shrunk; 0: not decoded
    redirected_to: str | None = None  # where redirects led, if to a file of another name

    def without_image(self) -> AcquiredImage:
        """Return the same without the image's bytes."""
        return replace(self, image=None)


class Acquirer:
    """Fetches and prepares images; connections and child processes start when they are first needed."""

    def __init__(
        self,
        manifest: Manifest,
        children: int,
        exchange: Exchange | None = None,
        fingerprints: bool = False,
    ) -> None:
        """Take what is needed; nothing is started.

        Args:
            manifest: the settings for fetching and decoding.
            children: how many child processes decode.
            exchange: shares the limit of requests to one host with other workers; None: this worker has it alone.
            fingerprints: compute fingerprints even if no setting or rule of the manifest needs them.
        """
        self._manifest, self._count, self._exchange = manifest, children, exchange
        self._fingerprints = fingerprints

    def close(self) -> None:
        """End connections and child processes."""
        for held in ("_fetcher", "_children", "_pictures"):
            if held in self.__dict__:
                self.__dict__.pop(held).close()

    def fetch(self, urls: Mapping[int, str]) -> Iterator[tuple[int, RawImage]]:
        """Fetch the URLs (row number → URL); yield each row's body or failure in the order in which they arrive."""
        if not urls:
            return
        rows = list(urls)
        for place, fetched in self._fetcher.fetch(urls.values()):
            end = fetched.url if fetched.elsewhere else None
            image = RawImage(fetched.body, "fetch", fetched.reason, fetched.detail, redirected_to=end)
            yield rows[place], image

    def local(self, path: str, beside: Path | None = None) -> RawImage:
        """Read the image at `path` in the manifest's image folder, or, if it has none, in the folder `beside`.

        Paths that lead out of that folder are refused.
        """
        limit = self._manifest.fetch.max_bytes
        try:
            data = self._place(beside).read(path, limit)
        except FileNotFoundError:
            return RawImage(None, "fetch", "file_missing", path)
        except PermissionError as error:
            return RawImage(None, "fetch", "blocked_path", str(error))
        except (OSError, ValueError, RuntimeError, zipfile.BadZipFile) as error:
            return RawImage(None, "fetch", "file_unreadable", str(error))
        if len(data) > limit:
            return RawImage(None, "fetch", "too_large", f"more than {limit} bytes")
        return RawImage(data)

    def prepare(self, bodies: Iterable[tuple[int, RawImage]]) -> Iterator[tuple[int, AcquiredImage]]:
        """Decode and prepare images (row number, image); yield each row's result, about in the order of `bodies`."""
        flying: deque[tuple[int, RawImage, Future[Outcome]]] = deque()
        for row, body in bodies:
            if body.data is None:
                yield row, AcquiredImage(stage=body.stage, reason=body.reason, detail=body.detail)
            else:
                flying.append((row, body, self._children.submit(self._asked(body.data, body.boxes))))
            while flying and (flying[0][2].done() or len(flying) > AHEAD * self._count):
                yield _landed(
                    *flying.popleft()
                )  # results are given in order: those behind a slow image wait in memory
        while flying:
            yield _landed(*flying.popleft())

    def _asked(self, data: bytes, boxes: Sequence[Sequence[float]]) -> bytes:
        """Return the payload for a child: the image, with its boxes in front if the manifest has boxes blurred."""
        return protocol.with_boxes(data, boxes) if self._manifest.image.blur_boxes else data

    def _place(self, beside: Path | None) -> Pictures:
        """Return the manifest's image folder, or the folder `beside` if the manifest has none."""
        if self._manifest.image.folder or beside is None:
            return self._pictures
        if beside not in self._beside:
            self._beside[beside] = Pictures(beside)
        return self._beside[beside]

    @cached_property
    def _beside(self) -> dict[Path, Pictures]:
        return {}

    @cached_property
    def _pictures(self) -> Pictures:
        folder = image_folder(self._manifest)
        assert folder is not None
        return Pictures(folder)

    @cached_property
    def _fetcher(self) -> Fetcher:
        from curate.fetch import Fetcher  # half a CPU second, which only runs that fetch need pay

        return Fetcher(self._manifest.fetch, self._exchange)

    @cached_property
    def _children(self) -> Children:
        settings = self._manifest.image
        limits = Limits(
            timeout_s=settings.timeout_s, memory_bytes=settings.memory_bytes, recycle_after=RECYCLE_AFTER
        )
        return Children(
            protocol.TARGET,
            self._count,
            limits,
            protocol.child_settings(settings, self._manifest.active_rules(), self._fingerprints),
        )


def _landed(row: int, body: RawImage, future: Future[Outcome]) -> tuple[int, AcquiredImage]:
    """Wait for a child's answer to one body, and return the row's result."""
    outcome = future.result()
    if outcome.value is None:
        return row, AcquiredImage(stage="decode", reason=outcome.reason, detail=outcome.detail)
    answer = protocol.read_answer(outcome.value, body.data or b"")
    if answer.reason is not None:
        return row, AcquiredImage(stage="decode", reason=answer.reason, detail=answer.detail)
    return row, AcquiredImage(
        answer.image,
        answer.format,
        answer.width,
        answer.height,
        answer.turn,
        fingerprint=answer.fingerprint,
        full=answer.full,
        redirected_to=body.redirected_to,
    )
