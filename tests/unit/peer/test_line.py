"""Layers of one image in line for its source."""

from __future__ import annotations

from dragonfly.peer.line import Line


class Layer:
    """Claims what it is told to, and notes what it hears."""

    def __init__(self, layer: int, claim: int = 0) -> None:
        self.layer = layer
        self.claim = claim
        self.heard: list[int] = []

    def look(self, claimed: int) -> None:
        self.heard.append(claimed)


def test_a_layer_hears_what_those_below_claim() -> None:
    line, low, middle, high = Line(), Layer(1, 8), Layer(2, 3), Layer(3, 5)
    for one in (high, low, middle, low):  # in whatever order they come
        line.enter("i", one)
    line.changed("i")
    low.claim = 2
    line.changed("i")
    assert [one.heard for one in (low, middle, high)] == [[0, 0], [8, 2], [11, 5]]


def test_the_others_hear_when_one_leaves() -> None:
    line, low, high = Line(), Layer(1, 8), Layer(2)
    line.enter("i", low)
    line.enter("i", high)
    line.leave("i", low)
    line.leave("i", low)
    assert (low.heard, high.heard) == ([], [0])


def test_images_do_not_wait_for_each_other_and_what_is_in_none_for_nobody() -> None:
    line, one, other, file = Line(), Layer(1, 8), Layer(2), Layer(0, 8)
    line.enter("i", one)
    line.enter("k", other)
    line.enter("", Layer(1, 8))
    line.enter("", file)
    for name in ("i", "k", ""):
        line.changed(name)
    assert [who.heard for who in (one, other, file)] == [[0], [0], []]
