from __future__ import annotations

from dragonfly.telemetry.history import History
from dragonfly.telemetry.trace import Event, Tracer
from dragonfly.testing.clock import ManualClock


def test_each_hears_what_it_asked_for() -> None:
    clock = ManualClock(5.0)
    tracer = Tracer(clock)
    every: list[Event] = []
    some: list[Event] = []
    tracer.subscribe(every.append)
    tracer.emit("a", number=1)
    tracer.subscribe(some.append, frozenset({"b"}))
    clock.advance(1)
    tracer.emit("a", number=2)
    tracer.emit("b", name="x")
    assert [(event.name, event.at, event.fields) for event in every] == [
        ("a", 5.0, {"number": 1}),
        ("a", 6.0, {"number": 2}),
        ("b", 6.0, {"name": "x"}),
    ]
    assert [event.name for event in some] == ["b"]


def test_the_history_of_a_task_is_bounded_and_keeps_the_latest() -> None:
    history = History(tasks=2, events=3)
    for number in range(10):
        history(Event("piece.received", float(number), {"task": "t", "piece": number}))
    assert [event.fields["piece"] for event in history.of("t")] == [7, 8, 9]


def test_the_history_forgets_the_task_that_nothing_happened_to_for_longest() -> None:
    history = History(tasks=2, events=3)
    for task in ("a", "b", "a", "c"):
        history(Event("pull.started", 0.0, {"task": task}))
    assert len(history.of("a")) == 2
    assert history.of("b") == []
    assert len(history.of("c")) == 1


def test_what_is_of_no_task_is_not_kept() -> None:
    history = History()
    history(Event("supernode.lost", 0.0, {}))
    history(Event("odd", 0.0, {"task": 5}))
    assert history.of("5") == []
