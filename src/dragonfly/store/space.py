"""Which blobs go when the disk gets full. Pure: numbers in, keys out."""

from __future__ import annotations

from collections.abc import Iterable

import msgspec

from dragonfly.core.task import TaskKey

__all__ = ["Stored", "plan"]


class Stored(msgspec.Struct, frozen=True):
    """One blob as the plan sees it. `used_at` in seconds, any scale."""

    key: TaskKey
    size: int
    used_at: float
    pinned: bool = False


def plan(
    blobs: Iterable[Stored],
    *,
    now: float,
    limit: int,
    low_water: float = 0.9,
    disk_free: int | None = None,
    keep_free: int = 0,
    ttl_s: float = 0.0,
    extra: int = 0,
) -> list[TaskKey]:
    """What to delete so that `extra` more bytes fit: first what is too old, then the least
    recently used. Blobs in use are never in it, even if it is not enough then.

    `limit` 0: no quota; `disk_free` None: the disk is not looked at.
    """
    blobs = sorted(blobs, key=lambda blob: blob.used_at)
    used = sum(blob.size for blob in blobs)
    gone: list[TaskKey] = []
    excess = 0
    if limit and used + extra > limit:
        excess = used + extra - int(limit * low_water)
    if disk_free is not None and disk_free - extra < keep_free:
        excess = max(excess, keep_free - disk_free + extra)
    for blob in blobs:
        if blob.pinned:
            continue
        if (excess > 0 and blob.size) or (ttl_s and now - blob.used_at > ttl_s):
            gone.append(blob.key)
            excess -= blob.size
    return gone
