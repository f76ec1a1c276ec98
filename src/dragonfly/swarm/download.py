"""The mind of one pull on one node: events in, commands out.

Life cycle (drawn in docs/architecture.md):

    RUNNING ──last piece verified──▶ DONE      nothing but Announce leaves it any more

While RUNNING every neighbour is kept at `depth` requests. What to ask for, in this order:

1. a piece that the local reader waits for, if this neighbour has it;
2. the rarest of a sample within the reader's window, then anywhere (`picker`);
3. of a seed: a run of the *seed's* choice, the least sent so far, so that each piece
   leaves the source side once before any leaves it twice;
4. nothing is free any more: what is under way elsewhere for long (`endgame`).

No wait is without a deadline: a neighbour that owes pieces and is silent loses them to
others after `stall_after_s` and is left after `leave_after_s` (longer where pieces take
longer); with no progress at all for `source_after_s` the source is read (where the node
may), one bounded range after another (`fallback`).
"""

from __future__ import annotations

import enum
from random import Random

from dragonfly.core import bitmap
from dragonfly.core.messages import TroubleKind
from dragonfly.core.pieces import PieceLayout
from dragonfly.core.rate import TokenBucket
from dragonfly.swarm import events as ev
from dragonfly.swarm.commands import (
    Announce,
    AskNeighbours,
    AskSource,
    Cancel,
    Command,
    Fetch,
    FetchAny,
    Finish,
    LeavePeer,
)
from dragonfly.swarm.crossing import by_name
from dragonfly.swarm.endgame import Endgame
from dragonfly.swarm.fallback import TRICKLE, Fallback
from dragonfly.swarm.inflight import SOURCE, Inflight
from dragonfly.swarm.pace import Pace
from dragonfly.swarm.parents import Parent, Parents
from dragonfly.swarm.picker import pick, sample, stretch
from dragonfly.swarm.reading import Reading
from dragonfly.swarm.settings import SwarmSettings

__all__ = ["Download", "State"]

_TURNS = 3
"""A neighbour is not late before so many times what a piece usually takes."""
_BEFORE_ANY = 2.0
"""How much ticks are stretched until there is a piece to tell it by."""


class State(enum.Enum):
    RUNNING = "running"
    DONE = "done"


class Download:
    """`have`: pieces on disk already; `known`: pieces whose digest is known (bitmaps).

    Neighbours are only asked for pieces of known digest; the source for any.
    """

    def __init__(
        self,
        layout: PieceLayout,
        settings: SwarmSettings,
        rng: Random,
        *,
        have: int = 0,
        known: int = 0,
        now: float = 0.0,
        limits: tuple[TokenBucket, ...] = (),
    ) -> None:
        self.layout = layout
        self.pieces = Inflight(layout.count, have, known)
        self.parents = Parents(layout.count)
        self.state = State.RUNNING if self.pieces.missing else State.DONE
        self._settings = settings
        self._rng = rng
        self._limits = limits
        self._paced_until = 0.0
        self.paced_s = 0.0
        """Time for which a limit held requests back."""
        self._reading = Reading(settings.window_pieces)
        self.pace = Pace()
        self._last = Endgame(layout, settings, self.pieces, self.parents, rng)
        self.source = Fallback(layout, settings, self.pieces, self.parents, rng.random(), now)
        self._neighbours_asked_at = now
        self._next_tick = now + settings.tick_s
        self._out: list[Command] = []

    # ---------------------------------------------------------------- the one door

    def handle(self, event: ev.Event, now: float) -> list[Command]:
        """Take in what happened; return what to do, in order. Never blocks, never raises for
        what a peer did: unknown peers and pieces that are had already are ignored."""
        self._out = []
        match event:
            case ev.PieceVerified():
                self._verified(event.index, event.count, event.peer, now)
            case ev.PeerHas():
                self._peer_has(event.peer, event.pieces, now)
            case ev.BytesArrived():
                self._bytes(event.peer, event.total, now)
            case ev.Offered():
                self._offered(event.peer, event.first, event.count, now)
            case ev.Tick():
                self.source.others = event.others
                self._tick(now)
            case ev.ReaderAt():
                self._reading.at(event.reader, event.index)
            case ev.ReaderGone():
                self._reading.left(event.reader)
            case ev.DigestsKnown():
                self.pieces.learn(event.pieces)
                self._moisten()
                for parent in [parent for parent in self.parents if parent.has & event.pieces]:
                    self._fill(parent, now)
            case ev.NeighbourUp():
                self._fill(self.parents.add(event.peer, event.seed, event.far, now), now)
            case ev.NeighbourDown():
                self._lost(event.peer, now)
            case ev.Refused():
                self._refused(event.peer, event.first, event.count, now)
            case ev.PieceBad():
                self._bad(event.index, event.peer, now)
            case ev.SourceOpened():
                self.source.open(sparing=event.sparing)
                self._ask_source(now)
            case ev.SourceReadEnded():
                self.source.read_ended(event.first, event.count, now)
                self._ask_source(now)
                self._fill_all(now)
        return self._out

    def next_deadline(self) -> float | None:
        """When a Tick is wanted; None once everything is here."""
        if self.state is State.DONE:
            return None
        return min(self._next_tick, self._paced_until) if self._paced_until else self._next_tick

    def snapshot(self) -> dict[str, object]:
        """Plain data for API, console and tests."""
        return {
            "state": self.state.value,
            "pieces": self.layout.count,
            "have": self.pieces.have.bit_count(),
            "under_way": len(self.pieces.owners),
            "parents": len(self.parents),
            "source_open": self.source.opened,
        }

    def __repr__(self) -> str:
        have, count = self.pieces.have.bit_count(), self.layout.count
        return f"<Download {self.state.name} {have}/{count} pieces, {len(self.parents)} parents>"

    # ---------------------------------------------------------------- pieces

    def _verified(self, first: int, count: int, peer: str, now: float) -> None:
        fresh = list(bitmap.runs(self.pieces.missing & bitmap.run(first, count)))
        if not fresh:
            return
        self.source.piece_came(now, by_neighbour=bool(peer))
        if peer:
            self.pace.took(now - self.pieces.asked_at(peer, fresh[0][0], now))
        for run in fresh:
            for index, owner in self.pieces.verified(*run):
                if owner not in (peer, SOURCE):
                    self._out.append(Cancel(owner, index, 1))
                    if (late := self.parents.get(owner)) is not None:
                        self._fill(late, now)
        if self.pieces.missing and peer and (parent := self.parents.get(peer)) is not None:
            self._fill(parent, now)
        self._out.extend(Announce(*run) for run in fresh)
        if not self.pieces.missing:
            self.state = State.DONE
            self._out.append(Finish())

    def _bad(self, index: int, peer: str, now: float) -> None:
        self.pieces.release(peer, index)
        parent = self.parents.get(peer)
        if parent is not None:
            self._leave(parent, TroubleKind.CORRUPT, now)

    def _offered(self, peer: str, first: int, count: int, now: float) -> None:
        parent = self.parents.get(peer)
        if parent is None:
            return
        parent.waiting_any = max(0, parent.waiting_any - count)
        for index in range(first, first + count):
            # Asked of another while this seed was choosing: it need not come twice.
            for owner in list(self.pieces.owners.get(index, ())):
                if owner != SOURCE:
                    self.pieces.release(owner, index)
                    self._out.append(Cancel(owner, index, 1))
                    if (other := self.parents.get(owner)) is not None:
                        self._fill(other, now)
        self.pieces.ask(peer, first, count, now)

    def _refused(self, peer: str, first: int, count: int, now: float) -> None:
        parent = self.parents.get(peer)
        if parent is None:
            return
        if count == 0:
            self._take(-parent.waiting_any, now)
            parent.waiting_any = 0
            parent.dry = True
            self._fill(parent, now)
            return
        for index in range(first, first + count):
            self.pieces.release(peer, index)
        self.parents.lost(parent, bitmap.run(first, count))
        self._fill_all(now)

    # ---------------------------------------------------------------- neighbours

    def _peer_has(self, peer: str, pieces: int, now: float) -> None:
        parent = self.parents.get(peer)
        if parent is None:
            return
        parent.told_at = now
        if self.parents.gained(parent, pieces & bitmap.full(self.layout.count)):
            parent.dry = False
            if not parent.seed:
                self.source.swarm_told(now)
            self._fill(parent, now)

    def _bytes(self, peer: str, total: int, now: float) -> None:
        parent = self.parents.get(peer)
        if parent is not None and total > parent.total:
            parent.speed.add(total - parent.total, now)
            parent.total = total
            parent.heard_at = now
            parent.span = self._span(parent, now)
            self.source.bytes_came(now)
            if parent.suspect:
                parent.suspect = False
                self._fill(parent, now)

    def _lost(self, peer: str, now: float) -> None:
        self.parents.remove(peer)
        self.pieces.release_all(peer)
        self._fill_all(now)
        self._want_neighbours(now)

    def _leave(self, parent: Parent, kind: TroubleKind, now: float) -> None:
        self._out.append(LeavePeer(parent.id, kind))
        self._lost(parent.id, now)

    def _want_neighbours(self, now: float) -> None:
        if (
            self.state is State.RUNNING
            and len(self.parents) < self._settings.min_neighbours
            and now - self._neighbours_asked_at >= 1.0
        ):
            self._neighbours_asked_at = now
            self._out.append(AskNeighbours())

    # ---------------------------------------------------------------- asking

    def _head(self) -> int:
        return self._reading.head(self.pieces.missing)

    def _span(self, parent: Parent, now: float) -> int:
        """Pieces in one request to `parent`, a power of two: so many that messages stay rare on fast links."""
        rate = parent.speed.value(now)
        wanted = min(self._settings.request_limit, int(rate * self._settings.request_span_s))
        return 1 << max(0, (wanted // self.layout.piece_size).bit_length() - 1)

    def _fill_all(self, now: float) -> None:
        for parent in list(self.parents):
            self._fill(parent, now)

    def _fill(self, parent: Parent, now: float) -> None:
        """Bring `parent` up to its depth of requests."""
        if self.state is State.DONE or parent.suspect or parent.id not in self.parents:
            return
        span = parent.span
        room = self._depth(parent) * span - self.pieces.owed(parent.id) - parent.waiting_any
        while room > 0 and not self._held(now):
            if parent.seed and not parent.dry and self._ask_any(parent, span, now):
                room -= span
                continue
            pool = self._may_ask(parent, now) & self.pieces.free
            if not pool:
                if not (parent.waiting_any or parent.far):
                    self._endgame(parent, now)
                return
            if parent.far:
                (first, *_) = sample(pool, 1, self._rng)  # those who read alike would all ask for the same
            else:
                first = pick(
                    pool,
                    self._head(),
                    self._reading.window(self.pieces.missing),
                    self.parents.copies,
                    self._settings.samples,
                    self._rng,
                )
            first, run = stretch(pool, first, span)
            self._fetch(parent, first, run, now)
            room -= run

    def _may_ask(self, parent: Parent, now: float) -> int:
        """Pieces that it has and may be asked for by name."""
        if parent.far:
            patience, progress_at = self._settings.far_patience_s, self.source.progress_at
            return by_name(parent, self.parents, patience, progress_at, now)
        return parent.has

    def _depth(self, parent: Parent) -> int:
        """Requests that `parent` should have at a time. Others fill the gap between two of a slow one or a seed.

        The same for all: one who keeps more requests at a neighbour than others do takes their turns.
        """
        settings, neighbours = self._settings, len(self.parents)
        if neighbours > settings.min_neighbours and (parent.seed or parent.slow):
            return settings.seed_depth if parent.seed else 1
        # Where no seed adds to what peers can send, none of them may be idle.
        depth = settings.depth if self.parents.near_seeds else settings.seedless_depth
        return min(depth, -(-settings.line // (neighbours + self.source.others)))

    def _held(self, now: float) -> bool:
        """A limit of bytes/s lets nothing be asked for now; the next tick comes when it does."""
        if not self._limits:
            return False
        delay = max((limit.delay(now) for limit in self._limits), default=0.0)
        if delay and not self._paced_until:
            self._paced_until = now + delay
            self.paced_s += delay
        return delay > 0

    def _take(self, pieces: int, now: float) -> None:
        for limit in self._limits:
            limit.take(pieces * self.layout.piece_size, now)

    def _fetch(self, parent: Parent, first: int, count: int, now: float) -> None:
        self._take(count, now)
        self._note_asked(parent, now)
        self.pieces.ask(parent.id, first, count, now)
        self._out.append(Fetch(parent.id, first, count))

    def _ask_any(self, parent: Parent, count: int, now: float) -> bool:
        # What a neighbour has is asked of it: the seed would choose what is just being asked.
        busy = self.pieces.have | self.pieces.under_way | self.parents.near
        if not parent.has & ~busy:
            return False
        self._take(count, now)
        self._note_asked(parent, now)
        parent.waiting_any += count
        self._out.append(FetchAny(parent.id, count, self._head(), busy))
        return True

    def _moisten(self) -> None:
        """Ask again seeds that had nothing: what they may choose from has changed, for us or for them."""
        for parent in self.parents:
            if parent.dry and parent.has & self.pieces.free:
                parent.dry = False

    def _note_asked(self, parent: Parent, now: float) -> None:
        """Silence counts from the first request on."""
        if not self.pieces.owed(parent.id) and not parent.waiting_any:
            parent.heard_at = now

    def _endgame(self, parent: Parent, now: float) -> None:
        move = self._last.move(parent, self.pace.usual_s, now)
        if move is None:
            return
        if move.loser is not None:
            self.pieces.release(move.loser, move.piece)
            self._out.append(Cancel(move.loser, move.piece, 1))
        self._fetch(parent, move.piece, 1, now)

    def _ask_source(self, now: float) -> None:
        self._out.extend(AskSource(first, count) for first, count in self.source.reads(self._head, now))

    # ---------------------------------------------------------------- time

    def _tick(self, now: float) -> None:
        self._next_tick = now + self._settings.tick_s * (self.pace.stretch if self.pace.usual_s else _BEFORE_ANY)
        self._paced_until = 0.0
        if self.state is State.DONE:
            return
        settings = self._settings
        # Where a piece takes seconds to come, a parent may have that many others to serve first.
        pace = max(1.0, _TURNS * self.pace.usual_s / settings.stall_after_s)
        for parent in list(self.parents):
            owed = self.pieces.owed(parent.id)
            if not owed and not parent.waiting_any and not parent.suspect:
                continue
            silent = (now - parent.heard_at) / pace
            if now - parent.told_at < settings.stall_after_s:
                silent /= TRICKLE  # it tells what it has got, so it lives, and serves others first
            if not owed and not parent.suspect and silent < settings.seed_patience_s:
                continue  # queueing at a busy seed is not silence: the swarm goes on meanwhile
            if silent >= settings.leave_after_s:
                self._leave(parent, TroubleKind.SILENT, now)
            elif silent >= settings.stall_after_s and not parent.suspect:
                parent.suspect = True
                parent.waiting_any = 0
                for index in self.pieces.release_all(parent.id):
                    self._out.append(Cancel(parent.id, index, 1))
        self._moisten()
        self.parents.compare(now)
        self._fill_all(now)
        self._want_neighbours(now)
        self._ask_source(now)
        self._rescue_head(now)

    def _rescue_head(self, now: float) -> None:
        """A reader that waits long gets its next piece from a seed by name."""
        if not self._reading or now - self.source.progress_at < self._settings.head_patience_s:
            return
        head = self._head()
        if not self.pieces.free >> head & 1:
            return
        for parent in self.parents:
            if parent.seed and parent.has >> head & 1 and not parent.suspect:
                self._fetch(parent, head, 1, now)
                return
