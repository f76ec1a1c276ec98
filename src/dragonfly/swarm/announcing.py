"""When neighbours are told of new pieces: at once while it matters, in batches while it does not.

An announcement goes to every neighbour, so told one by one they outnumber all other frames
eight to one, and their packets take two per cent of a slow link from the pieces. It is
urgent while pieces are rare: when this node has few, its neighbours' next request may hang
on each of them, and when few are missing here, few are missing everywhere. In between a
neighbour has dozens to choose from, and a batch costs it nothing.
"""

from __future__ import annotations

from dragonfly.swarm.pace import Pace

__all__ = ["Announcing", "batch", "concerns"]

_SHARE = 8
_PATIENT = 3.0
"""A batch is so many times larger, at most, where a request has to wait for its turn anyway."""


def batch(have: int, missing: int, usual_s: float) -> int:
    """New pieces that are worth an announcement: an eighth of what is had, or is missing, if that is less; up to
    three times as many where a piece usually takes a good part of a second from asking to having, or more."""
    patience = min(_PATIENT, max(1.0, _PATIENT * usual_s))
    return max(1, int(min(have, missing) * patience / _SHARE))


def concerns(*, seed: bool, told: bool, complete: bool) -> bool:
    """Whether a neighbour wants to hear of a new piece; `told`: it has heard of one, `complete`: it has them all.

    Who has all needs nothing. But a seed lets those go first who have nothing, so it hears of the first piece, and of
    the rest with the next request for a piece of its choice.
    """
    return not told if seed else not complete


class Announcing:
    """One task's rhythm. No announcement within `least_s` of the last, none later than `most_s` after its piece;
    both are stretched where pieces take seconds to come."""

    def __init__(self, least_s: float, most_s: float, pace: Pace) -> None:
        self._pace = pace
        self._least_s = least_s
        self._most_s = most_s
        self._told_at = float("-inf")
        self._untold = 0
        self._deadline = 0.0

    def piece(self, have: int, missing: int, now: float) -> float:
        """There is a new piece (`have` counts it); the time at which to announce all that is new."""
        self._untold += 1
        if self._untold == 1:
            self._deadline = now + self._most_s * self._pace.stretch
        soonest = self._told_at + self._least_s * self._pace.stretch
        enough = self._untold >= batch(have, missing, self._pace.usual_s)
        return max(now if enough else self._deadline, soonest)

    def told(self, now: float) -> None:
        """It has been announced."""
        self._told_at = now
        self._untold = 0
