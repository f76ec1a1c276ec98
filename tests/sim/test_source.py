from __future__ import annotations

from dragonfly.core.pieces import PieceLayout
from dragonfly.sim.source import Source
from dragonfly.sim.world import World


class Reader:
    def __init__(self, world: World) -> None:
        self.world = world
        self.came: list[tuple[int, float]] = []
        self.ended: list[tuple[int, int, float]] = []

    def source_sends(self, index: int, began: float, left: float) -> float:
        self.came.append((index, left))
        return left

    def source_ended(self, first: int, count: int) -> None:
        self.ended.append((first, count, self.world.now))


def test_a_small_read_does_not_wait_behind_a_large_one() -> None:
    world = World(PieceLayout(1000, 100))
    source = Source(world, rate=100)  # a piece in a second
    large, small = Reader(world), Reader(world)
    source.read(large, 0, 4)
    source.read(small, 9, 1)
    world.run(lambda: bool(large.ended), limit_s=100)
    assert small.came == [(9, 3.0)]
    assert small.ended == [(9, 1, 3.0)]
    assert large.came == [(0, 1.0), (1, 2.0), (2, 4.0), (3, 5.0)]
    assert large.ended == [(0, 4, 5.0)]


def test_an_idle_source_begins_again() -> None:
    world = World(PieceLayout(1000, 100))
    source, reader = Source(world, rate=100), Reader(world)
    source.read(reader, 0, 1)
    world.run(lambda: bool(reader.ended), limit_s=100)
    world.at(5.0, source.read, reader, 1, 1)
    world.run(lambda: len(reader.ended) == 2, limit_s=100)
    assert reader.came == [(0, 1.0), (1, 6.0)]
