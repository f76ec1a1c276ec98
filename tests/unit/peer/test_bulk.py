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
from dragonfly.errors import PeerError, StoppedError
from dragonfly.peer.bulk import BulkPool, BulkRun, Dry, Ended, Offer, Received, Told, Wrong
from dragonfly.store.blob import Blob, BlobMeta
from dragonfly.wire import piece as wire
from dragonfly.wire.piece import Frame, Kind
from unit.peer.world import some_bytes

PIECE = 16 * 1024
LAYOUT = PieceLayout(6 * PIECE - 1000, PIECE)
BODY = some_bytes(LAYOUT.length)
LEAST = 25_000


def part(first: int, count: int) -> bytes:
    start, end = LAYOUT.span(first, count)
    return BODY[start:end]


def head(first: int, count: int, *, chosen: bool = False) -> bytes:
    return wire.data_header(first, count, len(part(first, count)), chosen=chosen)


class Link:
    """A run of the pieces `first` … on one side of a connection, and a pool with one thread."""

    def __init__(self, blob: Blob, first: int, count: int, buffer: int = PIECE) -> None:
        self.ours, self.theirs = socket.socketpair()
        self.ours.setblocking(False)
        self.blob = blob
        self.told: list[Told] = []
        self.news = asyncio.Event()
        self.pool = BulkPool(1)
        frame = Frame(Kind.DATA, 0, first, count, len(part(first, count)))
        self.run = BulkRun(self.ours, blob, LAYOUT, frame, memoryview(b""), bytearray(buffer), LEAST, self.hear)

    def hear(self, what: Told) -> None:
        self.told.append(what)
        self.news.set()

    async def work(self) -> list[Told]:
        """Let the pool have the run; all that it tells, to Dry or Ended."""
        self.told = []
        self.pool.receive(self.run)
        async with asyncio.timeout(5):
            while not self.told or not isinstance(self.told[-1], Dry | Ended):
                self.news.clear()
                await self.news.wait()
        return self.told

    def close(self) -> None:
        self.run.stop = True
        self.pool.close()
        self.ours.close()
        self.theirs.close()


@pytest.fixture
def blob(tmp_path: Path) -> Iterator[Blob]:
    made = Blob.create(tmp_path / "b", TaskKey("b"), LAYOUT, BlobMeta())
    made.learn(0, b"".join(hashlib.sha256(part(index, 1)).digest() for index in range(LAYOUT.count)))
    yield made
    made.close()


def link(blob: Blob, first: int, count: int, buffer: int = PIECE) -> contextlib.closing[Link]:
    return contextlib.closing(Link(blob, first, count, buffer))


def received(told: list[Told]) -> list[int]:
    """The pieces that are told of as right."""
    runs = [range(what.first, what.first + what.count) for what in told if isinstance(what, Received)]
    return [index for run in runs for index in run]


def stored(blob: Blob) -> bytes:
    return blob.path.read_bytes()


async def test_a_run_is_checked_written_and_told_of_piece_by_piece(blob: Blob) -> None:
    with link(blob, 4, 2) as one:
        one.theirs.sendall(part(4, 2))
        told = await one.work()
    assert received(told) == [4, 5]
    assert isinstance(told[-1], Ended)
    assert told[-1].error is None
    assert list(bitmap.indexes(blob.have)) == [4, 5]
    assert stored(blob)[4 * PIECE :] == part(4, 2)


async def test_a_dry_run_holds_no_thread_and_goes_on_where_it_was(blob: Blob) -> None:
    with link(blob, 0, 2) as slow, link(blob, 4, 2) as fast:
        fast.pool.close()
        fast.pool = slow.pool
        body = part(0, 2)
        slow.theirs.sendall(body[: PIECE + 10])
        assert received(await slow.work()) == [0]
        assert isinstance(slow.told[-1], Dry)
        assert slow.run.left == PIECE - 10
        fast.theirs.sendall(part(4, 2))
        assert received(await fast.work()) == [4, 5]
        slow.theirs.sendall(body[PIECE + 10 :])
        assert received(await slow.work()) == [1]
        assert slow.run.taken == 2 * PIECE
    assert stored(blob)[: 2 * PIECE] == part(0, 2)


async def test_the_bodies_that_follow_are_received_too(blob: Blob) -> None:
    with link(blob, 0, 2) as one:
        one.theirs.sendall(part(0, 2) + head(2, 2, chosen=True) + part(2, 2))
        told: list[Told] = []
        one.run.work(told.append)
    assert [type(what) for what in told] == [Received, Received, Offer, Received, Received, Ended]
    offer = told[2]
    assert isinstance(offer, Offer)
    assert (offer.first, offer.count) == (2, 2)
    assert blob.have == 0b1111


@pytest.mark.parametrize(
    "after",
    [wire.plain_frame(Kind.REQUEST, 0, 1), head(2, 1) + part(2, 1), head(2, 2)[:-1]],
    ids=["another frame", "a short body", "half a head"],
)
async def test_what_is_not_a_long_body_is_left_in_the_socket(blob: Blob, after: bytes) -> None:
    with link(blob, 0, 2) as one:
        one.theirs.sendall(part(0, 2) + after)
        told = await one.work()
        assert isinstance(told[-1], Ended)
        assert told[-1].error is None
        assert one.ours.recv(1 << 20) == after


async def test_as_many_pieces_as_the_buffer_holds_are_told_of_at_once(blob: Blob) -> None:
    with link(blob, 0, 5, 3 * PIECE + 5) as one:
        one.theirs.sendall(part(0, 5))
        told: list[Told] = []
        one.run.work(told.append)
    assert [(what.first, what.count) for what in told if isinstance(what, Received)] == [(0, 3), (3, 2)]
    assert stored(blob)[: 5 * PIECE] == part(0, 5)


async def test_a_dry_run_tells_of_what_is_whole_and_keeps_the_rest(blob: Blob) -> None:
    with link(blob, 1, 5, 4 * PIECE) as one:
        body = part(1, 5)
        one.theirs.sendall(body[: 2 * PIECE + 700])
        assert received(await one.work()) == [1, 2]
        assert isinstance(one.told[-1], Dry)
        one.theirs.sendall(body[2 * PIECE + 700 :])
        assert received(await one.work()) == [3, 4, 5]
        assert isinstance(one.told[-1], Ended)
    assert stored(blob)[PIECE:] == body


@pytest.mark.parametrize("buffer", [PIECE, 4 * PIECE])
async def test_a_wrong_piece_ends_the_run_and_is_not_written(blob: Blob, buffer: int) -> None:
    with link(blob, 0, 3, buffer) as one:
        one.theirs.sendall(part(0, 1) + bytes(PIECE) + part(2, 1))
        told = await one.work()
    assert received(told) == [0]
    assert [what.index for what in told if isinstance(what, Wrong)] == [1]
    assert isinstance(told[-1], Ended)
    assert isinstance(told[-1].error, PeerError)
    assert blob.have == 0b1
    assert stored(blob)[PIECE : 2 * PIECE] == bytes(PIECE)


@pytest.mark.parametrize(
    "lie", [wire.data_header(6, 2, LEAST, chosen=False), wire.data_header(1, 2, LEAST + 5, chosen=False)]
)
async def test_a_further_head_that_fits_no_run_ends_it(blob: Blob, lie: bytes) -> None:
    with link(blob, 0, 1) as one:
        one.theirs.sendall(part(0, 1) + lie)
        told = await one.work()
    assert received(told) == [0]
    assert isinstance(told[-1], Ended)
    assert isinstance(told[-1].error, PeerError)


async def test_a_neighbour_that_closes_in_the_middle_ends_the_run(blob: Blob) -> None:
    with link(blob, 0, 2) as one:
        one.theirs.sendall(part(0, 2)[:-1])
        one.theirs.shutdown(socket.SHUT_WR)
        told = await one.work()
    assert received(told) == [0]
    assert isinstance(told[-1], Ended)
    assert isinstance(told[-1].error, PeerError)


async def test_a_store_that_was_closed_meanwhile_ends_the_run(blob: Blob) -> None:
    with link(blob, 0, 2) as one:
        blob.close()
        one.theirs.sendall(part(0, 2))
        told = await one.work()
    assert received(told) == []
    assert isinstance(told[-1], Ended)
    assert isinstance(told[-1].error, StoppedError)


async def test_a_closed_pool_has_told_all_and_pieces_in_a_row_as_one(blob: Blob) -> None:
    with link(blob, 0, 2) as one:
        one.theirs.sendall(part(0, 2) + head(3, 3, chosen=True) + part(3, 3))
        one.pool.receive(one.run)
        one.pool.close()  # in the loop, which has heard nothing before
        assert [type(what) for what in one.told] == [Received, Offer, Received, Ended]
        assert received(one.told) == [0, 1, 3, 4, 5]
