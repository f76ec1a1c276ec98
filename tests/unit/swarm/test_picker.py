"""The reader's next piece first, then the rarest of some."""

from __future__ import annotations

from array import array
from random import Random

from hypothesis import given
from hypothesis import strategies as st

from dragonfly.core import bitmap
from dragonfly.swarm.picker import extend, pick, sample, stretch

pools = st.integers(1, 2**80 - 1)


def copies(*counts: int) -> array[int]:
    return array("H", counts)


def test_the_piece_that_the_reader_waits_for_goes_before_rarer_ones() -> None:
    assert pick(0b1111, 1, 2, copies(0, 9, 0, 0), 16, Random(1)) == 1


def test_inside_the_window_the_rarest_goes_first() -> None:
    assert pick(0b11110, 0, 4, copies(9, 5, 3, 4, 0), 16, Random(1)) == 2, "piece 4 is rarer, but too far ahead"


def test_outside_of_the_window_the_rarest_of_all() -> None:
    assert pick(0b11000, 0, 2, copies(0, 0, 0, 5, 4), 16, Random(1)) == 4


def test_pieces_behind_the_reader_are_fetched_too() -> None:
    assert pick(0b0001, 3, 8, copies(1, 1, 1, 1), 16, Random(1)) == 0


def test_equally_rare_ones_are_picked_by_chance() -> None:
    seen = {pick(bitmap.full(32), 40, 1, array("H", [1] * 32), 8, Random(chance)) for chance in range(400)}
    assert len(seen) > 25


@given(pool=pools, want=st.integers(1, 40), chance=st.integers(0, 99))
def test_a_sample_is_of_the_pool(pool: int, want: int, chance: int) -> None:
    chosen = sample(pool, want, Random(chance))
    assert chosen
    assert all(pool >> index & 1 for index in chosen)
    assert len(chosen) == min(want, pool.bit_count())


@given(pool=pools, head=st.integers(0, 90), window=st.integers(1, 100), chance=st.integers(0, 99))
def test_a_pick_is_of_the_pool(pool: int, head: int, window: int, chance: int) -> None:
    assert pool >> pick(pool, head, window, array("H", bytes(2 * 80)), 16, Random(chance)) & 1


@given(pool=pools, want=st.integers(0, 100), data=st.data())
def test_a_run_is_of_the_pool_and_as_long_as_may_be(pool: int, want: int, data: st.DataObject) -> None:
    index = data.draw(st.sampled_from(list(bitmap.indexes(pool))))
    count = extend(pool, index, want)
    assert 1 <= count <= max(1, want)
    assert all(pool >> at & 1 for at in range(index, index + count))
    assert count >= want or not pool >> (index + count) & 1


def test_a_stretch_goes_back_to_where_its_block_begins_to_be_free() -> None:
    free = bitmap.from_indexes([0, 5, 6, 7, 8, 9])
    assert stretch(free, 7, 8) == (5, 3), "not 3 and 4, which are not free, nor 8, which is the next block's"


@given(pool=pools, span=st.sampled_from([1, 2, 4, 16, 64]), data=st.data())
def test_a_stretch_is_all_that_is_free_around_a_piece_in_its_block(pool: int, span: int, data: st.DataObject) -> None:
    index = data.draw(st.sampled_from(list(bitmap.indexes(pool))))
    first, count = stretch(pool, index, span)
    assert first <= index < first + count
    assert first // span == (first + count - 1) // span
    assert all(pool >> at & 1 for at in range(first, first + count))
    assert first % span == 0 or not pool >> (first - 1) & 1
    assert (first + count) % span == 0 or not pool >> (first + count) & 1
