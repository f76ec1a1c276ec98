from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dragonfly.core.pieces import MAX_PIECE, MIN_PIECE, PieceLayout, piece_size_for, possible_piece_size


@given(st.integers(0, 2**42))
def test_pieces_cover_the_blob_without_gap_or_overlap(length: int) -> None:
    layout = PieceLayout.for_length(length)
    assert MIN_PIECE <= layout.piece_size <= MAX_PIECE
    if layout.count:
        last = layout.count - 1
        assert layout.span(0)[0] == 0
        assert layout.span(last)[1] == length
        assert 0 < layout.size(last) <= layout.piece_size
        assert layout.at(length - 1) == last
    else:
        assert length == 0


@pytest.mark.parametrize(
    ("length", "size"),
    [(0, 32 << 10), (20_000_000, 32 << 10), (100_000_000, 64 << 10), (1 << 30, 512 << 10), (10**12, 4 << 20)],
)
def test_one_to_two_thousand_pieces_where_the_limits_allow(length: int, size: int) -> None:
    assert piece_size_for(length) == size


@pytest.mark.parametrize(
    ("length", "rate", "size"),
    [
        (128 << 20, 0, 64 << 10),
        (128 << 20, 30e6, 64 << 10),
        (128 << 20, 125e6, 256 << 10),  # a link of 1 Gb/s
        (128 << 20, 250e6, 512 << 10),
        (128 << 20, 5e9, 512 << 10),  # no less than 256 pieces
        (20 << 20, 5e9, 64 << 10),
        (10**12, 5e9, 4 << 20),
    ],
)
def test_pieces_are_larger_where_they_would_pass_in_no_time(length: int, rate: float, size: int) -> None:
    assert piece_size_for(length, rate) == size


@given(st.integers(0, 2**42), st.floats(0, 1e11))
def test_how_blobs_are_cut_is_known_as_possible(length: int, rate: float) -> None:
    size = piece_size_for(length, rate)
    assert possible_piece_size(size)
    assert size >= piece_size_for(length)
    assert size == piece_size_for(length) or length >= 256 * size


@pytest.mark.parametrize("size", [0, 1, 1000, MIN_PIECE // 2, 3 * MIN_PIECE, 2 * MAX_PIECE])
def test_no_blob_is_cut_so(size: int) -> None:
    assert not possible_piece_size(size)


def test_numbers_outside_are_refused() -> None:
    layout = PieceLayout(10, 4)
    for number in (-1, 3):
        with pytest.raises(ValueError, match="of 3"):
            layout.index(number)
    with pytest.raises(ValueError, match="impossible"):
        PieceLayout(-1, 4)
