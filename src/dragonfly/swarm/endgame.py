"""Nothing is free any more: which piece a neighbour with time to spare takes over from a late one.

To ask everybody for what is missing, as BitTorrent does, has a full link carry pieces twice.
So what still waits in a queue is taken from it, and only what is late beyond the usual is
asked for a second time.
"""

from __future__ import annotations

from random import Random
from typing import NamedTuple

from dragonfly.core.pieces import PieceLayout
from dragonfly.swarm.inflight import SOURCE, Inflight
from dragonfly.swarm.parents import Parent, Parents
from dragonfly.swarm.picker import sample
from dragonfly.swarm.settings import SwarmSettings

__all__ = ["Endgame", "Move"]


class Move(NamedTuple):
    """Ask for `piece`; `loser`, if any, is to leave it."""

    piece: int
    loser: str | None = None


class _Late(NamedTuple):
    """A piece under way; the greatest is the one to take. `wait`: seconds until its owner has brought all it owes."""

    wait: float
    asked_at: float
    piece: int
    owner: str


class Endgame:
    """The last part of one `Download`, whose pieces and neighbours it looks at."""

    def __init__(
        self, layout: PieceLayout, settings: SwarmSettings, pieces: Inflight, parents: Parents, rng: Random
    ) -> None:
        self._layout = layout
        self._settings = settings
        self._pieces = pieces
        self._parents = parents
        self._rng = rng
        self._moved: set[int] = set()
        """Pieces that were given to another neighbour: not a second time."""

    def move(self, parent: Parent, usual_s: float, now: float) -> Move | None:
        """What `parent` should be asked for, if anything; `usual_s`: what a piece takes from asking to having.

        Of the neighbour that would be the last to bring what it owes, the piece asked last is
        taken if it will surely not have begun to leave when the cancel arrives, and once only.
        Else a piece is asked for a second time, once it is late. Either way the loser's copy is
        cancelled, but what is under way in the network comes all the same.
        """
        pieces = self._pieces
        if pieces.free or not (pool := parent.has & pieces.missing & pieces.known):
            return None
        late = max(self._late(pool, parent, now), default=None)
        if late is None:
            return None
        mine = self._seconds_to_bring(parent, pieces.owed(parent.id) + 1, now)
        if late.owner != SOURCE and late.piece not in self._moved and late.wait > 2 * mine:
            owed = pieces.owed(late.owner)
            begins_in = late.wait * (owed - 1) / owed
            if begins_in > max(self._settings.endgame_s, usual_s / 2):
                self._moved.add(late.piece)
                return Move(late.piece, late.owner)
        if now - late.asked_at >= max(self._settings.endgame_s, 2 * mine, 2 * usual_s):
            return Move(late.piece)
        return None

    def _late(self, pool: int, parent: Parent, now: float) -> list[_Late]:
        """A sample of what one other owes alone."""
        found = []
        for index in sample(pool, self._settings.samples, self._rng):
            owners = self._pieces.owners.get(index)
            if owners is None or len(owners) > 1 or parent.id in owners:
                continue
            ((owner, asked_at),) = owners.items()
            slow = self._parents.get(owner)
            wait = self._seconds_to_bring(slow, self._pieces.owed(owner), now) if slow is not None else 0.0
            found.append(_Late(wait, asked_at, index, owner))
        return found

    def _seconds_to_bring(self, parent: Parent, count: int, now: float) -> float:
        """How long `parent` will take for `count` pieces, by its speed of late; 0 where that is not known."""
        rate = parent.speed.value(now)
        return count * self._layout.piece_size / rate if rate else 0.0
