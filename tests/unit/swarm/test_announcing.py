"""When neighbours are told of new pieces."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dragonfly.swarm.announcing import Announcing, batch, concerns
from dragonfly.swarm.pace import Pace


def test_the_first_and_the_last_pieces_are_told_one_by_one() -> None:
    assert [batch(have, 1000 - have, 0.05) for have in (1, 8, 992, 999)] == [1, 1, 1, 1]


def test_in_between_a_batch_is_worth_waiting_for() -> None:
    assert batch(80, 920, 0.05) == 10
    assert batch(920, 80, 0.05) == 10


def test_a_rare_piece_is_told_at_once_and_the_next_after_the_least_pause() -> None:
    rhythm = Announcing(0.05, 0.5, Pace())
    assert rhythm.piece(1, 999, now=10.0) == 10.0
    rhythm.told(10.0)
    assert rhythm.piece(2, 998, now=10.01) == 10.05


def test_a_piece_waits_for_its_batch_but_not_for_ever() -> None:
    rhythm = Announcing(0.05, 0.5, Pace())
    assert rhythm.piece(24, 976, now=10.0) == 10.5
    assert rhythm.piece(25, 975, now=10.2) == 10.5
    assert rhythm.piece(26, 974, now=10.3) == 10.3, "three pieces are an eighth of 26"


def test_where_pieces_take_long_news_may_too() -> None:
    pace = Pace()
    rhythm = Announcing(0.05, 0.5, pace)
    pace.took(3.0)
    assert rhythm.piece(24, 976, now=10.0) == 11.5
    rhythm.told(11.5)
    assert rhythm.piece(8, 992, now=11.51) == 13.01, "three pieces at a time, or after a second and a half"
    assert rhythm.piece(9, 991, now=11.52) == 13.01
    assert rhythm.piece(10, 990, now=11.53) == pytest.approx(11.65), "no sooner after the last than three pauses"


def test_who_has_few_pieces_tells_each_whatever_it_takes() -> None:
    assert [batch(have, 1000 - have, 10.0) for have in (1, 5, 995)] == [1, 1, 1]


def test_a_batch_grows_with_what_a_piece_takes() -> None:
    assert [batch(80, 920, usual_s) for usual_s in (0, 0.3, 0.5, 1, 5)] == [10, 10, 15, 30, 30]


def test_a_seed_hears_of_the_first_piece_and_others_of_all_they_lack() -> None:
    assert concerns(seed=True, told=False, complete=True)
    assert not concerns(seed=True, told=True, complete=False)
    assert concerns(seed=False, told=True, complete=False)
    assert not concerns(seed=False, told=False, complete=True)


@given(st.lists(st.tuples(st.floats(0, 1), st.booleans()), min_size=1, max_size=200))
def test_no_piece_is_told_later_than_promised(steps: list[tuple[float, bool]]) -> None:
    rhythm = Announcing(0.05, 0.5, Pace())
    now, told_at, oldest = 0.0, float("-inf"), None
    for have, (pause, tell) in enumerate(steps, 1):
        now += pause
        oldest = now if oldest is None else oldest
        due = rhythm.piece(have, len(steps) - have, now)
        assert told_at + 0.05 <= due <= max(now, oldest + 0.5, told_at + 0.05)
        if tell:
            rhythm.told(now)
            told_at, oldest = now, None
