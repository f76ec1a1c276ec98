"""Which pieces are had, under way, or free: a piece is in exactly one of the three.

    free ──ask──▶ under way (1 or 2 owners) ──verified──▶ had
      ▲                 │
      └──release────────┘   the last owner is gone, late, or sent a wrong piece

`free` holds only pieces that can be verified (their digest is known). The methods are
the only legal moves. After rqbit's piece tracker in spirit.
"""

from __future__ import annotations

from dragonfly.core import bitmap

__all__ = ["SOURCE", "Inflight"]

#: Owner name of what is read from the source.
SOURCE = ""


class Inflight:
    """Bookkeeping for `count` pieces, `have` of them here already, `known` of them verifiable."""

    def __init__(self, count: int, have: int = 0, known: int = 0) -> None:
        self.count = count
        self.have = have
        self.known = known
        self.missing = bitmap.full(count) & ~have
        self.owners: dict[int, dict[str, float]] = {}
        self.by_owner: dict[str, dict[int, float]] = {}
        self.free = self.missing & known

    def learn(self, known: int) -> None:
        """More pieces can be verified."""
        new = known & ~self.known
        self.known |= known
        new &= self.missing
        if self.owners:
            for index in self.owners:
                if new >> index & 1:
                    new &= ~(1 << index)
        self.free |= new

    def ask(self, owner: str, first: int, count: int, now: float) -> None:
        """The run is under way from `owner`; pieces that are had already are left out."""
        mine = self.by_owner.setdefault(owner, {})
        for index in range(first, first + count):
            if self.missing >> index & 1:
                self.owners.setdefault(index, {})[owner] = now
                mine[index] = now
        self.free &= ~bitmap.run(first, count)

    def verified(self, first: int, count: int = 1) -> list[tuple[int, str]]:
        """The pieces are had; returns the owners that were still asked for one, as `(piece, owner)`."""
        bits = bitmap.run(first, count)
        self.missing &= ~bits
        self.have |= bits
        self.free &= ~bits
        asked = []
        for index in range(first, first + count):
            for owner in self.owners.pop(index, ()):
                self.by_owner[owner].pop(index, None)
                asked.append((index, owner))
        return asked

    def release(self, owner: str, index: int) -> None:
        """`owner` will not bring the piece; it is free again if nobody else will."""
        mine = self.by_owner.get(owner)
        if mine is not None:
            mine.pop(index, None)
        owners = self.owners.get(index)
        if owners is None:
            return
        owners.pop(owner, None)
        if not owners:
            del self.owners[index]
            self.free |= (1 << index) & self.known & self.missing

    def release_all(self, owner: str) -> list[int]:
        """`owner` is gone or given up; returns the pieces that it owed."""
        owed = list(self.by_owner.get(owner, ()))
        for index in owed:
            self.release(owner, index)
        self.by_owner.pop(owner, None)
        return owed

    def asked_at(self, owner: str, index: int, default: float) -> float:
        """When `owner` was asked for the piece; `default` where it was not."""
        mine = self.by_owner.get(owner)
        return mine.get(index, default) if mine else default

    def owed(self, owner: str) -> int:
        """How many pieces `owner` owes."""
        mine = self.by_owner.get(owner)
        return len(mine) if mine else 0

    @property
    def under_way(self) -> int:
        """All pieces that someone owes, as a bitmap."""
        return bitmap.from_indexes(self.owners)
