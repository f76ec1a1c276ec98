"""A peer's name: several must complain, and time forgives."""

from __future__ import annotations

import pytest

from dragonfly.core.health import Health


def test_one_reporter_alone_never_isolates() -> None:
    health = Health()
    for now in range(100):
        health.report("a", 5.0, float(now))
        assert not health.isolated(float(now))


def test_two_reporters_isolate_and_time_forgives() -> None:
    health = Health(half_life_s=30.0)
    health.report("a", 0.6, 0.0)
    health.report("b", 0.6, 0.0)
    assert health.isolated(0.0)
    assert health.penalty(30.0) == pytest.approx(0.6)
    assert not health.isolated(30.0)
    assert not health.forgiven(30.0)
    assert health.forgiven(300.0)


def test_small_reports_add_up_while_they_are_fresh() -> None:
    quick, slow = Health(), Health()
    for number in range(6):
        quick.report(f"r{number}", 0.25, number * 1.0)
        slow.report(f"r{number}", 0.25, number * 60.0)
    assert quick.isolated(5.0)
    assert not slow.isolated(300.0)


def test_an_accuser_is_remembered_for_a_while() -> None:
    health = Health(half_life_s=10.0)
    health.report("a", 0.25, 0.0)
    assert health.accused_by("a", 3.0)
    assert not health.accused_by("b", 3.0)
    assert not health.accused_by("a", 4.0)


def test_old_accusers_take_no_memory() -> None:
    health = Health(half_life_s=1.0)
    for number in range(1000):
        health.report(f"r{number}", 0.5, number * 10.0)
    assert len(health._by_reporter) < 5
