"""The child process that decodes and unpacks documents for the browser, and its parent's side.

Decoding, unpacking and parsing a hostile page can take for ever or crash in a library. In a process of its own that
costs the document alone: past its deadline the process is killed by its parent, or else by its own alarm.
"""

from __future__ import annotations

import asyncio
import os
import resource
import signal
import struct
import sys
from dataclasses import asdict
from pathlib import Path
from typing import Any, BinaryIO

import msgspec

from renderers import NotReadyError, RenderError
from renderers.html.settings import Document, HtmlSettings
from renderers.html.shown_document import ShownDocument, read, read_anew

LENGTH = struct.Struct("<Q")  # of a message in bytes, sent before it
MEMORY = 2 << 30  # bytes of address space
READY = b"ready"
GRACE_S = 5  # after its parent's deadline the process ends by its own alarm
FIELDS = ("id", "content", "content_type", "url")


class ReaderProcess:
    """Reads documents one by one; the process is started when first needed, and again after it was killed."""

    def __init__(self, settings: HtmlSettings) -> None:
        self.settings = settings
        self.turn = asyncio.Lock()
        self.process: asyncio.subprocess.Process | None = None

    async def read(self, document: Document, anew: str | None = None) -> ShownDocument:
        """Read a document into the markup that the browser is shown.

        With a title in `anew` its main content is laid out anew under a stylesheet of `restyle`.

        Raises: RenderError; `timed_out` after the settings' `timeout_s`, `crashed` where the process ended.
        """
        fields = [getattr(document, name) for name in FIELDS]
        message = msgspec.msgpack.encode([fields, bool(document.resources), anew])
        async with self.turn:
            try:
                answer = await self.attempt(message)
            except RenderError as error:
                if error.reason != "crashed":
                    raise
                answer = await self.attempt(message)  # another program may have ended the process
        reason, detail, found = msgspec.msgpack.decode(answer, type=Answer)
        if found is None:
            raise RenderError(reason, detail)
        return ShownDocument(*found)

    async def attempt(self, message: bytes) -> bytes:
        """Send one message to the process, which is started if need be, and return the answer.

        Raises: RenderError(`timed_out` or `crashed`), once the process was ended.
        """
        await self.begin()
        try:
            async with asyncio.timeout(self.settings.timeout_s):
                return await self.ask(message)
        except TimeoutError:
            await self.kill()
            raise RenderError("timed_out", f"reading it took {self.settings.timeout_s:g} s") from None
        except (asyncio.IncompleteReadError, ConnectionError) as error:
            await self.kill()
            raise RenderError("crashed", "the process that reads pages ended") from error

    async def begin(self) -> None:
        """Start the process unless it runs.

        Raises: NotReadyError, where it does not start within the settings' `start_s`.
        """
        if self.process is not None:
            return
        self.process = await start(self.settings)
        assert self.process.stdout is not None
        try:
            async with asyncio.timeout(self.settings.start_s):
                await self.process.stdout.readexactly(len(READY))
        except (TimeoutError, asyncio.IncompleteReadError) as error:
            await self.kill()
            raise NotReadyError("the process that reads pages does not start: see `curate doctor`") from error

    async def ask(self, message: bytes) -> bytes:
        """Send one message and take its answer."""
        assert self.process is not None
        stdin, stdout = self.process.stdin, self.process.stdout
        assert stdin is not None
        assert stdout is not None
        stdin.write(LENGTH.pack(len(message)) + message)
        await stdin.drain()
        (length,) = LENGTH.unpack(await stdout.readexactly(LENGTH.size))
        return await stdout.readexactly(length)

    async def kill(self) -> None:
        """End the process. Safe to call twice."""
        process, self.process = self.process, None
        if process is None:
            return
        if process.returncode is None:
            process.kill()
        await process.wait()


Found = tuple[str, str, str | None, dict[str, tuple[str, bytes]] | None]
Answer = tuple[str, str, Found | None]  # a reason, its detail, or what was read


async def start(settings: HtmlSettings) -> asyncio.subprocess.Process:
    """Start a process that waits for documents, with only the search paths of our environment."""
    given = msgspec.json.encode(asdict(settings)).decode()
    return await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "renderers.html.reader_process", given),
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        env={"PATH": os.environ.get("PATH", ""), "PYTHONPATH": os.pathsep.join(filter(None, sys.path))},
        cwd=Path(__file__).parents[2],
        start_new_session=True,
    )


def serve(settings: HtmlSettings, source: BinaryIO, sink: BinaryIO) -> None:
    """Answer messages until `source` ends."""
    signal.signal(signal.SIGALRM, signal.SIG_DFL)  # the alarm ends the process even in a library's loop
    while header := source.read(LENGTH.size):
        message = source.read(*LENGTH.unpack(header))
        signal.alarm(int(settings.timeout_s) + GRACE_S)
        answer = msgspec.msgpack.encode(judge(message, settings))
        signal.alarm(0)
        sink.write(LENGTH.pack(len(answer)) + answer)
        sink.flush()


def judge(message: bytes, settings: HtmlSettings) -> Answer:
    """Read the document of a message; return what was read, or the reason and detail of its failure."""
    fields, served, anew = msgspec.msgpack.decode(message)
    document = Document(**dict(zip(FIELDS, fields, strict=True)))
    try:
        found = read(document, settings, served) if anew is None else read_anew(document, settings, anew)
        return "", "", tuple(found)  # type: ignore[return-value]  # as typed there
    except RenderError as error:
        return error.reason, error.detail, None
    except MemoryError:
        return "out_of_memory", f"more than {MEMORY >> 20} MB to read it", None
    except Exception as error:  # whatever a library raises on a hostile page costs that page alone
        return "damaged", f"{type(error).__name__}: {error}"[:200], None


def main() -> None:
    """Run the process: its argument is the settings as JSON, its standard input has the documents."""
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))
    settings: Any = msgspec.json.decode(sys.argv[1].encode(), type=HtmlSettings)
    sink = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)  # what a library prints must not get among the answers
    sink.write(READY)
    sink.flush()
    serve(settings, sys.stdin.buffer, sink)


if __name__ == "__main__":
    main()
