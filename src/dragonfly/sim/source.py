"""The origin server: its uplink is shared by all who read, a piece for each in turn, as TCP would share it."""

from __future__ import annotations

from collections import deque
from typing import Protocol

from dragonfly.sim.links import Link
from dragonfly.sim.world import World

__all__ = ["Reader", "Source"]


class Reader(Protocol):
    """Who reads; a node does."""

    def source_sends(self, index: int, began: float, left: float) -> float:
        """A piece is under way: when its first byte leaves, and its last. Returns when it will be here."""
        ...

    def source_ended(self, first: int, count: int) -> None:
        """All of a read has come."""
        ...


class _Read:
    __slots__ = ("count", "first", "reader", "sent")

    def __init__(self, reader: Reader, first: int, count: int) -> None:
        self.reader = reader
        self.first = first
        self.count = count
        self.sent = 0


class Source:
    """`rate` of its uplink in bytes a second."""

    def __init__(self, world: World, rate: float) -> None:
        self._world = world
        self._link = Link(rate)
        self._reads: deque[_Read] = deque()
        self._sending = False

    def read(self, reader: Reader, first: int, count: int) -> None:
        """Send pieces `first` … `first + count - 1`, beside all that is being read already."""
        self._reads.append(_Read(reader, first, count))
        if not self._sending:
            self._next()

    def _next(self) -> None:
        self._sending = bool(self._reads)
        if not self._reads:
            return
        world, read = self._world, self._reads.popleft()
        index = read.first + read.sent
        read.sent += 1
        began, left = self._link.send(world.layout.size(index), world.now)
        here = read.reader.source_sends(index, began, left)
        if read.sent < read.count:
            self._reads.append(read)
        else:
            world.at(here, read.reader.source_ended, read.first, read.count)
        world.at(left, self._next)
