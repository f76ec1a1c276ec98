"""What a pull tells in the end."""

from __future__ import annotations

import pytest

from dragonfly.core.messages import BytesBy
from dragonfly.peer.report import Meter, Result


def result(**fields: object) -> Result:
    return Result(**({"key": "k", "url": "u", "length": 1_000_000, "seconds": 2.0} | fields))  # type: ignore[arg-type]


def test_the_line_says_what_came_from_where() -> None:
    line = result(received=BytesBy(peers=990_000, seed=9_000, source=1_000), bound="link", efficiency=0.97).line()
    assert line == (
        "1 MB in 2.0 s (500 kB/s): peers 99 %, seed <1 %, source <1 %; bound by link, 97% of the best possible"
    )


def test_what_was_cached_moved_nothing() -> None:
    told = result(received=BytesBy(cache=1_000_000), bound="cache")
    assert told.rate == 0
    assert "cache 100 %" in told.line()
    assert "bound" not in told.line()
    assert "nothing moved" in result(seconds=0.0).line()


def test_a_fallback_has_its_reason() -> None:
    assert (
        result(fallback="no supernode answers").line().endswith("read the source itself because no supernode answers")
    )


def metered(source: int = 0, seed: int = 0, peers: int = 0, *, idle: float = 0.0, limited: float = 0.0) -> Meter:
    meter = Meter(0.0, cached=0)
    meter.source, meter.seed, meter.peers, meter.idle_s, meter.limited_s = source, seed, peers, idle, limited
    meter.ended = 10.0
    return meter


@pytest.mark.parametrize(
    ("meter", "cpu", "bound"),
    [
        (metered(), 1.0, "cache"),
        (metered(peers=10, limited=4.0), 1.0, "limit"),
        (metered(source=10), 0.95, "cpu"),
        (metered(source=6, peers=5), 0.1, "source"),
        (metered(source=5, peers=6, idle=4.0), 0.1, "swarm"),
        (metered(peers=6), 0.1, "link"),
    ],
)
def test_the_likeliest_limit(meter: Meter, cpu: float, bound: str) -> None:
    assert meter.bound(10.0, cpu) == bound


def test_idle_time_is_that_between_looks_however_far_apart() -> None:
    meter = Meter(10.0, cached=0)
    meter.look(10.25, idle=False)
    meter.look(11.25, idle=True)
    meter.look(11.75, idle=True)
    meter.look(12.0, idle=False)
    assert meter.idle_s == 1.5


def test_efficiency_is_against_the_best_half_second() -> None:
    meter = Meter(0.0, cached=0)
    for now, count in ((0.5, 500), (1.0, 100), (1.5, 0), (2.0, 400)):
        meter.peers += count
        meter.count(count, now)
    assert meter.peak == 1000
    assert meter.efficiency(2.0) == pytest.approx(0.5)
    meter.ended = 1.0
    assert meter.seconds(99.0) == 1.0


def test_efficiency_is_never_above_one_and_none_where_nothing_moved() -> None:
    assert Meter(0.0, 5).efficiency(1.0) == 0.0
    assert metered(peers=10).efficiency(10.0) == 1.0
    assert Meter(3.0, 5).efficiency(3.0) == 0.0
    assert Meter(0.0, 7).received() == BytesBy(cache=7)
