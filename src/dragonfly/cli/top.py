"""`dragonfly top`"""

from __future__ import annotations

import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

import click

from dragonfly.core.text import one_line
from dragonfly.core.units import format_duration, format_rate, format_size, parse_duration
from dragonfly.errors import UsageError
from dragonfly.peer.report import format_share

if TYPE_CHECKING:
    from rich.table import Table

    from dragonfly.client.local import LocalDaemon
    from dragonfly.wire.local import TaskLine

__all__ = ["command"]


@click.command("top")
@click.option("--data-dir", type=click.Path(path_type=Path), metavar="DIR", help="of the node's daemon")
@click.option("--every", default="1s", metavar="DURATION", help="between two looks  [1s]")
@click.option("--once", is_flag=True, help="one look and end: what also happens where there is no terminal")
def command(data_dir: Path | None, every: str, once: bool) -> None:
    """Watch this node's pulls: how far, how fast, from whom. Ctrl-C ends it."""
    from rich.console import Console
    from rich.live import Live

    from dragonfly.client.client import Client

    daemon = Client(data_dir).daemon(start=False)
    pause = max(0.1, parse_duration(every))
    rates = _Rates()
    console = Console()
    if once or not sys.stdout.isatty():
        console.print(_table(daemon, rates))
        return
    with Live(_table(daemon, rates), console=console, auto_refresh=False) as live:
        while True:
            time.sleep(pause)
            live.update(_table(daemon, rates), refresh=True)


class _Rates:
    """Bytes/s of each task between two looks."""

    def __init__(self) -> None:
        self._seen: dict[str, tuple[float, int]] = {}

    def of(self, line: TaskLine, now: float) -> float:
        at, done = self._seen.get(line.key, (now, line.done))
        self._seen[line.key] = (now, line.done)
        return max(0.0, (line.done - done) / (now - at)) if now > at else 0.0


def _table(daemon: LocalDaemon, rates: _Rates) -> Table:
    from rich.table import Table
    from rich.text import Text

    status = daemon.status()
    if status is None:
        raise UsageError(
            "no daemon runs here", subject=str(daemon.socket), advice="start dfdaemon, or name its --data-dir"
        )
    title = f"dfdaemon {status.version} on {status.listen}, up {format_duration(status.uptime_s)}"
    title += f"; supernode {status.supernode}; {format_size(status.resident_bytes)} memory"
    table = Table(title=title, title_justify="left")
    for name in ("task", "state", "done", "rate", "from", "gave", "neighbours", "what"):
        table.add_column(name, overflow="fold" if name == "what" else "ellipsis")
    now = time.monotonic()
    for line in daemon.tasks():
        received = line.received
        total = max(1, received.total)
        shares = ((name, getattr(received, name)) for name in ("peers", "seed", "source", "cache"))
        rate = rates.of(line, now)
        table.add_row(
            line.key[:15],
            line.state,
            f"{format_size(line.done)} of {format_size(line.length)}" if line.length else "",
            format_rate(rate) if rate else "",
            " ".join(f"{name} {format_share(part, total)}" for name, part in shares if part),
            format_size(line.uploaded) if line.uploaded else "",
            str(line.peers or ""),
            Text(one_line(line.error or line.fallback or line.url)),  # no markup: it is what others sent
        )
    return table
