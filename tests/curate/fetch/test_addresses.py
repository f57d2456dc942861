from __future__ import annotations

import ipaddress
import re
import socket
import sys
import threading
from typing import Any

import pytest

from curate.fetch import Fetched, Fetcher, addresses
from curate.fetch.addresses import blocked
from curate.manifest.settings import FetchSettings
from tests.curate.web import JPEG, NameServer, Site

CONNECTED: list[tuple[Any, ...]] = []  # every address that any Python code of this process connects to


def _watch(event: str, arguments: tuple[Any, ...]) -> None:
    if event == "socket.connect" and threading.current_thread().name == "curate-fetch":
        CONNECTED.append(arguments[1])


sys.addaudithook(_watch)

PRIVATE = [
    "0.0.0.0",
    "0.1.2.3",
    "10.0.0.1",
    "10.255.255.255",
    "100.64.0.1",
    "100.100.100.200",
    "127.0.0.1",
    "127.255.255.254",
    "168.63.129.16",
    "169.254.169.254",
    "169.254.170.2",
    "172.16.0.1",
    "172.31.255.255",
    "192.0.0.192",
    "192.0.2.1",
    "192.88.99.1",
    "192.168.0.1",
    "198.18.0.1",
    "198.19.255.255",
    "198.51.100.7",
    "203.0.113.9",
    "224.0.0.1",
    "239.255.255.250",
    "240.0.0.1",
    "255.255.255.255",
    "::",
    "::1",
    "::7f00:1",
    "::ffff:127.0.0.1",
    "::ffff:169.254.169.254",
    "::ffff:0:127.0.0.1",
    "64:ff9b::7f00:1",
    "64:ff9b::a9fe:a9fe",
    "64:ff9b:1::7f00:1",
    "100::1",
    "2001::1",
    "2001:0:4136:e378:8000:63bf:80ff:fffe",
    "2001:2::1",
    "2001:db8::1",
    "2002:7f00:1::",
    "2002:a9fe:a9fe::1",
    "3fff::1",
    "5f00::1",
    "fc00::1",
    "fd00:ec2::254",
    "fd20:ce::254",
    "fe80::1",
    "fe80::1%lo",
    "febf::1",
    "fec0::1",
    "ff02::1",
    "ff0e::1",
]
PUBLIC = [
    "1.1.1.1",
    "8.8.8.8",
    "9.255.255.255",
    "11.0.0.0",
    "100.63.255.255",
    "100.128.0.0",
    "128.0.0.1",
    "151.101.1.140",
    "168.63.129.17",
    "172.15.255.255",
    "172.32.0.0",
    "192.0.1.1",
    "192.167.255.255",
    "198.17.255.255",
    "198.20.0.0",
    "223.255.255.255",
    "2606:4700::6810:84e5",
    "2a00:1450:4001:81b::200e",
    "2400:cb00:2048:1::c629:d7a2",
    "::ffff:8.8.8.8",
    "64:ff9b::808:808",
]

# Ways to write addresses that lead home, or to what a cloud tells its machines.
URLS = [
    "http://{home}:{port}/",
    "https://{home}:{port}/",
    "http://127.1:{port}/",
    "http://127.0.1:{port}/",
    "http://0:{port}/",
    "http://0x0:{port}/",
    "http://0.0.0.0:{port}/",
    "http://2130706433:{port}/",
    "http://0x7f000001:{port}/",
    "http://0x7f.0x0.0x0.0x1:{port}/",
    "http://0x7F.1:{port}/",
    "http://017700000001:{port}/",
    "http://0177.0.0.1:{port}/",
    "http://0177.0.0.01:{port}/",
    "http://00000177.0.0.1:{port}/",
    "http://127.0.0.1.:{port}/",
    "http://%31%32%37.0.0.1:{port}/",
    "http://１２７.0.0.1:{port}/",
    "http://127。0。0。1:{port}/",
    "http://①②⑦.⓪.⓪.①:{port}/",
    "http:\\\\127.0.0.1:{port}\\",
    "http:/127.0.0.1:{port}/",
    "http:127.0.0.1:{port}/",
    "http:////127.0.0.1:{port}/",
    "ht\ntp://127.0.\t0.1:{port}/",
    "http://localhost:{port}/",
    "http://LOCALHOST:{port}/",
    "http://localhost.:{port}/",
    "http://ｌocalhost:{port}/",
    "http://x.localhost:{port}/",
    "http://[::1]:{port}/",
    "http://[0:0:0:0:0:0:0:1]:{port}/",
    "http://[0000::0001]:{port}/",
    "http://[::]:{port}/",
    "http://[::ffff:127.0.0.1]:{port}/",
    "http://[::ffff:7f00:1]:{port}/",
    "http://[::127.0.0.1]:{port}/",
    "http://[64:ff9b::127.0.0.1]:{port}/",
    "http://[2002:7f00:1::]:{port}/",
    "http://[fe80::1]:{port}/",
    "http://169.254.169.254/latest/meta-data/",
    "http://0xa9fea9fe/latest/meta-data/",
    "http://2852039166/latest/meta-data/",
    "http://[fd00:ec2::254]/latest/meta-data/",
    "http://[::ffff:169.254.169.254]/",
    "http://100.100.100.200/latest/meta-data/",
    "http://168.63.129.16/machine?comp=goalstate",
    "http://192.0.0.192/",
    "http://10.0.0.1/",
    "http://172.16.0.1/",
    "http://192.168.1.1/",
    "http://100.64.0.1/",
    "http://224.0.0.1/",
    "http://255.255.255.255/",
]


@pytest.fixture
def site(site: Site) -> Site:
    CONNECTED.clear()
    return site


@pytest.fixture
def outside(monkeypatch: pytest.MonkeyPatch) -> str:
    """One loopback address that counts as public, for a test's server to stand on."""
    address = "127.0.0.7"
    loopback = ipaddress.IPv4Network("127.0.0.0/8")
    rest = [(network, "loopback") for network in loopback.address_exclude(ipaddress.IPv4Network(address))]
    table = tuple(row for row in addresses._IPV4 if row[0] != loopback)
    monkeypatch.setattr(addresses, "_IPV4", (*table, *rest))
    return address


def fetch(*urls: str, **changes: Any) -> list[Fetched]:
    settings = {"connect_timeout_s": 2.0, "read_timeout_s": 2.0, "total_timeout_s": 5.0, "retries": 0}
    with Fetcher(FetchSettings(**{**settings, **changes})) as fetcher:
        found = dict(fetcher.fetch(urls))
    return [found[place] for place in range(len(urls))]


@pytest.mark.parametrize("address", PRIVATE)
def test_an_address_that_is_not_public_is_blocked(address: str) -> None:
    assert blocked(address)


@pytest.mark.parametrize("address", PUBLIC)
def test_a_public_address_is_not_blocked(address: str) -> None:
    assert blocked(address) is None


@pytest.mark.parametrize("text", ["", "localhost", "1.2.3", "0x7f.1", "::g", "127.0.0.1 ", "017.0.0.1"])
def test_what_is_no_address_is_blocked(text: str) -> None:
    assert blocked(text)


@pytest.mark.parametrize("url", URLS)
def test_no_spelling_of_a_private_address_gets_a_connection(site: Site, url: str) -> None:
    found = fetch(url.format(home="127.0.0.1", port=site.port))[0]
    assert found.reason == "blocked_address"
    assert found.detail
    assert (site.requests, CONNECTED) == ([], [])


def test_the_watch_of_connections_sees_them(site: Site) -> None:
    assert fetch(site.url(), allow_private=True)[0].body == JPEG
    assert [("127.0.0.1", site.port)] == CONNECTED


def test_private_addresses_are_reached_where_the_manifest_allows_it(site: Site) -> None:
    urls = [url.format(home="127.0.0.1", port=site.port) for url in URLS if "127" in url or "local" in url]
    reasons = {fetched.reason for fetched in fetch(*urls, allow_private=True)}
    assert None in reasons
    assert "blocked_address" not in reasons


# The others name no host where there is an address to complete them.
@pytest.mark.parametrize("url", [url for url in URLS if re.match(r"https?:(//|\\\\)[^/\n]", url)])
def test_no_redirect_leads_to_a_private_address(site: Site, outside: str, url: str) -> None:
    target = url.format(home="127.0.0.1", port=site.port)
    start = site.answer("/go", 302, b"", Location=target.encode().decode("utf-8", "surrogateescape"))
    found = fetch(start.replace("127.0.0.1", outside))[0]
    assert found.reason == "blocked_address"
    assert [request.path for request in site.requests] == ["/go"]
    assert [(outside, site.port)] == CONNECTED


@pytest.mark.parametrize("address", [address for address in PRIVATE if "%" not in address])
def test_no_name_leads_to_a_private_address(site: Site, name_server: NameServer, address: str) -> None:
    name_server.names["rebound.test"] = [address]
    url = site.url(host="rebound.test")
    found = fetch(url, name_servers=(name_server.address,))[0]
    assert found.reason == "blocked_address"
    assert name_server.asked["rebound.test"] == 1
    assert (site.requests, CONNECTED) == ([], [])


def test_of_a_names_addresses_only_the_public_ones_are_tried(
    site: Site, name_server: NameServer, outside: str
) -> None:
    name_server.names["mixed.test"] = ["127.0.0.1", "10.0.0.1", "::1", outside, "169.254.169.254"]
    found = fetch(site.url(host="mixed.test"), name_servers=(name_server.address,))[0]
    assert found.body == JPEG
    assert [(outside, site.port)] == CONNECTED


def test_a_name_that_changes_its_answer_is_judged_by_the_address_it_is_connected_to(
    site: Site, name_server: NameServer, outside: str
) -> None:
    name_server.names["turning.test"] = [outside]
    settings = FetchSettings(name_servers=(name_server.address,), retries=0)
    with Fetcher(settings) as fetcher:
        assert next(fetcher.fetch([site.url("/a", host="turning.test")]))[1].body == JPEG
        name_server.names["turning.test"] = ["127.0.0.1"]
        fetcher._engine._resolver._known.clear()  # as if the answer had expired
        fetcher._engine._session.connector._conns.clear()  # type: ignore[union-attr]
        assert next(fetcher.fetch([site.url("/b", host="turning.test")]))[1].reason == "blocked_address"
    assert [(outside, site.port)] == CONNECTED


def test_the_gate_at_the_socket_holds_without_the_others(site: Site, outside: str) -> None:
    from curate.fetch.resolver import BlockedAddressError, socket_factory

    info = (socket.AF_INET, socket.SOCK_STREAM, 0, "", ("127.0.0.1", site.port))
    with pytest.raises(BlockedAddressError, match=r"127\.0\.0\.1 is loopback"):
        socket_factory(allow_private=False)(info)
    socket_factory(allow_private=True)(info).close()
