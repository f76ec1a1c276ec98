from __future__ import annotations

import contextlib

from hypothesis import given
from hypothesis import strategies as st

from dragonfly.core.units import (
    format_duration,
    format_rate,
    format_size,
    parse_duration,
    parse_rate,
    parse_size,
)
from dragonfly.errors import UsageError

TEXTS = st.text(max_size=20) | st.text("0123456789.kKmMgGtTiIbBpsdh /", max_size=30)


@given(TEXTS)
def test_any_text_is_a_number_or_a_usage_error(text: str) -> None:
    for parse in (parse_size, parse_rate, parse_duration):
        with contextlib.suppress(UsageError):
            assert 0 <= parse(text) < 2**63


@given(st.integers(0, 2**53))
def test_plain_numbers_are_themselves(number: int) -> None:
    assert parse_size(str(number)) == parse_rate(str(number)) == parse_rate(f"{number}B/s") == number
    assert parse_duration(str(number)) == parse_duration(f"{number}s") == number


@given(st.integers(0, 4000), st.sampled_from([("K", 10**3), ("MiB", 2**20), ("g", 10**9), ("TiB", 2**40)]))
def test_prefixes_multiply(number: int, prefix: tuple[str, int]) -> None:
    assert parse_size(f"{number}{prefix[0]}") == number * prefix[1]
    assert parse_size(f" {number} {prefix[0]} ") == number * prefix[1]


@given(st.integers(0, 999), st.integers(0, 59), st.integers(0, 59))
def test_durations_add_up(hours: int, minutes: int, seconds: int) -> None:
    assert parse_duration(f"{hours}h{minutes}m{seconds}s") == 3600 * hours + 60 * minutes + seconds


@given(st.integers(0, 10**15))
def test_what_is_shown_is_near_what_it_is(number: int) -> None:
    assert abs(parse_size(format_size(number).replace("kB", "K").replace("B", "") or "0") - number) <= number * 0.006
    assert format_rate(number).endswith("B/s")
    assert format_duration(number)
