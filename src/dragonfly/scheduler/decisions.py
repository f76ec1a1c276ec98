"""What the scheduler wants done."""

from __future__ import annotations

import msgspec

from dragonfly.core.messages import FromSupernode
from dragonfly.core.task import TaskKey, TaskSpec

__all__ = ["Decision", "Forgotten", "Isolated", "Send", "StartSeed"]


class Send(msgspec.Struct, frozen=True):
    """Tell all of `hosts` the same; the shell encodes it once."""

    hosts: tuple[str, ...]
    message: FromSupernode


class StartSeed(msgspec.Struct, frozen=True):
    """Let the seed fetch (or check again) this task, with these credentials."""

    spec: TaskSpec
    reason: str


class Isolated(msgspec.Struct, frozen=True):
    """A host is kept away from others for a while. For the log."""

    host: str
    reason: str


class Forgotten(msgspec.Struct, frozen=True):
    """A task has left the directory."""

    key: TaskKey


Decision = Send | StartSeed | Isolated | Forgotten
