"""Heads on the peer port: taken exactly, however they arrive."""

from __future__ import annotations

import asyncio
import contextlib
import socket
from collections.abc import Iterator

import pytest

from dragonfly.errors import PeerError
from dragonfly.peer.handshake import answer, dial, read_head
from dragonfly.wire.piece import UPGRADE

HEAD = b"GET /v1/tasks/k/session?version=1 HTTP/1.1\r\nHost: x\r\nDragonfly-Peer: me\r\n\r\n"


@pytest.fixture
def pair() -> Iterator[tuple[socket.socket, socket.socket]]:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        one = socket.create_connection(listener.getsockname())
        other, _ = listener.accept()
    for sock in (one, other):
        sock.setblocking(False)
    yield one, other
    one.close()
    other.close()


async def test_what_follows_the_head_stays_in_the_kernel(pair: tuple[socket.socket, socket.socket]) -> None:
    here, there = pair
    there.send(HEAD + b"frames")
    head = await read_head(here, 1.0)
    assert (head.method, head.target) == ("GET", "/v1/tasks/k/session?version=1")
    assert head.headers == {"host": "x", "dragonfly-peer": "me"}
    assert here.recv(100) == b"frames"


async def test_a_head_may_come_byte_by_byte(pair: tuple[socket.socket, socket.socket]) -> None:
    here, there = pair
    reading = asyncio.ensure_future(read_head(here, 5.0))
    for byte in HEAD:
        there.send(bytes([byte]))
        await asyncio.sleep(0)
    assert (await reading).headers["dragonfly-peer"] == "me"


@pytest.mark.parametrize(
    ("sent", "told"),
    [
        (b"\x16\x03\x01 no HTTP\r\n\r\n", "not HTTP"),
        (b"GET / HTTP/1.1\r\nX: " + b"y" * 20_000, "too long"),
        (b"GET / HTTP/1.1\r\n", "no request came in time"),
    ],
)
async def test_what_is_no_head(pair: tuple[socket.socket, socket.socket], sent: bytes, told: str) -> None:
    here, there = pair
    with contextlib.suppress(BlockingIOError):
        there.send(sent)
    with pytest.raises(PeerError, match=told):
        await read_head(here, 0.1)


async def test_who_closes_in_the_middle_is_not_waited_for(pair: tuple[socket.socket, socket.socket]) -> None:
    here, there = pair
    there.send(HEAD[:20])
    there.close()
    with pytest.raises(PeerError, match="closed"):
        await asyncio.wait_for(read_head(here, 60.0), 2.0)


class Neighbour:
    """A port that answers each connection with the same bytes."""

    def __init__(self, says: bytes) -> None:
        self._says = says
        self.heard = b""

    async def __aenter__(self) -> int:
        self._server = await asyncio.start_server(self._talk, "127.0.0.1", 0)
        return int(self._server.sockets[0].getsockname()[1])

    async def __aexit__(self, *_: object) -> None:
        self._server.close()

    async def _talk(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.heard = await reader.readuntil(b"\r\n\r\n")
        writer.write(self._says)
        await writer.drain()
        writer.close()


async def dialled(port: int, timeout: float = 1.0) -> socket.socket:
    return await dial("127.0.0.1", port, "/t", peer="me", zone="hall 3 ü", ticket="let me in", lane=2, timeout=timeout)


async def test_a_neighbour_that_agrees() -> None:
    neighbour = Neighbour(answer(101, "Switching Protocols") + b"frame")
    async with neighbour as port:
        sock = await dialled(port)
        assert await asyncio.get_running_loop().sock_recv(sock, 100) == b"frame"
        sock.close()
    zone = b"Dragonfly-Zone: hall%203%20%C3%BC"
    for line in (b"GET /t HTTP/1.1", b"Dragonfly-Lane: 2", zone, b"Authorization: Bearer let me in", UPGRADE.encode()):
        assert line.lower() in neighbour.heard.lower()


@pytest.mark.parametrize("status", [403, 404, 409, 503])
async def test_a_neighbour_that_declines_says_its_status(status: int) -> None:
    async with Neighbour(answer(status, "No")) as port:
        with pytest.raises(PeerError) as caught:
            await dialled(port)
    assert caught.value.subject == str(status)


@pytest.mark.parametrize("says", [b"", b"SSH-2.0-x\r\n\r\n", b"HTTP/1.1 101"])
async def test_a_port_that_is_no_neighbour(says: bytes) -> None:
    async with Neighbour(says) as port:
        with pytest.raises(PeerError):
            await dialled(port)


async def test_nobody_there_and_nobody_who_answers() -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        port = silent.getsockname()[1]
        with pytest.raises(PeerError, match="reached"):
            await dialled(port, 0.05)
    with pytest.raises(PeerError, match="reached"):
        await dialled(port)
