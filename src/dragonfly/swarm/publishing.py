"""When a seed tells the digests of what it has read: at once of what it gives away, later of the rest.

A digest is of use where a neighbour can be asked for the piece, so not before the piece has
left the seed, and whom it is given to hears the digest with it. Digests go to every peer of
the task, by the link by which the seed sends pieces: with two hundred peers those of a file
that is read faster than it is sent would take three quarters of that link in the first
second, when each piece counts most. The rest is told all the same: a peer may have a piece
from the source.
"""

from __future__ import annotations

from collections import deque

__all__ = ["Publishing"]


class Publishing:
    """One task's, at its seed. What is given is told after `soon_s`, so in batches; all else after `late_s`."""

    def __init__(self, soon_s: float, late_s: float) -> None:
        self._soon_s = soon_s
        self._late_s = late_s
        self._untold = 0
        self._given = 0
        self._given_at = float("inf")
        self._late: deque[tuple[float, int]] = deque()

    def had(self, pieces: int, now: float) -> None:
        """These pieces (a bitmap) are verified."""
        self._untold |= pieces
        self._late.append((now + self._late_s, pieces))

    def given(self, pieces: int, now: float) -> None:
        """These leave the seed now, perhaps not for the first time."""
        if new := pieces & self._untold & ~self._given:
            self._given |= new
            self._given_at = min(self._given_at, now + self._soon_s)

    def deadline(self) -> float | None:
        """When to `take`; None while all is told."""
        while self._late and not self._late[0][1] & self._untold:
            self._late.popleft()
        return min(self._given_at, self._late[0][0]) if self._late else None

    def take(self, now: float) -> int:
        """The pieces (a bitmap) whose digests are to be told now."""
        pieces = 0
        if now >= self._given_at:
            pieces, self._given, self._given_at = self._given, 0, float("inf")
        while self._late and self._late[0][0] <= now:
            pieces |= self._late.popleft()[1] & self._untold
        self._untold &= ~pieces
        self._given &= ~pieces
        return pieces

    def rest(self) -> int:
        """All that is untold, to be told now."""
        pieces, self._untold, self._given = self._untold, 0, 0
        self._given_at = float("inf")
        return pieces
