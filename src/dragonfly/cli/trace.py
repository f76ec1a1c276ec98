"""`dragonfly trace`"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import click

from dragonfly.core.pieces import PieceLayout
from dragonfly.errors import UsageError

__all__ = ["command"]


@click.command("trace")
@click.argument("task")
@click.option(
    "--data-dir",
    "folders",
    multiple=True,
    type=click.Path(path_type=Path),
    metavar="DIR",
    help="of a daemon on this machine; may be given more than once  [this node's]",
)
@click.option("--events", is_flag=True, help="everything that happened, not only who sent what")
@click.option(
    "-o", "--output", type=click.Path(path_type=Path, dir_okay=False), metavar="FILE", help="[standard output]"
)
def command(task: str, folders: tuple[Path, ...], events: bool, output: Path | None) -> None:
    """Who sent this node which piece of TASK, and when: one JSON object a line.

    TASK is the id that the log, dfget and /api/v1/tasks show; its beginning will do. The lines of
    several nodes put together are the whole swarm's recording, which bench/sim.py --replay plays again.
    """
    from dragonfly.client.client import Client

    lines: list[str] = []
    for folder in folders or (None,):
        client = Client(folder)
        key = _key(client, task)
        status = client.status()
        happened = client.trace(key)
        if events:
            lines += (_json(event) for event in happened)
        else:
            lines += _recording(key, status.host if status is not None else "", happened, head=not lines)
    text = "\n".join(lines) + "\n"
    if output is None:
        click.echo(text, nl=False)
    else:
        output.write_text(text, encoding="utf-8")


def _key(client: Any, start: str) -> str:
    found = sorted({line.key for line in client.tasks() if line.key.startswith(start)})
    if len(found) == 1:
        return str(found[0])
    if not found:
        raise UsageError("no such task on this node", subject=start, advice="dragonfly top lists them")
    raise UsageError("several tasks begin so", subject=start, advice="give more of the id")


def _recording(key: str, node: str, events: list[dict[str, Any]], *, head: bool) -> Iterator[str]:
    """Lines as `sim.replay` reads them."""
    from dragonfly.sim.replay import write
    from dragonfly.sim.world import Transfer

    layout = None
    transfers: list[Transfer] = []
    for event in events:
        fields, at = event["fields"], float(event["at"])
        if event["name"] == "pull.described":
            layout = PieceLayout(int(fields["length"]), int(fields["piece_size"]))
        elif event["name"] in ("piece.received", "source.piece"):
            giver = str(fields.get("peer", ""))
            began, run = at - float(fields["seconds"]), int(fields["piece"])
            pieces = range(run, run + int(fields.get("count", 1)))
            transfers += (Transfer(began, at, giver, node, piece) for piece in pieces)
    if layout is None:
        raise UsageError("nothing was recorded of this task", subject=key, advice="it was pulled too long ago")
    lines = write(key, layout, transfers)
    first = next(lines)
    if head:
        yield first
    yield from lines


def _json(content: object) -> str:
    import msgspec

    return msgspec.json.encode(content).decode()
