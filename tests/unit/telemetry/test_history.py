"""The recent events of the recent tasks, and no more of them than there is memory for."""

from __future__ import annotations

from dragonfly.telemetry.history import History
from dragonfly.telemetry.trace import Tracer


def told(history: History, task: str) -> list[object]:
    return [event.fields["n"] for event in history.of(task)]


def filled(**limits: int) -> tuple[History, Tracer]:
    history, tracer = History(**limits), Tracer(lambda: 0.0)
    tracer.subscribe(history, History.NAMES)
    return history, tracer


def test_it_keeps_each_tasks_events_in_order() -> None:
    history, tracer = filled()
    for n in range(3):
        tracer.emit("piece.received", task="a", n=n)
        tracer.emit("piece.received", task="b", n=10 + n)
    assert told(history, "a") == [0, 1, 2]
    assert told(history, "b") == [10, 11, 12]
    assert history.of("c") == []


def test_the_oldest_events_go_first() -> None:
    history, tracer = filled(events=3)
    for n in range(5):
        tracer.emit("piece.received", task="a", n=n)
    assert told(history, "a") == [2, 3, 4]


def test_the_task_to_which_nothing_happened_for_longest_goes_first() -> None:
    history, tracer = filled(tasks=2)
    for n, task in enumerate(("a", "b", "a", "c")):
        tracer.emit("pull.started", task=task, n=n)
    assert told(history, "a") == [0, 2]
    assert told(history, "b") == []
    assert told(history, "c") == [3]


def test_what_belongs_to_no_task_or_is_of_no_interest_is_left_out() -> None:
    history, tracer = filled()
    tracer.emit("piece.corrupt", peer="x")
    tracer.emit("run.sent", task="a", bytes=1)
    assert history.of("a") == []
