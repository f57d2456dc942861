"""What the tests of web pages share: a browser, as starting one is dear; a server that counts."""

from __future__ import annotations

import re
import selectors
import socket
import threading
from collections.abc import Iterator
from types import TracebackType

import pytest

from renderers.html.render import Browser, HtmlSettings, NotReadyError, check_machine

ANSWER = (
    b"HTTP/1.1 200 OK\r\nContent-Type: text/html\r\nAccess-Control-Allow-Origin: *\r\n"
    b"Content-Length: 2\r\n\r\nok"
)


class Counter:
    """A server on localhost; `paths` has one entry a request, `touched` counts connections and packets."""

    def __init__(self) -> None:
        self.tcp = socket.create_server(("127.0.0.1", 0))
        self.port = self.tcp.getsockname()[1]
        self.udp = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.udp.bind(("127.0.0.1", self.port))
        self.paths: list[str] = []
        self.touched = 0
        self.closed = False
        self.thread = threading.Thread(target=self.serve, daemon=True)
        self.thread.start()

    def serve(self) -> None:
        with selectors.DefaultSelector() as selector:
            selector.register(self.tcp, selectors.EVENT_READ)
            selector.register(self.udp, selectors.EVENT_READ)
            while not self.closed:
                for key, _ in selector.select(0.1):
                    self.touched += 1
                    if key.fileobj is self.udp:
                        self.udp.recv(2048)
                        self.paths.append("/udp")
                    else:
                        threading.Thread(target=self.reply, args=(self.tcp.accept()[0],), daemon=True).start()

    def reply(self, connection: socket.socket) -> None:
        with connection:
            connection.settimeout(5)
            try:
                asked = re.match(rb"[A-Z]+ (\S+)", connection.recv(8192))
                if asked:
                    self.paths.append(asked.group(1).decode())
                    connection.sendall(ANSWER)
            except OSError:
                return

    def __enter__(self) -> Counter:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.closed = True
        self.thread.join()
        self.tcp.close()
        self.udp.close()


@pytest.fixture
def counter() -> Iterator[Counter]:
    with Counter() as counter:
        yield counter


@pytest.fixture(scope="session")
def ready() -> None:
    try:
        check_machine(HtmlSettings())
    except NotReadyError as problem:
        pytest.skip(str(problem))


@pytest.fixture(scope="session")
def browser(ready: None) -> Iterator[Browser]:
    with Browser(HtmlSettings(tabs=2)) as browser:
        yield browser


@pytest.fixture(scope="session")
def scripted(ready: None) -> Iterator[Browser]:
    """One that runs a page's scripts."""
    with Browser(HtmlSettings(tabs=1, javascript=True)) as browser:
        yield browser


@pytest.fixture(scope="session")
def sharp(ready: None) -> Iterator[Browser]:
    """One whose images have twice the pixels, and lose nothing."""
    with Browser(HtmlSettings(tabs=1, scale=2.0, format="png")) as browser:
        yield browser
