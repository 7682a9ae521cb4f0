"""Names of hosts: one spelling for each, and which of the catalogue's parties one belongs to."""

from __future__ import annotations

import re
import socket
from collections.abc import Mapping
from contextlib import suppress
from functools import lru_cache
from ipaddress import IPv6Address

from consentkit.core.catalog import Catalog, Party
from consentkit.core.errors import CatalogError

_NAME = re.compile(r"(?:\*\.)?(?=.{1,253}$)[a-z0-9_-]{1,63}(?:\.[a-z0-9_-]{1,63})*")
_MEND = 'Write a name such as "api.example.org" or "*.example.org", no scheme, port or path; other scripts as xn--'


@lru_cache(maxsize=4096)
def plain(host: str) -> str:
    """One spelling for all the ways to write a host: lower case, no last dot, no brackets, addresses in full.

    An IPv4 address that is written as one number, in octal, or as IPv6 is the same address.
    """
    name = host.lower().removesuffix(".").removeprefix("[").removesuffix("]")
    with suppress(ValueError):
        address = IPv6Address(name.partition("%")[0])  # without the zone of a link-local one
        return str(address.ipv4_mapped or address)
    with suppress(OSError, UnicodeError):
        return socket.inet_ntoa(socket.inet_aton(name))
    return name


def owner(parties: Mapping[str, Party], host: str) -> Party | None:
    """The party to which a host belongs, or None. The closest pattern decides; `*.` stands for subdomains."""
    name = plain(host)
    own = {plain(pattern): party for party in parties.values() for pattern in party.hosts}
    if name in own:
        return own[name]
    labels = name.split(".")
    above = (f"*.{'.'.join(labels[n:])}" for n in range(1, len(labels)))
    return next((own[pattern] for pattern in above if pattern in own), None)


def check_hosts(catalog: Catalog) -> None:
    """Raise CatalogError for a host that cannot be one, or that two parties claim."""
    owners: dict[str, str] = {}
    for party in catalog.parties.values():
        for host in party.hosts:
            where, name = f"parties.{party.key}.hosts", plain(host)
            if not (_NAME.fullmatch(name) or _is_address(name)):
                raise CatalogError(f"{host!r} is not a host", key=where, mend=_MEND)
            if owners.setdefault(name, party.key) != party.key:
                mend = "Keep it at the party that runs it"
                raise CatalogError(f"{host!r} belongs to {owners[name]!r} already", key=where, mend=mend)


def _is_address(name: str) -> bool:
    try:
        IPv6Address(name)
    except ValueError:
        return False
    return True
