"""CONNECT: its head is read and no byte more, then the connection is handed on or tunnelled.

A tunnel is untouched bytes both ways; each side's end is passed on by itself, so that
protocols which half-close work.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
from typing import NamedTuple

from dragonfly.daemon.policy import split_host
from dragonfly.errors import SourceUnreachable, UsageError
from dragonfly.net.heads import parse_request
from dragonfly.net.listen import format_address
from dragonfly.net.sniff import readable

__all__ = ["Connect", "connect_to", "read_connect", "refuse", "tunnel"]

_BUFFER = 128 * 1024
_END_OF_HEAD = b"\r\n\r\n"
#: Until the second address of a name is tried.
_NEXT_ADDRESS_S = 2.0
#: How long a half of a tunnel may stay open and silent after the other half has ended.
_HALF_OPEN_S = 600.0


class Connect(NamedTuple):
    """Where a client wants to go."""

    host: str
    port: int


async def read_connect(sock: socket.socket, timeout_s: float, limit: int) -> Connect:
    """Read the head of a CONNECT from a non-blocking socket, and leave what follows it there.

    UsageError where it makes no sense or is longer than `limit` bytes; TimeoutError, ConnectionError.
    """
    loop = asyncio.get_running_loop()
    head = b""
    async with asyncio.timeout(timeout_s):
        while not head.endswith(_END_OF_HEAD):
            await readable(sock)
            seen = sock.recv(65536, socket.MSG_PEEK)
            if not seen:
                raise ConnectionResetError("closed in its request head")
            tail = head[-3:]
            end = (tail + seen).find(_END_OF_HEAD)
            take = len(seen) if end < 0 else end + len(_END_OF_HEAD) - len(tail)
            if len(head) + take > limit:
                raise UsageError("a request head that is too long", subject=f"over {limit} bytes")
            head += await loop.sock_recv(sock, take)
    try:
        return _where(parse_request(head).target)
    except ValueError as error:
        raise UsageError("not a request that can be read", subject=str(error)) from None


async def connect_to(where: Connect, timeout_s: float) -> socket.socket:
    """A non-blocking connection there, by whichever of its addresses answers. SourceUnreachable otherwise."""
    loop = asyncio.get_running_loop()
    shown = format_address(where.host, where.port)
    try:
        async with asyncio.timeout(timeout_s):
            found = await loop.getaddrinfo(where.host, where.port, type=socket.SOCK_STREAM)
            failure: OSError = OSError("no address")
            for number, (family, kind, protocol, _, address) in enumerate(found):
                sock = socket.socket(family, kind | socket.SOCK_NONBLOCK, protocol)
                try:
                    async with asyncio.timeout(_NEXT_ADDRESS_S if number + 1 < len(found) else None):
                        await loop.sock_connect(sock, address)
                    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                    sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
                    return sock
                except OSError as error:  # TimeoutError is one
                    sock.close()
                    failure = error
                except BaseException:
                    sock.close()
                    raise
            raise failure
    except TimeoutError:
        raise SourceUnreachable("no connection in time", subject=shown, advice="check the network") from None
    except socket.gaierror as error:
        raise SourceUnreachable(
            "the name can't be resolved",
            subject=f"{shown} ({error.strerror})",
            advice="check its spelling and the DNS",
        ) from None
    except OSError as error:
        raise SourceUnreachable(
            "no connection", subject=f"{shown} ({error.strerror or error})", advice="check that it runs"
        ) from None


async def refuse(sock: socket.socket, status: int, reason: str, sentence: str) -> None:
    """Answer a CONNECT with a refusal in plain text."""
    body = f"dragonfly: {sentence}\n".encode()
    head = (
        f"HTTP/1.1 {status} {reason}\r\nContent-Type: text/plain; charset=utf-8\r\n"
        f"Content-Length: {len(body)}\r\nConnection: close\r\n\r\n"
    )
    loop = asyncio.get_running_loop()
    with contextlib.suppress(OSError):
        await loop.sock_sendall(sock, head.encode() + body)
        sock.shutdown(socket.SHUT_WR)


async def tunnel(one: socket.socket, other: socket.socket) -> tuple[int, int]:
    """Relay until both sides have ended; bytes that went each way. A reset of either ends both."""
    counts = [0, 0]
    ended = asyncio.Event()
    with contextlib.suppress(OSError):
        try:
            async with asyncio.TaskGroup() as group:
                group.create_task(_pump(one, other, counts, 0, ended))
                group.create_task(_pump(other, one, counts, 1, ended))
        except* OSError as errors:
            raise OSError(str(errors.exceptions[0])) from None
    return counts[0], counts[1]


async def _pump(source: socket.socket, sink: socket.socket, counts: list[int], way: int, ended: asyncio.Event) -> None:
    loop = asyncio.get_running_loop()
    buffer = bytearray(_BUFFER)
    view = memoryview(buffer)
    while True:
        async with asyncio.timeout(_HALF_OPEN_S if ended.is_set() else None):
            count = await loop.sock_recv_into(source, buffer)
        if not count:
            break
        await loop.sock_sendall(sink, view[:count])
        counts[way] += count
    ended.set()
    with contextlib.suppress(OSError):
        sink.shutdown(socket.SHUT_WR)


def _where(target: str) -> Connect:
    host, port = split_host(target)
    if not host or port is None:
        raise UsageError("not a place to connect to", subject=repr(target), advice="write HOST:PORT")
    return Connect(host, port)
