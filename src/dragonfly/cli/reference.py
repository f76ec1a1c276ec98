"""docs/commands.md, written from the commands themselves."""

from __future__ import annotations

import inspect
from collections.abc import Iterator

import click

from dragonfly.cli.main import ALIASES, umbrella

__all__ = ["commands_text"]

_HEAD = """# Commands

Written by `dragonfly config reference --commands`; a test keeps it so. What `--help` says, on one page. An option of
a program that is also a key of its file or a variable of the environment is in [configuration.md](configuration.md)
with its default.
"""


def commands_text() -> str:
    """Markdown for every command and subcommand."""
    return "\n".join([_HEAD, *(_section(name, command) for name, command in _all(umbrella, "dragonfly"))])


def _all(group: click.Group, path: str) -> Iterator[tuple[str, click.Command]]:
    context = click.Context(group)
    for name in group.list_commands(context):
        command = group.get_command(context, name)
        if isinstance(command, click.Group):
            yield from _all(command, f"{path} {name}")
        elif command is not None:
            yield f"{path} {name}", command


def _section(name: str, command: click.Command) -> str:
    title = f"`{name}`" + (f", `{ALIASES[name]}`" if name in ALIASES else "")
    usage = " ".join(command.collect_usage_pieces(click.Context(command)))
    lines = [f"## {title}", "", inspect.cleandoc(command.help or ""), "", "```text", f"{name} {usage}", "```", ""]
    options = [parameter for parameter in command.params if isinstance(parameter, click.Option)]
    if options:
        lines += ["| option | |", "|---|---|"]
        lines += [f"| {_names(option)} | {_cell(option.help or '')} |" for option in options]
        lines.append("")
    return "\n".join(lines)


def _names(option: click.Option) -> str:
    flags = ", ".join((*option.opts, *option.secondary_opts))
    if option.is_flag:
        return f"`{_cell(flags)}`"
    choice = f"[{'|'.join(option.type.choices)}]" if isinstance(option.type, click.Choice) else ""
    return f"`{_cell(f'{flags} {option.metavar or choice or option.type.name.upper()}')}`"


def _cell(text: str) -> str:
    return text.replace("|", "\\|")
