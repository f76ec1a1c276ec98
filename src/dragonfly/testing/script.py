"""Tests of a sans-IO mind as a dialogue: events go in with `>>`, the commands expected come with `<<`.

    script = Script(Download(layout, settings, Random(1)))
    script >> NeighbourUp("a") >> PeerHas("a", 0b11) << Fetch("a", 0, 1) << Fetch("a", 1, 1)
    script.after(2.0) >> Tick() << Cancel("a", 0, 1)

Each `<<` takes the next command that was not taken yet; `script.quiet()` says that there is
none left, `script.rest()` takes them all. A mismatch fails with the dialogue so far.
"""

from __future__ import annotations

from collections import deque
from typing import Any, Protocol, Self

__all__ = ["Mind", "Script"]


class Mind(Protocol):
    """What both minds look like: `swarm.Download` and `scheduler.Scheduler`."""

    def handle(self, event: Any, now: float) -> Any: ...


class Script:
    """A dialogue with `mind`, which begins at `now`."""

    def __init__(self, mind: Mind, now: float = 0.0) -> None:
        self.mind = mind
        self.now = now
        self._said: deque[object] = deque()
        self._lines: list[str] = []

    def after(self, seconds: float) -> Self:
        """Time passes; nothing is told to the mind by that alone."""
        self.now += seconds
        self._lines.append(f"   … {seconds:g} s later")
        return self

    def __rshift__(self, event: object) -> Self:
        self._lines.append(f">> {event!r}")
        for command in self.mind.handle(event, self.now):
            self._said.append(command)
        return self

    def __lshift__(self, expected: object) -> Self:
        said = self._said.popleft() if self._said else None
        self._lines.append(f"<< {said!r}")
        if said != expected:
            dialogue = "\n".join(self._lines)
            raise AssertionError(f"expected {expected!r}, the mind said {said!r}\n{dialogue}")
        return self

    def rest(self) -> list[Any]:
        """All commands that were not taken yet."""
        said = list(self._said)
        self._said.clear()
        self._lines.extend(f"<< {command!r}" for command in said)
        return said

    def quiet(self) -> Self:
        """The mind has nothing more to say."""
        if self._said:
            raise AssertionError(f"the mind also said {list(self._said)!r}\n" + "\n".join(self._lines))
        return self
