"""How an engine talks with its supernode: over a session, in process, or not at all."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

from dragonfly.core.messages import FromDaemon, FromSupernode

__all__ = ["NoTracker", "Tracker"]


class Tracker(Protocol):
    """The engine's side of a control session. All calls are made in the event loop and return at once."""

    @property
    def connected(self) -> bool:
        """Whether a message sent now would reach a supernode."""
        ...

    @property
    def supernodes(self) -> tuple[str, ...]:
        """URLs of all that are configured."""
        ...

    def send(self, message: FromDaemon) -> None:
        """Say it, if connected; otherwise it is dropped: `on_connect` says again what matters."""
        ...

    def attach(
        self,
        on_message: Callable[[FromSupernode], None],
        on_connect: Callable[[], None],
        on_lost: Callable[[], None],
    ) -> None:
        """Who is told of messages, of a (re)connect and of a loss. Called once, before the start."""
        ...

    async def start(self) -> None: ...

    async def close(self) -> None: ...


class NoTracker:
    """A node on its own."""

    connected = False
    supernodes: tuple[str, ...] = ()

    def send(self, message: FromDaemon) -> None:
        pass

    def attach(
        self,
        on_message: Callable[[FromSupernode], None],
        on_connect: Callable[[], None],
        on_lost: Callable[[], None],
    ) -> None:
        pass

    async def start(self) -> None:
        pass

    async def close(self) -> None:
        pass
