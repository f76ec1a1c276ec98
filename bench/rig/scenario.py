"""Under which conditions a system is measured, and how fast any system could be under them.

T* = max(F/S, F/d, N·F/(S + N·u)) for F bytes, source side upload S, N clients with upload u
and download d (Kumar and Ross 2006). With unequal clients it is taken for the ones that
count; with staggered arrivals the last arrival's own F/d is added to its start.
"""

from __future__ import annotations

import dataclasses
import random

from .hosts import Hosts

__all__ = ["SCENARIOS", "Scenario"]


@dataclasses.dataclass(frozen=True)
class Scenario:
    """One set of conditions. `size` in bytes, rates in megabits a second, times in seconds."""

    name: str = "plain"
    clients: int = 50
    size: int = 20_000_000
    files: int = 1
    """The bytes come in so many equal files, all asked for at once."""
    client_mbit: float = 10
    server_mbit: float = 100
    staggered: bool = False
    """Clients arrive evenly over T*, not all at once."""
    slow_share: float = 0
    """So many of the clients have a tenth of the rate; the others are what counts."""
    killed_share: float = 0
    """So many of the client hosts lose power, evenly between a fifth and three fifths of T*."""
    corrupt_share: float = 0
    """So many of the client hosts serve wrong bytes (at least one); they don't count."""
    seed_copies: float = 0
    """The seed may send so many times F in T*; 0: as fast as its link is."""
    narrow_mbit: float = 0
    """Two zones, joined by a link of this rate."""

    # ---------------------------------------------------------------- who is what

    def _chosen(self, share: float) -> frozenset[int]:
        count = max(1, round(share * self.clients)) if share else 0
        return frozenset(random.Random(self.clients).sample(range(self.clients), count))

    @property
    def slow(self) -> frozenset[int]:
        return self._chosen(self.slow_share)

    @property
    def killed(self) -> frozenset[int]:
        return self._chosen(self.killed_share)

    @property
    def corrupt(self) -> frozenset[int]:
        return self._chosen(self.corrupt_share)

    @property
    def counted(self) -> list[int]:
        """The clients whose times make the result."""
        return sorted(set(range(self.clients)) - self.slow - self.killed - self.corrupt)

    @property
    def hosts(self) -> Hosts:
        return Hosts(
            clients=self.clients,
            client_mbit=self.client_mbit,
            server_mbit=self.server_mbit,
            slow=self.slow,
            narrow_mbit=self.narrow_mbit,
        )

    # ---------------------------------------------------------------- when, and how fast

    @property
    def bound(self) -> float:
        """T* of the clients that count, all starting at once, in seconds."""
        bits, source, client = self.size * 8e-6, 2 * self.server_mbit, self.client_mbit
        upload = client * (self.clients - len(self.slow)) + client / 10 * len(self.slow)
        demand = len(self.counted) + len(self.slow) / 10
        return max(bits / source, bits / client, demand * bits / (source + upload))

    def starts(self) -> list[float]:
        """When each client starts, in seconds from the first."""
        return [self.bound * i / self.clients if self.staggered else 0.0 for i in range(self.clients)]

    def kill_times(self) -> dict[int, float]:
        killed = sorted(self.killed)
        return {i: self.bound * (0.2 + 0.4 * at / max(1, len(killed) - 1)) for at, i in enumerate(killed)}

    @property
    def makespan_bound(self) -> float:
        """Least time from the first start to the end of the last client that counts."""
        starts = self.starts()
        return self.bound + max((starts[i] for i in self.counted), default=0.0)

    @property
    def seed_rate(self) -> int:
        """Upload limit of the seed in bytes/s; 0: none."""
        return int(self.seed_copies * self.size / self.bound) if self.seed_copies else 0

    def scaled(self, factor: float) -> Scenario:
        """All rates by one factor, for machines that are too small; the ratios are what counts."""
        return dataclasses.replace(
            self,
            client_mbit=self.client_mbit * factor,
            server_mbit=self.server_mbit * factor,
            narrow_mbit=self.narrow_mbit * factor,
        )


SCENARIOS = {
    scenario.name: scenario
    for scenario in (
        Scenario(),
        Scenario(name="seed-2F", seed_copies=2),
        Scenario(name="staggered", staggered=True),
        Scenario(name="slow-10%", slow_share=0.1),
        Scenario(name="killed-10%", killed_share=0.1),
        Scenario(name="corrupt-1%", corrupt_share=0.01),
        Scenario(name="layers-5", files=5),
        Scenario(name="two-zones", narrow_mbit=20),
    )
}
