"""Digests of what a seed gives are told soon, of the rest late, each once."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from dragonfly.core import bitmap
from dragonfly.swarm.publishing import Publishing


def test_what_is_given_is_told_in_batches() -> None:
    rhythm = Publishing(0.1, 2.0)
    rhythm.had(0b1111, 10.0)
    rhythm.given(0b0001, 10.5)
    rhythm.given(0b0100, 10.55)
    assert rhythm.deadline() == 10.6
    assert rhythm.take(10.59) == 0
    assert rhythm.take(10.6) == 0b0101


def test_the_rest_is_told_late() -> None:
    rhythm = Publishing(0.1, 2.0)
    rhythm.had(0b0011, 10.0)
    rhythm.had(0b0100, 11.0)
    rhythm.given(0b0001, 10.5)
    assert rhythm.take(10.6) == 0b0001
    assert rhythm.deadline() == 12.0
    assert rhythm.take(12.0) == 0b0010
    rhythm.given(0b0010, 12.1)
    assert rhythm.deadline() == 13.0, "told already"
    assert rhythm.take(13.0) == 0b0100
    assert rhythm.deadline() is None


def test_the_rest_can_be_had_at_once() -> None:
    rhythm = Publishing(0.1, 2.0)
    rhythm.had(0b0111, 10.0)
    rhythm.given(0b0001, 10.0)
    assert rhythm.take(10.1) == 0b0001
    rhythm.given(0b0010, 10.2)
    assert rhythm.rest() == 0b0110
    assert rhythm.deadline() is None


def test_nothing_is_told_of_what_is_not_had() -> None:
    rhythm = Publishing(0.1, 2.0)
    rhythm.given(0b1, 1.0)
    assert rhythm.deadline() is None


@given(st.lists(st.tuples(st.booleans(), st.integers(0, 30), st.integers(1, 4), st.integers(0, 5))))
def test_each_is_told_once_and_within_the_time(steps: list[tuple[bool, int, int, int]]) -> None:
    rhythm, now = Publishing(0.5, 2.0), 0.0
    had = told = 0
    since: dict[int, float] = {}
    for gives, first, count, wait in steps:
        pieces = bitmap.run(first, count)
        if gives:
            rhythm.given(pieces, now)
        else:
            new = pieces & ~had
            rhythm.had(new, now)
            since |= dict.fromkeys(bitmap.indexes(new), now)
            had |= new
        now += wait / 4
        while (when := rhythm.deadline()) is not None and when <= now:
            pieces = rhythm.take(when)
            assert pieces & had == pieces
            assert not pieces & told
            assert all(when <= since[index] + 2.0 for index in bitmap.indexes(pieces))
            told |= pieces
    assert all(now < since[index] + 2.0 for index in bitmap.indexes(had & ~told))
