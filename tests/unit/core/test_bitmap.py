from __future__ import annotations

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dragonfly.core import bitmap

pieces = st.sets(st.integers(0, 300))


@given(pieces)
def test_a_set_survives_the_wire(chosen: set[int]) -> None:
    bits = bitmap.from_indexes(chosen)
    assert set(bitmap.indexes(bitmap.from_bytes(bitmap.to_bytes(bits), 301))) == chosen


@given(pieces)
def test_runs_cover_the_set_exactly(chosen: set[int]) -> None:
    runs = list(bitmap.runs(bitmap.from_indexes(chosen)))
    assert {index for first, count in runs for index in range(first, first + count)} == chosen
    assert all(b > a + n for (a, n), (b, _) in itertools.pairwise(runs))


@given(pieces, st.integers(0, 310))
def test_a_run_is_as_long_as_it_looks(chosen: set[int], start: int) -> None:
    want = 0
    while start + want in chosen:
        want += 1
    assert bitmap.run_from(bitmap.from_indexes(chosen), start) == want


def test_a_piece_beyond_the_blob_is_refused() -> None:
    with pytest.raises(ValueError, match="piece 8 of 8"):
        bitmap.from_bytes(b"\0\1", 8)
