"""A seed's words about its task: digests of the pieces, some at a time, when they are of use (`swarm.publishing`)."""

from __future__ import annotations

import asyncio

from dragonfly.core import bitmap
from dragonfly.core.messages import Digests
from dragonfly.core.task import TaskKey
from dragonfly.peer.tracker import Tracker
from dragonfly.store.blob import Blob
from dragonfly.swarm.publishing import Publishing

__all__ = ["Publisher"]

_SOON_S = 0.02
_LATE_S = 2.0


class Publisher:
    """Batches what a seed has verified and given into Digests messages."""

    def __init__(self, key: TaskKey, blob: Blob, tracker: Tracker) -> None:
        self._key = key
        self._blob = blob
        self._tracker = tracker
        self._rhythm = Publishing(_SOON_S, _LATE_S)
        self._timer: asyncio.TimerHandle | None = None
        self._loop = asyncio.get_running_loop()

    def had(self, first: int, count: int) -> None:
        """These pieces are verified."""
        self._rhythm.had(bitmap.run(first, count), self._loop.time())
        self._arm()

    def given(self, first: int, count: int) -> None:
        """These pieces leave this node now."""
        self._rhythm.given(bitmap.run(first, count), self._loop.time())
        self._arm()

    def sealed(self) -> None:
        """The whole is right: who comes from now on hears all digests at once."""
        self.close()
        self._tell(self._rhythm.rest())
        self._tracker.send(Digests(key=self._key, first=0, digests=b"", sealed=True))

    def close(self) -> None:
        """Say nothing more."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _arm(self) -> None:
        when = self._rhythm.deadline()
        if when is not None and (self._timer is None or when < self._timer.when()):
            self.close()
            self._timer = self._loop.call_at(when, self._due)

    def _due(self) -> None:
        self._timer = None
        self._tell(self._rhythm.take(self._loop.time()))
        self._arm()

    def _tell(self, pieces: int) -> None:
        for first, count in bitmap.runs(pieces):
            digests = bytes(self._blob.digests[32 * first : 32 * (first + count)])
            self._tracker.send(Digests(key=self._key, first=first, digests=digests))
