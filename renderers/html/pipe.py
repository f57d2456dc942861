"""pyppeteer's connection over a pipe instead of a web socket, with flat sessions.

DevTools messages are JSON objects separated by NUL bytes. Any process of the machine could connect to a port on
localhost, and a port cannot be reached in another network namespace; neither is true of a pipe.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Iterator
from typing import Any

from pyppeteer.connection import CDPSession, Connection
from pyppeteer.errors import NetworkError

CHUNK = 1 << 20  # bytes

Message = dict[str, Any]


class PipeConnection(Connection):  # type: ignore[misc]
    """The DevTools connection to a browser whose standard input and output are its DevTools pipe."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        assert process.stdin is not None
        assert process.stdout is not None
        self._writer, self._reader = process.stdin, process.stdout
        self.gone: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        super().__init__("ws://pipe", asyncio.get_running_loop())  # the address is never used
        self._connected = True

    @property
    def open(self) -> bool:
        """Whether messages can still be sent."""
        return bool(self._connected)

    async def _recv_loop(self) -> None:
        received = bytearray()
        while chunk := await self._reader.read(CHUNK):
            received += chunk
            if b"\0" in chunk:
                for message in take_messages(received):
                    self._dispatch(message)
        await self.dispose()

    def _dispatch(self, message: Message) -> None:
        session = self._sessions.get(message.get("sessionId"))
        if session is not None:
            session.receive(message)
        elif "sessionId" in message:
            return  # its session was closed meanwhile
        elif "id" in message:
            answer(self._callbacks.pop(message["id"], None), message)
        else:
            self._on_query(message)

    def send(self, method: str, params: Message | None = None) -> Awaitable[Any]:
        """Send a command to the browser; return its answer as an awaitable.

        Awaiting it raises NetworkError once the browser is gone.
        """
        return self.post(self._callbacks, method, params)

    def post(
        self, waiting: dict[int, asyncio.Future[Any]], method: str, params: Message | None, **to: str
    ) -> Awaitable[Any]:
        """Send one message; put the future of its answer into `waiting`, by the message's number."""
        future: asyncio.Future[Any] = self._loop.create_future()
        if not self._connected:
            future.set_exception(NetworkError(f"{method}: the browser is gone"))
            return future
        self._lastId += 1
        waiting[self._lastId] = future
        message = {"id": self._lastId, "method": method, "params": params or {}, **to}
        self._writer.write(json.dumps(message).encode() + b"\0")
        return future

    async def createSession(self, targetInfo: Message) -> CDPSession:  # noqa: N802, N803 (pyppeteer's name)
        """Open a flat session: its messages are not wrapped in messages to the browser."""
        target = {"targetId": targetInfo["targetId"], "flatten": True}
        attached = await self.send("Target.attachToTarget", target)
        session = FlatSession(self, targetInfo["type"], attached["sessionId"], self._loop)
        self._sessions[attached["sessionId"]] = session
        return session

    async def dispose(self) -> None:
        """Fail everything that still waits for an answer. Safe to call twice."""
        self._connected = False
        if not self.gone.done():
            self.gone.set_result(None)
        fail(self._callbacks)
        for session in self._sessions.values():
            session._on_closed()
        self._writer.close()
        if self._recv_fut is not asyncio.current_task():
            self._recv_fut.cancel()


class FlatSession(CDPSession):  # type: ignore[misc]
    """A session with one page."""

    def send(self, method: str, params: Message | None = None) -> Awaitable[Any]:
        """Send a command to the page; return its answer as an awaitable.

        Raises: NetworkError, once the page is gone; awaiting the answer raises it once the browser is.
        """
        connection: PipeConnection | None = self._connection
        if connection is None:
            raise NetworkError(f"{method}: the page is gone")
        return connection.post(self._callbacks, method, params, sessionId=self._sessionId)

    def receive(self, message: Message) -> None:
        """Give an answer to its future, and an event to its listeners."""
        if "id" in message:
            answer(self._callbacks.pop(message["id"], None), message)
        else:
            self.emit(message["method"], message.get("params", {}))

    def _on_closed(self) -> None:
        fail(self._callbacks)
        self._connection = None


def take_messages(received: bytearray) -> Iterator[Message]:
    """Take the whole messages out of `received`; a message without its end stays there."""
    *messages, rest = bytes(received).split(b"\0")
    received[:] = rest
    return map(json.loads, messages)


def answer(future: asyncio.Future[Any] | None, message: Message) -> None:
    """Set a future to its answer, unless it is done."""
    if future is None or future.done():
        return
    if "error" in message:
        future.set_exception(NetworkError(message["error"].get("message", "refused")))
    else:
        future.set_result(message.get("result"))


def fail(waiting: dict[int, asyncio.Future[Any]]) -> None:
    """Fail every future in `waiting`, and empty it."""
    for future in waiting.values():
        if not future.done():
            future.set_exception(NetworkError("the browser is gone"))
            future.exception()  # taken, since asyncio prints errors that nobody awaits
    waiting.clear()
