"""The peer port: lets neighbours into the sessions of the tasks they name."""

from __future__ import annotations

import asyncio
import contextlib
import socket
from collections.abc import Awaitable, Callable
from urllib.parse import parse_qs, unquote, urlsplit

from dragonfly.errors import PeerError
from dragonfly.peer.handshake import Head, answer, read_head
from dragonfly.wire.piece import UPGRADE

__all__ = ["Admission", "PeerServer"]

_HEAD_TIMEOUT_S = 5.0
_BACKLOG = 1024


class Admission:
    """What a caller wants: a session about task `key`."""

    __slots__ = ("key", "lane", "peer", "piece_size", "ticket", "version", "zone")

    def __init__(self, head: Head) -> None:
        parts = urlsplit(head.target)
        segments = parts.path.split("/")
        if len(segments) != 5 or segments[1:3] != ["v1", "tasks"] or segments[4] != "session":
            raise PeerError("no such page", subject="404")
        if head.headers.get("upgrade") != UPGRADE:
            raise PeerError("a session needs an upgrade", subject="426")
        self.key = segments[3]
        query = parse_qs(parts.query)
        self.version = query.get("version", [""])[0]
        size = query.get("piece_size", ["0"])[0]  # 0: an earlier version, which cuts by length alone
        self.peer = head.headers.get("dragonfly-peer", "")
        self.zone = unquote(head.headers.get("dragonfly-zone", ""))
        self.ticket = head.headers.get("authorization", "").removeprefix("Bearer ")
        lane = head.headers.get("dragonfly-lane", "0")
        if not self.peer or len(self.peer) > 128 or "#" in self.peer or not lane.isdecimal() or len(lane) > 2:
            raise PeerError("a caller without a proper name", subject="400")
        if not size.isdecimal() or len(size) > 9:
            raise PeerError("pieces of no size", subject="400")
        self.lane, self.piece_size = int(lane), int(size)


#: Decides on an admission: status and reason; for 101 a call that takes over the socket.
Gate = Callable[[Admission], Awaitable[tuple[int, str, Callable[[socket.socket], None] | None]]]


class PeerServer:
    """Listens on one address; `gate` decides who gets in."""

    def __init__(self, gate: Gate) -> None:
        self._gate = gate
        self._socks: list[socket.socket] = []
        self._tasks: set[asyncio.Task[None]] = set()

    def listen(self, address: str, port: int) -> int:
        """Open the port (0: any) and return it. OSError where that can't be done."""
        family = socket.AF_INET6 if ":" in address else socket.AF_INET
        sock = socket.create_server(
            (address, port),
            family=family,
            backlog=_BACKLOG,
            dualstack_ipv6=address == "::" and socket.has_dualstack_ipv6(),
        )
        sock.setblocking(False)
        self._socks.append(sock)
        asyncio.get_running_loop().add_reader(sock.fileno(), self._accept, sock)
        return int(sock.getsockname()[1])

    def _accept(self, listener: socket.socket) -> None:
        for _ in range(64):
            try:
                sock, _ = listener.accept()
            except (BlockingIOError, InterruptedError):
                return
            except OSError:
                return  # out of descriptors: the kernel keeps the rest queued
            sock.setblocking(False)
            task = asyncio.get_running_loop().create_task(self._greet(sock))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

    async def _greet(self, sock: socket.socket) -> None:
        take: Callable[[socket.socket], None] | None = None
        try:
            head = await read_head(sock, _HEAD_TIMEOUT_S)
            status, reason, take = await self._decide(head)
            reply = answer(status, reason, b"" if status == 101 else f"{reason}\n".encode())
            sock.send(reply)  # a fresh socket takes some hundred bytes at once
            if take is not None:
                take(sock)
        except (OSError, PeerError):
            take = None
        finally:
            if take is None:
                sock.close()

    async def _decide(self, head: Head) -> tuple[int, str, Callable[[socket.socket], None] | None]:
        if head.target == "/healthz":
            return 200, "OK", None
        try:
            admission = Admission(head)
        except PeerError as error:
            return int(error.subject), error.what, None
        except ValueError:
            return 400, "Bad Request", None  # a target that no URL looks like
        return await self._gate(admission)

    async def close(self) -> None:
        loop = asyncio.get_running_loop()
        for sock in self._socks:
            loop.remove_reader(sock.fileno())
            sock.close()
        for task in list(self._tasks):
            task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await asyncio.gather(*self._tasks, return_exceptions=True)
