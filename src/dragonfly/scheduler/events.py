"""What reaches the scheduler."""

from __future__ import annotations

import msgspec

from dragonfly.core.messages import FromDaemon
from dragonfly.core.task import TaskKey

__all__ = ["Connected", "Deleted", "Event", "Evicted", "Heard", "Lost", "Tick"]


class Heard(msgspec.Struct, frozen=True):
    """`host` said something."""

    host: str
    message: FromDaemon


class Connected(msgspec.Struct, frozen=True):
    """A session of `host` begins (it has said Hello, and the shell found its token right)."""

    host: str
    seed: bool = False


class Lost(msgspec.Struct, frozen=True):
    """The session of `host` is over."""

    host: str


class Deleted(msgspec.Struct, frozen=True):
    """The operator deletes a task everywhere."""

    key: TaskKey


class Evicted(msgspec.Struct, frozen=True):
    """The seed's disk had no room for a task any more."""

    key: TaskKey


class Tick(msgspec.Struct, frozen=True):
    """A deadline has come."""


Event = Heard | Connected | Lost | Deleted | Evicted | Tick
