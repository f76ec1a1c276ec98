"""`supernode`"""

from __future__ import annotations

import asyncio
from typing import Any

import click

from dragonfly import __version__
from dragonfly.cli.options import load_from, settings_options
from dragonfly.config.schema import SUPERNODE, LogSettings

__all__ = ["command"]


@click.command(context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="supernode")
@settings_options(SUPERNODE)
def command(**values: Any) -> None:
    """Tracker and scheduler of the nodes, and the seed: it reads each source once and keeps what it read."""
    loaded = load_from(SUPERNODE, values)
    from dragonfly.boot.run import serve
    from dragonfly.boot.supernode import SupernodeProcess
    from dragonfly.telemetry import logs

    log = loaded.of(LogSettings)
    logs.setup(log.log_level, log.log_format)

    async def main() -> None:
        await serve(SupernodeProcess(loaded))

    asyncio.run(main())
