"""What all tasks of one node share: disk, sources, supernode, threads, limits, upload slots."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from random import Random

from dragonfly.core.messages import HostInfo
from dragonfly.core.rate import TokenBucket
from dragonfly.core.task import TaskKey
from dragonfly.peer.bulk import BulkPool
from dragonfly.peer.line import Line
from dragonfly.peer.origin import Throttle
from dragonfly.peer.report import Intake
from dragonfly.peer.settings import EngineSettings
from dragonfly.peer.slots import UploadSlots
from dragonfly.peer.tracker import Tracker
from dragonfly.source.registry import Sources
from dragonfly.store.store import Store
from dragonfly.swarm.download import Download
from dragonfly.telemetry.trace import Tracer

__all__ = ["Node"]


@dataclass(slots=True, kw_only=True)
class Node:
    """Made by the engine; lent to its tasks."""

    host: HostInfo
    settings: EngineSettings
    store: Store
    sources: Sources
    tracker: Tracker
    tracer: Tracer
    slots: UploadSlots
    bulk: BulkPool
    reading: ThreadPoolExecutor
    hashing: ThreadPoolExecutor
    download_limit: TokenBucket
    origin_limit: TokenBucket
    ticket_for: Callable[[TaskKey], str] | None = None
    """How a seed, which describes its tasks itself, knows their tickets."""
    piece_size: Callable[[TaskKey, int], int] | None = None
    """… and the size of the pieces of one of so many bytes."""
    pulling: set[Download] = field(default_factory=set)
    """The minds of the pulls that lack pieces; all share the node's link."""
    line: Line = field(default_factory=Line)
    intake: Intake = field(default_factory=Intake)
    rng: Random = field(default_factory=Random)

    def throttles(self, *more: TokenBucket) -> tuple[Throttle, ...]:
        """What reads of a source keep to; `more`: the task's own limits."""
        return tuple(Throttle(bucket) for bucket in (self.download_limit, self.origin_limit, *more) if bucket.rate)

    def others(self, than: Download) -> int:
        """Neighbours of the other pulls that bring something."""
        now, recent = self.now(), self.settings.swarm.source_after_s / 2
        return sum(
            len(download.parents)
            for download in self.pulling
            if download is not than and download.source.stalled_for(now) < recent
        )

    def now(self) -> float:
        """Seconds, monotonic: the event loop's clock."""
        return asyncio.get_running_loop().time()
