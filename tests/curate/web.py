"""Servers for tests, all on loopback: a site of handlers, a socket that says what it likes, a name server."""

from __future__ import annotations

import asyncio
import contextlib
import io
import socket
import socketserver
import ssl
import struct
import threading
import time
from collections import Counter
from collections.abc import Awaitable, Callable
from typing import Any

from aiohttp import web
from PIL import Image

from curate.fetch import Fetched, Fetcher
from curate.manifest.settings import FetchSettings

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


def jpeg(side: int = 16) -> bytes:
    file = io.BytesIO()
    Image.effect_noise((side, side), 60).convert("RGB").save(file, "JPEG", quality=95)
    return file.getvalue()


JPEG = jpeg()


class Site:
    """An HTTP server on every address of 127.0.0.0/8. What no handler is given for is answered with JPEG."""

    def __init__(self, tls: ssl.SSLContext | None = None) -> None:
        self.requests: list[web.BaseRequest] = []
        self.handlers: dict[str, Handler] = {}
        self.running: Counter[str] = Counter()  # requests in work, by host
        self.most: Counter[str] = Counter()  # and the most there were
        self.most_together = 0
        self.sent = 0  # bytes that handlers of this file streamed
        self._loop = asyncio.new_event_loop()
        self._ready = threading.Event()
        self._tls = tls
        self._thread = threading.Thread(
            target=self._loop.run_until_complete, args=(self._serve(),), daemon=True
        )
        self._thread.start()
        assert self._ready.wait(10)

    def url(self, path: str = "/image.jpg", host: str = "127.0.0.1") -> str:
        return f"http{'s' if self._tls else ''}://{host}:{self.port}{path}"

    def close(self) -> None:
        self._loop.call_soon_threadsafe(self._stop.set)
        self._thread.join(10)
        self._loop.close()

    async def _serve(self) -> None:
        self._stop = asyncio.Event()
        runner = web.ServerRunner(web.Server(self._handle), shutdown_timeout=0.1)
        await runner.setup()
        site = web.TCPSite(runner, "0.0.0.0", 0, ssl_context=self._tls, backlog=1024)
        await site.start()
        self.port: int = runner.addresses[0][1]
        self._ready.set()
        await self._stop.wait()
        await runner.cleanup()

    async def _handle(self, request: web.BaseRequest) -> web.StreamResponse:
        host = request.host.split(":")[0]
        self.requests.append(request)
        self.running[host] += 1
        self.most[host] = max(self.most[host], self.running[host])
        self.most_together = max(self.most_together, self.running.total())
        try:
            handler = self.handlers.get(request.path)
            return await handler(request) if handler else web.Response(body=JPEG, content_type="image/jpeg")
        finally:
            self.running[host] -= 1

    def answer(self, path: str, status: int = 200, body: bytes = JPEG, **headers: str) -> str:
        """Answer so at this path; `X_Robots_Tag="…"` gives the header X-Robots-Tag."""

        async def handle(_: web.Request) -> web.Response:
            named = {name.replace("_", "-"): value for name, value in headers.items()}
            return web.Response(status=status, body=body, headers=named)

        self.handlers[path] = handle
        return self.url(path)

    def redirect(self, asked: str, location: str) -> str:
        """Lead from this path, or this path with this query, to another address."""
        path = asked.partition("?")[0]
        other = self.handlers.get(path)

        async def handle(request: web.Request) -> web.StreamResponse:
            if request.path_qs == asked:
                return web.Response(status=302, headers={"Location": location})
            assert other is not None
            return await other(request)

        self.handlers[path] = handle
        return self.url(asked)

    def stream(self, path: str, start: bytes, n_bytes: int, **headers: str) -> str:
        """Send `start`, then zeros up to `n_bytes` as fast as they are taken, without declaring a length."""

        async def handle(request: web.Request) -> web.StreamResponse:
            response = web.StreamResponse(headers=headers)
            response.enable_chunked_encoding()
            await response.prepare(request)
            part, sent = start, 0
            while sent < n_bytes:
                await response.write(part)
                sent += len(part)
                self.sent += len(part)
                part = bytes(2**16)
            return response

        self.handlers[path] = handle
        return self.url(path)


class RawServer:
    """A TCP server: `talk` gets each connection, after the request's head was read."""

    def __init__(self, talk: Callable[[socket.socket], None]) -> None:
        self.connections = 0
        outer = self

        class Conversation(socketserver.BaseRequestHandler):
            def handle(self) -> None:
                outer.connections += 1
                with contextlib.suppress(OSError):
                    head = b""
                    while b"\r\n\r\n" not in head:
                        got = self.request.recv(4096)
                        if not got:
                            return
                        head += got
                    talk(self.request)

        class Server(socketserver.ThreadingTCPServer):
            daemon_threads = True
            block_on_close = False

        self._server = Server(("127.0.0.1", 0), Conversation)
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}/image.jpg"
        threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True).start()

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()


class NameServer:
    """A DNS server on UDP. Names it was not told of do not exist; while `broken`, it answers SERVFAIL."""

    def __init__(self) -> None:
        self.names: dict[str, list[str]] = {}
        self.asked: Counter[str] = Counter()
        self.broken = False
        self.delay_s = 0.0
        self._socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self._socket.bind(("127.0.0.1", 0))
        self.address = f"127.0.0.1:{self._socket.getsockname()[1]}"
        self._closed = False
        self._thread = threading.Thread(target=self._serve, daemon=True)
        self._thread.start()

    def close(self) -> None:
        self._closed = True
        self._socket.sendto(b"", self._socket.getsockname())
        self._thread.join(5)
        self._socket.close()

    def _serve(self) -> None:
        while not self._closed:
            question, client = self._socket.recvfrom(4096)
            if question:
                time.sleep(self.delay_s)
                self._socket.sendto(self._answer(question), client)

    def _answer(self, message: bytes) -> bytes:
        labels, at = [], 12
        while message[at]:
            labels.append(message[at + 1 : at + 1 + message[at]].decode())
            at += 1 + message[at]
        name = ".".join(labels).lower()
        kind = struct.unpack(">H", message[at + 1 : at + 3])[0]
        self.asked[name] += kind == 1
        code, records = 0, []
        if self.broken:
            code = 2
        elif kind == 2:  # NS, of the root or a top-level domain
            records = [b"\x01a\x00"]
        elif name not in self.names:
            code = 3
        else:
            family = {1: socket.AF_INET, 28: socket.AF_INET6}.get(kind, socket.AF_INET)
            texts = [text for text in self.names[name] if (":" in text) == (kind == 28)]
            records = [socket.inet_pton(family, text) for text in texts]
        head = message[:2] + struct.pack(">HHHHH", 0x8180 | code, 1, len(records), 0, 0)
        tail = b"".join(b"\xc0\x0c" + struct.pack(">HHIH", kind, 1, 0, len(data)) + data for data in records)
        return head + message[12 : at + 5] + tail


def settings(**changes: Any) -> FetchSettings:
    quick = {"allow_private": True, "retry_wait_s": 0.01, "connect_timeout_s": 2.0, "read_timeout_s": 2.0}
    return FetchSettings(**{**quick, "total_timeout_s": 5.0, **changes})


def fetch(*urls: str | None, **changes: Any) -> list[Fetched]:
    """What each address gave, in their order."""
    with Fetcher(settings(**changes)) as fetcher:
        found = dict(fetcher.fetch(urls))
    return [found[place] for place in range(len(urls))]


def reason(url: str, **changes: Any) -> str | None:
    return fetch(url, **changes)[0].reason


def says(answer: bytes) -> Callable[[socket.socket], None]:
    return lambda connection: connection.sendall(answer)
