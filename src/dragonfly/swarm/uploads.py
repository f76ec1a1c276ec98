"""What to send next: the queues of a task's neighbours, and a seed's choice of pieces.

A seed answers "any piece" with the one it has sent least, from the asker's hint onwards.
So each piece leaves the source side once before any leaves it twice, and different ones
go to different peers: what a swarm needs in its first seconds.
"""

from __future__ import annotations

from collections import deque

import msgspec

from dragonfly.core import bitmap

__all__ = ["Nothing", "Run", "Uploads"]

_TOLD_AT_ONCE = 4
"""One of them will get the new piece; the others hear of it in the usual time."""


class Run(msgspec.Struct, frozen=True, gc=False):
    """Send these pieces. `by_choice`: they answer "any", not a request by name."""

    first: int
    count: int
    by_choice: bool = False


class Nothing(msgspec.Struct, frozen=True, gc=False):
    """Refuse: these pieces are not here (`count` 0: there is nothing to choose now)."""

    first: int
    count: int


class _Any(msgspec.Struct, gc=False):
    count: int
    hint: int
    busy: int


class _Child:
    __slots__ = ("fed", "has", "queue", "zone")

    def __init__(self) -> None:
        self.zone = ""
        self.has = 0
        self.fed = False
        """It has a piece, or is being sent one."""
        self.queue: deque[Run | _Any] = deque()


class Uploads:
    """The sending side of one task. `have` (a bitmap) is kept up by the owner."""

    def __init__(self, count: int, have: int = 0) -> None:
        self.count = count
        self.have = have
        self._children: dict[str, _Child] = {}
        self._distrusted: set[str] = set()
        self._turned_away: dict[str, None] = {}
        """Who asked for any piece when there was none, in order."""
        #: sent_times[n] is the bitmap of pieces that went out n times (the last: n or more).
        self._sent_times: list[int] = [bitmap.full(count)]

    def gone(self, peer: str) -> None:
        self._children.pop(peer, None)
        self._turned_away.pop(peer, None)

    def take_turned_away(self) -> list[str]:
        """There is a new piece: who should hear of it at once, since it was refused one. Each once."""
        peers = list(self._turned_away)[:_TOLD_AT_ONCE]
        for peer in peers:
            del self._turned_away[peer]
        return peers

    def child_in(self, peer: str, zone: str, host: str) -> None:
        """`peer`, a session of `host`, is in another zone than we are."""
        if host not in self._distrusted:
            self._child(peer).zone = zone

    def distrust(self, host: str) -> None:
        """The supernode took `host` away: what it gets from now on is not had by its zone."""
        self._distrusted.add(host)

    def child_has(self, peer: str, pieces: int) -> None:
        child = self._child(peer)
        child.has |= pieces
        child.fed = child.fed or bool(pieces)

    def empty_handed(self, peer: str) -> bool:
        """Whether `peer` has nothing, and nothing on its way from here: it should go first (`swarm.turns`)."""
        child = self._children.get(peer)
        return child is None or not child.fed

    def asked(self, peer: str, first: int, count: int) -> None:
        """`peer` wants a run by name."""
        if count > 0 and first + count <= self.count:
            self._child(peer).queue.append(Run(first, count))

    def asked_any(self, peer: str, count: int, hint: int, busy: int) -> None:
        """`peer` wants `count` pieces of our choice, none of the bitmap `busy`."""
        self._child(peer).queue.append(_Any(count, hint, busy))

    def cancelled(self, peer: str, first: int, count: int) -> None:
        """What is still queued of this run need not be sent."""
        child = self._child(peer)
        kept: deque[Run | _Any] = deque()
        for item in child.queue:
            if isinstance(item, _Any) or item.first >= first + count or item.first + item.count <= first:
                kept.append(item)
                continue
            if item.first < first:
                kept.append(Run(item.first, first - item.first))
            end = item.first + item.count
            if end > first + count:
                kept.append(Run(first + count, end - first - count))
        child.queue = kept

    def pending(self, peer: str) -> bool:
        child = self._children.get(peer)
        return bool(child and child.queue)

    def next(self, peer: str) -> Run | Nothing | None:
        """What goes to `peer` now; None when it waits for nothing."""
        child = self._children.get(peer)
        if child is None or not child.queue:
            return None
        item = child.queue.popleft()
        if isinstance(item, Run):
            held = bitmap.run_from(self.have >> item.first, 0)
            if held < item.count:
                if held == 0:
                    return Nothing(item.first, item.count)
                child.queue.appendleft(Run(item.first + held, item.count - held))
                item = Run(item.first, held)
            child.fed = True
            self._count_sent(item.first, item.count)
            return item
        useful = self.have & ~item.busy & ~child.has
        if child.zone:
            useful &= ~self._zone_has(child.zone)
        run = self._choose(useful, item.hint, item.count)
        if run is None:
            self._turned_away[peer] = None
            return Nothing(0, 0)
        if run.count < item.count:
            child.queue.appendleft(_Any(item.count - run.count, item.hint, item.busy))
        child.has |= bitmap.run(run.first, run.count)
        child.fed = True
        self._count_sent(run.first, run.count)
        return run

    def _zone_has(self, zone: str) -> int:
        """What our children there have, or are being sent."""
        pieces = 0
        for child in self._children.values():
            if child.zone == zone:
                pieces |= child.has
        return pieces

    def _choose(self, useful: int, hint: int, count: int) -> Run | None:
        if not useful:
            return None
        for level in self._sent_times:
            pool = useful & level
            if pool:
                ahead = pool >> hint
                first = hint + bitmap.lowest(ahead) if ahead else bitmap.lowest(pool)
                return Run(first, min(count, bitmap.run_from(pool >> first, 0)), by_choice=True)
        return None

    def _count_sent(self, first: int, count: int) -> None:
        moved = bitmap.run(first, count)
        for times, level in enumerate(self._sent_times):
            here = level & moved
            if not here:
                continue
            if times + 1 == len(self._sent_times):
                if times >= 255:
                    return
                self._sent_times.append(0)
            self._sent_times[times] = level & ~here
            self._sent_times[times + 1] |= here
            moved &= ~here
            if not moved:
                return

    def _child(self, peer: str) -> _Child:
        child = self._children.get(peer)
        if child is None:
            child = self._children[peer] = _Child()
        return child
