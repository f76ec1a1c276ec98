"""Bytes that nodes received, in all, since the start.

Nodes tell totals of each pull. What the roster shows of a node goes when the node or the
task does; sums that were made from it would fall. These only grow.
"""

from __future__ import annotations

from dragonfly.core.messages import BytesBy
from dragonfly.core.task import TaskKey

__all__ = ["Accounts"]


class Accounts:
    """`total`: by where the bytes came from; content that was cached already is none that was received."""

    def __init__(self) -> None:
        self.total = BytesBy()
        self._told: dict[TaskKey, dict[str, BytesBy]] = {}

    def heard(self, key: TaskKey, host: str, received: BytesBy) -> None:
        """What `host` has of task `key` since its pull began; told again and again, also after a lost session."""
        told = self._told.setdefault(key, {})
        before = told.get(host, BytesBy())
        if received.source < before.source or received.seed < before.seed or received.peers < before.peers:
            before = BytesBy()  # another pull of the same task
        told[host] = received
        self.total = BytesBy(
            source=self.total.source + received.source - before.source,
            seed=self.total.seed + received.seed - before.seed,
            peers=self.total.peers + received.peers - before.peers,
        )

    def forget(self, key: TaskKey) -> None:
        """The task is gone; a later one of this name begins anew."""
        self._told.pop(key, None)
