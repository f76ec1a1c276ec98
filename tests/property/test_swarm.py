"""The mind under any order of events: pieces stay in one state, nobody is asked for what it never had."""

from __future__ import annotations

from random import Random

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from dragonfly.core import bitmap
from dragonfly.core.pieces import PieceLayout
from dragonfly.swarm import commands as cmd
from dragonfly.swarm import events as ev
from dragonfly.swarm.download import Download, State
from dragonfly.swarm.settings import SwarmSettings

PIECES = 12
PEERS = ("a", "b", "far", "seed")
peers = st.sampled_from(PEERS)
pieces = st.integers(0, PIECES - 1)
sets = st.integers(0, bitmap.full(PIECES))


class PullMachine(RuleBasedStateMachine):
    def __init__(self) -> None:
        super().__init__()
        layout = PieceLayout(PIECES * 10 - 3, 10)
        self.download = Download(layout, SwarmSettings(source_unit=40), Random(7))
        self.now = 0.0
        self.announced: dict[str, int] = {}
        self.known = 0
        self.outstanding: set[tuple[str, int]] = set()
        self.source: set[tuple[int, int]] = set()
        self.finishes = 0

    def tell(self, event: ev.Event) -> None:
        for command in self.download.handle(event, self.now):
            match command:
                case cmd.Fetch(peer, first, count):
                    for index in range(first, first + count):
                        assert self.announced.get(peer, 0) >> index & 1, "asked for what was never announced"
                        assert self.known >> index & 1, "asked for what can't be verified"
                        assert peer != "far" or not self.download.parents.near >> index & 1, "it need not cross"
                        self.outstanding.add((peer, index))
                case cmd.FetchAny(peer, count, _, busy):
                    assert peer == "seed"
                    assert count > 0
                    pieces = self.download.pieces
                    assert not busy & ~(pieces.have | pieces.under_way | self.download.parents.near), (
                        "what is wanted is called unwanted"
                    )
                case cmd.AskSource(first, count):
                    assert first + count <= PIECES
                    self.source.add((first, count))
                case cmd.Finish():
                    self.finishes += 1
                case _:
                    pass

    @rule(peer=peers)
    def up(self, peer: str) -> None:
        self.announced[peer] = 0
        self.outstanding = {(p, i) for p, i in self.outstanding if p != peer}
        self.tell(ev.NeighbourUp(peer, peer == "seed", peer == "far"))

    @rule(peer=peers)
    def down(self, peer: str) -> None:
        self.announced.pop(peer, None)
        self.tell(ev.NeighbourDown(peer))

    @rule(peer=peers, has=sets)
    def has(self, peer: str, has: int) -> None:
        if peer in self.announced:
            self.announced[peer] |= has
        self.tell(ev.PeerHas(peer, has))

    @rule(known=sets)
    def digests(self, known: int) -> None:
        self.known |= known
        self.tell(ev.DigestsKnown(known))

    @rule(index=pieces, peer=peers, count=st.integers(1, 3))
    def verified(self, index: int, peer: str, count: int) -> None:
        self.tell(ev.PieceVerified(index, peer, min(count, PIECES - index)))

    @rule(index=pieces, peer=peers)
    def bad(self, index: int, peer: str) -> None:
        self.tell(ev.PieceBad(index, peer))

    @rule(peer=peers, first=pieces, count=st.integers(0, 3))
    def refused(self, peer: str, first: int, count: int) -> None:
        self.tell(ev.Refused(peer, first, min(count, PIECES - first)))

    @rule(first=pieces)
    def offered(self, first: int) -> None:
        self.tell(ev.Offered("seed", first, 1))

    @rule()
    def source_opens(self) -> None:
        self.tell(ev.SourceOpened())

    @rule(claimed=st.integers(0, 9))
    def lower_layers_claim(self, claimed: int) -> None:
        self.tell(ev.SourceLine(claimed))

    @rule()
    def source_read_ends(self) -> None:
        if self.source:
            first, count = self.source.pop()
            self.tell(ev.SourceReadEnded(first, count))

    @rule(seconds=st.floats(0.01, 3.0))
    def tick(self, seconds: float) -> None:
        self.now += seconds
        self.tell(ev.Tick())

    @rule(at=pieces)
    def reads(self, at: int) -> None:
        self.tell(ev.ReaderAt(1, at))

    @invariant()
    def a_piece_is_in_one_state(self) -> None:
        book = self.download.pieces
        assert book.have & book.missing == 0
        assert book.have | book.missing == bitmap.full(PIECES)
        assert book.free & ~book.missing == 0
        assert book.free & book.under_way == 0
        assert book.under_way & ~book.missing == 0
        for owner, owed in book.by_owner.items():
            assert all(owner in book.owners[index] for index in owed)

    @invariant()
    def rarity_counts_what_neighbours_have(self) -> None:
        held = [parent.has for parent in self.download.parents if parent.id in "ab"]
        for index in range(PIECES):
            copies = sum(has >> index & 1 for has in held)
            assert self.download.parents.copies[index] == copies
            assert self.download.parents.near >> index & 1 == (copies > 0)

    @invariant()
    def it_ends_once(self) -> None:
        done = self.download.state is State.DONE
        assert self.finishes == int(done)
        assert done == (self.download.pieces.missing == 0)


TestPull = PullMachine.TestCase
TestPull.settings = settings(max_examples=60, stateful_step_count=60, deadline=None)
