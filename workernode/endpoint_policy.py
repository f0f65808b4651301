"""Which `endpoint` addresses of messages may be replied to. Whoever may publish a message chooses them, so they may
aim at what only this machine reaches: a cloud's metadata service hands out credentials to whoever asks.

Pure: addresses and names come in, a reason goes out. Sources of the addresses: the clouds' own documentation of
their metadata services; https://www.iana.org/assignments/iana-ipv4-special-registry and its IPv6 counterpart.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from fnmatch import fnmatchcase
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network
from urllib.parse import urlsplit

from core.errors import ConfigurationError

Address = IPv4Address | IPv6Address

SCHEMES = {"http": 80, "ws": 80, "https": 443, "wss": 443}

_METADATA_NAMES = {
    "instance-data",
    "instance-data.ec2.internal",
    "metadata",
    "metadata.goog",
    "metadata.google.internal",
}
# Metadata services that are not on a link-local address; those of link-local ones are refused with all others there.
_METADATA = {
    ip_address(each)
    for each in (
        "100.100.100.200",  # Alibaba
        "168.63.129.16",  # Azure's platform
        "192.0.0.192",  # Oracle
        "fd00:ec2::254",  # AWS
        "fd20:ce::254",  # Google
        "fd00:42::42",  # Scaleway
    )
}
# "This network": Linux connects to itself. Reserved and broadcast addresses are nobody's.
_NOBODYS = tuple(ip_network(each) for each in ("0.0.0.0/8", "240.0.0.0/4", "::/128"))
# An IPv4 address within an IPv6 one: the network, and how far to the left the 32 bits stand.
_CARRIERS = tuple(
    (IPv6Network(network), shift)
    for network, shift in (("::ffff:0:0/96", 0), ("::/96", 0), ("64:ff9b::/96", 0), ("2002::/16", 80))
)
_NUMBER = re.compile(r"\d+|0[xX][\da-fA-F]*")


@dataclass(frozen=True, slots=True)
class Allowed:
    """One entry of the allow-list: a name with wildcards or a network, and a port if only one will do."""

    name: str
    network: IPv4Network | IPv6Network | None
    port: int | None

    def admits(self, host: str, port: int, address: Address | None) -> bool:
        """Whether it admits a host's name, or one address of it."""
        if self.port not in (None, port):
            return False
        if self.network is None:
            return fnmatchcase(host, self.name)
        carried = address.ipv4_mapped if isinstance(address, IPv6Address) else None
        return (carried or address) in self.network


class EndpointPolicy:
    """Link-local, metadata, unspecified and multicast addresses are refused whatever the allow-list says.

    `allow`: names with wildcards, addresses, networks (CIDR), each but the last with a `:port` if wanted, separated
    by commas; empty: every other address will do. Raises `ConfigurationError`.
    """

    def __init__(self, allow: str = "") -> None:
        self._allowed = [_entry(each.strip()) for each in allow.split(",") if each.strip()]

    def refusal(self, endpoint: str) -> str | None:
        """Why nothing is sent to `endpoint`, as far as its text says; None if its host's addresses decide."""
        try:
            parts = urlsplit(endpoint)
            host, port = (parts.hostname or "").removesuffix("."), parts.port or SCHEMES.get(parts.scheme, 0)
        except ValueError:
            return "is not an address"
        if parts.scheme not in SCHEMES:
            return "is no http, https, ws or wss address"
        if not host or not endpoint.isascii() or re.search(r"[\s\\\x00-\x20\x7f]", endpoint):
            return "is not an address"
        if "@" in parts.netloc:
            return "holds credentials"
        if host in _METADATA_NAMES:
            return "is a metadata service"
        return self._refusal_of_host(host, port)

    def refusal_of(self, host: str, port: int, address: str) -> str | None:
        """Why nothing is sent to `address`, one of those that the name `host` has now."""
        found = ip_address(address)
        host = host.lower().removesuffix(".")
        if (reason := _refused(found)) is not None:
            return reason
        if self._allowed and not any(each.admits(host, port, found) for each in self._allowed):
            return "is not on the allow-list"
        return None

    def _refusal_of_host(self, host: str, port: int) -> str | None:
        if ":" in host or _NUMBER.fullmatch(host.rpartition(".")[2]):
            try:
                return self.refusal_of(host, port, host)
            except ValueError:
                # 2130706433, 0x7f.1: forms that some resolvers read as addresses.
                return "is not an address"
        networks = any(each.network is not None for each in self._allowed)
        if not self._allowed or networks or any(each.admits(host, port, None) for each in self._allowed):
            return None
        return "is not on the allow-list"


def _refused(address: Address) -> str | None:
    for each in (address, *_carried(address)):
        if each in _METADATA:
            return "is a metadata service"
        if each.is_link_local:
            return "is a link-local address"
        if each.is_multicast:
            return "is a multicast address"
        if any(each in network for network in _NOBODYS):
            return "is nobody's address"
    return None


def _carried(address: Address) -> list[IPv4Address]:
    """IPv4 addresses that an IPv6 one means or is a way to. ::1 carries none."""
    if isinstance(address, IPv4Address) or int(address) == 1:
        return []
    found = [(int(address) >> shift) & 0xFFFFFFFF for network, shift in _CARRIERS if address in network]
    return [IPv4Address(each) for each in found]


def _entry(text: str) -> Allowed:
    host, port = text, None
    if (found := re.fullmatch(r"(\[.*\]|[^:]*):(\d+)", text)) is not None:
        host, port = found[1], int(found[2])
    host = host.removeprefix("[").removesuffix("]").lower()
    if port is not None and not 0 < port < 65536:
        raise ConfigurationError(f"AGENTOS_ENDPOINT_ALLOW: {text}: no such port")
    try:
        network = ip_network(host)
    except ValueError as error:
        if not re.fullmatch(r"[\w*?.-]+", host) or _NUMBER.fullmatch(host.rpartition(".")[2]):
            expected = "a name, with wildcards, an address or a network as 10.0.0.0/8"
            raise ConfigurationError(f"AGENTOS_ENDPOINT_ALLOW: {text}: expected {expected}") from error
        return Allowed(host, None, port)
    return Allowed("", network, port)
