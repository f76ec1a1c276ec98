"""`dragonfly config`: settings in force, defaults, and the reference of them all."""

from __future__ import annotations

from pathlib import Path

import click

from dragonfly.config.load import load
from dragonfly.config.reference import defaults_text, reference_text
from dragonfly.config.schema import DAEMON, DFGET, SUPERNODE

__all__ = ["command"]

_COMMANDS = {command.name: command for command in (SUPERNODE, DAEMON, DFGET)}


@click.group("config")
def command() -> None:
    """Show settings."""


@command.command("default")
@click.argument("program", type=click.Choice(list(_COMMANDS)))
def default(program: str) -> None:
    """A configuration file with every key, its meaning and its default."""
    click.echo(defaults_text(_COMMANDS[program]), nl=False)


@command.command("check")
@click.argument("program", type=click.Choice(list(_COMMANDS)))
@click.argument("file", type=click.Path(path_type=Path, dir_okay=False))
def check(program: str, file: Path) -> None:
    """Say whether a file (with the environment) would be taken."""
    load(_COMMANDS[program], flags={}, file=file)
    click.echo(f"{file}: good for {program}")


@command.command("reference")
def reference() -> None:
    """All settings of all programs, as docs/configuration.md has them."""
    click.echo(reference_text(), nl=False)
