"""The contract of a place for state, and the look-up of one by its address.

Values are small and belong to a kind ("task", "job", "secret"). Calls are synchronous and
short; the supernode makes them in a thread. Every implementation passes
`dragonfly.testing.state_conformance`.
"""

from __future__ import annotations

from pathlib import Path
from typing import Protocol

from dragonfly.errors import UsageError

__all__ = ["State", "open_state"]


class State(Protocol):
    """Shared by threads. Raises CapacityError where the place can't be reached or written."""

    def get(self, kind: str, key: str) -> bytes | None: ...

    def put(self, kind: str, key: str, value: bytes) -> None: ...

    def add(self, kind: str, key: str, value: bytes) -> bytes:
        """Put `value` only if there is none; returns what is there now. Atomic over all supernodes."""
        ...

    def remove(self, kind: str, key: str) -> None: ...

    def all(self, kind: str) -> dict[str, bytes]: ...

    def close(self) -> None: ...


def open_state(address: str, data_dir: Path) -> State:
    """`sqlite` (a file in `data_dir`), `memory`, or `redis://HOST:PORT/DB`; UsageError for anything else."""
    if address == "sqlite":
        from dragonfly.supernode.state.sqlite import SqliteState

        return SqliteState(data_dir / "state.db")
    if address == "memory":
        from dragonfly.supernode.state.memory import MemoryState

        return MemoryState()
    if address.startswith(("redis://", "rediss://", "unix://")):
        from dragonfly.supernode.state.redis import RedisState

        return RedisState(address)
    raise UsageError(
        "no such place for state", subject=repr(address), advice="use sqlite, memory or redis://HOST:PORT/DB"
    )
