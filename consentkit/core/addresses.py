"""Which network addresses may be sent to: public ones, and networks that the operator has listed (SSRF guard)."""

from __future__ import annotations

from collections.abc import Iterable
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address

from consentkit.core.webhooks import Network

Address = IPv4Address | IPv6Address

_PUBLIC_V6 = IPv6Network("2000::/3")
_TRANSLATED = IPv6Network("64:ff9b::/96")
# Special by the registries of IANA; which of them `is_global` knows depends on the version of Python.
_SPECIAL_V4 = (IPv4Network("192.0.0.0/24"), IPv4Network("192.88.99.0/24"))
_SPECIAL_V6 = IPv6Network("3fff::/20")
_TUNNELS = (IPv6Network("2001::/32"), IPv6Network("2002::/16"))


def refusal(address: str, networks: Iterable[Network]) -> str | None:
    """Why this address is not sent to, or None. Raises ValueError for what is no address.

    An IPv4 address that is written as IPv6 (mapped, or translated by NAT64) is judged as the IPv4 address.
    """
    found = _as_reached(ip_address(address))
    if is_listed(address, networks):
        return None
    return _fault_v4(found) if isinstance(found, IPv4Address) else _fault_v6(found)


def is_listed(address: str, networks: Iterable[Network]) -> bool:
    """Whether the operator has listed the network of an address."""
    found = _as_reached(ip_address(address))
    return any(found in network for network in networks if network.version == found.version)


def _as_reached(address: Address) -> Address:
    if isinstance(address, IPv6Address):
        if address.ipv4_mapped is not None:
            return address.ipv4_mapped
        if address in _TRANSLATED:
            return IPv4Address(int(address) & 0xFFFFFFFF)
    return address


def _fault_v4(address: IPv4Address) -> str | None:
    if address.is_loopback or address.is_unspecified:
        return "is this machine"
    if address.is_link_local:
        return "is link-local"
    if address.is_multicast or address.is_reserved:
        return "is no machine's address"
    special = any(address in network for network in _SPECIAL_V4)
    return None if address.is_global and not special else "is not a public address"


def _fault_v6(address: IPv6Address) -> str | None:
    if address.is_loopback or address.is_unspecified:
        return "is this machine"
    if address.is_link_local or address.is_site_local:
        return "is link-local"
    if address.is_multicast:
        return "is no machine's address"
    if any(address in tunnel for tunnel in _TUNNELS):
        return "leads through a tunnel"
    public = address in _PUBLIC_V6 and address not in _SPECIAL_V6 and address.is_global
    return None if public else "is not a public address"
