from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dragonfly.core.rate import Speed, TokenBucket


@given(st.lists(st.integers(1, 200_000), min_size=1, max_size=50))
def test_no_more_than_the_rate_and_one_burst_gets_through(sizes: list[int]) -> None:
    bucket = TokenBucket(100_000, burst=50_000)
    now, sent = 0.0, 0
    for size in sizes:
        now += bucket.delay(now)
        bucket.take(size, now)
        sent += size
    assert sent <= 100_000 * now + 50_000 + max(sizes)


def test_no_limit_never_waits() -> None:
    bucket = TokenBucket(0)
    bucket.take(10**12, 0.0)
    assert bucket.delay(0.0) == 0.0


def test_a_rate_can_be_changed_while_it_runs() -> None:
    bucket = TokenBucket(1_000_000)
    bucket.take(10_000_000, 0.0)
    slow = bucket.delay(0.0)
    bucket.change(100_000_000)
    assert bucket.delay(0.0) < slow / 50


def test_a_steady_stream_is_measured_as_it_is() -> None:
    speed = Speed(1.0)
    for step in range(1, 101):
        speed.add(50_000, step * 0.05)
    assert speed.value(5.0) == pytest.approx(1_000_000, rel=0.05)
    assert speed.value(60.0) < 1000


def test_a_fast_stream_is_known_after_some_megabytes() -> None:
    speed = Speed(1.0)
    for step in range(1, 41):
        speed.add(1 << 20, step * 0.004)
    assert speed.value(0.16) == pytest.approx((1 << 20) / 0.004, rel=0.05)


def test_a_burst_at_one_moment_is_no_speed() -> None:
    speed = Speed(1.0)
    for _ in range(100):
        speed.add(1 << 20, 1.0)
    assert speed.value(1.0) == 0.0


def test_the_first_sample_counts_in_full() -> None:
    speed = Speed(1.0)
    for step in range(4):
        speed.add(100_000, step * 0.05)
    assert speed.value(0.15) == pytest.approx(2_000_000, rel=0.01), "what began it came before it was timed"
