"""What commands tell people on standard error."""

from __future__ import annotations

import click

from dragonfly.core.text import one_line

__all__ = ["say"]


def say(text: str) -> None:
    """One line, in which nothing that others sent (a server's reason, a name) can end it or steer the terminal."""
    click.echo(one_line(text), err=True)
