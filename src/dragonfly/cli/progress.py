"""A download's progress on a terminal; nothing at all where standard error is not one."""

from __future__ import annotations

import sys
from types import TracebackType
from typing import TYPE_CHECKING, Protocol, Self

from dragonfly.core.text import one_line
from dragonfly.core.units import format_duration, format_rate, format_size
from dragonfly.peer.report import format_share
from dragonfly.wire.local import Moved, Opened

if TYPE_CHECKING:
    from rich.progress import Progress, TaskID

__all__ = ["Bar", "Quiet", "Shows", "shown"]


class Shows(Protocol):
    def moved(self, opened: Opened, moved: Moved) -> None: ...

    def __enter__(self) -> Self: ...

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None: ...


class Quiet:
    """Shows nothing."""

    def moved(self, opened: Opened, moved: Moved) -> None:
        pass

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        pass


class Bar:
    """One line: name, bar, bytes, rate, time left, neighbours and where the bytes come from."""

    def __init__(self, name: str) -> None:
        from rich.console import Console
        from rich.progress import BarColumn, Progress, TextColumn

        # No markup: a file's name may look like it.
        name_column = TextColumn("{task.description}", markup=False)
        columns = (name_column, BarColumn(), TextColumn("{task.fields[words]}", markup=False))
        self._progress: Progress = Progress(*columns, console=Console(stderr=True), transient=True)
        self._task: TaskID = self._progress.add_task(one_line(name), total=None, words="asks for it")

    def moved(self, opened: Opened, moved: Moved) -> None:
        left = (moved.total - moved.done) / moved.rate if moved.rate > 0 else 0.0
        words = [f"{format_size(moved.done)} of {format_size(moved.total)}", format_rate(moved.rate)]
        if left:
            words.append(f"{format_duration(left)} left")
        words.append(f"{moved.peers} neighbours")
        if total := moved.received.total:
            shares = ((name, getattr(moved.received, name)) for name in ("peers", "seed", "source", "cache"))
            words.append(" ".join(f"{name} {format_share(part, total)}" for name, part in shares if part))
        self._progress.update(self._task, completed=moved.done, total=moved.total, words=", ".join(words))

    def __enter__(self) -> Self:
        self._progress.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._progress.stop()


def shown(name: str, wanted: bool) -> Shows:
    """A bar where somebody can see it."""
    return Bar(name) if wanted and sys.stderr.isatty() else Quiet()
