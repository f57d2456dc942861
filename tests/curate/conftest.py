"""Servers on this machine for the tests of what fetches; made shards and packs for those of what loads."""

from __future__ import annotations

import socket
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from curate.cluster import start
from curate.packing import PackSettings, pack
from tests.curate import nursery
from tests.curate.crasher import Crasher
from tests.curate.light_ray import light
from tests.curate.made_shards import make_shards
from tests.curate.web import NameServer, RawServer, Site

nursery.adopt(nursery.hired)


@pytest.fixture(scope="session")
def crasher() -> Iterator[Crasher]:
    crasher = Crasher()
    yield crasher
    crasher.close()


@pytest.fixture(scope="module")
def one_ray() -> Iterator[None]:
    """A Ray with two CPUs on this machine, which all tests of a module work on: none of them shuts it down."""
    pytest.importorskip("ray")
    with light():
        ray = start(2, None)
    with pytest.MonkeyPatch.context() as kept:
        kept.setattr(ray, "shutdown", lambda: None)
        yield
    ray.shutdown()


@pytest.fixture
def site() -> Iterator[Site]:
    server = Site()
    yield server
    server.close()


@pytest.fixture
def name_server() -> Iterator[NameServer]:
    server = NameServer()
    yield server
    server.close()


@pytest.fixture
def raw() -> Iterator[Callable[[Callable[[socket.socket], None]], RawServer]]:
    servers: list[RawServer] = []

    def start(talk: Callable[[socket.socket], None]) -> RawServer:
        servers.append(RawServer(talk))
        return servers[-1]

    yield start
    for server in servers:
        server.close()


@pytest.fixture(scope="module")
def shards(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_shards(tmp_path_factory.mktemp("made") / "shards", rows=210)


@pytest.fixture(scope="module")
def packs(shards: Path) -> Path:
    pack([str(shards)], str(shards.parent / "packs"), PackSettings(row_group_bytes=2**17, file_bytes=2**19))
    return shards.parent / "packs"
