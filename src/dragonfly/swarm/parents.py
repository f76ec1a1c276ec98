"""What is known of each neighbour as a giver: its pieces, its speed, whether it still lives."""

from __future__ import annotations

from array import array
from collections.abc import Iterator

from dragonfly.core import bitmap
from dragonfly.core.rate import Speed

_SLOW = 0.25
"""Of the mean speed of all."""

__all__ = ["Parent", "Parents"]


class Parent:
    """One neighbour. `has` is a bitmap; `waiting_any` pieces of its own choice were asked for."""

    __slots__ = (
        "bad",
        "dry",
        "far",
        "has",
        "heard_at",
        "id",
        "seed",
        "slow",
        "span",
        "speed",
        "suspect",
        "told_at",
        "total",
        "waiting_any",
    )

    def __init__(self, peer: str, seed: bool, far: bool, now: float) -> None:
        self.id = peer
        self.seed = seed
        self.far = far
        """In another zone: what crosses to ours should do so once."""
        self.has = 0
        self.speed = Speed(1.0)
        self.heard_at = now
        """When bytes of pieces came last, or were asked for."""
        self.told_at = now
        """When it announced something last."""
        self.total = 0
        self.waiting_any = 0
        self.dry = False
        """It had nothing to choose for us when it was asked last."""
        self.suspect = False
        self.span = 1
        """Pieces in a request to it."""
        self.slow = False
        """Much slower than the others: it is owed no queue, which would only be waited for."""

    @property
    def counts(self) -> bool:
        """Whether it is one of those of which `Parents` tells `copies` and `near`: no seed, and in our zone."""
        return not (self.seed or self.far)

    def __repr__(self) -> str:
        state = "suspect" if self.suspect else "dry" if self.dry else "ok"
        return f"<Parent {self.id[:12]}{' seed' if self.seed else ''} {state} has {self.has.bit_count()}>"


class Parents:
    """All neighbours of one task, and how many of them have each piece (neither seeds nor far ones counted)."""

    def __init__(self, count: int) -> None:
        self._parents: dict[str, Parent] = {}
        self.copies = array("H", bytes(2 * count))
        self.near = 0
        """Pieces that a neighbour of our zone has that is no seed."""
        self.near_seeds = 0
        """How many neighbours are seeds of our zone."""
        self.elsewhere = 0
        """Neighbours of this node's other pulls that bring something: they share its link."""
        self.unmet = 0
        """Neighbours to come: a node without a piece has many of these, and few others."""

    def __len__(self) -> int:
        return len(self._parents)

    @property
    def with_unmet(self) -> int:
        """How many there are, those to come too."""
        return len(self._parents) + self.unmet

    def __iter__(self) -> Iterator[Parent]:
        return iter(self._parents.values())

    def __contains__(self, peer: str) -> bool:
        return peer in self._parents

    def get(self, peer: str) -> Parent | None:
        return self._parents.get(peer)

    def add(self, peer: str, seed: bool, far: bool, now: float) -> Parent:
        self.remove(peer)
        parent = self._parents[peer] = Parent(peer, seed, far, now)
        self.near_seeds += seed and not far
        return parent

    def remove(self, peer: str) -> Parent | None:
        parent = self._parents.pop(peer, None)
        if parent is not None:
            self.near_seeds -= parent.seed and not parent.far
            self.lost(parent, parent.has)
        return parent

    def compare(self, now: float) -> None:
        """Find the slow ones among those that give at all."""
        rates = {
            peer: rate
            for peer, parent in self._parents.items()
            if (rate := parent.speed.value(now)) and not parent.seed
        }
        enough = _SLOW * sum(rates.values()) / max(1, len(rates))
        for peer, parent in self._parents.items():
            parent.slow = 0 < rates.get(peer, 0) < enough

    def any_has(self, pieces: int) -> bool:
        """Whether a neighbour that is no seed, near or far, has one of `pieces`."""
        return any(parent.has & pieces for parent in self._parents.values() if not parent.seed)

    def within(self) -> int:
        """Pieces that need not cross into our zone: a neighbour there has them, be it a seed."""
        pieces = self.near
        for parent in self._parents.values():
            if parent.seed and not parent.far:
                pieces |= parent.has
        return pieces

    def lost(self, parent: Parent, pieces: int) -> None:
        """`parent` has none of `pieces`."""
        gone = pieces & parent.has
        parent.has &= ~gone
        if parent.counts:
            copies = self.copies
            for index in bitmap.indexes(gone):
                copies[index] -= 1
                if not copies[index]:
                    self.near &= ~(1 << index)

    def gained(self, parent: Parent, pieces: int) -> int:
        """`parent` has `pieces` too; returns those that are news."""
        new = pieces & ~parent.has
        parent.has |= new
        if parent.counts:
            self.near |= new
            copies = self.copies
            for index in bitmap.indexes(new):
                copies[index] += 1
        return new
