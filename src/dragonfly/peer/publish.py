"""A seed's words about its task: digests of the pieces as they come, some at a time."""

from __future__ import annotations

import asyncio

from dragonfly.core import bitmap
from dragonfly.core.messages import Digests
from dragonfly.core.task import TaskKey
from dragonfly.peer.tracker import Tracker
from dragonfly.store.blob import Blob

__all__ = ["Publisher"]

_EVERY_S = 0.02


class Publisher:
    """Batches what a seed has verified into Digests messages."""

    def __init__(self, key: TaskKey, blob: Blob, tracker: Tracker) -> None:
        self._key = key
        self._blob = blob
        self._tracker = tracker
        self._fresh = 0
        self._timer: asyncio.TimerHandle | None = None

    def had(self, first: int, count: int) -> None:
        """These pieces are verified."""
        self._fresh |= bitmap.run(first, count)
        if self._timer is None:
            self._timer = asyncio.get_running_loop().call_later(_EVERY_S, self.flush)

    def flush(self) -> None:
        """Say what has not been said."""
        self.close()
        fresh, self._fresh = self._fresh, 0
        for first, count in bitmap.runs(fresh):
            digests = bytes(self._blob.digests[32 * first : 32 * (first + count)])
            self._tracker.send(Digests(key=self._key, first=first, digests=digests))

    def sealed(self) -> None:
        """The whole is right."""
        self.flush()
        self._tracker.send(Digests(key=self._key, first=0, digests=b"", sealed=True))

    def close(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
