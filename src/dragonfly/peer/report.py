"""What a pull tells in the end: where the bytes came from, how long, what bound it, why it fell back."""

from __future__ import annotations

import msgspec

from dragonfly.core.messages import BytesBy
from dragonfly.core.units import format_duration, format_rate, format_size

__all__ = ["Intake", "Meter", "Result"]


class Result(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One pull on one node. Sizes in bytes, times in seconds."""

    key: str
    url: str
    length: int
    seconds: float
    part: int | None = None
    """Bytes that were asked for, where it was not all of it."""
    received: BytesBy = BytesBy()
    uploaded: int = 0
    digest: str = ""
    fallback: str = ""
    """Why this node read the source itself, where it did."""
    bound: str = ""
    """What limited it: source, link, swarm, disk, cpu, limit or cache."""
    efficiency: float = 0.0
    """Least possible time (all bytes at the best rate that this node's link was seen to reach) over real time."""
    node_rate: float = 0.0
    """Bytes/s that this node received meanwhile, of all its pulls."""
    error: str = ""

    @property
    def rate(self) -> float:
        moved = self.received.total - self.received.cache
        return moved / self.seconds if self.seconds > 0 else 0.0

    def line(self) -> str:
        """One line for people: `1.07 GB in 2.1 s (511 MB/s): peers 98 %, seed 2 %; bound by link, 97 % of it`."""
        total = max(1, self.received.total)
        shares = ", ".join(
            f"{name} {format_share(getattr(self.received, name), total)}"
            for name in ("peers", "seed", "source", "cache")
            if getattr(self.received, name)
        )
        size = format_size(self.length)
        if self.part is not None:
            size = f"{format_size(self.part)} of {size}"
        text = f"{size} in {format_duration(self.seconds)} ({format_rate(self.rate)})"
        text += f": {shares or 'nothing moved'}"
        if self.bound and self.bound != "cache":
            text += f"; bound by {self.bound}"
            if self.efficiency:
                text += f", {self.efficiency:.0%} of the best possible"
        if self.fallback:
            text += f"; read the source itself because {self.fallback}"
        return text


def format_share(part: int, total: int) -> str:
    share = 100 * part / total
    return "<1 %" if 0 < share < 1 else f"{share:.0f} %"


class Intake:
    """What all pulls of one node received."""

    def __init__(self) -> None:
        self.bytes = 0


class Meter:
    """Watches one pull: bytes by origin and the best rate seen over half a second."""

    _WINDOW = 0.5

    def __init__(self, now: float, cached: int, intake: Intake | None = None) -> None:
        self.started = now
        self._intake = intake or Intake()
        self._taken_before = self._intake.bytes
        self.ended: float | None = None
        self.source = 0
        self.seed = 0
        self.peers = 0
        self.cached = cached
        self.uploaded = 0
        self.idle_s = 0.0
        """Time in which nothing was under way although something was missing."""
        self.limited_s = 0.0
        self.peak = 0.0
        self._window_at = now
        self._window_bytes = 0
        self._looked_at = now

    def received(self) -> BytesBy:
        return BytesBy(source=self.source, seed=self.seed, peers=self.peers, cache=self.cached)

    def count(self, count: int, now: float) -> None:
        """`count` bytes came in from anywhere."""
        self._intake.bytes += count
        self._window_bytes += count
        elapsed = now - self._window_at
        if elapsed >= self._WINDOW:
            self.peak = max(self.peak, self._window_bytes / elapsed)
            self._window_at = now
            self._window_bytes = 0

    def look(self, now: float, *, idle: bool) -> None:
        """One of the looks at the pull: where it is `idle`, so it was since the last one."""
        if idle:
            self.idle_s += now - self._looked_at
        self._looked_at = now

    def seconds(self, now: float) -> float:
        return (self.ended if self.ended is not None else now) - self.started

    def node_rate(self, now: float) -> float:
        """Bytes/s of all pulls of the node since this one began."""
        seconds = self.seconds(now)
        return (self._intake.bytes - self._taken_before) / seconds if seconds > 0 else 0.0

    def efficiency(self, now: float) -> float:
        moved = self.source + self.seed + self.peers
        seconds = self.seconds(now)
        peak = max(self.peak, moved / seconds if seconds > 0 else 0.0)
        return min(1.0, moved / peak / seconds) if moved and peak and seconds > 0 else 0.0

    def bound(self, now: float, cpu_share: float) -> str:
        """The likeliest limit. `cpu_share`: this process's CPU seconds per second of the pull."""
        moved = self.source + self.seed + self.peers
        if not moved:
            return "cache"
        seconds = max(1e-9, self.seconds(now))
        if self.limited_s > 0.3 * seconds:
            return "limit"
        if cpu_share > 0.9:
            return "cpu"
        if self.source > 0.5 * moved:
            return "source"
        if self.idle_s > 0.3 * seconds:
            return "swarm"
        return "link"
