"""The part of the fetcher that callers use: it takes addresses and yields their results, one by one.

The caller's thread reads the addresses and takes the results; another thread runs the event loop and all requests.
Results pass through a queue; jobs and the number of consumed bytes pass through `call_soon_threadsafe`.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import queue
import resource
import threading
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future
from itertools import islice
from typing import Any

from yarl import URL

from curate.errors import CurateError, MachineError, UnitError
from curate.fetch.engine import CLOSE_S, Engine
from curate.fetch.exchange import Exchange
from curate.fetch.outcome import Fetched, FetchOutcome, printable
from curate.fetch.schedule import Call, FetchJob
from curate.fetch.urls import BadUrlError, requestable
from curate.manifest.settings import FetchSettings

log = logging.getLogger(__name__)

LOOK_AHEAD = 65_536  # the most addresses that are read before they are fetched: more than a unit of work has
CHUNK = 512  # addresses read at once
STARTED_S = 30.0  # the longest wait for the thread to start


class Fetcher:
    """Fetches addresses. Several threads may call `fetch`; they share the limits.

    Args:
        settings: limits, times and the user agent.
        exchange: shares the per-host limits with other workers; None: the limits hold for this fetcher alone.
        images: whether bodies that are no images are refused; False accepts any body.

    Raises:
        MachineError: too few files may be open, or the event loop cannot start.
    """

    def __init__(
        self, settings: FetchSettings, exchange: Exchange | None = None, *, images: bool = True
    ) -> None:
        _allow_open_files(2 * settings.concurrency + 256)
        self._settings, self._images, self._exchange = settings, images, exchange
        self._loop = asyncio.new_event_loop()
        started: Future[Engine] = Future()
        self._thread = threading.Thread(target=self._run, args=(started,), name="curate-fetch", daemon=True)
        self._thread.start()
        try:
            self._engine = started.result(STARTED_S)
        except Exception as error:
            raise MachineError(f"fetching cannot start: {type(error).__name__}: {error}") from error

    def fetch(self, urls: Iterable[str | None]) -> Iterator[tuple[int, Fetched]]:
        """Yield the index in `urls` and the result of every address, in the order in which they finish.

        Up to LOOK_AHEAD addresses are read before they are fetched; an address that occurs again among these is
        fetched once. While too many bytes wait for the consumer, no new body is read from the network. Closing the
        iterator ends its requests. A null address gives the reason `bad_url`.

        Raises:
            NetworkDown: nearly no host can be reached, and the network did not come back in time.
            MachineError: no more connections can be opened.
            UnitError: the fetcher was closed.
        """
        call = Call()
        places: dict[URL, list[int]] = {}
        numbered, more = enumerate(urls), True
        try:
            while more or places:
                if more and len(places) < LOOK_AHEAD:
                    chunk = list(islice(numbered, CHUNK))
                    more = len(chunk) == CHUNK
                    yield from self._submit(call, chunk, places)
                if places:
                    wait = not more or len(places) >= LOOK_AHEAD
                    yield from self._results(call, places, wait)
        finally:
            self._post(self._engine.abandon, call)

    def close(self) -> None:
        """End all requests and the thread, within some seconds."""
        self._post(self._engine.stop)
        self._thread.join(3 * CLOSE_S)
        if self._thread.is_alive():
            log.warning("the fetching thread did not end and is left behind")

    def __enter__(self) -> Fetcher:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _submit(
        self, call: Call, chunk: list[tuple[int, str | None]], places: dict[URL, list[int]]
    ) -> Iterator[tuple[int, Fetched]]:
        """Pass addresses to the engine, and yield a `bad_url` for each that cannot be requested."""
        jobs = []
        for place, text in chunk:
            try:
                url = requestable(text)
            except BadUrlError as error:
                yield place, Fetched(None, "bad_url", printable(str(error)), None)
                continue
            if url not in places:
                jobs.append(FetchJob(call, url))
            places.setdefault(url, []).append(place)
        self._post(self._engine.submit, call, jobs)

    def _results(self, call: Call, places: dict[URL, list[int]], wait: bool) -> Iterator[tuple[int, Fetched]]:
        """Yield a batch of results; its bytes are given back to the budget once the last result is taken."""
        batch = self._take(call, wait)
        try:
            for job, outcome in batch:
                for place in places.pop(job.url):
                    yield place, outcome.fetched
        finally:
            self._post(self._engine.release, sum(outcome.held_bytes for _, outcome in batch))

    def _take(self, call: Call, wait: bool) -> list[tuple[FetchJob, FetchOutcome]]:
        """Return the results that have finished; with `wait`, wait for at least one.

        Raises:
            CurateError: the engine ended the call with this error.
            UnitError: the fetcher is closed.
        """
        while True:
            try:
                results = call.results.get(block=wait, timeout=1.0)
            except queue.Empty:
                if not wait:
                    return []
                if not self._thread.is_alive():
                    raise UnitError("the fetcher is closed") from None
                continue
            if isinstance(results, CurateError):
                raise results
            return results

    def _post(self, function: Callable[..., None], *arguments: Any) -> None:
        with contextlib.suppress(RuntimeError):  # the loop is closed: `_take` says so
            self._loop.call_soon_threadsafe(function, *arguments)

    def _run(self, started: Future[Engine]) -> None:
        """Run the event loop: the body of the fetching thread."""
        asyncio.set_event_loop(self._loop)
        try:
            self._loop.run_until_complete(Engine.live(self._settings, self._images, started, self._exchange))
        except Exception as error:
            log.exception("the fetching thread ended")
            if not started.done():
                started.set_exception(error)
        finally:
            self._loop.close()


def _allow_open_files(wanted: int) -> None:
    """Raise this process's soft limit of open files to `wanted` or more.

    Raises:
        MachineError: the hard limit is lower than `wanted`.
    """
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft == resource.RLIM_INFINITY or soft >= max(wanted, 4096):
        return
    soft = max(wanted, 4096) if hard == resource.RLIM_INFINITY else min(max(wanted, 4096), hard)
    if soft < wanted:
        raise MachineError(
            f"only {hard} files may be open: set `ulimit -n {wanted}` or lower fetch.concurrency"
        )
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
