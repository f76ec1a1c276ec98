from __future__ import annotations

import pytest

from dragonfly.sim.links import Link


def test_a_free_link_takes_the_time_of_its_rate() -> None:
    assert Link(100).send(50, 2.0) == (2.0, 2.5)


def test_transfers_take_turns() -> None:
    link = Link(100)
    link.send(100, 0.0)
    assert link.send(100, 0.5) == (1.0, 2.0)
    assert link.carried == 200


def test_a_downlink_that_is_as_fast_adds_nothing() -> None:
    assert Link(100).take(100, 0.0, 1.0) == 1.0


def test_a_slower_downlink_decides() -> None:
    assert Link(50).take(100, 0.0, 1.0) == 2.0


def test_what_comes_from_two_sides_at_once_takes_twice_as_long() -> None:
    link = Link(100)
    assert [link.take(100, 0.0, 1.0), link.take(100, 0.0, 1.0)] == [1.0, 2.0]


def test_a_link_without_rate_is_refused() -> None:
    with pytest.raises(ValueError, match="link of 0"):
        Link(0)
