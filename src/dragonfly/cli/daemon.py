"""`dfdaemon`"""

from __future__ import annotations

import asyncio
from typing import Any

import click

from dragonfly import __version__
from dragonfly.cli.options import load_from, settings_options
from dragonfly.config.schema import DAEMON, LogSettings

__all__ = ["command"]


@click.command(context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="dfdaemon")
@settings_options(DAEMON)
def command(**values: Any) -> None:
    """This node's daemon: container runtimes and other clients pull through it, unchanged."""
    loaded = load_from(DAEMON, values)
    from dragonfly.boot.daemon import DaemonProcess
    from dragonfly.boot.run import serve
    from dragonfly.telemetry import logs

    log = loaded.of(LogSettings)
    logs.setup(log.log_level, log.log_format)

    async def main() -> None:
        process = DaemonProcess(loaded, reread=lambda: load_from(DAEMON, values))
        await serve(process, reload=process.reload)

    asyncio.run(main())
