"""Range reads of the source, in threads: bytes → check → disk → events.

The first read of a task also tells what the task *is* (length, validators, headers). A
piece whose digest is known is checked against it: a source that changed in the middle is
an error, never a mixture.
"""

from __future__ import annotations

import asyncio
import hashlib
import threading
import time
from collections.abc import Callable

from dragonfly.core.digest import NO_DIGEST
from dragonfly.core.pieces import PieceLayout
from dragonfly.core.rate import TokenBucket
from dragonfly.errors import IntegrityError, SourceUnreachable, StoppedError
from dragonfly.source.base import SourceStream
from dragonfly.store.blob import Blob

__all__ = ["Throttle", "read_run"]

_CHUNK = 256 * 1024
_REPORT_EVERY_S = 0.01


class Throttle:
    """A token bucket that threads share; waits are cut so that a stop is seen soon."""

    def __init__(self, bucket: TokenBucket) -> None:
        self.bucket = bucket
        self.waited_s = 0.0
        """Time for which it held reads back, all together."""
        self._lock = threading.Lock()

    def take(self, count: int, stop: threading.Event) -> None:
        if not self.bucket.rate:
            return
        while True:
            with self._lock:
                wait = self.bucket.delay(time.monotonic())
                if not wait:
                    self.bucket.take(count, time.monotonic())
                    return
            self.waited_s += min(wait, 0.5)
            if stop.wait(min(wait, 0.5)):
                return


class Partial:
    """The bytes of one unfinished piece, kept when its read breaks off: the next goes on behind them."""

    def __init__(self, piece_size: int) -> None:
        self.buffer = memoryview(bytearray(piece_size))
        self.index = -1
        self.filled = 0

    def position(self, layout: PieceLayout, first: int) -> int:
        """The byte at which a read of the pieces from `first` on begins."""
        if self.index != first:
            self.index, self.filled = first, 0
        return layout.start(first) + self.filled


class _Reports:
    """Hands what a thread has brought to the loop: at once, then in batches, but never later than
    `_REPORT_EVERY_S`: a source that falls silent must not hold back what came before."""

    def __init__(self, loop: asyncio.AbstractEventLoop, report: Callable[[list[int], int], None]) -> None:
        self._loop = loop
        self._report = report
        self._lock = threading.Lock()
        self._done: list[int] = []
        self._fresh = 0
        self._armed = False
        self._next_at = 0.0

    def add(self, index: int, count: int) -> None:
        with self._lock:
            self._done.append(index)
            self._fresh += count
            armed, self._armed = self._armed, True
        if not armed:
            self._loop.call_soon_threadsafe(self._arm)

    def end(self, count: int) -> None:
        """The read is over; what it brought is told before that is."""
        with self._lock:
            self._fresh += count
        self._loop.call_soon_threadsafe(self._flush)

    def _arm(self) -> None:
        wait = self._next_at - self._loop.time()
        if wait <= 0:
            self._flush()
        else:
            self._loop.call_later(wait, self._flush)

    def _flush(self) -> None:
        with self._lock:
            done, self._done = self._done, []
            fresh, self._fresh = self._fresh, 0
            self._armed = False
        self._next_at = self._loop.time() + _REPORT_EVERY_S
        if done or fresh:
            self._report(done, fresh)


def read_run(
    stream: SourceStream,
    blob: Blob,
    layout: PieceLayout,
    first: int,
    count: int,
    *,
    partial: Partial,
    stop: threading.Event,
    throttles: tuple[Throttle, ...],
    loop: asyncio.AbstractEventLoop,
    report: Callable[[list[int], int], None],
) -> None:
    """Read pieces `first` … of an open stream that stands at `partial.position`.

    `report(indexes, bytes)` is called in `loop`. Raises what the stream and the store raise,
    IntegrityError where a piece is not what its known digest says, StoppedError on `stop`.
    """
    reports = _Reports(loop, report)
    fresh = 0
    try:
        for index in range(first, first + count):
            partial.position(layout, index)
            view = partial.buffer[: layout.size(index)]
            at = partial.filled
            hasher = hashlib.sha256(view[:at])
            while at < len(view):
                if stop.is_set():
                    raise StoppedError("the read of the source was stopped")
                got = stream.readinto(view[at : at + _CHUNK])
                if got == 0:
                    break
                hasher.update(view[at : at + got])
                at = partial.filled = at + got
                fresh += got
                for throttle in throttles:
                    throttle.take(got, stop)
            if at < len(view):
                raise SourceUnreachable("the source gave fewer bytes than it promised", subject=f"piece {index}")
            _keep(blob, layout, index, view, hasher.digest())
            reports.add(index, fresh)
            fresh = 0
    finally:
        reports.end(fresh)


def _keep(blob: Blob, layout: PieceLayout, index: int, view: memoryview, digest: bytes) -> None:
    if blob.have >> index & 1:
        return
    known = blob.digest_of(index)
    if known not in (NO_DIGEST, digest):
        raise IntegrityError(
            "the source changed while it was read", subject=f"piece {index}", advice="start the pull again"
        )
    blob.write(layout.start(index), view)
    blob.mark(index, digest)
