"""A virtual world: time, the hosts in it, and what happens next.

Time jumps from event to event; nothing here waits. The same seed gives the same run, to
the last event. The minds are the product's own (`swarm.Download`, `swarm.Uploads`); only
sockets, disks and clocks are replaced, by `sim.node` and `sim.links`.
"""

from __future__ import annotations

import heapq
from collections.abc import Callable
from random import Random
from typing import Any, NamedTuple

import msgspec

from dragonfly.core.pieces import PieceLayout
from dragonfly.sim.links import Link
from dragonfly.swarm.settings import SwarmSettings

__all__ = ["Transfer", "World", "WorldSettings"]


class WorldSettings(msgspec.Struct, frozen=True, kw_only=True):
    """What is the same for all hosts. Rates in bytes a second, times in seconds."""

    swarm: SwarmSettings = SwarmSettings()
    latency_s: float = 0.0005
    """One way, between any two hosts."""
    publish_s: float = 0.02
    """The digests of what a seed gives are told after this …"""
    publish_late_s: float = 2.0
    """… and those of what it has only read after this (`swarm.publishing`)."""
    window_bytes: int = 128 * 1024
    """Bytes under way from one host to another before the next run waits (a socket's buffers)."""
    back_to_source: bool = True
    """A peer to which the swarm brings nothing reads the source itself."""
    streaming: bool = True
    """Each host has a reader that wants the bytes in order."""


class Transfer(NamedTuple):
    """A piece that arrived and was right: who had it from whom, when it left and when it was here."""

    began: float
    ended: float
    giver: str
    """Empty: the source."""
    taker: str
    piece: int


class World:
    """Clock, event queue, chance. Hosts put themselves into `nodes` (`sim.node.Node`)."""

    def __init__(self, layout: PieceLayout, settings: WorldSettings | None = None, *, seed: int = 1) -> None:
        self.layout = layout
        self.settings = settings or WorldSettings()
        self.rng = Random(seed)
        self.now = 0.0
        self.events = 0
        self.frames = 0
        """Control frames between hosts."""
        self.narrow: dict[tuple[str, str], Link] = {}
        """What joins two zones, by whence and whither; the source is in zone ""."""
        self.transfers: list[Transfer] | None = None
        """Set to a list to have every transfer written down."""
        self._queue: list[tuple[float, int, Callable[..., None], tuple[Any, ...]]] = []
        self._count = 0

    def at(self, time: float, do: Callable[..., None], *args: Any) -> None:
        """Call `do(*args)` at `time`; what is asked for one moment happens in the order of asking."""
        self._count += 1
        heapq.heappush(self._queue, (max(time, self.now), self._count, do, args))

    def after(self, seconds: float, do: Callable[..., None], *args: Any) -> None:
        self.at(self.now + seconds, do, *args)

    def run(self, until: Callable[[], bool], limit_s: float) -> bool:
        """Let things happen until `until()` holds or `limit_s` virtual seconds have passed.

        Returns whether it held. It is looked at after each event.
        """
        queue, pop = self._queue, heapq.heappop
        while queue and not until():
            time, _, do, args = pop(queue)
            if time > limit_s:
                return False
            self.now = time
            self.events += 1
            do(*args)
        return until()
