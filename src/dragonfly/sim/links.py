"""Links of virtual hosts: what crosses one takes its turn, at the link's rate.

A transfer holds the giver's uplink for its own time, then the taker's downlink, where it
queues behind what came before (the switch's buffer). That is exact for store-and-forward of
whole messages, and near what TCP does when messages are small against the file.
"""

from __future__ import annotations

__all__ = ["Link"]


class Link:
    """One direction of one host. `rate` in bytes a second, times in seconds."""

    __slots__ = ("carried", "free_at", "rate")

    def __init__(self, rate: float) -> None:
        if rate <= 0:
            raise ValueError(f"a link of {rate} bytes/s")
        self.rate = rate
        self.free_at = 0.0
        self.carried = 0

    def send(self, size: int, now: float) -> tuple[float, float]:
        """Put `size` bytes on the link as soon as it is free; when they begin to go, and are gone."""
        began = max(now, self.free_at)
        self.free_at = began + size / self.rate
        self.carried += size
        return began, self.free_at

    def take(self, size: int, began: float, ended: float) -> float:
        """`size` bytes come in from elsewhere between these times; when the last one is through.

        With nothing in the way and enough rate that is `ended`: bits are passed on as they
        come, and only a link that is slower or busy delays them.
        """
        self.free_at = max(ended, max(began, self.free_at) + size / self.rate)
        self.carried += size
        return self.free_at
