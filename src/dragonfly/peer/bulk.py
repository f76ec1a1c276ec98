"""Long runs on fast links: threads take them from the sockets, check them and write them.

Every call that is long here (`recv_into`, SHA-256, `pwrite`) releases the interpreter lock,
so several runs go on at once on several cores. A thread works only where there are bytes: a
run whose socket is dry goes back to the event loop, which waits for all of them at once. So
few threads serve any number of lanes, and a slow neighbour holds none of them. After a run
the thread goes on with the next one that waits in the socket; the loop only hears, some
pieces at a time, what was brought.
"""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import os
import select
import socket
import threading
from collections import deque
from collections.abc import Callable, Iterator
from queue import SimpleQueue

from dragonfly.core.pieces import PieceLayout
from dragonfly.errors import PeerError
from dragonfly.store.blob import Blob
from dragonfly.wire import piece as wire
from dragonfly.wire.piece import Frame, Kind

__all__ = ["BulkPool", "BulkRun", "Dry", "Ended", "Offer", "Received", "Wrong", "check_data"]

_CHUNK = 512 * 1024
_PATIENCE_MS = 1
_TELL_EVERY_S = 0.005
_MOST_THREADS = 8
_JOIN_S = 1.0


def check_data(frame: Frame, layout: PieceLayout) -> None:
    """PeerError where the head of a DATA frame fits no run of `layout`."""
    if not frame.run or frame.first + frame.run > layout.count:
        raise PeerError("data for a piece that does not exist", subject=str(frame.first))
    if layout.bytes(frame.first, frame.run) != frame.length:
        raise PeerError("data of a wrong length", subject=str(frame.first))


class Received:
    """These pieces came in; they are right, and on disk."""

    __slots__ = ("count", "first")

    def __init__(self, first: int, count: int) -> None:
        self.first = first
        self.count = count


class Wrong:
    """What came in as piece `index` is something else."""

    __slots__ = ("index",)

    def __init__(self, index: int) -> None:
        self.index = index


class Offer:
    """A further run has begun, which answers ANY."""

    __slots__ = ("count", "first")

    def __init__(self, first: int, count: int) -> None:
        self.first = first
        self.count = count


class Dry:
    """No bytes are there: give the run back to the pool when there are some."""


class Ended:
    """The last run is complete, and what follows is the loop's; or it broke off with `error`."""

    __slots__ = ("error",)

    def __init__(self, error: Exception | None) -> None:
        self.error = error


Told = Received | Wrong | Offer | Dry | Ended


class BulkRun:
    """A body that threads receive, one at a time; `hear` is called in the loop with what happens to it.

    `here`: the beginning of the body, taken from the socket already. `buffer` holds a piece or several; small
    ones are received, written and told of as many at a time as fit, since each call that lets go of the
    interpreter lock waits to get it back. Bodies of at least `least` bytes that follow are received too. `stop`
    makes the thread give up.
    """

    def __init__(
        self,
        sock: socket.socket,
        blob: Blob,
        layout: PieceLayout,
        frame: Frame,
        here: memoryview,
        buffer: bytearray,
        least: int,
        hear: Callable[[Told], None],
    ) -> None:
        self.hear = hear
        self.stop = False
        self.taken = 0
        """Bytes taken from the socket so far, all its runs together."""
        self._sock = sock
        self._blob = blob
        self._layout = layout
        self._buffer = memoryview(buffer)
        self._least = least
        self._poll: select.poll | None = None
        self._begin(frame)
        self._filled = self.taken = len(here)
        self._buffer[: self._filled] = here
        self._hash()

    def _begin(self, frame: Frame) -> None:
        self._index = frame.first
        """The piece at the beginning of the buffer."""
        self._end = frame.first + frame.run
        self._filled = 0
        self._hashed = 0
        self._digests: list[bytes] = []
        """Of the pieces that are whole in the buffer."""
        self._hasher = hashlib.sha256()

    @property
    def left(self) -> int:
        """Bytes of the run that have not been taken."""
        return self._layout.bytes(self._index, self._end - self._index) - self._filled

    def work(self, tell: Callable[[Told], None]) -> None:
        """Take in what there is, run after run; the last thing told is Dry or Ended."""
        try:
            more = True
            while more:
                try:
                    more = self._receive()
                finally:
                    self._keep(tell)
                if self._index == self._end and not self._next(tell):
                    tell(Ended(None))
                    return
            tell(Dry())
        except Exception as error:  # the loop is told, whatever it is, and ends the session with it
            tell(Ended(error))

    def _receive(self) -> bool:
        """Fill the buffer as far as the run goes; False where its bytes are not there yet."""
        fit = max(1, len(self._buffer) // self._layout.piece_size)
        size = self._layout.bytes(self._index, min(fit, self._end - self._index))
        while self._filled < size:
            view = self._buffer[self._filled : min(size, self._filled + _CHUNK)]
            try:
                count = self._sock.recv_into(view)
            except BlockingIOError:
                if self.stop or not self._soon():
                    return False
                continue
            if count == 0 or self.stop:
                raise PeerError("the neighbour closed in the middle of a piece", subject=str(self._index))
            self._filled += count
            self.taken += count
            self._hash()
        return True

    def _hash(self) -> None:
        """Bring the digests up to what is in the buffer."""
        while self._hashed < self._filled:
            whole = len(self._digests)
            end = self._layout.bytes(self._index, whole + 1)
            upto = min(end, self._filled)
            self._hasher.update(self._buffer[self._hashed : upto])
            self._hashed = upto
            if upto == end:
                self._digests.append(self._hasher.digest())
                self._hasher = hashlib.sha256()

    def _soon(self) -> bool:
        """Whether there are bytes within a moment, for which it pays to stay."""
        if self._poll is None:
            self._poll = select.poll()
            self._poll.register(self._sock, select.POLLIN)
        return bool(self._poll.poll(_PATIENCE_MS))

    def _keep(self, tell: Callable[[Told], None]) -> None:
        """Write the whole pieces that are right; PeerError where one is wrong (or its digest not known)."""
        first, digests, blob = self._index, self._digests, self._blob
        right = next(
            (at for at, digest in enumerate(digests) if digest != blob.digest_of(first + at)),
            len(digests),
        )
        if right:
            size = self._layout.bytes(first, right)
            blob.write(self._layout.start(first), self._buffer[:size])
            blob.mark(first, b"".join(digests[:right]))
            tell(Received(first, right))
            left = self._filled - size
            self._buffer[:left] = self._buffer[size : self._filled]
            self._index, self._filled, self._hashed = first + right, left, left
        if right < len(digests):  # what else it sends of this run is not worth taking in
            tell(Wrong(first + right))
            raise PeerError("the neighbour sent a wrong piece", subject=str(first + right))
        self._digests = []

    def _next(self, tell: Callable[[Told], None]) -> bool:
        """Go on with the body that follows, where its head is there already and it is long."""
        try:
            head = self._sock.recv(wire.HEADER, socket.MSG_PEEK)
        except BlockingIOError:
            return False
        if len(head) < wire.HEADER:
            return False
        frame = wire.parse_header(head)
        if frame.kind is not Kind.DATA or frame.length < self._least:
            return False
        check_data(frame, self._layout)
        self._sock.recv(wire.HEADER)
        if frame.flags & wire.CHOSEN:
            tell(Offer(frame.first, frame.run))
        self._begin(frame)
        return True


class BulkPool:
    """The threads, for all sessions of a node: `threads` of them, or (0) one for each core and one more.

    To be made, used and closed in the event loop.
    """

    def __init__(self, threads: int = 0) -> None:
        self._loop = asyncio.get_running_loop()
        self._todo: SimpleQueue[BulkRun | None] = SimpleQueue()
        self._told: deque[tuple[BulkRun, Told]] = deque()
        self._armed = False
        self._timer: asyncio.TimerHandle | None = None
        self._threads: list[threading.Thread] = []
        self._most = threads or min(_MOST_THREADS, len(os.sched_getaffinity(0)) + 1)
        self._given = 0

    def receive(self, run: BulkRun) -> None:
        """Let a thread go on with `run`."""
        self._given += 1
        if len(self._threads) < min(self._most, self._given):
            thread = threading.Thread(target=self._work, name=f"bulk_{len(self._threads)}", daemon=True)
            self._threads.append(thread)
            thread.start()
        self._todo.put(run)

    def close(self) -> None:
        """End the threads; runs are to be stopped before."""
        for _ in self._threads:
            self._todo.put(None)
        for thread in self._threads:
            thread.join(_JOIN_S)
        if self._timer is not None:
            self._timer.cancel()
        self._hand_over()

    def _work(self) -> None:
        while (run := self._todo.get()) is not None:
            self._work_on(run)

    def _work_on(self, run: BulkRun) -> None:
        def tell(what: Told) -> None:
            self._told.append((run, what))
            if not self._armed:
                self._armed = True
                with contextlib.suppress(RuntimeError):  # the loop is over
                    self._loop.call_soon_threadsafe(self._deliver)

        run.work(tell)

    def _deliver(self) -> None:
        """Tell what has happened, and look again in a while: waking the loop costs more than a timer."""
        if self._hand_over() and self._timer is None:
            self._timer = self._loop.call_later(_TELL_EVERY_S, self._again)

    def _again(self) -> None:
        self._timer = None
        self._deliver()

    def _hand_over(self) -> bool:
        """Whether there was anything to tell."""
        self._armed = False
        if not self._told:
            return False
        self._armed = True
        for run, what in self._joined():
            run.hear(what)
        return True

    def _joined(self) -> Iterator[tuple[BulkRun, Told]]:
        """What was told so far, each run's in its order. Pieces in a row are one: each word costs the same."""
        begun: dict[BulkRun, Received] = {}
        while self._told:
            run, what = self._told.popleft()
            before = begun.pop(run, None)
            if before is not None and isinstance(what, Received) and before.first + before.count == what.first:
                what = Received(before.first, before.count + what.count)
            elif before is not None:
                yield run, before
            if isinstance(what, Received):
                begun[run] = what
            else:
                yield run, what
        yield from begun.items()
