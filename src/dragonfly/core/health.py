"""How far a peer can be trusted to give: a penalty that decays.

Each report adds to the penalty; half of it is gone after `half_life_s`. Above `limit` the
peer is isolated, and comes back by itself. One reporter counts only up to a share of the
limit, so that one liar can't isolate anybody.
"""

from __future__ import annotations

__all__ = ["Health"]

_FORGOTTEN = 0.001
_LATELY = 0.2


class Health:
    """Penalties of one peer by reporter. All times are `now` of one monotonic clock, seconds."""

    def __init__(self, *, limit: float = 1.0, half_life_s: float = 30.0, share: float = 0.6) -> None:
        self._limit = limit
        self._half_life_s = half_life_s
        self._share = share
        self._by_reporter: dict[str, tuple[float, float]] = {}

    def report(self, reporter: str, weight: float, now: float) -> None:
        """`reporter` had trouble with this peer; a `weight` of the limit or more counts as its share."""
        level = self._level(reporter, now)
        self._by_reporter = {by: said for by, said in self._by_reporter.items() if self._level(by, now) > _FORGOTTEN}
        self._by_reporter[reporter] = (min(level + weight, self._limit * self._share), now)

    def penalty(self, now: float) -> float:
        return sum(self._level(reporter, now) for reporter in self._by_reporter)

    def isolated(self, now: float) -> bool:
        return bool(self._by_reporter) and self.penalty(now) >= self._limit

    def accused_by(self, reporter: str, now: float) -> bool:
        """`reporter` has had trouble with it lately, whatever the others say."""
        return reporter in self._by_reporter and self._level(reporter, now) >= _LATELY * self._limit

    def forgiven(self, now: float) -> bool:
        """Nothing worth remembering is left."""
        return self.penalty(now) < 0.01 * self._limit

    def _level(self, reporter: str, now: float) -> float:
        level, at = self._by_reporter.get(reporter, (0.0, now))
        return float(level * 0.5 ** ((now - at) / self._half_life_s))
