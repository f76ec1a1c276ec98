"""Whose turn it is to be sent something: one after another, but first of all those who have nothing yet.

A peer without a piece can give none, so the first one it gets is worth a whole uplink to the
swarm: where such peers go first, those who can give double in the time of a few pieces. Among
them chance decides. They would else be served in the order in which they came, and those who
came together are each other's neighbours: first pieces would stay within a corner of the mesh.
"""

from __future__ import annotations

from collections import deque
from random import Random
from typing import Generic, TypeVar

__all__ = ["Turns"]

T = TypeVar("T")


class Turns(Generic[T]):
    """A queue in which each item stands at most once."""

    def __init__(self, rng: Random) -> None:
        self._rng = rng
        self._here: set[T] = set()
        self._first: list[T] = []
        self._line: deque[T] = deque()

    def __len__(self) -> int:
        return len(self._here)

    def __contains__(self, item: T) -> bool:
        return item in self._here

    @property
    def first(self) -> bool:
        """The next one has nothing yet."""
        return bool(self._first)

    def add(self, item: T, *, empty_handed: bool) -> None:
        """Let `item` wait for its turn; nothing changes where it does already."""
        if item not in self._here:
            self._here.add(item)
            (self._first if empty_handed else self._line).append(item)

    def next(self) -> T:
        """Take out the one whose turn it is; IndexError where nobody waits."""
        first = self._first
        if first:
            chosen = self._rng.randrange(len(first))
            first[chosen], first[-1] = first[-1], first[chosen]
            item = first.pop()
        else:
            item = self._line.popleft()
        self._here.discard(item)
        return item

    def fed(self, item: T) -> None:
        """`item` has something now: where it waits, it stands in line like the others."""
        if item in self._first:
            self._first.remove(item)
            self._line.append(item)

    def discard(self, item: T) -> None:
        """`item` waits no more."""
        if item in self._here:
            self._here.discard(item)
            (self._first if item in self._first else self._line).remove(item)

    def clear(self) -> None:
        self._here.clear()
        self._first.clear()
        self._line.clear()
