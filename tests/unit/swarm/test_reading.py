"""The reader's next piece, and the window that goes with it."""

from __future__ import annotations

from dragonfly.core import bitmap
from dragonfly.swarm.reading import Reading


def test_without_readers_the_first_missing_piece_is_next() -> None:
    reading = Reading(256)
    assert not reading
    assert reading.head(0b11000) == 3


def test_each_readers_next_piece_in_its_turn() -> None:
    reading = Reading(256)
    reading.at(1, 0)
    reading.at(2, 4)
    assert {reading.head(0b1000010) for _ in range(2)} == {1, 6}
    reading.left(2)
    assert [reading.head(0b1000010) for _ in range(2)] == [1, 1]


def test_a_reader_beyond_all_that_is_missing_wants_nothing() -> None:
    reading = Reading(256)
    reading.at(1, 5)
    assert reading
    assert reading.head(0b110) == 1


def test_the_window_narrows_towards_the_end() -> None:
    reading = Reading(256)
    assert [reading.window(bitmap.full(missing)) for missing in (1000, 256, 100, 32, 3)] == [256, 256, 100, 32, 32]
