"""The guard against requests into one's own network: a table of addresses."""

from __future__ import annotations

from ipaddress import ip_network

import pytest

from consentkit.core.addresses import is_listed, refusal

PUBLIC = ["1.1.1.1", "8.8.8.8", "93.184.216.34", "2606:4700::1111", "2a00:1450:4001::200e", "::ffff:8.8.8.8"]

REFUSED = {
    "loopback": ["127.0.0.1", "127.1.2.3", "::1"],
    "unspecified": ["0.0.0.0", "::"],  # noqa: S104 - an address to refuse
    "this network": ["0.1.2.3"],
    "private": ["10.0.0.1", "172.16.0.1", "172.31.255.255", "192.168.0.1", "fc00::1", "fd12:3456::1"],
    "carrier-grade NAT": ["100.64.0.1", "100.127.255.255"],
    "link-local": ["169.254.0.1", "fe80::1", "fe80::1%2", "febf::1"],
    "metadata of clouds": ["169.254.169.254", "fd00:ec2::254", "100.100.100.200"],
    "site-local": ["fec0::1"],
    "multicast": ["224.0.0.1", "239.255.255.255", "ff02::1", "ff0e::1"],
    "broadcast, reserved": ["255.255.255.255", "240.0.0.1"],
    "documentation": ["192.0.2.1", "198.51.100.1", "203.0.113.1", "2001:db8::1"],
    "benchmarks": ["198.18.0.1", "198.19.255.255"],
    "IPv4 mapped": ["::ffff:127.0.0.1", "::ffff:10.0.0.1", "::ffff:169.254.169.254", "::ffff:0.0.0.0"],
    "IPv4 compatible": ["::127.0.0.1", "::10.0.0.1"],
    "translated": ["64:ff9b::7f00:1", "64:ff9b::a00:1", "64:ff9b:1::1"],
    "6to4": ["2002:7f00:1::", "2002:a00:1::1", "2002:808:808::1"],
    "Teredo": ["2001:0:4136:e378:8000:63bf:3fff:fdd2"],
    "protocol assignments": ["192.0.0.8", "192.0.0.9", "192.0.0.170", "192.88.99.1", "3fff::1"],
    "nobody's": ["100::1", "4000::1", "5f00::1"],
}
NAMED = [(kind, address) for kind, addresses in REFUSED.items() for address in addresses]


@pytest.mark.parametrize("address", PUBLIC)
def test_a_public_address_may_be_sent_to(address: str) -> None:
    assert refusal(address, ()) is None
    assert not is_listed(address, ())


@pytest.mark.parametrize(("kind", "address"), NAMED)
def test_no_other_one(kind: str, address: str) -> None:
    assert refusal(address, ()) is not None, kind
    assert refusal(address, [ip_network("172.20.0.0/16"), ip_network("fd99::/16")]) is not None, kind


@pytest.mark.parametrize(
    ("address", "network"),
    [
        ("10.1.2.3", "10.1.0.0/16"),
        ("127.0.0.1", "127.0.0.1/32"),
        ("::1", "::1/128"),
        ("fd00::1", "fd00::/8"),
        ("::ffff:10.1.2.3", "10.1.0.0/16"),
        ("64:ff9b::a01:203", "10.1.0.0/16"),
    ],
)
def test_unless_its_network_is_listed(address: str, network: str) -> None:
    networks = [ip_network("192.168.0.0/24"), ip_network(network)]
    assert is_listed(address, networks)
    assert refusal(address, networks) is None


def test_a_neighbour_is_not_listed() -> None:
    networks = [ip_network("10.1.0.0/16")]
    assert refusal("10.2.0.1", networks) is not None
    assert refusal("127.0.0.2", [ip_network("127.0.0.1/32")]) is not None


def test_what_is_no_address() -> None:
    with pytest.raises(ValueError, match="does not appear"):
        refusal("partner.example", ())
