"""What is read of the source, and when: at once where there is no swarm, sparingly beside one.

A swarm that starts has many nodes waiting for their first byte, and one that stands still has
many that lack the same pieces. Were each to read the source to the end, it would be read many
times over; so a few begin, with little, and the others take it from them.

Where there is no swarm each read takes a share of what is left (guided self-scheduling,
Polychronopoulos and Kuck 1987): large ones at first, small ones at the end, so that all streams
end together though some are slower. Of an image's layers the lowest goes first: a runtime unpacks
a layer when it is whole and those below it are unpacked, so where all came at the same time, it
would begin when the last byte is here. The layers above get the streams it leaves, and one piece
from time to time, so that those who wait for them see that their seed lives.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

from dragonfly.core import bitmap
from dragonfly.core.pieces import PieceLayout
from dragonfly.swarm.inflight import SOURCE, Inflight
from dragonfly.swarm.parents import Parents
from dragonfly.swarm.picker import extend
from dragonfly.swarm.settings import SwarmSettings

__all__ = ["TRICKLE", "Fallback"]

TRICKLE = 5
"""So many times longer may a piece take while there are other signs of life."""


class Fallback:
    """The source's part of one `Download`, whose pieces and neighbours it looks at.

    `lot`: a random number in [0, 1), this node's place among those that wait with it.
    """

    def __init__(
        self,
        layout: PieceLayout,
        settings: SwarmSettings,
        pieces: Inflight,
        parents: Parents,
        lot: float,
        now: float,
    ) -> None:
        self.opened = False
        self.claimed: int | None = None
        """Streams that lower layers of the same image claim; None for what is no layer."""
        self.progress_at = now
        """When a piece came last, from wherever."""
        self._settings = settings
        self._pieces = pieces
        self._parents = parents
        self._lot = lot
        self._layout = layout
        self._sparing = False
        self._begun = 0
        """Pieces, from the first on, that an open answer brings."""
        self._spared_unit = 1
        """Pieces in the next read that is made beside a swarm."""
        self._asked: dict[int, int] = {}
        self._asked_at = float("-inf")
        self._bytes_at = now
        self._swarm_at: float | None = None
        """When a neighbour brought a piece last."""

    # ---------------------------------------------------------------- what happens

    def open(self, *, sparing: bool, begun: int) -> None:
        """From now on the source may be read; an answer that has begun brings so many pieces from the first on."""
        self.opened = True
        self._sparing = sparing
        self._begun = begun

    def piece_came(self, now: float, *, by_neighbour: bool) -> None:
        self.progress_at = now
        if by_neighbour:
            self._swarm_at = now

    def bytes_came(self, now: float) -> None:
        """From a neighbour."""
        self._bytes_at = now

    def swarm_told(self, now: float) -> None:
        """Others get pieces: a neighbour that is no seed has new ones, or a seed gives some.

        Where many wait for their first, that is the swarm beginning.
        """
        if self._crowd:
            self._bytes_at = now

    def read_ended(self, first: int, count: int, now: float) -> None:
        """What it did not bring is free again."""
        self._asked.pop(first, None)
        quick = now - self._asked_at < self._settings.source_after_s
        self._spared_unit = 2 * count if quick else max(1, count // 2)
        for index in range(first, first + count):
            self._pieces.release(SOURCE, index)

    # ---------------------------------------------------------------- what to read

    def reads(self, head: Callable[[], int], now: float) -> Iterator[tuple[int, int]]:
        """Runs of pieces to read now, `(first, count)`, those from `head()` on first.

        With all streams, or sparingly beside a swarm: where the neighbours bring nothing, one
        piece, and twice as much each time while that comes quickly.
        """
        if not self.opened:
            return
        if self._sparing and len(self._parents):
            streams, most = int(not self._swarm_brings(now)), self._spared_unit
        else:
            streams, most = self._left_to_us(now)
        while len(self._asked) < streams and (free := self._unasked):
            start = head()
            ahead = free >> start
            first = start + bitmap.lowest(ahead) if ahead else bitmap.lowest(free)
            share = min(most, self._share(free.bit_count()))
            if first == 0 and self._begun:
                share, self._begun = self._begun, 0
            count = extend(free, first, share)
            self._asked[first] = count
            self._asked_at = now
            self._pieces.ask(SOURCE, first, count, now)
            yield first, count

    def _left_to_us(self, now: float) -> tuple[int, int]:
        """Streams, and most pieces in a read: where lower layers claim all, one from time to time."""
        streams = self._streams - (self.claimed or 0)
        if streams > 0:
            return streams, self._layout.count
        due = now - self._asked_at >= self._settings.source_after_s / 2
        return int(due), 1

    def claim(self, now: float) -> int:
        """Streams that layers above this one should leave to it: all until it has asked for its last bytes.

        None while nothing comes, whatever the reason is.
        """
        if not self.opened or self.stalled_for(now) >= self._settings.source_after_s:
            return 0
        return self._settings.image_streams if self._unasked else len(self._asked)

    @property
    def _unasked(self) -> int:
        free = self._pieces.missing & ~self._pieces.under_way
        for first, count in self._asked.items():
            free &= ~bitmap.run(first, count)
        return free

    @property
    def _streams(self) -> int:
        """A layer reads alone: more where each has a whole unit to read, few where they would disturb each other."""
        settings = self._settings
        if self.claimed is None:
            return settings.source_streams
        units = self._pieces.missing.bit_count() * self._layout.piece_size // settings.source_unit
        return max(settings.source_streams, min(settings.image_streams, units))

    def _share(self, left: int) -> int:
        """Pieces of the next read, of `left` that none brings yet."""
        settings = self._settings
        piece_size = self._layout.piece_size
        share = max(settings.source_least, left * piece_size // (2 * self._streams))
        return max(1, min(settings.source_unit, share) // piece_size)

    def _swarm_brings(self, now: float) -> bool:
        """Neighbours have brought pieces, none too long ago, and will bring more."""
        if self._swarm_at is None:
            return self._crowd > 0 and self._swarm_begins(now)
        if self._still_since(self._swarm_at, now) >= self._settings.source_after_s:
            return False
        return self._parents.any_has(self._pieces.missing) or any(parent.waiting_any for parent in self._parents)

    def _swarm_begins(self, now: float) -> bool:
        """Many wait, and some have something by now; if not, a first read is followed by a pause."""
        if self._parents.any_has(self._pieces.missing) and now - self._bytes_at < self._settings.source_after_s:
            return True
        return self._spared_unit <= 2 and now - self._asked_at < self._settings.source_after_s / 2

    # ---------------------------------------------------------------- when to begin

    def patience(self) -> float:
        """Seconds without progress (`stalled_for`) on which the shell opens the source, where it may.

        Before the first piece many neighbours wait for one seed: each has a time of its own
        then, longer the more they are, so that a few go to the source and rescue the others.
        And where other pulls of this node share its link, each piece takes as much longer.
        """
        return self._settings.source_after_s * (1 + self._lot * self._crowd) * self._sharers

    @property
    def _sharers(self) -> float:
        """This node's pulls, at most so many as signs of life outweigh."""
        return min(TRICKLE, 1 + self._parents.elsewhere / max(1, len(self._parents)))

    @property
    def _crowd(self) -> int:
        """How many more neighbours wait for the first piece than a few, those to come too; 0 when it has come."""
        return 0 if self._swarm_at is not None else max(0, self._parents.with_unmet - self._settings.min_neighbours)

    def stalled_for(self, now: float) -> float:
        """Seconds without progress.

        Without a new piece, that is; but while bytes come in only a fifth of that time counts,
        since a piece over a slow link takes long, and a neighbour that trickles must not hold us.
        """
        return self._still_since(self.progress_at, now)

    def _still_since(self, piece_at: float, now: float) -> float:
        return max(min(now - piece_at, now - self._bytes_at), (now - piece_at) / TRICKLE)
