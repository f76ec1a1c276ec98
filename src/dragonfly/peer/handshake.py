"""How a session begins: one HTTP/1.1 upgrade request on the peer port, answered by 101.

    GET /v1/tasks/KEY/session?version=V&piece_size=N HTTP/1.1
    Upgrade: dragonfly-swarm/1
    Dragonfly-Peer: <id> ; Dragonfly-Lane: <n> ; Dragonfly-Zone: <name, where there is one>
    Authorization: Bearer <ticket>

The head is peeked and then taken exactly, so that the bytes after it, frames, stay in the
kernel for the session's own buffers.
"""

from __future__ import annotations

import asyncio
import socket
from urllib.parse import quote

from dragonfly.errors import PeerError
from dragonfly.net.heads import Head, parse_request, parse_status
from dragonfly.net.sniff import readable
from dragonfly.wire.piece import UPGRADE

__all__ = ["Head", "answer", "dial", "read_head"]

_HEAD_LIMIT = 16 * 1024
_ESTABLISHED = 1  # tcpi_state of TCP_INFO


async def _take_head(sock: socket.socket) -> bytes:
    """The bytes up to and including the empty line; what follows is left in the kernel."""
    seen = 0
    while True:
        await readable(sock)
        data = sock.recv(_HEAD_LIMIT, socket.MSG_PEEK)
        end = data.find(b"\r\n\r\n")
        if end >= 0:
            return sock.recv(end + 4)
        if len(data) >= _HEAD_LIMIT:
            raise PeerError("a request head that is too long")
        if len(data) == seen:
            # A closed socket stays readable, so only its state tells it from one that is slow.
            if not data or sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 1)[0] != _ESTABLISHED:
                raise PeerError("closed before the end of its head")
            await asyncio.sleep(0.005)  # peeked bytes keep the socket readable: do not spin
        seen = len(data)


async def read_head(sock: socket.socket, timeout: float) -> Head:
    """Read a request head; PeerError where there is none in `timeout` seconds."""
    try:
        async with asyncio.timeout(timeout):
            data = await _take_head(sock)
    except TimeoutError:
        raise PeerError("no request came in time") from None
    try:
        return parse_request(data)
    except ValueError as error:
        raise PeerError("not HTTP", subject=str(error)) from None


def answer(status: int, reason: str, body: bytes = b"", kind: str = "text/plain; charset=utf-8") -> bytes:
    """A whole response; 101 switches the connection to frames."""
    if status == 101:
        lines = f"HTTP/1.1 101 {reason}\r\nConnection: Upgrade\r\nUpgrade: {UPGRADE}\r\n\r\n"
        return lines.encode("ascii")
    lines = (
        f"HTTP/1.1 {status} {reason}\r\nContent-Type: {kind}\r\n"
        f"Content-Length: {len(body)}\r\nConnection: close\r\n\r\n"
    )
    return lines.encode("ascii") + body


async def dial(
    address: str, port: int, target: str, *, peer: str, zone: str = "", ticket: str, lane: int, timeout: float
) -> socket.socket:
    """Open a session with a neighbour. PeerError where it can't be reached in `timeout` seconds or declines;
    the error's `subject` is the status it gave."""
    loop = asyncio.get_running_loop()
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    sock = socket.socket(family, socket.SOCK_STREAM)
    sock.setblocking(False)
    try:
        async with asyncio.timeout(timeout):
            await loop.sock_connect(sock, (address, port))
            host = f"[{address}]:{port}" if ":" in address else f"{address}:{port}"
            await loop.sock_sendall(sock, _request(host, target, peer=peer, zone=zone, ticket=ticket, lane=lane))
            status = parse_status(await _take_head(sock))
        if status == 101:
            return sock
        raise PeerError("the neighbour declined", subject=str(status))
    except (OSError, TimeoutError, ValueError) as error:
        sock.close()
        raise PeerError(
            "a neighbour can't be reached", subject=f"{address}:{port}", advice=str(error) or "no answer"
        ) from None
    except BaseException:
        sock.close()
        raise


def _request(host: str, target: str, *, peer: str, zone: str, ticket: str, lane: int) -> bytes:
    lines = [
        f"GET {target} HTTP/1.1",
        f"Host: {host}",
        "Connection: Upgrade",
        f"Upgrade: {UPGRADE}",
        f"Dragonfly-Peer: {peer}",
        f"Dragonfly-Lane: {lane}",
        f"Authorization: Bearer {ticket}",
    ]
    if zone:
        lines.append(f"Dragonfly-Zone: {quote(zone)}")
    if any(not line.isprintable() for line in lines):
        raise PeerError("a neighbour's address that can't stand in a request", subject=repr(target))
    return ("\r\n".join(lines) + "\r\n\r\n").encode("latin-1", "replace")
