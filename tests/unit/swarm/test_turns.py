from __future__ import annotations

from random import Random

import pytest

from dragonfly.swarm.turns import Turns


def drain(turns: Turns[str]) -> list[str]:
    return [turns.next() for _ in range(len(turns))]


def test_who_has_something_waits_in_line() -> None:
    turns: Turns[str] = Turns(Random(1))
    for item in "abcab":
        turns.add(item, empty_handed=False)
    assert drain(turns) == ["a", "b", "c"], "each once, in the order of asking"


def test_who_has_nothing_goes_first_and_chance_decides_among_them() -> None:
    orders = set()
    for seed in range(20):
        turns: Turns[str] = Turns(Random(seed))
        turns.add("fed", empty_handed=False)
        for item in "abc":
            turns.add(item, empty_handed=True)
        *first, last = drain(turns)
        assert last == "fed"
        assert sorted(first) == ["a", "b", "c"]
        orders.add(tuple(first))
    assert len(orders) > 3, "not in the order of asking"


def test_who_is_discarded_has_no_turn() -> None:
    turns: Turns[str] = Turns(Random(1))
    turns.add("a", empty_handed=True)
    turns.add("b", empty_handed=False)
    turns.add("c", empty_handed=False)
    for item in ("a", "b", "nobody"):
        turns.discard(item)
    assert ("a" in turns, "c" in turns, len(turns)) == (False, True, 1)
    assert drain(turns) == ["c"]
    with pytest.raises(IndexError):
        turns.next()


def test_cleared_it_is_empty() -> None:
    turns: Turns[str] = Turns(Random(1))
    turns.add("a", empty_handed=True)
    turns.clear()
    turns.add("a", empty_handed=False)
    assert drain(turns) == ["a"]


def test_who_has_got_something_meanwhile_stands_in_line() -> None:
    turns: Turns[str] = Turns(Random(1))
    turns.add("x", empty_handed=False)
    for item in "ab":
        turns.add(item, empty_handed=True)
    assert turns.first
    for item in ("a", "x", "nobody"):
        turns.fed(item)
    assert drain(turns) == ["b", "x", "a"]
    assert not turns.first
