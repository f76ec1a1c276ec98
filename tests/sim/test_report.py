from __future__ import annotations

from dragonfly.sim.report import lower_bound, percentile


def test_the_slowest_of_three_limits_decides() -> None:
    assert lower_bound(100, 10, [5, 5], [20, 20]) == 10  # the source's upload
    assert lower_bound(100, 100, [100, 100], [5, 20]) == 20  # the slowest download
    assert lower_bound(100, 20, [1, 1], [100, 100]) == 200 / 22  # what all can send together


def test_nobody_needs_no_time() -> None:
    assert lower_bound(100, 10, [], []) == 0


def test_percentiles_are_nearest_ranks() -> None:
    values = [float(i) for i in range(1, 101)]
    assert percentile(values, 0.5) == 50
    assert percentile(values, 0.99) == 99
    assert percentile([3.0], 0.99) == 3
