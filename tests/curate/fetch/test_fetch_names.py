from __future__ import annotations

import socket
import ssl
import threading
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from curate.fetch import Fetched, Fetcher, NetworkDown, outage
from curate.manifest.settings import FetchSettings
from tests.curate.web import JPEG, NameServer, Site


def settings(name_server: NameServer | None = None, **changes: Any) -> FetchSettings:
    given: dict[str, Any] = {"allow_private": True, "retries": 0, "connect_timeout_s": 2.0}
    given |= {"total_timeout_s": 5.0, "outage_patience_s": 0.0}
    if name_server:
        given["name_servers"] = (name_server.address,)
    return FetchSettings(**{**given, **changes})


def by_place(fetcher: Fetcher, urls: list[str]) -> list[Fetched]:
    found = dict(fetcher.fetch(urls))
    return [found[place] for place in range(len(urls))]


# --- names


def test_a_name_is_asked_for_once(site: Site, name_server: NameServer) -> None:
    name_server.names["a.test"] = ["127.0.0.1"]
    urls = [site.url(f"/{n}", host=host) for n in range(40) for host in ("a.test", "A.test", "gone.test")]
    with Fetcher(settings(name_server)) as fetcher:
        for _ in range(2):
            reasons = [fetched.reason for fetched in by_place(fetcher, urls)]
            assert reasons == [None, None, "dns_failed"] * 40
    assert name_server.asked == {"a.test": 1, "gone.test": 1}


def test_a_name_server_that_does_not_answer_costs_a_limited_time(name_server: NameServer) -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as silent:
        silent.bind(("127.0.0.1", 0))
        servers = (f"127.0.0.1:{silent.getsockname()[1]}",)
        with Fetcher(settings(name_servers=servers, connect_timeout_s=0.5)) as fetcher:
            found = by_place(fetcher, ["http://a.test/"])[0]
    assert found.reason == "dns_failed"


def test_localhost_and_the_hosts_file_need_no_name_server(site: Site, name_server: NameServer) -> None:
    with Fetcher(settings(name_server)) as fetcher:
        assert by_place(fetcher, [site.url(host="localhost")])[0].body == JPEG
    assert not name_server.asked


def test_international_names_are_asked_for_in_ascii(site: Site, name_server: NameServer) -> None:
    name_server.names["xn--mnchen-3ya.test"] = ["127.0.0.1"]
    with Fetcher(settings(name_server)) as fetcher:
        found = by_place(fetcher, [site.url(host="MÜNCHEN.test")])[0]
    assert found.body == JPEG
    assert site.requests[0].headers["Host"] == f"xn--mnchen-3ya.test:{site.port}"


# --- TLS


@pytest.fixture
def certificate(tmp_path: Path) -> Path:
    """A key and a certificate for 127.0.0.1 and localhost that nobody but itself vouches for."""
    x509 = pytest.importorskip("cryptography.x509")
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import ec

    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "localhost")])
    now = datetime.now(UTC)
    built = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName("localhost")]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    pem = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    path = tmp_path / "server.pem"
    path.write_bytes(pem + built.public_bytes(serialization.Encoding.PEM))
    return path


def test_tls_is_verified(certificate: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate)
    site = Site(context)
    with Fetcher(settings()) as fetcher:
        assert by_place(fetcher, [site.url(host="localhost")])[0].reason == "tls_failed"
    monkeypatch.setenv("SSL_CERT_FILE", str(certificate))
    with Fetcher(settings()) as fetcher:
        trusted, other_name = by_place(fetcher, [site.url(host="localhost"), site.url(host="127.0.0.1")])
    site.close()
    assert trusted.body == JPEG
    assert other_name.reason == "tls_failed"


def test_plain_http_on_a_tls_port_is_a_reason(site: Site) -> None:
    with Fetcher(settings()) as fetcher:
        assert by_place(fetcher, [site.url().replace("http:", "https:")])[0].reason == "tls_failed"


# --- a network that is down


def hosts(n: int, domain: str = "test") -> list[str]:
    return [f"http://host{i}.{domain}/image.jpg" for i in range(n)]


def test_names_that_no_longer_exist_are_the_rows_trouble(name_server: NameServer) -> None:
    with Fetcher(settings(name_server)) as fetcher:
        found = by_place(fetcher, hosts(500))
    assert [fetched.reason for fetched in found] == ["dns_failed"] * 500


def test_names_that_nobody_can_resolve_are_the_machines_trouble(name_server: NameServer) -> None:
    name_server.broken = True
    judged: list[Fetched] = []
    with Fetcher(settings(name_server)) as fetcher, pytest.raises(NetworkDown, match="hosts not reached"):
        judged.extend(fetched for _, fetched in fetcher.fetch(hosts(100)))
    assert judged == []


def test_a_few_failures_say_nothing_of_the_network(name_server: NameServer) -> None:
    name_server.broken = True
    with Fetcher(settings(name_server)) as fetcher:
        found = by_place(fetcher, hosts(outage.FEWEST - 1))
    assert {fetched.reason for fetched in found} == {"dns_failed"}


def test_a_network_that_comes_back_costs_no_row(site: Site, name_server: NameServer) -> None:
    name_server.names.update({f"host{n}.test": ["127.0.0.1"] for n in range(100)})
    name_server.broken = True
    urls = [site.url(host=f"host{n}.test") for n in range(100)]
    with Fetcher(settings(name_server, outage_patience_s=20.0)) as fetcher:

        def mend_once_it_was_missed() -> None:
            while fetcher._engine._looking is None:
                time.sleep(0.01)
            time.sleep(0.5)
            name_server.broken = False

        threading.Thread(target=mend_once_it_was_missed, daemon=True).start()
        assert [fetched.body for fetched in by_place(fetcher, urls)] == [JPEG] * 100


def test_dead_hosts_among_living_ones_are_the_rows_trouble(site: Site) -> None:
    with socket.socket() as unused:
        unused.bind(("0.0.0.0", 0))
        port = unused.getsockname()[1]
        dead = [f"http://127.1.{n // 200}.{n % 200 + 1}:{port}/" for n in range(400)]
        with Fetcher(settings()) as fetcher:
            assert by_place(fetcher, [site.url()])[0].body == JPEG
            found = by_place(fetcher, dead)
    assert [fetched.reason for fetched in found] == ["connection_failed"] * 400


def test_connections_that_all_fail_where_names_resolve_are_the_machines_trouble(
    name_server: NameServer,
) -> None:
    with socket.socket() as unused:
        unused.bind(("0.0.0.0", 0))
        port = unused.getsockname()[1]
        dead = [f"http://127.1.{n // 200}.{n % 200 + 1}:{port}/" for n in range(800)]
        with Fetcher(settings(name_server)) as fetcher, pytest.raises(NetworkDown, match="connection_failed"):
            list(fetcher.fetch(dead))


def test_after_an_outage_the_fetcher_works_again(site: Site, name_server: NameServer) -> None:
    name_server.broken = True
    with Fetcher(settings(name_server)) as fetcher:
        with pytest.raises(NetworkDown):
            list(fetcher.fetch(hosts(50)))
        name_server.broken = False
        assert by_place(fetcher, [site.url()])[0].body == JPEG
