"""`dragonfly cache`"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from dragonfly.core.units import format_duration, format_size
from dragonfly.errors import UsageError

__all__ = ["command"]

_data_dir = click.option("--data-dir", type=click.Path(path_type=Path), metavar="DIR", help="of the node's daemon")


@click.group("cache")
def command() -> None:
    """What this node's daemon holds."""


@command.command("ls", short_help="what is pulled, served, or ended lately")
@_data_dir
@click.option("--json", "as_json", is_flag=True, help="one JSON object a line")
def ls(data_dir: Path | None, as_json: bool) -> None:
    """The tasks of this node: what is pulled or served now, and what ended lately."""
    import msgspec

    from dragonfly.client.client import Client

    lines = Client(data_dir).tasks()
    for line in lines:
        if as_json:
            click.echo(msgspec.json.encode(line).decode())
        else:
            done = f"{format_size(line.done)} of {format_size(line.length)}" if line.length else "-"
            click.echo(f"{line.key[:23]}  {line.state:8}  {done:22}  {format_duration(line.seconds):>9}  {line.url}")
    if not lines and not as_json:
        click.echo("nothing was pulled since the daemon started", err=True)


@command.command("rm", short_help="delete tasks from this node")
@click.argument("tasks", nargs=-1, required=True)
@_data_dir
def rm(tasks: tuple[str, ...], data_dir: Path | None) -> None:
    """Stop TASKS on this node and delete their content. The beginning of an id will do."""
    from dragonfly.client.client import Client

    client = Client(data_dir)
    for task in tasks:
        key = _one(client, task)
        client.forget(key)
        click.echo(f"deleted {key}")


@command.command("stat")
@_data_dir
def stat(data_dir: Path | None) -> None:
    """The daemon in a few lines."""
    from dragonfly.client.client import Client

    client = Client(data_dir)
    status = client.status()
    if status is None:
        raise UsageError(
            "no daemon runs here",
            subject=str(client.daemon(start=False).data_dir),
            advice="start dfdaemon, or name its --data-dir",
        )
    click.echo(f"dfdaemon {status.version}, process {status.pid}, up {format_duration(status.uptime_s)}")
    click.echo(f"listens on {status.listen}; other nodes at port {status.peer_port}; supernode: {status.supernode}")
    click.echo(f"{status.tasks} tasks stored, {status.pulls} being pulled, {format_size(status.resident_bytes)} memory")


def _one(client: Any, start: str) -> str:
    found = sorted({line.key for line in client.tasks() if line.key.startswith(start)})
    if len(found) > 1:
        raise UsageError("several tasks begin so", subject=start, advice="give more of the id")
    return str(found[0]) if found else start
