"""How the supernode is told that a pull is over: well, or why not."""

from __future__ import annotations

from dragonfly.core.messages import Finished, TaskFailed
from dragonfly.core.task import TaskKey
from dragonfly.errors import DragonflyError, SourceError
from dragonfly.peer.report import Result

__all__ = ["finished", "task_failed"]


def finished(key: TaskKey, result: Result) -> Finished:
    """Any node's word on its own pull."""
    return Finished(
        key=key,
        seconds=result.seconds,
        received=result.received,
        uploaded=result.uploaded,
        error=result.error,
        fallback=result.fallback,
        bound=result.bound,
        efficiency=result.efficiency,
        node_rate=result.node_rate,
    )


def task_failed(key: TaskKey, error: BaseException) -> TaskFailed:
    """A seed's word: nobody will get the content from here."""
    source = error if isinstance(error, SourceError) else None
    return TaskFailed(
        key=key,
        reason=error.what if isinstance(error, DragonflyError) else str(error),
        status=source.status if source is not None else None,
        challenge=source.challenge if source is not None else "",
        final=source is not None and source.final,
    )
