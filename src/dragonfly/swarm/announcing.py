"""When neighbours are told of new pieces: at once while it matters, in batches while it does not.

An announcement goes to every neighbour, so told one by one they outnumber all other frames
eight to one, and their packets take two per cent of a slow link from the pieces. It is
urgent while pieces are rare: when this node has few, its neighbours' next request may hang
on each of them, and when few are missing here, few are missing everywhere. In between a
neighbour has dozens to choose from, and a batch costs it nothing.
"""

from __future__ import annotations

__all__ = ["Announcing", "batch"]

_SHARE = 8


def batch(have: int, missing: int) -> int:
    """New pieces that are worth an announcement: an eighth of what is had, or is missing, if that is less."""
    return max(1, min(have, missing) // _SHARE)


class Announcing:
    """One task's rhythm. No announcement within `least_s` of the last, none later than `most_s` after its piece;
    both times the `pace`, where pieces take seconds to come (`Download.pace`)."""

    def __init__(self, least_s: float, most_s: float) -> None:
        self._least_s = least_s
        self._most_s = most_s
        self._told_at = float("-inf")
        self._untold = 0
        self._deadline = 0.0

    def piece(self, have: int, missing: int, now: float, pace: float = 1.0) -> float:
        """There is a new piece (`have` counts it); the time at which to announce all that is new."""
        self._untold += 1
        if self._untold == 1:
            self._deadline = now + self._most_s * pace
        soonest = self._told_at + self._least_s * pace
        return max(now if self._untold >= batch(have, missing) else self._deadline, soonest)

    def told(self, now: float) -> None:
        """It has been announced."""
        self._told_at = now
        self._untold = 0
