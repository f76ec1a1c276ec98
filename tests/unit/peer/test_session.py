"""One session against a bare socket: what goes over the wire, and when."""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from dragonfly.core import bitmap
from dragonfly.core.pieces import PieceLayout
from dragonfly.core.task import TaskKey
from dragonfly.peer.bulk import BulkPool
from dragonfly.peer.session import PeerSession
from dragonfly.store.blob import Blob, BlobMeta
from dragonfly.wire import piece as wire
from dragonfly.wire.piece import Frame, Kind
from unit.peer.world import some_bytes

PIECE = 4 * 1024 * 1024
LAYOUT = PieceLayout(4 * PIECE, PIECE)
BODY = some_bytes(LAYOUT.length)


class Owner:
    """A task that only counts what has left."""

    def __init__(self) -> None:
        self.left = 0
        self.sent = asyncio.Event()
        self.closed: list[Exception | None] = []

    def peer_has(self, session: PeerSession, pieces: int) -> None: ...
    def peer_asks(self, session: PeerSession, frame: Frame, payload: bytes) -> None: ...
    def peer_digests(self, session: PeerSession, first: int, digests: bytes) -> None: ...
    def peer_refuses(self, session: PeerSession, first: int, count: int) -> None: ...
    def peer_offers(self, session: PeerSession, first: int, count: int) -> None: ...
    def pieces_arrived(self, session: PeerSession, first: int, count: int) -> None: ...

    def piece_wrong(self, session: PeerSession, index: int) -> None: ...

    def run_sent(self, session: PeerSession, size: int) -> None:
        self.left += size
        self.sent.set()

    def session_closed(self, session: PeerSession, error: Exception | None) -> None:
        self.closed.append(error)


@pytest.fixture
def blob(tmp_path: Path) -> Iterator[Blob]:
    made = Blob.create(tmp_path / "b", TaskKey("b"), LAYOUT, BlobMeta())
    for index in range(LAYOUT.count):
        start, end = LAYOUT.span(index, 1)
        made.write(start, memoryview(BODY)[start:end])
        made.mark(index, hashlib.sha256(BODY[start:end]).digest())
    yield made
    made.close()


def connected() -> tuple[socket.socket, socket.socket]:
    """Two ends of a TCP connection, with small buffers."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        theirs = socket.socket()
        theirs.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 64 * 1024)
        theirs.connect(server.getsockname())
        ours, _ = server.accept()
    ours.setblocking(False)
    theirs.setblocking(False)
    return ours, theirs


async def frames(sock: socket.socket, count: int) -> list[tuple[Frame, bytes]]:
    """The next ones that come out of `sock`."""
    loop = asyncio.get_running_loop()

    async def exactly(size: int) -> bytes:
        got = bytearray()
        while len(got) < size:
            more = await loop.sock_recv(sock, size - len(got))
            assert more, "closed"
            got += more
        return bytes(got)

    found = []
    async with asyncio.timeout(5):
        for _ in range(count):
            head = wire.parse_header(await exactly(wire.HEADER))
            found.append((head, await exactly(head.length)))
    return found


def test_what_is_new_while_a_run_leaves_is_told_in_one_frame(blob: Blob) -> None:
    async def talk() -> None:
        ours, theirs = connected()
        pool, owner = BulkPool(1), Owner()
        session = PeerSession(
            owner, ours, "them", seed=False, dialled=False, layout=LAYOUT, blob=blob, bulk=pool, bulk_from=1 << 30
        )
        with contextlib.closing(pool), theirs:
            session.out.announce(0b0001)
            ((head, payload),) = await frames(theirs, 1)
            assert (head.kind, bitmap.from_bytes(payload, LAYOUT.count)) == (Kind.HAS, 0b0001)
            session.send_run(0, 2, chosen=False)
            assert session.out.busy, "it should not fit into the kernel's buffers"
            session.out.announce(0b0011)
            session.out.send(wire.plain_frame(Kind.REQUEST, 3, 1))
            session.out.announce(0b0111)
            (run, body), (news, runs), (request, _) = await frames(theirs, 3)
            assert (run.kind, body) == (Kind.DATA, BODY[: 2 * PIECE])
            assert (news.kind, wire.parse_runs(runs, LAYOUT.count)) == (Kind.HAVE, 0b0110)
            assert (request.kind, request.first) == (Kind.REQUEST, 3)
            assert session.out.told == 0b0111
            await asyncio.wait_for(owner.sent.wait(), 5)
            assert owner.left == 2 * PIECE
            session.close()
            assert owner.closed == [None]

    asyncio.run(talk())
