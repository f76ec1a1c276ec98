"""Puts a node's daemon together: with supernodes a member of their swarm, without any a node of its own."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import socket
import subprocess
import sys
from collections.abc import Callable
from contextlib import AsyncExitStack
from pathlib import Path
from types import TracebackType
from typing import Self

import msgspec

import dragonfly
from dragonfly.boot.host import address_towards, default_data_dir, host_id, prepare_data_dir, resident_bytes
from dragonfly.config.address import advertised_address, listen_address, supernode_address
from dragonfly.config.load import Loaded
from dragonfly.config.schema import NodeSettings
from dragonfly.core.messages import HostInfo
from dragonfly.daemon.app import Daemon
from dragonfly.daemon.settings import DaemonSettings
from dragonfly.errors import UsageError
from dragonfly.peer.engine import Engine
from dragonfly.peer.remote import RemoteTracker, SupernodeAddress
from dragonfly.peer.settings import EngineSettings, SourcePolicy
from dragonfly.peer.tracker import NoTracker, Tracker
from dragonfly.source.registry import Sources
from dragonfly.store.settings import StoreSettings
from dragonfly.store.store import Store
from dragonfly.telemetry.history import History
from dragonfly.telemetry.logs import log_events
from dragonfly.telemetry.metrics import Metrics
from dragonfly.telemetry.trace import Tracer

__all__ = ["DaemonProcess"]

_IDLE_LOOK_S = 1.0
logger = logging.getLogger("dragonfly")


class DaemonProcess:
    """Everything of one `dfdaemon` process. `reread` loads the settings anew, for `reload`."""

    def __init__(self, loaded: Loaded, reread: Callable[[], Loaded] | None = None) -> None:
        node, faces = loaded.of(NodeSettings), loaded.of(DaemonSettings)
        self._reread = reread
        self._idle_exit = node.idle_exit
        peer_host, peer_port = listen_address(node.peer_listen, "--peer-listen")
        addresses = [supernode_address(text) for text in node.supernode]
        data_dir = prepare_data_dir(Path(node.data_dir) if node.data_dir else default_data_dir("dfdaemon"))
        self._tracer = tracer = Tracer()
        log_events(tracer)
        metrics = Metrics(tracer, dragonfly.__version__)
        metrics.gauge("dragonfly_resident_bytes", "Memory of this process.", resident_bytes)
        history = History()
        tracer.subscribe(history, History.NAMES)
        stored = loaded.of(StoreSettings)
        self._store = Store(
            data_dir / "store", msgspec.structs.replace(stored, disk_limit=node.disk_limit or stored.disk_limit)
        )
        for problem in self._store.recovered:
            tracer.emit("store.recovered", reason=problem)
        self._sources = Sources(allow_file=not addresses)
        self._sources.prepare("http", "https")
        tracker: Tracker = RemoteTracker(addresses, tracer) if addresses else NoTracker()
        self.engine = Engine(
            host=HostInfo(
                id=host_id(data_dir),
                address=advertised_address(node.advertise) or _own_address(peer_host, addresses),
                peer_port=peer_port,
                hostname=socket.gethostname(),
                zone=node.zone,
                rack=node.rack,
                version=dragonfly.__version__,
            ),
            settings=msgspec.structs.replace(
                loaded.of(EngineSettings),
                source_policy=SourcePolicy.FALLBACK if addresses else SourcePolicy.FIRST,
                upload_limit=node.upload_limit,
                download_limit=node.download_limit,
            ),
            store=self._store,
            sources=self._sources,
            tracker=tracker,
            tracer=tracer,
            peer_address=peer_host,
            token=node.join_token,
        )
        metrics.gauge("dragonfly_tasks", "Tasks that are pulled or served now.", lambda: len(self.engine.runs()))
        metrics.gauge("dragonfly_store_bytes", "Content on disk.", self._store.used_bytes)
        metrics.gauge(
            "dragonfly_supernode_connected", "1 while a supernode can be reached.", lambda: float(tracker.connected)
        )
        if not (faces.ca_cert or node.idle_exit):
            _make_ca_apart(data_dir / "ca")
        self.daemon = Daemon(
            faces, engine=self.engine, data_dir=data_dir, tracer=tracer, metrics=metrics, history=history
        )
        self._stack = AsyncExitStack()

    async def __aenter__(self) -> Self:
        async with AsyncExitStack() as stack:
            stack.callback(self._store.close)
            stack.callback(self._sources.close)
            try:
                await stack.enter_async_context(self.engine)
            except OSError as error:
                raise UsageError(
                    "the port for other nodes can't be listened on",
                    subject=f"--peer-listen port {self.engine.host.peer_port}",
                    advice=error.strerror or str(error),
                ) from error
            await stack.enter_async_context(self.daemon)
            self._stack = stack.pop_all()
        listens = ", ".join(f"{host}:{port}" for host, port in self.daemon.front.addresses)
        self._tracer.emit("daemon.ready", listen=listens, peer_port=self.engine.host.peer_port)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._stack.aclose()

    def reload(self) -> None:
        """SIGHUP: go on by the new file; where it makes no sense, say so and keep the old settings."""
        if self._reread is None:
            return
        try:
            waiting = self.daemon.reload(self._reread().of(DaemonSettings))
        except UsageError as error:
            self._tracer.emit("config.refused", reason=str(error))
            return
        self._tracer.emit("config.reloaded", after_restart=", ".join(waiting))

    async def idle(self) -> None:
        """Return when nothing was pulled or asked for the time of `--idle-exit`; never without one."""
        quiet = 0.0
        while not self._idle_exit or quiet < self._idle_exit:
            await asyncio.sleep(_IDLE_LOOK_S)
            quiet = 0.0 if self.engine.busy else quiet + _IDLE_LOOK_S


def _make_ca_apart(directory: Path) -> None:
    """Have a child make the CA at the first start: what makes keys stays in memory, 11 MB for a thing done once.

    Where that fails, the daemon does it itself, and says what is wrong.
    """
    if (directory / "ca.crt").exists():
        return
    code = (
        "import sys, pathlib; from dragonfly.daemon.ca import CertificateAuthority;"
        "CertificateAuthority(pathlib.Path(sys.argv[1]))"
    )
    with contextlib.suppress(OSError, subprocess.SubprocessError):
        quiet = subprocess.DEVNULL
        subprocess.run(
            [sys.executable, "-c", code, str(directory)],
            stdin=quiet, stdout=quiet, stderr=quiet, timeout=20, check=False,
        )  # fmt: skip


def _own_address(listen: str, supernodes: list[SupernodeAddress]) -> str:
    if listen not in ("0.0.0.0", "::"):
        return listen
    return address_towards(supernodes[0].host, supernodes[0].port) if supernodes else "127.0.0.1"
