"""Digests by neighbours: who is asked, when, and what is believed."""

from __future__ import annotations

import hashlib
from random import Random

import pytest

from dragonfly.core import bitmap
from dragonfly.swarm.hearsay import SUPERNODE, Ask, Hearsay, Worth
from dragonfly.swarm.parents import Parent

LATE, PATIENCE = 1.0, 3.0
DIGESTS = bytes(range(1, 129))
RUN = bitmap.run(4, 4)


@pytest.fixture
def hearsay() -> Hearsay:
    """It waits for pieces 4 … 7, which come to those digests."""
    hearsay = Hearsay(Random(1), LATE, PATIENCE)
    hearsay.fingerprint(4, 4, hashlib.sha256(DIGESTS).digest(), 0.0)
    return hearsay


def parent(peer: str, *, has: int = 0, seed: bool = False) -> Parent:
    one = Parent(peer, seed, False, 0.0)
    one.has = has
    return one


def test_nobody_is_asked_who_does_not_know_all_of_it(hearsay: Hearsay) -> None:
    hearsay.knows("a", bitmap.run(4, 3))
    assert hearsay.asks([parent("a"), parent("b", has=bitmap.run(5, 9))], 0, 0.0) == []


def test_who_says_so_is_asked_once(hearsay: Hearsay) -> None:
    hearsay.knows("a", bitmap.run(0, 5))
    hearsay.knows("a", bitmap.run(5, 5))
    assert hearsay.asks([parent("a"), parent("b")], 0, 0.0) == [Ask("a", 4, 4)]
    assert hearsay.asks([parent("a"), parent("b")], 0, LATE / 2) == []


def test_who_has_the_pieces_knows_their_digests(hearsay: Hearsay) -> None:
    assert hearsay.asks([parent("a", has=RUN)], 0, 0.0) == [Ask("a", 4, 4)]


def test_a_late_one_is_left_for_another(hearsay: Hearsay) -> None:
    both = [parent("a", has=RUN), parent("b", has=RUN)]
    (first,) = hearsay.asks(both, 0, 0.0)
    (second,) = hearsay.asks(both, 0, LATE)
    assert {first.peer, second.peer} == {"a", "b"}


def test_one_that_goes_is_left_at_once(hearsay: Hearsay) -> None:
    a, b = parent("a", has=RUN), parent("b", has=RUN)
    assert hearsay.asks([a], 0, 0.0)
    hearsay.gone("a")
    assert hearsay.asks([b], 0, 0.1) == [Ask("b", 4, 4)]


def test_what_a_neighbour_knew_goes_with_it(hearsay: Hearsay) -> None:
    hearsay.knows("a", RUN)
    hearsay.gone("a")
    assert hearsay.asks([parent("a")], 0, 0.1) == []


def test_a_seed_is_spared_while_others_may_come_to_know(hearsay: Hearsay) -> None:
    seed, other = parent("seed", has=RUN, seed=True), parent("a", has=RUN)
    assert hearsay.asks([seed], 0, LATE / 2) == []
    assert hearsay.asks([seed, other], 0, LATE) == [Ask("a", 4, 4)]
    assert hearsay.asks([seed, other], 0, 2 * LATE) == [Ask("seed", 4, 4)]


def test_the_supernode_is_the_last_to_be_asked_and_again_when_it_does_not_answer(hearsay: Hearsay) -> None:
    assert hearsay.asks([parent("a")], 0, PATIENCE - 0.01) == []
    assert hearsay.asks([parent("a")], 0, 2 * PATIENCE) == [Ask(SUPERNODE, 4, 4)]
    assert hearsay.asks([parent("a")], 0, 2 * PATIENCE + LATE) == []
    assert hearsay.asks([parent("a")], 0, 3 * PATIENCE) == [Ask(SUPERNODE, 4, 4)]


def test_after_the_supernode_neighbours_that_were_late_are_asked_again(hearsay: Hearsay) -> None:
    late = parent("a", has=RUN)
    assert hearsay.asks([late], 0, 0.0) == [Ask("a", 4, 4)]
    assert hearsay.asks([late], 0, 2 * PATIENCE) == [Ask(SUPERNODE, 4, 4)]
    assert hearsay.asks([late], 0, 3 * PATIENCE) == [Ask("a", 4, 4)]


def test_right_digests_are_waited_for_no_more(hearsay: Hearsay) -> None:
    assert hearsay.came(4, DIGESTS) is Worth.RIGHT
    assert not hearsay
    assert hearsay.came(4, DIGESTS) is Worth.NEWS_TO_NOBODY


def test_wrong_digests_change_nothing(hearsay: Hearsay) -> None:
    assert hearsay.came(4, DIGESTS[:-1] + b"\0") is Worth.WRONG
    assert hearsay.came(4, DIGESTS) is Worth.RIGHT


@pytest.mark.parametrize(("first", "digests"), [(3, DIGESTS), (4, DIGESTS[:32]), (4, b"")])
def test_what_nobody_asked_for_is_nothing(hearsay: Hearsay, first: int, digests: bytes) -> None:
    assert hearsay.came(first, digests) is Worth.NEWS_TO_NOBODY
    assert hearsay


def test_what_is_known_by_another_way_is_not_asked_for(hearsay: Hearsay) -> None:
    assert hearsay.asks([parent("a", has=RUN)], RUN, 0.0) == []
    assert not hearsay


def test_a_run_that_is_told_again_in_part_is_still_waited_for(hearsay: Hearsay) -> None:
    hearsay.fingerprint(4, 1, hashlib.sha256(DIGESTS[:32]).digest(), 0.0)
    assert set(hearsay.asks([parent("a", has=RUN)], 0, 0.0)) == {Ask("a", 4, 4), Ask("a", 4, 1)}
    assert hearsay.came(4, DIGESTS[:32]) is Worth.RIGHT
    assert hearsay.came(4, DIGESTS) is Worth.RIGHT
