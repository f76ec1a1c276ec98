"""A process from its start to its end: signals, readiness for systemd, one line when it can't start."""

from __future__ import annotations

import asyncio
import contextlib
import os
import resource
import signal
import socket
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager

__all__ = ["notify", "serve"]


async def serve(app: AbstractAsyncContextManager[object], *, reload: Callable[[], None] | None = None) -> None:
    """Run `app` until SIGTERM or SIGINT; SIGHUP calls `reload`."""
    _raise_descriptor_limit()
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for name in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(name, stop.set)
    if reload is not None:
        loop.add_signal_handler(signal.SIGHUP, reload)
    idle = getattr(app, "idle", None)
    async with app:
        notify("READY=1")
        waits = {loop.create_task(stop.wait())}
        if idle is not None:
            waits.add(loop.create_task(idle()))
        try:
            await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for wait in waits:
                wait.cancel()
        notify("STOPPING=1")


def notify(state: str) -> None:
    """Tell systemd, where it asked to be told (sd_notify)."""
    address = os.environ.get("NOTIFY_SOCKET")
    if address:
        with contextlib.suppress(OSError), socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sock:
            sock.connect("\0" + address[1:] if address.startswith("@") else address)
            sock.send(state.encode())


def _raise_descriptor_limit() -> None:
    """Thousands of sessions need descriptors; the hard limit is ours to use."""
    with contextlib.suppress(ValueError, OSError):
        _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
