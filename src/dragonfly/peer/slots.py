"""Upload slots: whose piece leaves the node now.

Few pieces leave at once, each session in turn (`swarm.turns`), so that each is soon whole somewhere else
and can be passed on; sending to all at the same time would make every first copy late. Fewer still of
those that go to somebody who has nothing: where each of these has the link for itself, those who can give
double in the time of one piece. A session whose link is stuck does not hold its slot for others.
"""

from __future__ import annotations

import asyncio
from random import Random
from typing import Protocol

from dragonfly.core.rate import TokenBucket
from dragonfly.peer.session import PeerSession
from dragonfly.swarm.turns import Turns

__all__ = ["Giver", "UploadSlots"]

_STUCK_S = 0.1
_FIRST_S = 0.6
"""A first piece has the link for itself so long at most, and is not stuck while it waits for the link's queue."""


class Giver(Protocol):
    """The task of a session."""

    def start_upload(self, session: PeerSession) -> int:
        """Begin the next run to `session`; its bytes, or 0 where it waits for nothing."""
        ...

    def empty_handed(self, session: PeerSession) -> bool:
        """Whether the other side has nothing yet."""
        ...


class _Upload:
    """A run on its way: bytes that had left its session at the last look."""

    __slots__ = ("began", "first", "moved")

    def __init__(self, moved: int, first: bool, began: float) -> None:
        self.moved = moved
        self.first = first
        """It goes to somebody who has nothing."""
        self.began = began


class UploadSlots:
    """One for the whole node: `slots` runs at once, of which `first_slots` to those who have nothing.

    `limit` is its upload rate.
    """

    def __init__(self, slots: int, first_slots: int, limit: TokenBucket, rng: Random) -> None:
        self._slots = slots
        self._first_slots = first_slots
        self._limit = limit
        self._givers: dict[PeerSession, Giver] = {}
        self._turns: Turns[PeerSession] = Turns(rng)
        self._active: dict[PeerSession, _Upload] = {}
        self._stuck: set[PeerSession] = set()
        self._pumping = False
        self._timer: asyncio.TimerHandle | None = None
        self._loop = asyncio.get_running_loop()

    def want(self, session: PeerSession, giver: Giver) -> None:
        """`giver` has something to send to `session`."""
        self._givers[session] = giver
        self._enqueue(session)

    def _enqueue(self, session: PeerSession) -> None:
        if session not in self._active and session not in self._stuck:
            self._turns.add(session, empty_handed=self._givers[session].empty_handed(session))
        self._pump()

    def fed(self, session: PeerSession) -> None:
        """The other side of `session` says that it has something."""
        self._turns.fed(session)

    def sent(self, session: PeerSession) -> None:
        """A run of `session` has left; it may have more."""
        self._active.pop(session, None)
        self._stuck.discard(session)
        if not session.closed:
            self._enqueue(session)

    def gone(self, session: PeerSession) -> None:
        self._givers.pop(session, None)
        self._active.pop(session, None)
        self._stuck.discard(session)
        self._turns.discard(session)
        self._pump()

    def close(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._turns.clear()

    def _pump(self) -> None:
        if self._pumping:
            return
        self._pumping = True
        try:
            while self._turns and self._room():
                now = self._loop.time()
                if wait := self._limit.delay(now):
                    self._wake_in(wait)
                    return
                session = self._turns.next()
                if session.closed or session.out.busy:
                    continue
                giver = self._givers[session]
                self._active[session] = _Upload(session.out.moved, giver.empty_handed(session), now)
                size = giver.start_upload(session)
                if size:
                    self._limit.take(size, now)
                elif self._active.get(session) is not None:
                    del self._active[session]
        finally:
            self._pumping = False
        if self._turns:
            self._wake_in(_STUCK_S)

    def _room(self) -> bool:
        """Whether the next one may begin."""
        if len(self._active) >= self._slots:
            return False
        return not self._turns.first or sum(upload.first for upload in self._active.values()) < self._first_slots

    def _wake_in(self, seconds: float) -> None:
        if self._timer is None:
            self._timer = self._loop.call_later(seconds, self._check)

    def _check(self) -> None:
        """Take the slot from sessions that have not moved since the last look."""
        self._timer = None
        now = self._loop.time()
        for session, upload in list(self._active.items()):
            upload.first = upload.first and now - upload.began < _FIRST_S
            if session.out.moved != upload.moved:
                upload.moved = session.out.moved
            elif not upload.first:
                del self._active[session]
                self._stuck.add(session)
        self._pump()
