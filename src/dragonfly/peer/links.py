"""A task's sessions: dialled and accepted, further lanes to fast neighbours, announcements in batches."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable

from dragonfly.core.messages import PeerAddress
from dragonfly.peer.session import PeerSession
from dragonfly.swarm.announcing import Announcing, concerns

__all__ = ["Links"]


class Links:
    """Sessions by name (`id`, or `id#n` for lane n). The task tells `news`; the rest is timing."""

    def __init__(self, rhythm: Announcing, have: Callable[[], int], full: int) -> None:
        self.sessions: dict[str, PeerSession] = {}
        self._lanes: dict[str, list[PeerSession]] = {}
        """The same by peer."""
        self.dialling: set[str] = set()
        self.known: dict[str, PeerAddress] = {}
        self._have = have
        self._full = full
        self._rhythm = rhythm
        self._timer: asyncio.TimerHandle | None = None
        self._loop = asyncio.get_running_loop()

    def __iter__(self) -> Iterable[PeerSession]:
        return iter(self.sessions.values())

    def get(self, name: str) -> PeerSession | None:
        return self.sessions.get(name)

    def peers(self) -> tuple[str, ...]:
        """Ids of the neighbours that we are connected with."""
        return tuple(self._lanes)

    def add(self, session: PeerSession) -> None:
        self.sessions[session.name] = session
        self._lanes.setdefault(session.peer, []).append(session)

    def remove(self, session: PeerSession) -> None:
        if self.sessions.get(session.name) is session:
            del self.sessions[session.name]
        if session in (lanes := self._lanes.get(session.peer, [])):
            lanes.remove(session)
            if not lanes:
                del self._lanes[session.peer]

    def lanes(self, peer: str) -> tuple[PeerSession, ...]:
        return tuple(self._lanes.get(peer, ()))

    def next_lane(self, peer: str) -> int:
        """The lowest lane number to `peer` that is not in use."""
        used = {session.lane for session in self.lanes(peer)}
        lane = 1
        while lane in used:
            lane += 1
        return lane

    def tell(self, session: PeerSession) -> None:
        """Bring `session` up to date on what we have."""
        session.out.announce(self._have())

    def news(self) -> None:
        """There is a new piece: it is announced when the rhythm says so."""
        have = self._have()
        missing = self._full & ~have
        when = self._rhythm.piece(have.bit_count(), missing.bit_count(), self._loop.time())
        if self._timer is not None:
            if self._timer.when() <= when:
                return
            self._timer.cancel()
        self._timer = self._loop.call_at(when, self._announce)

    def _announce(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        self._rhythm.told(self._loop.time())
        have = self._have()
        for session in list(self.sessions.values()):
            told, complete = session.out.told != 0, session.has == self._full
            if session.lane == 0 and concerns(seed=session.seed, told=told, complete=complete):
                session.out.announce(have)

    def announce_all(self) -> None:
        """Tell everybody, seeds too: we have everything now."""
        self._announce()
        for session in list(self.sessions.values()):
            if session.lane == 0 and session.has != self._full:
                self.tell(session)

    def close(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        for session in list(self.sessions.values()):
            session.close(None)
