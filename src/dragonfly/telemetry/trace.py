"""The one stream of events: what happened, to what, how much.

Log lines, metrics and `dragonfly trace` all derive from it, so each thing that happens is
named in one place. Names are dotted, past or plain: `pull.finished`, `piece.received`.
Fields never hold secrets: URLs come as `TaskSpec.shown_url`.
"""

from __future__ import annotations

import time
from collections.abc import Callable

import msgspec

__all__ = ["Event", "Sink", "Tracer"]


class Event(msgspec.Struct, frozen=True, gc=False):
    """`at` is wall-clock seconds since 1970."""

    name: str
    at: float
    fields: dict[str, object]


Sink = Callable[[Event], None]


class Tracer:
    """Hands each event to those who subscribed to its name; costs next to nothing for the others."""

    def __init__(self, wall: Callable[[], float] = time.time) -> None:
        self._wall = wall
        self._sinks: list[tuple[Sink, frozenset[str] | None]] = []
        self._by_name: dict[str, tuple[Sink, ...]] = {}

    def subscribe(self, sink: Sink, names: frozenset[str] | None = None) -> None:
        """`sink` hears of every event, or only of those in `names`. It must not raise or wait."""
        self._sinks.append((sink, names))
        self._by_name.clear()

    def emit(self, name: str, /, **fields: object) -> None:
        sinks = self._by_name.get(name)
        if sinks is None:
            sinks = tuple(sink for sink, names in self._sinks if names is None or name in names)
            self._by_name[name] = sinks
        if sinks:
            event = Event(name, self._wall(), fields)
            for sink in sinks:
                sink(event)
