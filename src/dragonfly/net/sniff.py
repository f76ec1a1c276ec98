"""What speaks on a fresh connection, told by its first bytes, which stay in the socket.

A TLS record of kind handshake begins with 0x16, and no HTTP method does; `CONNECT ` is
eight bytes. So one port serves all three.
"""

from __future__ import annotations

import asyncio
import enum
import socket

__all__ = ["Speaks", "readable", "sniff"]

_CONNECT = b"CONNECT "
#: A client that dribbles `CONN…` is looked at again after this many seconds: the socket stays readable.
_LOOK_AGAIN_S = 0.01


class Speaks(enum.Enum):
    TLS = "tls"
    CONNECT = "connect"
    HTTP = "http"
    NOTHING = "nothing"
    """Closed before its first byte."""


async def sniff(sock: socket.socket, timeout_s: float) -> Speaks:
    """What a non-blocking socket says first; TimeoutError where it stays silent, OSError where it breaks."""
    async with asyncio.timeout(timeout_s):
        while True:
            await readable(sock)
            head = sock.recv(len(_CONNECT), socket.MSG_PEEK)
            if not head:
                return Speaks.NOTHING
            if head[0] == 0x16:
                return Speaks.TLS
            if head == _CONNECT:
                return Speaks.CONNECT
            if not _CONNECT.startswith(head):
                return Speaks.HTTP
            await asyncio.sleep(_LOOK_AGAIN_S)


async def readable(sock: socket.socket) -> None:
    """Wait until there is something to read, or the end; no transport may own the socket."""
    loop = asyncio.get_running_loop()
    waiter: asyncio.Future[None] = loop.create_future()
    loop.add_reader(sock, _set, waiter)
    try:
        await waiter
    finally:
        loop.remove_reader(sock)


def _set(waiter: asyncio.Future[None]) -> None:
    if not waiter.done():
        waiter.set_result(None)
