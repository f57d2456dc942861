"""Decides to which IP addresses requests may go, given that a public data set may name any.

The decision is a table, because `ipaddress.is_global` lets too much pass: in Python 3.11, NAT64 and 6to4 forms of
private addresses, `fec0::`, `::a.b.c.d`, multicast and Azure's 168.63.129.16. The table's rows follow IANA's
special-purpose registries (RFC 6890 and its updates).
"""

from __future__ import annotations

import ipaddress

_IPV4 = tuple(
    (ipaddress.IPv4Network(network), name)
    for network, name in (
        ("0.0.0.0/8", "this network"),
        ("10.0.0.0/8", "private"),
        ("100.64.0.0/10", "carrier's private"),  # Alibaba's metadata, 100.100.100.200
        ("127.0.0.0/8", "loopback"),
        ("168.63.129.16/32", "metadata"),  # Azure's, amid public addresses
        ("169.254.0.0/16", "link-local"),  # metadata of AWS, Google and Azure, 169.254.169.254
        ("172.16.0.0/12", "private"),
        ("192.0.0.0/24", "protocol assignments"),  # Oracle's metadata, 192.0.0.192
        ("192.0.2.0/24", "documentation"),
        ("192.88.99.0/24", "6to4 relay"),
        ("192.168.0.0/16", "private"),
        ("198.18.0.0/15", "benchmarking"),
        ("198.51.100.0/24", "documentation"),
        ("203.0.113.0/24", "documentation"),
        ("224.0.0.0/4", "multicast"),
        ("240.0.0.0/4", "reserved"),  # with 255.255.255.255
    )
)
_IPV6_UNICAST = ipaddress.IPv6Network("2000::/3")  # all else is private, local, multicast or not in use
_IPV6 = tuple(
    (ipaddress.IPv6Network(network), name)
    for network, name in (
        ("2001::/23", "protocol assignments"),  # Teredo, benchmarking, ORCHID
        ("2001:db8::/32", "documentation"),
        ("2002::/16", "6to4"),
        ("3fff::/20", "documentation"),
    )
)
# IPv6 forms that contain an IPv4 address: that one is judged. In a network with DNS64 every name resolves to NAT64.
_IPV4_WITHIN = (ipaddress.IPv6Network("::ffff:0:0/96"), ipaddress.IPv6Network("64:ff9b::/96"))


def is_address(host: str) -> bool:
    """Whether the host of a URL is an IP address, in its usual form."""
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return False
    return True


def blocked(address: str) -> str | None:
    """Return why no request may go to an IP address, such as `127.0.0.1 is loopback`; None if one may.

    A text that is no IP address is blocked.
    """
    try:
        parsed = ipaddress.ip_address(address)
    except ValueError:
        return f"{address!r} is no IP address"
    kind = _kind(parsed)
    return f"{address} is {kind}" if kind else None


def _kind(address: ipaddress.IPv4Address | ipaddress.IPv6Address) -> str | None:
    """Return the name of the non-public network that an address belongs to; None for a public address."""
    if isinstance(address, ipaddress.IPv4Address):
        return next((name for network, name in _IPV4 if address in network), None)
    if address.scope_id is not None:
        return "link-local"
    if any(address in network for network in _IPV4_WITHIN):
        return _kind(ipaddress.IPv4Address(int(address) & 0xFFFFFFFF))
    if address not in _IPV6_UNICAST:
        return "not public"
    return next((name for network, name in _IPV6 if address in network), None)
