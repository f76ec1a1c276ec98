"""What the demo shows: a bar for each node while it pulls, and the table at the end."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass

from rich.console import Console
from rich.progress import BarColumn, DownloadColumn, TextColumn, TransferSpeedColumn
from rich.progress import Progress as Bars
from rich.table import Table

from demo.pull import Progress
from dragonfly.core.units import format_size


@dataclass(frozen=True)
class Phase:
    """One thing pulled by all nodes in one way."""

    what: str
    how: str
    size: int
    seconds: tuple[float, ...]
    origin_bytes: int
    verified: int
    peer_bytes: int | None = None
    """Of what all nodes got, how much came from each other; None where it is not known."""

    @property
    def copies(self) -> float:
        """How often the origin sent it."""
        return self.origin_bytes / self.size


def watch(console: Console, title: str, nodes: Sequence[str], progress: Sequence[Progress]) -> None:
    """Show the bars until every node is done."""
    columns = (TextColumn("  {task.description:8}"), BarColumn(40), DownloadColumn(), TransferSpeedColumn())
    with Bars(*columns, console=console, disable=not console.is_terminal, transient=True) as bars:
        if not console.is_terminal:
            console.print(title)
        else:
            bars.console.print(f"[bold]{title}")
        tasks = [bars.add_task(name, total=one.total) for name, one in zip(nodes, progress, strict=True)]
        while not all(one.done for one in progress):
            for task, one in zip(tasks, progress, strict=True):
                bars.update(task, completed=one.had)
            time.sleep(0.1)


def table(phases: Sequence[Phase], nodes: Sequence[str]) -> Table:
    """Seconds of each node and the origin's bytes, a column for each phase."""
    made = Table(title="native against Dragonfly", title_justify="left")
    made.add_column("")
    for phase in phases:
        made.add_column(f"{phase.what}\n{phase.how}", justify="right")
    for number, name in enumerate(nodes):
        made.add_row(name, *(f"{phase.seconds[number]:.1f} s" for phase in phases))
    made.add_section()
    made.add_row("last node", *(f"[bold]{max(phase.seconds):.1f} s" for phase in phases))
    made.add_row("size", *(format_size(phase.size) for phase in phases))
    made.add_row("origin sent", *(format_size(phase.origin_bytes) for phase in phases))
    made.add_row("that is", *(f"{phase.copies:.2f} ×" for phase in phases))
    if any(phase.peer_bytes is not None for phase in phases):
        made.add_row("node to node", *(_share(phase) for phase in phases))
    made.add_row("digests verified", *(f"{phase.verified} of {len(nodes)}" for phase in phases))
    return made


def _share(phase: Phase) -> str:
    if phase.peer_bytes is None:
        return "none"
    return f"{phase.peer_bytes / (phase.size * len(phase.seconds)):.0%}"
