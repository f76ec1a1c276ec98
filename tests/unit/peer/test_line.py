"""Layers of one image in line for its source."""

from __future__ import annotations

from dragonfly.peer.line import Line


class Layer:
    """Claims what it is told to, and notes when it is told to look."""

    def __init__(self, layer: int, claim: int = 0) -> None:
        self.layer = layer
        self.claim = claim
        self.looks = 0

    def look(self) -> None:
        self.looks += 1


def test_a_layer_is_told_what_those_below_claim() -> None:
    line, low, middle, high = Line(), Layer(1, 8), Layer(2, 3), Layer(3, 5)
    for one in (high, low, middle, low):  # in whatever order they come
        line.enter("i", one)
    assert [line.claimed("i", one) for one in (low, middle, high)] == [0, 8, 11]
    low.claim = 2
    assert [line.claimed("i", one) for one in (low, middle, high)] == [0, 2, 5]


def test_all_look_again_when_something_changes_or_one_leaves() -> None:
    line, low, high = Line(), Layer(1, 8), Layer(2)
    line.enter("i", low)
    line.enter("i", high)
    line.changed("i")
    assert (low.looks, high.looks) == (1, 1)
    line.leave("i", low)
    line.leave("i", low)
    assert (low.looks, high.looks) == (1, 2)
    assert line.claimed("i", high) == 0


def test_images_do_not_wait_for_each_other_and_what_is_in_none_for_nobody() -> None:
    line, one, other, file = Line(), Layer(1, 8), Layer(2), Layer(0, 8)
    line.enter("i", one)
    line.enter("k", other)
    line.enter("", file)
    line.enter("", Layer(1, 8))
    assert [line.claimed("k", other), line.claimed("", file), line.claimed("i", other)] == [0, 0, 0]
