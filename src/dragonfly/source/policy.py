"""Where a node may read: the guard against being made to ask what it should not (SSRF).

A supernode reads URLs that others name, so each URL, each redirect and each address that a
name resolves to is checked. Link-local addresses (cloud metadata) are never allowed;
private networks and loopback are: that is where registries live. An operator can narrow
it further to a list of hosts.
"""

from __future__ import annotations

import fnmatch
import ipaddress
from urllib.parse import urlsplit

import msgspec

from dragonfly.errors import SourceError

__all__ = ["SourcePolicy"]

_NEVER = tuple(
    ipaddress.ip_network(net)
    for net in (
        "169.254.0.0/16",
        "fe80::/10",
        "fd00:ec2::254/128",
        "100.100.100.200/32",
        "0.0.0.0/8",
        "224.0.0.0/4",
        "ff00::/8",
        "::/128",
    )
)


_NAT64 = ipaddress.ip_network("64:ff9b::/96")


class SourcePolicy(msgspec.Struct, frozen=True, kw_only=True):
    """`allow`: patterns of hosts (`registry.example`, `*.example`), empty for all; `deny` goes first."""

    allow: tuple[str, ...] = ()
    deny: tuple[str, ...] = ()

    def check_url(self, url: str) -> None:
        """SourceError (403) where this URL may not be read."""
        host = (urlsplit(url).hostname or "").lower().rstrip(".")  # `host.` is the same host
        if any(fnmatch.fnmatchcase(host, pattern.lower()) for pattern in self.deny):
            raise self._refusal(host, "it is on the list of denied sources")
        if self.allow and not any(fnmatch.fnmatchcase(host, pattern.lower()) for pattern in self.allow):
            raise self._refusal(host, "it is not on the list of allowed sources")
        try:
            address = ipaddress.ip_address(host)
        except ValueError:
            return
        self.check_address(host, str(address))

    def check_address(self, host: str, address: str) -> None:
        """SourceError (403) where `host` resolved to an address that may not be read."""
        ip = ipaddress.ip_address(address.partition("%")[0])
        if isinstance(ip, ipaddress.IPv6Address):
            ip = ip.ipv4_mapped or ip.sixtofour or _through_nat64(ip) or ip
        if any(ip in network for network in _NEVER):
            raise self._refusal(f"{host} ({ip})" if host != str(ip) else host, "link-local addresses are never read")

    def _refusal(self, host: str, why: str) -> SourceError:
        return SourceError("this source may not be read", subject=host, advice=why, status=403)


def _through_nat64(ip: ipaddress.IPv6Address) -> ipaddress.IPv4Address | None:
    """What a translator (RFC 6052, its well-known prefix) makes of it."""
    return ipaddress.IPv4Address(int(ip) & 0xFFFFFFFF) if ip in _NAT64 else None
