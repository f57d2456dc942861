"""Hosts that ask for a pause, and hosts that several workers share."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable

import pytest
from aiohttp import web
from yarl import URL

from curate.engine.host_slots import SILENT_S, HostSlots
from curate.fetch import Fetcher
from curate.fetch.schedule import Call, FetchJob, Schedule
from tests.curate.web import JPEG, Site, settings


def fetch_all(urls: list[str], exchange: object = None, **changes: object) -> list[str | None]:
    with Fetcher(settings(**changes), exchange) as fetcher:  # type: ignore[arg-type]
        return [fetched.reason for _, fetched in fetcher.fetch(urls)]


@pytest.mark.parametrize("status", [429, 503])
def test_a_host_that_asks_for_a_pause_loses_no_rows(site: Site, status: int) -> None:
    asked = 0

    async def busy(_: web.Request) -> web.Response:
        nonlocal asked
        asked += 1
        if asked <= 8:
            return web.Response(status=status, headers={"Retry-After": "1"})
        return web.Response(body=JPEG)

    urls = []
    for number in range(30):
        site.handlers[f"/{number}"] = busy
        urls.append(site.url(f"/{number}"))
    assert fetch_all(urls, per_host=8, retries=0, total_timeout_s=0.9) == [None] * 30
    assert asked <= 30 + 8 + 8


def test_a_host_that_wants_a_longer_pause_is_not_asked_again(
    site: Site, caplog: pytest.LogCaptureFixture
) -> None:
    urls = [site.answer(f"/{number}", 429, Retry_After="500") for number in range(20)]
    assert fetch_all(urls, per_host=2) == ["http_429"] * 20
    assert len(site.requests) <= 2
    assert [record.getMessage() for record in caplog.records] == [
        "127.0.0.1 asks for a pause of 500 s, beyond fetch.longest_rest_s: its rows are dropped as http_429 meanwhile, "
        "and so are those of other such hosts; `curate retry` fetches them later"
    ]


def test_a_row_is_not_put_off_for_ever(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("curate.fetch.engine.MOST_RESTS", 1)
    assert fetch_all([site.answer("/x", 429, Retry_After="1")]) == ["http_429"]
    assert len(site.requests) == 2


class Clock:
    """Time that passes when it is told to, with what is to be called at a time."""

    def __init__(self) -> None:
        self.now = 100.0
        self.calls: list[tuple[float, Callable[[str], None], str]] = []

    def __call__(self) -> float:
        return self.now

    def later(self, delay_s: float, function: Callable[[str], None], host: str) -> None:
        self.calls.append((self.now + delay_s, function, host))

    def advance(self, seconds: float) -> None:
        self.now += seconds
        due = [call for call in self.calls if call[0] <= self.now]
        self.calls = [call for call in self.calls if call[0] > self.now]
        for _, function, host in due:
            function(host)


def job(name: str = "a.example") -> FetchJob:
    return FetchJob(Call(), URL(f"http://{name}/x"))


def drained(schedule: Schedule) -> int:
    count = 0
    while (one := schedule.next()) is not None:
        schedule.done(one, well=True)
        count += 1
    return count


def test_a_host_gets_no_more_requests_a_second_than_it_may() -> None:
    clock = Clock()
    schedule = Schedule(16, 2.0, clock, clock.later)
    for _ in range(5):
        schedule.add(job())
    schedule.add(job("b.example"))
    assert drained(schedule) == 2
    for _ in range(4):
        clock.advance(0.25)
        assert drained(schedule) == 0
        clock.advance(0.25)
        assert drained(schedule) == 1


def test_a_resting_host_is_left_alone_and_then_asked_by_fewer_at_once() -> None:
    clock = Clock()
    schedule = Schedule(8, 0.0, clock, clock.later)
    for _ in range(20):
        schedule.add(job())
    first = [schedule.next() for _ in range(8)]
    schedule.rest("a.example", 10.0)
    for one in first:
        assert one is not None
        schedule.done(one)
    assert schedule.next() is None
    clock.advance(10.0)
    assert len(list(iter(schedule.next, None))) == 4


def test_workers_share_a_hosts_slots_and_its_pauses() -> None:
    clock = Clock()
    slots = HostSlots(4, clock)
    assert slots.trade("one", {}, {"a": 3}, {}) == ({"a": 3}, {})
    assert slots.trade("two", {}, {"a": 3, "b": 1}, {}) == ({"a": 1, "b": 1}, {})
    assert slots.trade("two", {}, {"a": 1}, {}) == ({}, {})
    assert slots.trade("one", {"a": 2}, {}, {"a": 30.0}) == ({}, {})
    assert slots.trade("two", {}, {"a": 1}, {}) == ({}, {"a": 30.0})
    clock.advance(31.0)
    assert slots.trade("two", {}, {"a": 5}, {}) == ({"a": 2}, {})


def test_a_worker_that_is_gone_holds_nothing() -> None:
    clock = Clock()
    slots = HostSlots(4, clock)
    slots.trade("gone", {}, {"a": 4}, {})
    assert slots.trade("two", {}, {"a": 4}, {}) == ({}, {})
    clock.advance(SILENT_S + 1)
    assert slots.trade("two", {}, {"a": 4}, {}) == ({"a": 4}, {})


def test_a_worker_cannot_give_back_what_it_does_not_hold() -> None:
    slots = HostSlots(2)
    slots.trade("one", {}, {"a": 2}, {})
    slots.trade("two", {"a": 5}, {}, {})
    assert slots.trade("two", {}, {"a": 1}, {}) == ({}, {})


class Here:
    """An exchange within this process."""

    pause_s = 0.01

    def __init__(self, slots: HostSlots, worker: str, lock: threading.Lock) -> None:
        self._slots, self._worker, self._lock = slots, worker, lock

    def trade(self, *more: dict[str, int]) -> object:
        with self._lock:
            return self._slots.trade(self._worker, *more)  # type: ignore[arg-type]


def test_the_limit_of_a_host_holds_over_all_workers(site: Site) -> None:
    async def slow(_: web.Request) -> web.Response:
        await asyncio.sleep(0.02)
        return web.Response(body=JPEG)

    urls = [site.url(f"/{number}") for number in range(40)]
    for number in range(40):
        site.handlers[f"/{number}"] = slow
    slots, lock, found = HostSlots(3), threading.Lock(), list[list[str | None]]()

    def work(worker: str) -> None:
        found.append(fetch_all(urls, Here(slots, worker, lock), per_host=3))

    threads = [threading.Thread(target=work, args=(f"worker {number}",)) for number in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert found == [[None] * 40] * 3
    assert site.most["127.0.0.1"] <= 3
