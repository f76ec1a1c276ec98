"""Whom of the neighbours that were named a node meets at once, and whom later: few while it has nothing.

Where many nodes begin at the same moment, all their connections together are more work than
the first pieces. A node without a piece can't give any, and needs only few who may bring it
one. The others are met with the first piece, or after a time if none comes.
"""

from __future__ import annotations

from collections import deque
from typing import Generic, TypeVar

__all__ = ["Introductions"]

_FEW = 2
"""Links with which a node can wait for its first piece, dialled ones included: the seed, and one more."""
_PATIENCE_S = 2.5

T = TypeVar("T")


class Introductions(Generic[T]):
    """One task's at one node."""

    def __init__(self, now: float) -> None:
        self._until = now + _PATIENCE_S
        self._at_once: list[T] = []
        self._later: deque[T] = deque()

    def __len__(self) -> int:
        """How many are still to be met."""
        return len(self._at_once) + len(self._later)

    def named(self, neighbour: T, *, seed: bool) -> None:
        """Here is one to be met, perhaps named before; a seed at once in any case."""
        self.discard(neighbour)
        if seed:
            self._at_once.append(neighbour)
        else:
            self._later.append(neighbour)

    def discard(self, neighbour: T) -> None:
        """Not to be met any more."""
        for line in (self._at_once, self._later):
            if neighbour in line:
                line.remove(neighbour)

    def due(self, links: int, have: int, now: float) -> list[T]:
        """Whom to dial now, with so many `links` and the pieces `have` (a bitmap); each is told once."""
        if not self:
            return []
        found, self._at_once = self._at_once, []
        all_now = have or now >= self._until
        room = len(self._later) if all_now else _FEW - links - len(found)
        while self._later and room > 0:
            found.append(self._later.popleft())
            room -= 1
        return found
