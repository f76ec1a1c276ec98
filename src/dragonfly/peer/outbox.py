"""What leaves on one connection: control frames as soon as they may, then pieces, straight from the file.

A run of pieces that has begun must end before anything else is said. So an announcement is
not put into words before it can leave: what is new by then is one frame.
`TCP_NOTSENT_LOWAT` keeps what waits in user space, where it can still be cancelled. A run has
left when little of it waits in the kernel: with ten neighbours the rests of ten runs there would
be a second's work of a slow link, before which no request and no announcement gets out.
"""

from __future__ import annotations

import asyncio
import os
import socket
from collections import deque
from collections.abc import Callable

from dragonfly.errors import DragonflyError, PeerError
from dragonfly.store.blob import Blob
from dragonfly.wire import piece as wire

__all__ = ["Outbox"]

_TCP_NOTSENT_LOWAT = 25
_QUEUE_SLOW = 16 * 1024
_QUEUE_FAST = 2 * 1024 * 1024
_NEWS = b""
"""Where an announcement leaves; what it says is found then."""


class _Run:
    """Pieces on their way out: what is left of their header, and of their place in the file."""

    __slots__ = ("begun", "header", "left", "offset", "size")

    def __init__(self, header: bytes, offset: int, size: int) -> None:
        self.header = memoryview(header)
        self.offset = offset
        self.left = size
        self.size = size
        self.begun = False


class Outbox:
    """`sent(size)` hears of each run that has left, `failed(error)` of a broken connection."""

    def __init__(
        self, sock: socket.socket, blob: Blob, *, sent: Callable[[int], None], failed: Callable[[Exception], None]
    ) -> None:
        self.told = 0
        """The pieces that the other side knows us to have."""
        self.moved = 0
        """Bytes of pieces that have left."""
        self._sock = sock
        self._fd = sock.fileno()
        self._blob = blob
        self._sent = sent
        self._failed = failed
        self._loop = asyncio.get_running_loop()
        self._control: deque[bytes | memoryview] = deque()
        self._mine = 0
        self._news_wait = False
        self._run: _Run | None = None
        self._leaving = 0
        """Bytes of the run of which the rest waits in the kernel."""
        self._fast = False
        self._queue = _QUEUE_SLOW
        self._closed = False
        self._waits = False
        """For room in the kernel's buffer."""
        self._writing = False
        self._soon = False
        sock.setsockopt(socket.IPPROTO_TCP, _TCP_NOTSENT_LOWAT, _QUEUE_SLOW)

    # ---------------------------------------------------------------- what to send

    def announce(self, mine: int) -> None:
        """Tell what is new in the bitmap `mine`, if anything."""
        self._mine = mine
        if mine & ~self.told and not self._news_wait:
            self._news_wait = True
            self.send(_NEWS)

    def send(self, frame: bytes) -> None:
        """Send a control frame, before any run that has not begun."""
        if self._closed:
            return
        self._control.append(frame)
        if self._may_write and not self._soon:
            self._soon = True
            self._loop.call_soon(self._send_soon)

    def send_run(self, header: bytes, offset: int, size: int, *, fast: bool) -> None:
        """Send `size` bytes of the file from `offset` on, one run at a time. `fast`: a long queue in the kernel."""
        # A run is some hundredths of a second of the link (`request_span_s`): a quarter of that keeps it busy.
        queue = _QUEUE_FAST if fast else max(_QUEUE_SLOW, size // 4)
        if queue != self._queue:
            self._queue = queue
            self._sock.setsockopt(socket.IPPROTO_TCP, _TCP_NOTSENT_LOWAT, queue)
        self._fast = fast
        self._run = _Run(header, offset, size)
        if self._may_write:
            self._write()

    @property
    def busy(self) -> bool:
        """A run is on its way, or waits to be."""
        return self._run is not None or self._leaving > 0

    def close(self) -> None:
        """Send nothing more; the socket is the caller's to close."""
        self._closed = True
        self._control.clear()
        self._run = None
        if self._waits:
            self._loop.remove_writer(self._fd)
        self._left()

    # ---------------------------------------------------------------- sending

    def _send_soon(self) -> None:
        """What was said in one go of the loop leaves together, and no caller is re-entered."""
        self._soon = False
        if not self._closed and self._may_write:
            if len(self._control) > 1 and (self._run is None or not self._run.begun):
                self._control = deque([b"".join(frame or self._news() for frame in self._control)])
            self._write()

    def _news(self) -> bytes:
        news, first = self._mine & ~self.told, not self.told
        self.told |= self._mine
        self._news_wait = False
        return wire.has_frame(news) if first else wire.have_frame(news)

    @property
    def _may_write(self) -> bool:
        """It is not being written, and the kernel has room as far as is known."""
        return not self._writing and (not self._waits or self._leaving > 0)

    def _write(self) -> None:
        self._writing = True
        try:
            while not self._closed:
                if self._run is None or not self._run.begun:
                    self._write_control()
                if self._run is None:
                    break
                self._write_run(self._run)
        except (BlockingIOError, InterruptedError):
            self._wait(True)
        except (OSError, DragonflyError) as error:
            self._failed(error)
        else:
            self._wait(self._leaving > 0)
        finally:
            self._writing = False

    def _wait(self, wanted: bool) -> None:
        if wanted != self._waits and not self._closed:
            self._waits = wanted
            if wanted:
                self._loop.add_writer(self._fd, self._writable)
            else:
                self._loop.remove_writer(self._fd)

    def _left(self) -> None:
        if self._leaving:
            size, self._leaving = self._leaving, 0
            self._sent(size)

    def _writable(self) -> None:
        self._left()
        if not self._closed:
            self._write()

    def _write_control(self) -> None:
        while self._control:
            frame = self._control[0] = self._control[0] or self._news()
            count = self._sock.send(frame)
            if count < len(frame):
                self._control[0] = memoryview(frame)[count:]
            else:
                self._control.popleft()

    def _write_run(self, run: _Run) -> None:
        """Header and body; once it has begun, nothing may come between."""
        while run.header:
            run.begun = True
            count = self._sock.send(run.header, socket.MSG_MORE)
            run.header = run.header[count:]
        while run.left:
            count = os.sendfile(self._fd, self._blob.fileno(), run.offset, run.left)
            if count == 0:
                raise PeerError("the stored piece is shorter than it should be", subject=str(self._blob.path))
            run.offset += count
            run.left -= count
            self.moved += count
        self._run = None
        if self._fast:
            self._sent(run.size)
        else:
            self._leaving = run.size
