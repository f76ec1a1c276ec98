"""What each neighbour is asked for, and how much at a time. In this order:

1. a piece that the local reader waits for, if this neighbour has it;
2. the rarest of a sample within the reader's window, then anywhere (`picker`);
3. of a seed: a run of the *seed's* choice, the least sent so far, so that each piece
   leaves the source side once before any leaves it twice;
4. nothing is free any more: what is under way elsewhere for long (`endgame`).

Limits of the download rate act here, too: what is not asked for does not come.
"""

from __future__ import annotations

from random import Random

from dragonfly.core.pieces import PieceLayout
from dragonfly.core.rate import TokenBucket
from dragonfly.swarm.commands import Cancel, Command, Fetch, FetchAny
from dragonfly.swarm.crossing import by_name
from dragonfly.swarm.endgame import Endgame
from dragonfly.swarm.fallback import Fallback
from dragonfly.swarm.inflight import Inflight
from dragonfly.swarm.pace import Pace
from dragonfly.swarm.parents import Parent, Parents
from dragonfly.swarm.picker import pick, sample, stretch
from dragonfly.swarm.reading import Reading
from dragonfly.swarm.settings import SwarmSettings

__all__ = ["Asking"]


class Asking:
    """The requests of one `Download`, whose pieces and neighbours it looks at. What is to be done is put into `out`."""

    def __init__(
        self,
        layout: PieceLayout,
        settings: SwarmSettings,
        rng: Random,
        limits: tuple[TokenBucket, ...],
        *,
        pieces: Inflight,
        parents: Parents,
        reading: Reading,
        pace: Pace,
        source: Fallback,
        out: list[Command],
    ) -> None:
        self.held_until = 0.0
        """When a limit lets go on; 0 where none holds requests back."""
        self.held_s = 0.0
        """Time for which a limit held requests back."""
        self._layout = layout
        self._settings = settings
        self._rng = rng
        self._limits = limits
        self._pieces = pieces
        self._parents = parents
        self._reading = reading
        self._pace = pace
        self._source = source
        self._last = Endgame(layout, settings, pieces, parents, rng)
        self._out = out

    def span(self, parent: Parent, now: float) -> int:
        """Pieces in one request to `parent`, a power of two: so many that messages stay rare on fast links."""
        rate = parent.speed.value(now)
        wanted = min(self._settings.request_limit, int(rate * self._settings.request_span_s))
        return 1 << max(0, (wanted // self._layout.piece_size).bit_length() - 1)

    def fill_all(self, now: float) -> None:
        for parent in list(self._parents):
            self.fill(parent, now)

    def fill(self, parent: Parent, now: float) -> None:
        """Bring `parent` up to its depth of requests; one that is a neighbour no more is asked nothing."""
        pieces = self._pieces
        if not pieces.missing or parent.suspect or parent.id not in self._parents:
            return
        span = parent.span
        room = self._depth(parent) * span - pieces.owed(parent.id) - parent.waiting_any
        while room > 0 and not self._held(now):
            if parent.seed and not parent.dry and self._ask_any(parent, span, now):
                room -= span
                continue
            pool = self._may_ask(parent, now) & pieces.free
            if not pool:
                if not (parent.waiting_any or parent.far):
                    self._endgame(parent, now)
                return
            if parent.far:
                (first, *_) = sample(pool, 1, self._rng)  # those who read alike would all ask for the same
            else:
                first = pick(
                    pool,
                    self._reading.head(pieces.missing),
                    self._reading.window(pieces.missing),
                    self._parents.copies,
                    self._settings.samples,
                    self._rng,
                )
            first, run = stretch(pool, first, span)
            self.fetch(parent, first, run, now)
            room -= run

    def fetch(self, parent: Parent, first: int, count: int, now: float) -> None:
        """Ask for a run by name."""
        self._take(count, now)
        self._note_asked(parent, now)
        self._pieces.ask(parent.id, first, count, now)
        self._out.append(Fetch(parent.id, first, count))

    def nothing_to_choose(self, parent: Parent, now: float) -> None:
        """A seed has nothing that it would choose for us: it is asked for that again when things have changed."""
        self._take(-parent.waiting_any, now)
        parent.waiting_any = 0
        parent.dry = True
        self.fill(parent, now)

    def moisten(self) -> None:
        """Ask again seeds that had nothing: what they may choose from has changed, for us or for them."""
        for parent in self._parents:
            if parent.dry and parent.has & self._pieces.free:
                parent.dry = False

    # ---------------------------------------------------------------- how much

    def _depth(self, parent: Parent) -> int:
        """Requests that `parent` should have at a time. Others fill the gap between two of a slow one or a seed.

        The same for all: one who keeps more requests at a neighbour than others do takes their turns.
        """
        settings, neighbours = self._settings, len(self._parents)
        if neighbours > settings.min_neighbours and (parent.seed or parent.slow):
            return settings.seed_depth if parent.seed else 1
        # Where no seed adds to what peers can send, none of them may be idle.
        depth = settings.depth if self._parents.near_seeds else settings.seedless_depth
        return min(depth, -(-settings.line // (neighbours + self._parents.elsewhere)))

    def _held(self, now: float) -> bool:
        """A limit of bytes/s lets nothing be asked for now; the next tick comes when it does."""
        if not self._limits:
            return False
        delay = max((limit.delay(now) for limit in self._limits), default=0.0)
        if delay and not self.held_until:
            self.held_until = now + delay
            self.held_s += delay
        return delay > 0

    def _take(self, pieces: int, now: float) -> None:
        for limit in self._limits:
            limit.take(pieces * self._layout.piece_size, now)

    # ---------------------------------------------------------------- what

    def _may_ask(self, parent: Parent, now: float) -> int:
        """Pieces that it has and may be asked for by name."""
        if parent.far:
            patience, progress_at = self._settings.far_patience_s, self._source.progress_at
            return by_name(parent, self._parents, patience, progress_at, now)
        return parent.has

    def _ask_any(self, parent: Parent, count: int, now: float) -> bool:
        """Have a seed choose, where it has something that is asked of nobody."""
        pieces = self._pieces
        # What a neighbour has is asked of it: the seed would choose what is just being asked.
        busy = pieces.have | pieces.under_way | self._parents.near
        if not parent.has & ~busy:
            return False
        self._take(count, now)
        self._note_asked(parent, now)
        parent.waiting_any += count
        self._out.append(FetchAny(parent.id, count, self._reading.head(pieces.missing), busy))
        return True

    def _note_asked(self, parent: Parent, now: float) -> None:
        """Silence counts from the first request on."""
        if not self._pieces.owed(parent.id) and not parent.waiting_any:
            parent.heard_at = now

    def _endgame(self, parent: Parent, now: float) -> None:
        move = self._last.move(parent, self._pace.usual_s, now)
        if move is None:
            return
        if move.loser is not None:
            self._pieces.release(move.loser, move.piece)
            self._out.append(Cancel(move.loser, move.piece, 1))
        self.fetch(parent, move.piece, 1, now)
