"""The commands' entry points. Whatever a command raises on purpose becomes one line and an exit status."""

from __future__ import annotations

import sys
from collections.abc import Callable
from importlib import import_module
from typing import Any

import click

from dragonfly import __version__
from dragonfly.cli.exits import Exit, exit_for
from dragonfly.cli.say import say
from dragonfly.errors import DragonflyError

__all__ = ["ALIASES", "SUBCOMMANDS", "dfdaemon", "dfget", "dragonfly", "supernode", "umbrella"]

#: Subcommands of `dragonfly`: name → module of its `command`. Loaded when asked for.
SUBCOMMANDS = {
    "supernode": ("dragonfly.cli.supernode", "run the supernode: tracker, scheduler and seed"),
    "daemon": ("dragonfly.cli.daemon", "run this node's daemon"),
    "get": ("dragonfly.cli.get", "download a file through the swarm (as dfget)"),
    "setup": ("dragonfly.cli.setup", "put the daemon before docker, containerd, podman or CRI-O"),
    "doctor": ("dragonfly.cli.doctor", "check the whole way from the runtime to the registry"),
    "preheat": ("dragonfly.cli.preheat", "fetch a file or an image beforehand"),
    "cache": ("dragonfly.cli.cache", "list and delete what this node holds"),
    "top": ("dragonfly.cli.top", "watch this node's pulls"),
    "trace": ("dragonfly.cli.trace", "who sent which piece of a task, and when"),
    "ca": ("dragonfly.cli.ca", "print the CA certificate that clients must trust"),
    "config": ("dragonfly.cli.config", "show and check settings"),
}

#: Subcommands that are programs of their own as well.
ALIASES = {"dragonfly supernode": "supernode", "dragonfly daemon": "dfdaemon", "dragonfly get": "dfget"}


class _Lazy(click.Group):
    """Imports a subcommand's module only when it is used."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(SUBCOMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in SUBCOMMANDS:
            return None
        command: click.Command = import_module(SUBCOMMANDS[cmd_name][0]).command
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl([(name, text) for name, (_, text) in SUBCOMMANDS.items()])


@click.group(cls=_Lazy, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="dragonfly")
def umbrella() -> None:
    """P2P distribution of container images, models and files.

    One supernode for the cluster, a daemon on each node. Then setup puts the daemon before a container
    runtime, doctor checks the whole way, and top shows it at work. Each command has its own --help.
    """


def run(command: Callable[[], click.Command], name: str) -> None:
    """Run a command and end the process with its status."""
    if sys.argv[1:] == ["--version"]:
        print(f"{name}, version {__version__}")  # without importing what it would need to work
        sys.exit(Exit.DONE)
    try:
        status: Any = command().main(prog_name=name, standalone_mode=False)
    except click.exceptions.Abort:
        sys.exit(Exit.INTERRUPTED)
    except click.ClickException as error:
        error.show()
        sys.exit(Exit.USAGE)
    except DragonflyError as error:
        say(f"{name}: {error}")
        sys.exit(exit_for(error))
    except KeyboardInterrupt:
        click.echo(f"{name}: interrupted", err=True)
        sys.exit(Exit.INTERRUPTED)
    except BrokenPipeError:
        sys.exit(Exit.FAILED)
    sys.exit(status if isinstance(status, int) else Exit.DONE)


def supernode() -> None:
    run(lambda: import_module("dragonfly.cli.supernode").command, "supernode")


def dfdaemon() -> None:
    run(lambda: import_module("dragonfly.cli.daemon").command, "dfdaemon")


def dfget() -> None:
    run(lambda: import_module("dragonfly.cli.get").command, "dfget")


def dragonfly() -> None:
    run(lambda: umbrella, "dragonfly")


if __name__ == "__main__":
    dragonfly()
