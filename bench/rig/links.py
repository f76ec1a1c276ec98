"""How a link is limited: one token bucket on each end of each pair of interfaces.

The defaults were found by measuring single TCP flows: with these buckets a flow carries
0.956 of its link's rate as payload, which is what Ethernet, IP and TCP headers leave.
"""

from __future__ import annotations

import dataclasses

__all__ = ["HEADERS_LEAVE", "Link"]

HEADERS_LEAVE = 0.956
"""Payload share of a full link: 1448 bytes of 1514. No system can be more efficient."""


@dataclasses.dataclass(frozen=True)
class Link:
    """Shape of every link of a rig; sizes in bytes."""

    burst_ms: float = 4.0
    """Bucket depth as time at the link's rate …"""
    burst_min: int = 16_000
    """… but never less than one packet as the kernel hands them down (GSO)."""
    buffer_ms: float = 100.0
    """The switch's buffer: what queues longer than this is dropped from the tail."""
    buffer_min: int = 128_000
    local_buffer: int = 4_000_000
    """On the host's own side TCP small queues bound the queue; this is only large enough."""
    gso: int = 15_000
    """Largest packet handed down; one of 64 KB would hold a 10 Mb/s link for 52 ms."""
    mtu: int = 1500
    congestion_control: str = "reno"
    """Found on every kernel; at 0.1 ms of round trip it acts like cubic."""

    def tc(self, device: str, mbit: float, *, local: bool) -> str:
        """The `tc -batch` line that limits what leaves `device` to `mbit` megabits a second."""
        rate = mbit * 1e6 / 8
        burst = int(max(self.burst_min, rate * self.burst_ms / 1e3))
        limit = self.local_buffer if local else int(max(self.buffer_min, rate * self.buffer_ms / 1e3))
        return f"qdisc add dev {device} root tbf rate {mbit}mbit burst {burst} limit {limit}\n"

    @property
    def gso_words(self) -> str:
        """The `ip link set` words that bound the size of packets."""
        return f"gso_max_size {self.gso} gso_max_segs {max(1, self.gso // (self.mtu - 52))}"
