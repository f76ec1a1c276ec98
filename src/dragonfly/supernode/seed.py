"""The seed: the engine of every node, with five other values and a tracker in process.

It reads sources first instead of last, makes the piece digests instead of checking them,
and says what it finds to the scheduler next door instead of over a network.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from dragonfly.core.messages import FromDaemon, FromSupernode, Hello, Holding, Leave

__all__ = ["LocalTracker"]


class LocalTracker:
    """A `Tracker` without a network. `say` hands the seed's words to the scheduler's loop."""

    connected = True
    supernodes: tuple[str, ...] = ()

    def __init__(self, say: Callable[[FromDaemon], None]) -> None:
        self._say = say
        self._hear: Callable[[FromSupernode], None] = lambda _: None
        self._on_connect: Callable[[], None] = lambda: None

    def attach(
        self, on_message: Callable[[FromSupernode], None], on_connect: Callable[[], None], on_lost: Callable[[], None]
    ) -> None:
        self._hear, self._on_connect = on_message, on_connect

    def send(self, message: FromDaemon) -> None:
        if isinstance(message, Hello | Holding | Leave):
            return  # the supernode knows its own seed, and what lies in its store
        # Later, and not now: the scheduler may just be in the middle of a decision for the seed.
        asyncio.get_running_loop().call_soon(self._say, message)

    def deliver(self, message: FromSupernode) -> None:
        """What the scheduler tells the seed."""
        self._hear(message)

    async def start(self) -> None:
        self._on_connect()

    async def close(self) -> None:
        pass
