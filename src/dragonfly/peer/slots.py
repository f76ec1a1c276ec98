"""Upload slots: whose piece leaves the node now.

Few pieces leave at once, each session in turn, so that each is soon whole somewhere else
and can be passed on; sending to all at the same time would make every first copy late.
A session whose link is stuck does not hold its slot for others.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable

from dragonfly.core.rate import TokenBucket
from dragonfly.peer.session import PeerSession

__all__ = ["UploadSlots"]

Start = Callable[[PeerSession], int]

_STUCK_S = 0.1


class UploadSlots:
    """One for the whole node. `limit` is its upload rate."""

    def __init__(self, slots: int, limit: TokenBucket) -> None:
        self._slots = slots
        self._limit = limit
        self._starts: dict[PeerSession, Start] = {}
        self._ready: deque[PeerSession] = deque()
        self._queued: set[PeerSession] = set()
        self._active: dict[PeerSession, int] = {}
        self._stuck: set[PeerSession] = set()
        self._pumping = False
        self._timer: asyncio.TimerHandle | None = None
        self._loop = asyncio.get_running_loop()

    def want(self, session: PeerSession, start: Start) -> None:
        """`session` has something to send: `start` begins its next run and returns the bytes, 0 for none."""
        self._starts[session] = start
        self._enqueue(session)

    def _enqueue(self, session: PeerSession) -> None:
        if session not in self._queued and session not in self._active and session not in self._stuck:
            self._queued.add(session)
            self._ready.append(session)
        self._pump()

    def sent(self, session: PeerSession) -> None:
        """A run of `session` has left; it may have more."""
        self._active.pop(session, None)
        self._stuck.discard(session)
        if not session.closed:
            self._enqueue(session)

    def gone(self, session: PeerSession) -> None:
        self._starts.pop(session, None)
        self._active.pop(session, None)
        self._stuck.discard(session)
        if session in self._queued:
            self._queued.discard(session)
            self._ready.remove(session)
        self._pump()

    def close(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._ready.clear()

    def _pump(self) -> None:
        if self._pumping:
            return
        self._pumping = True
        try:
            while self._ready and len(self._active) < self._slots:
                now = self._loop.time()
                if wait := self._limit.delay(now):
                    self._wake_in(wait)
                    return
                session = self._ready.popleft()
                self._queued.discard(session)
                if session.closed or session.out.busy:
                    continue
                self._active[session] = session.out.moved
                size = self._starts[session](session)
                if size:
                    self._limit.take(size, now)
                elif self._active.get(session) is not None:
                    del self._active[session]
        finally:
            self._pumping = False
        if self._ready:
            self._wake_in(_STUCK_S)

    def _wake_in(self, seconds: float) -> None:
        if self._timer is None:
            self._timer = self._loop.call_later(seconds, self._check)

    def _check(self) -> None:
        """Take the slot from sessions that have not moved since the last look."""
        self._timer = None
        for session, moved in list(self._active.items()):
            if session.out.moved == moved:
                del self._active[session]
                self._stuck.add(session)
            else:
                self._active[session] = session.out.moved
        self._pump()
