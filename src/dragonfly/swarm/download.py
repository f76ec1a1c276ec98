"""The mind of one pull on one node: events in, commands out.

Life cycle (drawn in docs/architecture.md):

    RUNNING ──last piece verified──▶ DONE      nothing but Announce leaves it any more

While RUNNING every neighbour is kept at `depth` requests (`asking`).

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
from dragonfly.swarm.asking import Asking
from dragonfly.swarm.commands import (
    Announce,
    AskNeighbours,
    AskSource,
    Cancel,
    Command,
    Finish,
    LeavePeer,
)
from dragonfly.swarm.fallback import TRICKLE, Fallback
from dragonfly.swarm.inflight import SOURCE, Inflight
from dragonfly.swarm.pace import Pace
from dragonfly.swarm.parents import Parent, Parents
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
        self._reading = Reading(settings.window_pieces)
        self.pace = Pace()
        self.source = Fallback(layout, settings, self.pieces, self.parents, rng.random(), now)
        self._neighbours_asked_at = now
        self._next_tick = now + settings.tick_s
        self._out: list[Command] = []
        self._asking = Asking(
            layout,
            settings,
            rng,
            limits,
            pieces=self.pieces,
            parents=self.parents,
            reading=self._reading,
            pace=self.pace,
            source=self.source,
            out=self._out,
        )

    # ---------------------------------------------------------------- the one door

    def handle(self, event: ev.Event, now: float) -> list[Command]:
        """Take in what happened; return what to do, in order. Never blocks, never raises for
        what a peer did: unknown peers and pieces that are had already are ignored."""
        self._out.clear()
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
                self.parents.elsewhere = event.others
                self.parents.unmet = event.unmet
                self._tick(now)
            case ev.ReaderAt():
                self._reading.at(event.reader, event.index)
            case ev.ReaderGone():
                self._reading.left(event.reader)
            case ev.DigestsKnown():
                self.pieces.learn(event.pieces)
                if self.parents.near_seeds:
                    self.source.swarm_told(now)  # what our seed gives: others are being served before us
                self._asking.moisten()
                for parent in [parent for parent in self.parents if parent.has & event.pieces]:
                    self._asking.fill(parent, now)
            case ev.NeighbourUp():
                self._asking.fill(self.parents.add(event.peer, event.seed, event.far, now), now)
            case ev.NeighbourDown():
                self._lost(event.peer, now)
            case ev.Refused():
                self._refused(event.peer, event.first, event.count, now)
            case ev.PieceBad():
                self._bad(event.index, event.peer, now)
            case ev.SourceOpened():
                self.source.open(sparing=event.sparing, begun=event.begun)
                self._ask_source(now)
            case ev.SourceLine():
                self.source.claimed = event.claimed
                self._ask_source(now)
            case ev.SourceReadEnded():
                self.source.read_ended(event.first, event.count, now)
                self._ask_source(now)
                self._asking.fill_all(now)
        return self._out.copy()

    def next_deadline(self) -> float | None:
        """When a Tick is wanted; None once everything is here."""
        if self.state is State.DONE:
            return None
        return min(self._next_tick, self._asking.held_until) if self._asking.held_until else self._next_tick

    @property
    def held_s(self) -> float:
        """Seconds for which a limit of the rate held requests back."""
        return self._asking.held_s

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
                        self._asking.fill(late, now)
        if self.pieces.missing and peer and (parent := self.parents.get(peer)) is not None:
            self._asking.fill(parent, now)
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
                        self._asking.fill(other, now)
        self.pieces.ask(peer, first, count, now)

    def _refused(self, peer: str, first: int, count: int, now: float) -> None:
        parent = self.parents.get(peer)
        if parent is None:
            return
        if count == 0:
            self._asking.nothing_to_choose(parent, now)
            return
        for index in range(first, first + count):
            self.pieces.release(peer, index)
        self.parents.lost(parent, bitmap.run(first, count))
        self._asking.fill_all(now)

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
            self._asking.fill(parent, now)

    def _bytes(self, peer: str, total: int, now: float) -> None:
        parent = self.parents.get(peer)
        if parent is not None and total > parent.total:
            parent.speed.add(total - parent.total, now)
            parent.total = total
            parent.heard_at = now
            parent.span = self._asking.span(parent, now)
            self.source.bytes_came(now)
            if parent.suspect:
                parent.suspect = False
                self._asking.fill(parent, now)

    def _lost(self, peer: str, now: float) -> None:
        self.parents.remove(peer)
        self.pieces.release_all(peer)
        self._asking.fill_all(now)
        self._want_neighbours(now)

    def _leave(self, parent: Parent, kind: TroubleKind, now: float) -> None:
        self._out.append(LeavePeer(parent.id, kind))
        self._lost(parent.id, now)

    def _want_neighbours(self, now: float) -> None:
        if (
            self.state is State.RUNNING
            and self.parents.with_unmet < self._settings.min_neighbours
            and now - self._neighbours_asked_at >= 1.0
        ):
            self._neighbours_asked_at = now
            self._out.append(AskNeighbours())

    # ---------------------------------------------------------------- the source

    def _head(self) -> int:
        return self._reading.head(self.pieces.missing)

    def _ask_source(self, now: float) -> None:
        self._out.extend(AskSource(first, count) for first, count in self.source.reads(self._head, now))

    # ---------------------------------------------------------------- time

    def _tick(self, now: float) -> None:
        self._next_tick = now + self._settings.tick_s * (self.pace.stretch if self.pace.usual_s else _BEFORE_ANY)
        self._asking.held_until = 0.0
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
        self._asking.moisten()
        self.parents.compare(now)
        self._asking.fill_all(now)
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
                self._asking.fetch(parent, head, 1, now)
                return
