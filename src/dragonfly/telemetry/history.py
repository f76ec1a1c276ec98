"""The recent events of each task, in memory: what `dragonfly trace` shows and the simulator replays."""

from __future__ import annotations

from collections import OrderedDict, deque

from dragonfly.telemetry.trace import Event

__all__ = ["History"]


class History:
    """A sink. Keeps the last `events` of the last `tasks` that something happened to."""

    #: What is worth its memory: who sent what when, and what went wrong.
    NAMES = frozenset(
        {
            "parent.left",
            "peer.unreachable",
            "piece.corrupt",
            "piece.received",
            "pull.described",
            "pull.failed",
            "pull.fallback",
            "pull.finished",
            "pull.started",
            "source.piece",
        }
    )

    def __init__(self, *, tasks: int = 16, events: int = 6_000) -> None:
        self._most_tasks = tasks
        self._most_events = events
        self._tasks: OrderedDict[str, deque[Event]] = OrderedDict()

    def __call__(self, event: Event) -> None:
        task = event.fields.get("task")
        if not isinstance(task, str):
            return
        ring = self._tasks.get(task)
        if ring is None:
            ring = self._tasks[task] = deque(maxlen=self._most_events)
            if len(self._tasks) > self._most_tasks:
                self._tasks.popitem(last=False)
        else:
            self._tasks.move_to_end(task)
        ring.append(event)

    def of(self, task: str) -> list[Event]:
        """Oldest first; empty for a task that is not known."""
        return list(self._tasks.get(task, ()))
