"""`dragonfly doctor`"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import click

from dragonfly.cli.exits import Exit

if TYPE_CHECKING:
    from dragonfly.daemon.doctor.finding import Finding

__all__ = ["command"]

_MARKS = {"good": ("ok", "green"), "note": ("note", "yellow"), "bad": ("BAD", "red")}


@click.command("doctor")
@click.option("--data-dir", type=click.Path(path_type=Path), metavar="DIR", help="of the node's daemon")
@click.option(
    "--runtime", "runtimes", multiple=True, type=click.Choice(["docker", "containerd", "podman", "crio"]),
    help="must be set up: it is bad where it is not; may be repeated",
)  # fmt: skip
@click.option("--json", "as_json", is_flag=True, help="one JSON object a line")
def command(data_dir: Path | None, runtimes: tuple[str, ...], as_json: bool) -> int:
    """Check the whole way from the runtime to the registry; each failure comes with its cure.

    Ends with 1 where something is bad.
    """
    from dragonfly.client.client import Client
    from dragonfly.daemon.doctor.examine import examine
    from dragonfly.daemon.runtimes.host import Host

    near = Client(data_dir).daemon(start=False)
    return _show(examine(near.data_dir, near.status(), Host(), runtimes), as_json)


def _show(findings: Iterator[Finding], as_json: bool) -> int:
    import msgspec

    sick = False
    colour = sys.stdout.isatty()
    for finding in findings:
        sick |= finding.verdict == "bad"
        if as_json:
            click.echo(msgspec.json.encode(finding).decode())
            continue
        mark, shade = _MARKS[finding.verdict.value]
        shown = click.style(f"{mark:5}", fg=shade) if colour else f"{mark:5}"
        click.echo(f"{shown} {finding.check}: {finding.detail}")
        if finding.cure:
            click.echo(f"      → {finding.cure}")
    return Exit.FAILED if sick else Exit.DONE
