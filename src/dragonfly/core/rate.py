"""Token bucket and speed estimate. Both are fed with `now`; neither reads a clock."""

from __future__ import annotations

import math

__all__ = ["Speed", "TokenBucket"]

_LEAST_S = 0.002
"""Over less time a sample says how the loop was scheduled, not how fast bytes come."""


class TokenBucket:
    """Lets `rate` bytes/s through, with bursts of at most `burst` bytes. Rate 0: no limit.

    Takers may overdraw once (a piece is sent whole); the debt is waited off by the next.
    """

    def __init__(self, rate: int, burst: int = 0) -> None:
        self.rate = rate
        self.burst = burst or max(rate // 10, 64 * 1024)
        self._level = float(self.burst)
        self._at = -math.inf

    def change(self, rate: int) -> None:
        """A new rate from now on; `burst` follows."""
        self.rate = rate
        self.burst = max(rate // 10, 64 * 1024)
        self._level = min(self._level, self.burst)

    def _fill(self, now: float) -> None:
        if now > self._at:
            if self._at > -math.inf:
                self._level = min(self.burst, self._level + (now - self._at) * self.rate)
            self._at = now

    def delay(self, now: float) -> float:
        """Seconds until something may be taken; 0.0 when now."""
        if not self.rate:
            return 0.0
        self._fill(now)
        return 0.0 if self._level > 0 else -self._level / self.rate + 1e-6

    def take(self, count: int, now: float) -> None:
        """Take `count` bytes, into debt if need be; ask `delay` first."""
        if self.rate:
            self._fill(now)
            self._level -= count


class Speed:
    """Bytes/s over about the last `window` seconds, or the last `much` bytes where those came sooner.

    Exponential decay, a sample at least every tenth of a second or eighth of `much`. The first counts in full:
    what was before it is not known, and not nothing. (Kingma and Ba, "Adam", 2015, section 3: the correction of
    a mean that begins at zero.)
    """

    def __init__(self, window: float = 5.0, much: int = 8 * 1024 * 1024) -> None:
        self._window = window
        self._much = much
        self._rate = 0.0
        self._known = 0.0
        """The weight of all samples so far, 0 to 1."""
        self._at: float | None = None
        self._pending = 0

    def add(self, count: int, now: float) -> None:
        if self._at is None:
            self._at = now  # these came before it was timed
            return
        self._pending += count
        elapsed = now - self._at
        if elapsed >= 0.1 or (8 * self._pending >= self._much and elapsed >= _LEAST_S):
            keep = math.exp(-max(elapsed / self._window, self._pending / self._much))
            known = self._known * keep + 1 - keep
            self._rate += (self._pending / elapsed - self._rate) * (1 - keep) / known
            self._known = known
            self._pending = 0
            self._at = now

    def value(self, now: float) -> float:
        if self._at is None or now <= self._at:
            return self._rate
        return self._rate * math.exp(-max(0.0, now - self._at - 1.0) / self._window)
