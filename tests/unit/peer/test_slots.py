from __future__ import annotations

import asyncio
from random import Random
from typing import cast

from dragonfly.core.rate import TokenBucket
from dragonfly.peer.session import PeerSession
from dragonfly.peer.slots import UploadSlots

PIECE = 1000


class FakeOut:
    moved = 0
    busy = False


class FakeSession:
    """What slots see of a session; `out.moved` is moved by the test."""

    closed = False

    def __init__(self, name: str) -> None:
        self.name = name
        self.out = FakeOut()

    def __repr__(self) -> str:
        return self.name


class Giver:
    """One task that has a piece for whoever asks."""

    def __init__(self, slots: int, first_slots: int) -> None:
        self.slots = UploadSlots(slots, first_slots, TokenBucket(0), Random(1))
        self.began: list[str] = []
        self.fed: set[str] = set()
        self.sessions: dict[str, FakeSession] = {}

    def want(self, names: str, *, fed: bool) -> None:
        for name in names:
            self.sessions[name] = FakeSession(name)
            if fed:
                self.fed.add(name)
            self.slots.want(self.session(name), self)

    def session(self, name: str) -> PeerSession:
        return cast("PeerSession", self.sessions[name])

    def start_upload(self, session: PeerSession) -> int:
        if session.name in self.began:
            return 0
        self.began.append(session.name)
        return PIECE

    def empty_handed(self, session: PeerSession) -> bool:
        return session.name not in self.fed

    def sent(self, name: str) -> None:
        self.fed.add(name)
        self.slots.sent(self.session(name))


async def test_so_many_runs_leave_at_once_as_there_are_slots() -> None:
    giver = Giver(slots=2, first_slots=1)
    giver.want("abc", fed=True)
    assert giver.began == ["a", "b"]
    giver.sent("a")
    assert giver.began == ["a", "b", "c"]
    giver.slots.close()


async def test_one_who_has_nothing_has_the_link_for_itself() -> None:
    giver = Giver(slots=4, first_slots=1)
    giver.want("abc", fed=False)
    assert giver.began == ["a"]
    giver.want("x", fed=True)
    assert giver.began == ["a"], "not before the others who have nothing"
    giver.sent("a")
    assert len(giver.began) == 2
    assert giver.began[1] in "bc"
    giver.sent(giver.began[1])
    giver.sent(giver.began[2])
    assert giver.began[3] == "x"
    giver.slots.close()


async def test_who_has_got_a_first_piece_elsewhere_does_not_hold_up_the_others() -> None:
    giver = Giver(slots=4, first_slots=1)
    giver.want("ab", fed=False)
    giver.want("x", fed=True)
    giver.fed.add("b")
    giver.slots.fed(giver.session("b"))
    giver.sent("a")
    assert giver.began == ["a", "x", "b"]
    giver.slots.close()


async def test_a_seed_gives_several_first_pieces_at_once() -> None:
    giver = Giver(slots=3, first_slots=3)
    giver.want("abcd", fed=False)
    assert len(giver.began) == 3
    giver.slots.close()


async def test_a_session_that_does_not_move_loses_its_slot() -> None:
    giver = Giver(slots=1, first_slots=1)
    giver.want("ab", fed=True)
    await asyncio.sleep(0.15)
    assert giver.began == ["a", "b"]
    giver.slots.close()


async def test_a_first_piece_may_wait_for_the_links_queue_but_not_for_ever() -> None:
    giver = Giver(slots=1, first_slots=1)
    giver.want("ab", fed=False)
    await asyncio.sleep(0.2)
    assert giver.began == ["a"]
    await asyncio.sleep(0.7)
    assert giver.began == ["a", "b"]
    giver.slots.close()


async def test_a_slow_peer_does_not_keep_others_from_their_first_piece() -> None:
    giver = Giver(slots=2, first_slots=1)
    giver.want("ab", fed=False)
    for _ in range(9):
        giver.sessions["a"].out.moved += 10
        await asyncio.sleep(0.1)
    assert giver.began == ["a", "b"]
    giver.slots.close()
