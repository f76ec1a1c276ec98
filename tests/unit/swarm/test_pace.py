from __future__ import annotations

import pytest

from dragonfly.swarm.pace import Pace


def test_the_first_pieces_count_in_full_and_later_ones_by_a_sixteenth() -> None:
    pace = Pace()
    assert pace.usual_s == 0
    pace.took(2.0)
    assert pace.usual_s == 2
    pace.took(4.0)
    assert pace.usual_s == 3
    for _ in range(20):
        pace.took(3.0)
    pace.took(19.0)
    assert pace.usual_s == pytest.approx(4.0, rel=0.01)


@pytest.mark.parametrize(("seconds", "stretch"), [(0.01, 1), (1, 1), (2.5, 2.5), (60, 4)])
def test_things_take_up_to_four_times_as_long(seconds: float, stretch: float) -> None:
    pace = Pace()
    pace.took(seconds)
    assert pace.stretch == stretch
