"""How long a piece usually takes to come, which tells what may take its time."""

from __future__ import annotations

__all__ = ["Pace"]

_MEMORY = 16
"""Pieces over which it is averaged."""


class Pace:
    """One task's at one node."""

    def __init__(self) -> None:
        self.usual_s = 0.0
        """From asking for a piece to having it, as a moving average over the last ones; 0 before the first."""
        self._count = 0

    def took(self, seconds: float) -> None:
        """A piece came so long after it was asked for."""
        self._count = min(_MEMORY, self._count + 1)
        self.usual_s += (seconds - self.usual_s) / self._count

    @property
    def stretch(self) -> float:
        """How many times slower than usual things may be done: 1, and up to 4 where a request waits for seconds."""
        return min(4.0, max(1.0, self.usual_s))
