"""Long runs on fast links: a thread takes them from the socket, checks them and writes them.

Every call that is long here (`recv_into`, SHA-256, `pwrite`) releases the interpreter lock,
so several runs go on at once on several cores while the event loop only hears, some pieces
at a time, that they are done.
"""

from __future__ import annotations

import asyncio
import hashlib
import select
import socket
import time
from collections.abc import Callable

from dragonfly.core.pieces import PieceLayout
from dragonfly.errors import PeerError
from dragonfly.store.blob import Blob

__all__ = ["BulkRun", "receive_run"]

_CHUNK = 256 * 1024
_REPORT_EVERY_S = 0.005
_SILENCE_S = 30.0


class BulkRun:
    """A body that a thread receives. `buffer` holds one piece; `stop` makes the thread give up."""

    __slots__ = ("blob", "buffer", "count", "first", "layout", "sock", "stop", "unreported")

    def __init__(
        self, sock: socket.socket, blob: Blob, layout: PieceLayout, first: int, count: int, buffer: bytearray
    ) -> None:
        self.sock = sock
        self.blob = blob
        self.layout = layout
        self.first = first
        self.count = count
        self.buffer = buffer
        self.stop = False
        self.unreported = 0
        """Bytes taken since the last report: a sign of life for slow pieces."""


Report = Callable[[BulkRun, list[tuple[int, bool]]], None]


def receive_run(run: BulkRun, loop: asyncio.AbstractEventLoop, report: Report) -> None:
    """Receive all pieces of `run`; `report` is called in `loop` with (index, right) pairs.

    Raises PeerError where the peer closes, is silent for 30 s or sends a wrong piece, and what the store raises.
    """
    done: list[tuple[int, bool]] = []
    reported_at = time.monotonic()
    try:
        for index in range(run.first, run.first + run.count):
            right = _receive_piece(run, index)
            done.append((index, right))
            if not right:  # what else it sends of this run is not worth taking in
                raise PeerError("the neighbour sent a wrong piece", subject=str(index))
            now = time.monotonic()
            if now - reported_at >= _REPORT_EVERY_S:
                run.unreported = 0
                loop.call_soon_threadsafe(report, run, done)
                done, reported_at = [], now
    finally:
        if done:
            run.unreported = 0
            loop.call_soon_threadsafe(report, run, done)


def _receive_piece(run: BulkRun, index: int) -> bool:
    size = run.layout.size(index)
    view = memoryview(run.buffer)[:size]
    hasher = hashlib.sha256()
    at = 0
    while at < size:
        try:
            count = run.sock.recv_into(view[at : at + _CHUNK])
        except BlockingIOError:
            _wait_readable(run)
            continue
        if count == 0 or run.stop:
            raise PeerError("the neighbour closed in the middle of a piece", subject=str(index))
        hasher.update(view[at : at + count])
        at += count
        run.unreported += count
    blob = run.blob
    if blob.have >> index & 1:
        return True
    digest = hasher.digest()
    if digest != blob.digest_of(index):
        return False
    blob.write(run.layout.start(index), view)
    blob.mark(index, digest)
    return True


def _wait_readable(run: BulkRun) -> None:
    poll = select.poll()
    poll.register(run.sock, select.POLLIN)
    deadline = time.monotonic() + _SILENCE_S
    while not poll.poll(500):
        if run.stop or time.monotonic() > deadline:
            raise PeerError("the neighbour is silent in the middle of a piece")
