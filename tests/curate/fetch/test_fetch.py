from __future__ import annotations

import asyncio
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web

from curate.errors import UnitError
from curate.fetch import Fetcher
from tests.curate.web import JPEG, Site, fetch, jpeg, says, settings

# --- what is fetched


def test_every_address_gives_one_result_with_its_place(site: Site) -> None:
    bodies = {f"/{n}.jpg": jpeg(n + 1) for n in range(50)}
    for path, body in bodies.items():
        site.answer(path, body=body)
    urls = [site.url(path) for path in bodies]
    with Fetcher(settings()) as fetcher:
        results = list(fetcher.fetch(urls))
    assert sorted(place for place, _ in results) == list(range(50))
    assert {place: fetched.body for place, fetched in results} == dict(enumerate(bodies.values()))
    assert all(fetched.url == urls[place] for place, fetched in results)


def test_an_address_that_comes_again_is_fetched_once(site: Site) -> None:
    first, second, third = fetch(site.url("/a#x"), site.url("/b"), site.url("/a"))
    assert first is third
    assert first.body == second.body == JPEG
    assert sorted(request.path for request in site.requests) == ["/a", "/b"]


def test_addresses_are_read_as_they_are_needed(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("curate.fetch.fetcher.LOOK_AHEAD", 20)
    monkeypatch.setattr("curate.fetch.fetcher.CHUNK", 5)
    read = 0

    def endless() -> Iterator[str]:
        nonlocal read
        while True:
            read += 1
            yield site.url(f"/{read}")

    with Fetcher(settings()) as fetcher:
        results = fetcher.fetch(endless())
        for _ in range(100):
            assert next(results)[1].body == JPEG
        results.close()  # type: ignore[attr-defined]
    assert 100 <= read <= 100 + 2 * 25


def test_no_addresses_give_no_results() -> None:
    with Fetcher(settings()) as fetcher:
        assert list(fetcher.fetch([])) == []


def test_a_fetcher_serves_several_calls_and_threads(site: Site) -> None:
    counts: list[int] = []
    with Fetcher(settings()) as fetcher:

        def run(name: str) -> None:
            urls = [site.url(f"/{name}/{n}") for n in range(100)]
            counts.append(sum(fetched.body == JPEG for _, fetched in fetcher.fetch(urls)))

        threads = [threading.Thread(target=run, args=(str(n),)) for n in range(3)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        run("again")
    assert counts == [100] * 4


# --- how many at once


def test_hundreds_are_fetched_at_once_but_no_more_than_set(site: Site) -> None:
    gate = asyncio.Event()

    async def wait(_: web.Request) -> web.Response:
        if site.running.total() >= 200:
            gate.set()
        async with asyncio.timeout(10):
            await gate.wait()
        return web.Response(body=JPEG)

    site.handlers["/slow"] = wait
    urls = [site.url("/slow", host=f"127.0.{n}.1") for n in range(250)]
    results = fetch(*urls, concurrency=200, read_timeout_s=20, total_timeout_s=30)
    assert [fetched.body for fetched in results] == [JPEG] * 250
    assert site.most_together == 200


def test_one_host_gets_no_more_than_its_share_and_holds_up_nobody(site: Site) -> None:
    async def wait(_: web.Request) -> web.Response:
        await asyncio.sleep(0.02)
        return web.Response(body=JPEG)

    site.handlers["/slow"] = wait
    busy = [site.url(f"/slow?{n}") for n in range(60)]
    others = [site.url("/image.jpg", host=f"127.0.0.{n}") for n in range(2, 40)]
    with Fetcher(settings(concurrency=20, per_host=4)) as fetcher:
        order = [place for place, fetched in fetcher.fetch(busy + others) if fetched.body]
    assert len(order) == len(busy + others)
    assert site.most["127.0.0.1"] == 4
    assert max(order.index(place) for place in range(60, 98)) < max(order.index(place) for place in range(60))


def test_redirects_to_one_host_share_its_limit_too(site: Site) -> None:
    async def wait(_: web.Request) -> web.Response:
        await asyncio.sleep(0.02)
        return web.Response(body=JPEG)

    site.handlers["/end"] = wait
    site.answer("/go", 302, b"", Location=site.url("/end", host="127.9.9.9"))
    results = fetch(*[site.url("/go", host=f"127.0.1.{n}") for n in range(30)], per_host=3)
    assert [fetched.body for fetched in results] == [JPEG] * 30
    assert site.most["127.9.9.9"] <= 3


# --- the consumer, and the end


def test_bodies_wait_for_the_consumer_within_bounds_and_time_out_for_nobody(site: Site) -> None:
    size = 2 * 2**20
    site.answer("/x", body=JPEG + bytes(size - len(JPEG)))
    bounds = settings(concurrency=8, per_host=8, max_bytes=size, total_timeout_s=1.0, read_timeout_s=30.0)
    with Fetcher(bounds) as fetcher:
        results = fetcher.fetch(site.url(f"/x?{n}") for n in range(60))
        site.handlers.update({"/x": site.handlers["/x"]})
        assert next(results)[1].body is not None
        time.sleep(2.0)  # twice the total time: what waits for us must not be timed out
        assert len(site.requests) <= 8 + (8 * 2**20 + 8 * size) // size + 1
        rest = [fetched for _, fetched in results]
    assert [fetched.reason for fetched in rest] == [None] * 59
    assert len(site.requests) == 60


def test_bodies_of_unknown_length_finish_within_the_same_bounds(site: Site) -> None:
    size = 3 * 2**20
    url = site.stream("/x", JPEG, size - 2**17)
    results = fetch(*[f"{url}?{n}" for n in range(40)], concurrency=16, per_host=16, max_bytes=size)
    assert [fetched.reason for fetched in results] == [None] * 40


def test_leaving_the_iterator_ends_its_requests_and_frees_what_they_held(site: Site) -> None:
    size = 2**20
    site.answer("/x", body=JPEG + bytes(size - len(JPEG)))
    with Fetcher(settings(concurrency=4, per_host=4, max_bytes=size)) as fetcher:
        free = fetcher._engine._budget.free_bytes
        for _ in range(5):
            results = fetcher.fetch(site.url(f"/x?{n}") for n in range(30))
            next(results)
            results.close()  # type: ignore[attr-defined]
        assert (
            sum(
                fetched.body is not None
                for _, fetched in fetcher.fetch([site.url(f"/x?{n}") for n in range(30)])
            )
            == 30
        )
        deadline = time.monotonic() + 5
        while fetcher._engine._budget.free_bytes != free and time.monotonic() < deadline:
            time.sleep(0.01)
        assert fetcher._engine._budget.free_bytes == free


def test_failures_free_what_they_held(site: Site, raw: Any) -> None:
    urls = [site.stream(f"/{n}", JPEG, 10**7) for n in range(5)]
    urls += [
        raw(says(b"HTTP/1.1 200 OK\r\nContent-Length: 5000\r\n\r\n" + JPEG)).url,
        site.answer("/p", body=b"<html>" * 9),
    ]
    with Fetcher(settings(max_bytes=2**20)) as fetcher:
        free = fetcher._engine._budget.free_bytes
        reasons = sorted(str(fetched.reason) for _, fetched in fetcher.fetch(urls))
        assert reasons == ["connection_failed", "not_an_image"] + ["too_large"] * 5
        assert fetcher._engine._budget.free_bytes == free


def test_closing_ends_everything_that_hangs(raw: Any) -> None:
    server = raw(lambda connection: time.sleep(30))
    fetcher = Fetcher(settings(read_timeout_s=60.0, total_timeout_s=60.0))
    seen: list[BaseException] = []

    def consume() -> None:
        try:
            list(fetcher.fetch([server.url]))
        except UnitError as error:
            seen.append(error)

    consumer = threading.Thread(target=consume)
    consumer.start()
    while not server.connections:
        time.sleep(0.01)
    fetcher.close()
    consumer.join(5)
    assert not consumer.is_alive()
    assert "closed" in str(seen[0])
    assert not fetcher._thread.is_alive()


def test_a_closed_fetcher_says_so() -> None:
    fetcher = Fetcher(settings())
    fetcher.close()
    fetcher.close()
    with pytest.raises(UnitError, match="closed"):
        list(fetcher.fetch(["http://127.0.0.1/"]))


LIMITED = """
import resource, sys
from curate.errors import MachineError
from curate.fetch import Fetcher
from curate.manifest.settings import FetchSettings
settings = FetchSettings(allow_private=True, concurrency=100, retries=0)
if sys.argv[2] == "before":
    resource.setrlimit(resource.RLIMIT_NOFILE, (200, 200))
try:
    with Fetcher(settings) as fetcher:
        resource.setrlimit(resource.RLIMIT_NOFILE, (40, 40))
        urls = [sys.argv[1].replace("127.0.0.1", f"127.0.1.{n + 1}") for n in range(100)]
        print([fetched.reason for _, fetched in fetcher.fetch(urls)])
except MachineError as error:
    print(error)
"""


@pytest.mark.parametrize("when", ["before", "while"])
def test_too_few_open_files_are_the_machines_trouble(site: Site, when: str) -> None:
    async def wait(_: web.Request) -> web.Response:
        await asyncio.sleep(1.0)
        return web.Response(body=JPEG)

    site.handlers["/slow"] = wait
    command = [sys.executable, "-c", LIMITED, site.url("/slow"), when]
    said = subprocess.run(command, capture_output=True, text=True, timeout=60, cwd=Path(__file__).parents[3])
    assert "ulimit -n" in said.stdout
    assert said.returncode == 0, said.stderr
