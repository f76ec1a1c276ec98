"""Addresses to listen on, and the loop that accepts."""

from __future__ import annotations

import asyncio
import errno
import socket
from collections.abc import Callable

from dragonfly.errors import UsageError

__all__ = ["accept_forever", "format_address", "open_listeners", "parse_address"]

#: Out of descriptors or memory: accepting again at once would spin; connections wait in the backlog.
_EXHAUSTED = {errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM}
_EXHAUSTED_PAUSE_S = 0.2


def parse_address(text: str, default_port: int | None = None) -> tuple[str, int]:
    """Read `HOST:PORT`, `[V6]:PORT`, `:PORT` (any address), or HOST given a default port; else UsageError."""
    host, colon, port = text.strip().rpartition(":")
    if not colon or port.endswith("]") or (":" in host and not host.startswith("[")):
        host, port = text.strip(), ""
    bare = host.removeprefix("[").removesuffix("]")
    if not port and default_port is not None and bare:
        return bare, default_port
    if not (port.isascii() and port.isdigit() and int(port) < 65536):
        raise UsageError("not an address", subject=repr(text), advice="write HOST:PORT, [::1]:PORT for IPv6")
    return bare, int(port)


def format_address(host: str, port: int) -> str:
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def open_listeners(address: str, *, backlog: int = 1024) -> list[socket.socket]:
    """Non-blocking sockets that listen on each address that `HOST:PORT` stands for.

    A name may stand for an IPv4 and an IPv6 address; port 0 is the same free port on both.
    UsageError where it can't be resolved, is in use, or needs privileges.
    """
    host, port = parse_address(address)
    try:
        found = socket.getaddrinfo(host or None, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
    except socket.gaierror as error:
        raise UsageError("cannot listen", subject=address, advice=str(error)) from None
    opened: list[socket.socket] = []
    try:
        for family, kind, protocol, _, where in dict.fromkeys(found):
            chosen = opened[0].getsockname()[1] if opened and not port else port
            try:
                sock = socket.socket(family, kind | socket.SOCK_NONBLOCK, protocol)
            except OSError as error:
                if error.errno == errno.EAFNOSUPPORT:  # a kernel without IPv6
                    continue
                raise
            opened.append(sock)
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            if family == socket.AF_INET6:
                sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
            try:
                sock.bind((where[0], chosen, *where[2:]))
            except OSError as error:
                if error.errno == errno.EADDRNOTAVAIL and len(opened) > 1:
                    opened.pop().close()  # `localhost` names ::1 on machines that have none
                    continue
                raise
            sock.listen(backlog)
    except OSError as error:
        for sock in opened:
            sock.close()
        raise UsageError("cannot listen", subject=address, advice=_advice(error)) from None
    if not opened:
        raise UsageError("cannot listen", subject=address, advice="this machine has no such address")
    return opened


async def accept_forever(listener: socket.socket, take: Callable[[socket.socket], None]) -> None:
    """Give each new connection, non-blocking, to `take`; ends only when cancelled."""
    loop = asyncio.get_running_loop()
    while True:
        try:
            sock, _ = await loop.sock_accept(listener)
        except ConnectionError:  # gone before it was accepted
            continue
        except OSError as error:
            if error.errno not in _EXHAUSTED:
                raise
            await asyncio.sleep(_EXHAUSTED_PAUSE_S)
            continue
        take(sock)


def _advice(error: OSError) -> str:
    if error.errno == errno.EADDRINUSE:
        return "another program listens there: stop it, or choose another port"
    if error.errno == errno.EACCES:
        return "ports below 1024 need root or CAP_NET_BIND_SERVICE"
    return error.strerror or str(error)
