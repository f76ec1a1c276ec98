"""Addresses as people write them: `HOST`, `HOST:PORT`, `[v6]:PORT`, `:PORT`, `HOST:PORT=WEIGHT`."""

from __future__ import annotations

import ipaddress

from dragonfly.errors import UsageError
from dragonfly.peer.remote import SupernodeAddress

__all__ = ["advertised_address", "listen_address", "supernode_address"]


def split(text: str, default_port: int | None) -> tuple[str, int]:
    """(host, port); UsageError where there is no port and no default, or it is none."""
    bare = text.strip()
    if bare.count(":") > 1 and not bare.startswith("["):
        host, port = bare, ""
    elif bare.startswith("["):
        host, _, rest = bare[1:].partition("]")
        port = rest.removeprefix(":")
    else:
        host, _, port = bare.partition(":")
    if not port and default_port is not None:
        return host, default_port
    if not port.isdecimal() or len(port) > 5 or int(port) > 65535:
        raise UsageError("not an address", subject=repr(text), advice="write HOST:PORT")
    return host, int(port)


def listen_address(text: str, what: str) -> tuple[str, int]:
    """Where to listen: an IP (or nothing, for all) and a port."""
    try:
        host, port = split(text, None)
    except UsageError:
        raise UsageError(f"{what} needs an address", subject=repr(text), advice="write IP:PORT") from None
    host = {"": "0.0.0.0", "localhost": "127.0.0.1"}.get(host, host)
    try:
        ipaddress.ip_address(host)
    except ValueError:
        raise UsageError(f"{what} needs an IP address", subject=repr(text), advice="write 0.0.0.0:PORT") from None
    return host, port


def advertised_address(text: str) -> str:
    """The IP that other nodes dial; empty where none is given. UsageError for a name, or what nobody can dial."""
    if not text:
        return ""
    try:
        address = ipaddress.ip_address(text.strip())
    except ValueError:
        address = None
    if address is None or address.is_unspecified or address.is_multicast or address.is_link_local:
        raise UsageError("--advertise needs this node's IP address", subject=repr(text), advice="write 10.0.0.5")
    return str(address)


def supernode_address(text: str) -> SupernodeAddress:
    """`HOST[:8002][=WEIGHT]`, also with `http://` before it."""
    name, equals, weight = text.strip().removeprefix("http://").rstrip("/").partition("=")
    try:
        host, port = split(name, 8002)
    except UsageError:
        host, port = "", 0
    try:
        share = float(weight) if equals else 1.0
    except ValueError:
        share = 0.0
    if not host or not 0 < share < float("inf"):
        raise UsageError("not a supernode", subject=repr(text), advice="write HOST, HOST:PORT or HOST:PORT=WEIGHT")
    return SupernodeAddress(host, port, share)
