import pytest
from hypothesis import given
from hypothesis import strategies as st

from dragonfly.core.ranges import MAX_PARTS, content_range, parse_ranges


@pytest.mark.parametrize(
    ("header", "expected"),
    [
        ("bytes=0-9", [(0, 10)]),
        ("bytes=90-", [(90, 100)]),
        ("bytes=-10", [(90, 100)]),
        ("bytes=-1000", [(0, 100)]),
        ("bytes=0-1000", [(0, 100)]),
        ("Bytes = 0-0, -1", [(0, 1), (99, 100)]),
        ("bytes=5-6,5-6,200-300", [(5, 7), (5, 7)]),
        ("bytes=100-", []),
        ("bytes=-0", []),
    ],
)
def test_ranges_are_resolved_against_the_length(header: str, expected: list[tuple[int, int]]) -> None:
    assert parse_ranges(header, 100) == expected


@pytest.mark.parametrize(
    "header",
    ["", "bytes", "bytes=", "bytes=a-b", "bytes=9-5", "items=0-1", "bytes=--1", "bytes=1-2-3", f"bytes=0-{'9' * 5000}"],
)
def test_what_makes_no_sense_means_the_whole(header: str) -> None:
    assert parse_ranges(header, 100) is None


def test_too_many_parts_mean_the_whole() -> None:
    assert parse_ranges("bytes=" + ",".join(["0-0"] * (MAX_PARTS + 1)), 100) is None


def test_content_range_counts_inclusively() -> None:
    assert content_range(0, 10, 100) == "bytes 0-9/100"


@given(st.text(), st.integers(0, 1000))
def test_any_text_gives_ranges_inside_the_content(text: str, length: int) -> None:
    for start, end in parse_ranges(f"bytes={text}", length) or []:
        assert 0 <= start < end <= length
