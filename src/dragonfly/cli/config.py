"""`dragonfly config`: settings in force, defaults, and the reference of settings and commands."""

from __future__ import annotations

from pathlib import Path

import click
import yaml

from dragonfly.config.load import load
from dragonfly.config.reference import defaults_text, reference_text
from dragonfly.config.schema import DAEMON, DFGET, SUPERNODE

__all__ = ["command"]

_COMMANDS = {command.name: command for command in (SUPERNODE, DAEMON, DFGET)}
_SECRET = ("join_token", "api_token")


@click.group("config")
def command() -> None:
    """Show and check settings."""


@command.command("show", short_help="the settings in force, as YAML")
@click.argument("program", type=click.Choice(list(_COMMANDS)))
@click.option("--config", type=click.Path(path_type=Path, dir_okay=False), metavar="FILE", help="settings as YAML")
def show(program: str, config: Path | None) -> None:
    """The settings that PROGRAM would run with, from FILE, environment and defaults. Tokens are not shown."""
    tree = load(_COMMANDS[program], flags={}, file=config).tree()
    for name in _SECRET:
        if tree.get(name):
            tree[name] = "(set)"
    click.echo(yaml.safe_dump(tree, sort_keys=False, allow_unicode=True), nl=False)


@command.command("default", short_help="a file with every key at its default")
@click.argument("program", type=click.Choice(list(_COMMANDS)))
def default(program: str) -> None:
    """A configuration file with every key, its meaning and its default."""
    click.echo(defaults_text(_COMMANDS[program]), nl=False)


@command.command("check", short_help="say whether a file would be taken")
@click.argument("program", type=click.Choice(list(_COMMANDS)))
@click.argument("file", type=click.Path(path_type=Path, dir_okay=False))
def check(program: str, file: Path) -> None:
    """Say whether a file (with the environment) would be taken."""
    load(_COMMANDS[program], flags={}, file=file)
    click.echo(f"{file}: good for {program}")


@command.command("reference", short_help="all settings, or all commands, as Markdown")
@click.option("--commands", is_flag=True, help="the commands and their options instead, as docs/commands.md has them")
def reference(commands: bool) -> None:
    """All settings of all programs, as docs/configuration.md has them."""
    if commands:
        from dragonfly.cli.reference import commands_text

        click.echo(commands_text(), nl=False)
        return
    click.echo(reference_text(), nl=False)
