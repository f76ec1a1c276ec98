"""One connection to one neighbour about one task: frames and pieces in, bytes past the interpreter.

Runs in the event loop on a raw non-blocking socket, since a stream API would copy every
piece once more. A body is received straight into the piece's buffer, checked, and written
with one `pwrite`; only what is right reaches the disk, so two neighbours may race for a
piece without one's bad bytes landing on the other's good ones. All else goes into a small
inbox, many frames in one call. `SO_RCVLOWAT` keeps the loop asleep until a whole body (or a
large part) is in the kernel. Long runs are received by threads (`peer.bulk`). What leaves has
a place of its own (`peer.outbox`).
"""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import hashlib
import socket
import struct
import termios
from typing import Protocol, assert_never

from dragonfly.core import bitmap
from dragonfly.core.pieces import PieceLayout
from dragonfly.errors import DragonflyError, PeerError
from dragonfly.peer.bulk import BulkPool, BulkRun, Dry, Ended, Offer, Received, Told, Wrong, check_data
from dragonfly.peer.outbox import Outbox
from dragonfly.store.blob import Blob
from dragonfly.wire import piece as wire
from dragonfly.wire.piece import Frame, Kind

__all__ = ["PeerSession", "SessionOwner"]

_SO_RCVLOWAT = getattr(socket, "SO_RCVLOWAT", 18)
_LOWAT_MOST = 128 * 1024
_LOWAT_BULK = 256 * 1024
_BATCH = 512 * 1024
"""Bytes of small pieces that a thread takes in at a time."""
_INBOX = 2048
"""Bytes taken in at once where no body is expected: of a body that follows so many are copied once more."""
_READS_PER_WAKE = 64


class SessionOwner(Protocol):
    """The task that the session belongs to hears of everything, in the event loop."""

    def peer_has(self, session: PeerSession, pieces: int) -> None: ...

    def peer_asks(self, session: PeerSession, frame: Frame, payload: bytes) -> None:
        """REQUEST, ANY, CANCEL, KNOW or WANT."""
        ...

    def peer_digests(self, session: PeerSession, first: int, digests: bytes) -> None:
        """It says what the pieces from `first` on must be."""
        ...

    def peer_refuses(self, session: PeerSession, first: int, count: int) -> None: ...

    def peer_offers(self, session: PeerSession, first: int, count: int) -> None:
        """The body of an answer to ANY begins."""
        ...

    def pieces_arrived(self, session: PeerSession, first: int, count: int) -> None:
        """Pieces were received; they are right, and on disk."""
        ...

    def piece_wrong(self, session: PeerSession, index: int) -> None:
        """Something else was received in place of a piece."""
        ...

    def run_sent(self, session: PeerSession, size: int) -> None:
        """A run has left completely (into the kernel)."""
        ...

    def session_closed(self, session: PeerSession, error: Exception | None) -> None: ...


class PeerSession:
    """`peer` is the neighbour's id; a further connection to the same one has `lane` > 0."""

    def __init__(
        self,
        owner: SessionOwner,
        sock: socket.socket,
        peer: str,
        *,
        seed: bool,
        dialled: bool,
        lane: int = 0,
        layout: PieceLayout,
        blob: Blob,
        bulk: BulkPool,
        bulk_from: int,
    ) -> None:
        self.owner = owner
        self.peer = peer
        self.lane = lane
        self.seed = seed
        self.dialled = dialled
        self.name = peer if lane == 0 else f"{peer}#{lane}"
        self.has = 0
        self.closed = False
        self.received = 0
        """Bytes taken from the socket in bodies, but for what a bulk run has not told yet."""
        self._sock = sock
        self._fd = sock.fileno()
        self._loop = asyncio.get_running_loop()
        self._layout = layout
        self._blob = blob
        self._bulk = bulk
        self._bulk_from = bulk_from
        self._bulk_run: BulkRun | None = None
        self._bulk_told = 0
        self._bulk_waits = False
        self._inbox = memoryview(bytearray(_INBOX))
        self._waiting = 0
        """Bytes in the inbox that are no whole frame yet."""
        self._frame: Frame | None = None
        """Of which the body, or a payload too long for the inbox, is being received."""
        self._target = self._inbox
        self._filled = 0
        self._piece = 0
        self._buffer: bytearray | None = None
        self._lowat = 1
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.out = Outbox(sock, blob, sent=self._run_sent, failed=self.close)
        self._loop.add_reader(self._fd, self._readable)

    def __repr__(self) -> str:
        return f"<PeerSession {self.name[:16]}{' seed' if self.seed else ''} has {self.has.bit_count()}>"

    # ---------------------------------------------------------------- receiving

    def _readable(self) -> None:
        try:
            for _ in range(_READS_PER_WAKE):
                if not self._read():
                    break
        except (BlockingIOError, InterruptedError):
            pass
        except (OSError, DragonflyError, ValueError) as error:
            self.close(error)
        if not self.closed and self._bulk_run is None:
            self._sleep_until(1 if self._frame is None else len(self._target) - self._filled)

    def _sleep_until(self, count: int, most: int = _LOWAT_MOST) -> None:
        """Wake only when `count` more bytes (or `most`) are here, or the other side closes."""
        count = max(1, min(count, most))
        if count != self._lowat:
            self._lowat = count
            self._sock.setsockopt(socket.SOL_SOCKET, _SO_RCVLOWAT, count)

    def _read(self) -> bool:
        """Take in what is here, a piece and the inbox at most; whether there may be more."""
        inbox = self._inbox[self._waiting :]
        if self._frame is None:
            room, body = len(inbox), 0
            count = self._sock.recv_into(inbox)
        else:
            rest = self._target[self._filled :]
            room = len(rest) + len(inbox)
            count = self._sock.recvmsg_into((rest, inbox))[0]
            body = min(count, len(rest))
        if count == 0:
            self.close(None)
            return False
        if body:
            self._came(body)
        self._waiting += count - body
        if self._waiting and not self.closed:
            self._open_inbox()
        return count == room and not self.closed and self._bulk_run is None

    def _open_inbox(self) -> None:
        """Take the frames out that are whole; what there is of a body goes where it belongs."""
        inbox, at, end = self._inbox, 0, self._waiting
        while at < end and not self.closed:
            if self._frame is not None:
                part = min(end - at, len(self._target) - self._filled)
                self._target[self._filled : self._filled + part] = inbox[at : at + part]
                at += part
                self._came(part)
                continue
            if end - at < wire.HEADER:
                break
            frame = wire.parse_header(inbox, at)
            start = at + wire.HEADER
            if frame.kind is Kind.DATA:
                at = start
                if self._begin_data(frame, inbox[start:end]):
                    at = end
            elif frame.length <= end - start:
                at = start + frame.length
                self._control_frame(frame, bytes(inbox[start:at]))
            elif frame.length > _INBOX - wire.HEADER:
                at = start
                self._expect(frame, memoryview(bytearray(frame.length)))
            else:
                break
        self._waiting = end - at
        inbox[: self._waiting] = inbox[at:end]

    def _expect(self, frame: Frame, target: memoryview) -> None:
        """What follows belongs to `frame`, and goes into `target`."""
        self._frame = frame
        self._target = target
        self._filled = 0

    def _came(self, count: int) -> None:
        """So many bytes more are in the target."""
        frame = self._frame
        assert frame is not None
        self._filled += count
        whole = self._filled == len(self._target)
        if frame.kind is Kind.DATA:
            self.received += count
            if whole:
                self._piece_complete(frame)
        elif whole:
            self._frame = None
            self._control_frame(frame, bytes(self._target))

    def _control_frame(self, frame: Frame, payload: bytes) -> None:
        count = self._layout.count
        match frame.kind:
            case Kind.HAVE:
                self._has(wire.parse_runs(payload, count))
            case Kind.HAS:
                self._has(bitmap.from_bytes(payload, count))
            case Kind.DIGESTS:
                if len(payload) != 32 * frame.run or frame.first + frame.run > count:
                    raise PeerError("digests of pieces that do not exist", subject=self.name)
                self.owner.peer_digests(self, frame.first, payload)
            case Kind.REFUSE:
                self.owner.peer_refuses(self, frame.first, min(frame.run, count))
            case _:
                if frame.first + frame.run > count and frame.kind is not Kind.ANY:
                    raise PeerError("a request for a piece that does not exist", subject=self.name)
                self.owner.peer_asks(self, frame, payload)

    def _has(self, pieces: int) -> None:
        self.has |= pieces
        self.owner.peer_has(self, pieces)

    def _begin_data(self, frame: Frame, here: memoryview) -> bool:
        """A body begins, of which `here` is in the inbox; whether threads take it, with that."""
        check_data(frame, self._layout)
        if frame.flags & wire.CHOSEN:
            self.owner.peer_offers(self, frame.first, frame.run)
            if self.closed:
                return True
        if self._bulk_from <= frame.length > len(here):
            self._begin_bulk(frame, here)
            return True
        self._piece = frame.first
        self._expect(frame, self._place_for(frame.first))
        return False

    def _place_for(self, index: int) -> memoryview:
        if self._buffer is None:
            self._buffer = bytearray(self._layout.piece_size)
        return memoryview(self._buffer)[: self._layout.size(index)]

    def _piece_complete(self, frame: Frame) -> None:
        index, body = self._piece, self._target
        good = self._keep(index, body)
        if index + 1 < frame.first + frame.run:
            self._piece = index + 1
            self._expect(frame, self._place_for(index + 1))
        else:
            self._frame = None
        if good:
            self.owner.pieces_arrived(self, index, 1)
        else:
            self.owner.piece_wrong(self, index)

    def _keep(self, index: int, body: memoryview) -> bool:
        """Check a piece and write it; False where its digest is another (or not known)."""
        blob = self._blob
        if blob.have >> index & 1:
            return True
        digest = hashlib.sha256(body).digest()
        if digest != blob.digest_of(index):
            return False
        blob.write(self._layout.start(index), body)
        blob.mark(index, digest)
        return True

    # ---------------------------------------------------------------- long runs

    def _begin_bulk(self, frame: Frame, here: memoryview) -> None:
        self._loop.remove_reader(self._fd)
        piece = self._layout.piece_size
        if self._buffer is None or len(self._buffer) < _BATCH:
            self._buffer = bytearray(max(1, _BATCH // piece) * piece)
        run = self._bulk_run = BulkRun(
            self._sock, self._blob, self._layout, frame, here, self._buffer, self._bulk_from, self._bulk_heard
        )
        self._bulk_told = 0
        # A thread that waits is woken for a good part of a piece, not for each packet.
        self._sleep_until(run.left, _LOWAT_BULK)
        self._bulk.receive(run)

    def _bulk_heard(self, told: Told) -> None:
        """What the threads say, in the loop."""
        match told:
            case Received(first=first, count=count):
                size = self._layout.bytes(first, count)
                self.received += size
                self._bulk_told += size
                if not self.closed:
                    self.owner.pieces_arrived(self, first, count)
            case Wrong(index=index):
                if not self.closed:
                    self.owner.piece_wrong(self, index)
            case Offer(first=first, count=count):
                if not self.closed:
                    self.owner.peer_offers(self, first, count)
            case Dry():
                self._bulk_dry()
            case Ended(error=error):
                self._bulk_ended(error)
            case _:
                assert_never(told)

    def _bulk_dry(self) -> None:
        """Wait for more of the run here, where it holds no thread."""
        if self.closed:
            self._bulk_ended(None)
            return
        assert self._bulk_run is not None
        self._sleep_until(self._bulk_run.left, _LOWAT_BULK)
        self._bulk_waits = True
        self._loop.add_reader(self._fd, self._bulk_more)

    def _bulk_more(self) -> None:
        assert self._bulk_run is not None
        self._bulk_waits = False
        self._loop.remove_reader(self._fd)
        self._bulk.receive(self._bulk_run)

    def _bulk_ended(self, error: Exception | None) -> None:
        self._bulk_run = None
        if self.closed:
            self._sock.close()
        elif error is not None:
            self.close(error)
        else:
            self._sleep_until(1)
            self._loop.add_reader(self._fd, self._readable)

    def arrived(self) -> int:
        """Bytes of bodies that came in so far, those that still wait in the kernel included."""
        if self.closed:
            return self.received
        waiting = int(struct.unpack("i", fcntl.ioctl(self._fd, termios.FIONREAD, b"\0\0\0\0"))[0])
        run = self._bulk_run
        return self.received + waiting + (run.taken - self._bulk_told if run is not None else 0)

    def send_run(self, first: int, count: int, *, chosen: bool) -> None:
        """Send a run of pieces; `owner.run_sent` follows when it has left. One at a time."""
        start, size = self._layout.start(first), self._layout.bytes(first, count)
        self.out.send_run(
            wire.data_header(first, count, size, chosen=chosen), start, size, fast=size >= self._bulk_from
        )

    def _run_sent(self, size: int) -> None:
        self.owner.run_sent(self, size)

    # ---------------------------------------------------------------- the end

    def close(self, error: Exception | None = None) -> None:
        """End the session; the owner hears of it once."""
        if self.closed:
            return
        self.closed = True
        self.out.close()
        if self._bulk_run is None or self._bulk_waits:
            self._loop.remove_reader(self._fd)
            self._bulk_run = None
            self._sock.close()
        else:  # a thread has the socket, and closes it when it sees this
            self._bulk_run.stop = True
            with contextlib.suppress(OSError):
                self._sock.shutdown(socket.SHUT_RDWR)
        self._buffer = None
        self.owner.session_closed(self, error)
