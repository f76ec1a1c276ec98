"""How near a run came to the least possible time, and what it cost.

T* = max(F/S, F/d, N·F/(S + Σu)): no method brings F bytes to N peers sooner, with source
side upload S, the slowest download d and the peers' uploads u (Kumar and Ross 2006).
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import msgspec

from dragonfly.sim.node import Node
from dragonfly.sim.world import World

__all__ = ["Outcome", "lower_bound", "outcome", "percentile"]


def lower_bound(size: int, source_up: float, uploads: Sequence[float], downloads: Sequence[float]) -> float:
    """T* in seconds for `size` bytes; rates in bytes a second, of all peers that want it."""
    if not downloads:
        return 0.0
    return max(size / source_up, size / min(downloads), len(downloads) * size / (source_up + math.fsum(uploads)))


def percentile(ranked: Sequence[float], q: float) -> float:
    """Nearest-rank percentile of sorted values, not empty."""
    return ranked[max(0, math.ceil(q * len(ranked)) - 1)]


class Outcome(msgspec.Struct, frozen=True, kw_only=True):
    """One run. Times in virtual seconds; copies are bytes over the file's length."""

    peers: int
    finished: int
    pieces: int
    bound_s: float
    last_s: float
    p50_s: float
    p99_s: float
    efficiency: float
    """T* over the time of the last counted peer; 0 where one did not finish."""
    source_copies: float
    seed_copies: float
    peer_copies: float
    narrow_copies: float
    """Bytes that went into the other zone, where there are two."""
    wasted_copies: float
    """Arrived, but was had already, was wrong, or came too late; per peer."""
    frames_per_peer_s: float
    events: int


def outcome(world: World, seeds: Sequence[Node], counted: Sequence[Node], others: Sequence[Node] = ()) -> Outcome:
    """Figures of the `counted` peers. `others` (slow, killed, corrupt) give and take but don't count."""
    size = world.layout.length
    bound = lower_bound(
        size,
        math.fsum(seed.up.rate for seed in seeds),
        [node.up.rate for node in counted],
        [node.down.rate for node in counted],
    )
    first = min((node.started_at for node in counted), default=0.0)
    latest = max((node.started_at for node in counted), default=0.0)
    times = sorted(node.finished_at - node.started_at for node in counted if node.finished_at is not None)
    last = max((node.finished_at for node in counted if node.finished_at is not None), default=0.0) - first
    whole = bool(times) and len(times) == len(counted)
    peers = [*counted, *others]
    everyone = [*seeds, *peers]
    return Outcome(
        peers=len(counted) + len(others),
        finished=len(times),
        pieces=world.layout.count,
        bound_s=bound + latest - first,
        last_s=last,
        p50_s=percentile(times, 0.5) if times else 0.0,
        p99_s=percentile(times, 0.99) if times else 0.0,
        efficiency=(bound + latest - first) / last if whole and last > 0 else 0.0,
        source_copies=sum(node.from_source for node in everyone) / size,
        seed_copies=sum(seed.up.carried for seed in seeds) / size,
        peer_copies=sum(node.from_peers for node in everyone) / size,
        narrow_copies=world.narrow["here", "there"].carried / size if world.narrow else 0.0,
        wasted_copies=max(0.0, sum(node.down.carried for node in peers) - sum(map(_useful, peers))) / size / len(peers),
        frames_per_peer_s=world.frames / max(1, len(everyone)) / world.now if world.now else 0.0,
        events=world.events,
    )


def _useful(node: Node) -> int:
    return node.from_seed + node.from_peers + node.from_source
