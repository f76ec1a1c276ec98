"""Puts a supernode together."""

from __future__ import annotations

import secrets
import socket
from contextlib import AsyncExitStack
from importlib.metadata import entry_points
from pathlib import Path
from random import Random
from types import TracebackType
from typing import Self

import msgspec

import dragonfly
from dragonfly.boot.garbage import rare_collections
from dragonfly.boot.host import address_towards, default_data_dir, host_id, prepare_data_dir, resident_bytes
from dragonfly.config.address import advertised_address, listen_address
from dragonfly.config.load import Loaded
from dragonfly.core.messages import HostInfo
from dragonfly.errors import UsageError
from dragonfly.peer.engine import Engine
from dragonfly.peer.settings import EngineSettings, SourcePolicy
from dragonfly.peer.tracker import Tracker
from dragonfly.scheduler.policies import GROUP, NeighbourPolicy
from dragonfly.scheduler.scheduler import Scheduler
from dragonfly.source.policy import SourcePolicy as SourceGuard
from dragonfly.source.registry import Sources
from dragonfly.store.settings import StoreSettings
from dragonfly.store.store import Store
from dragonfly.supernode.app import Supernode
from dragonfly.supernode.settings import SupernodeSettings
from dragonfly.supernode.state.base import open_state
from dragonfly.telemetry.logs import log_events
from dragonfly.telemetry.metrics import Metrics
from dragonfly.telemetry.trace import Tracer

__all__ = ["SupernodeProcess"]


class SupernodeProcess:
    """Everything of one `supernode` process; UsageError from the constructor or the start."""

    def __init__(self, loaded: Loaded) -> None:
        settings = loaded.of(SupernodeSettings)
        listen_address(settings.listen, "--listen")
        peer_host, peer_port = listen_address(settings.peer_listen, "--peer-listen")
        policy = _policy(settings.neighbour_policy)
        upstream_ca = _pem(settings.upstream_ca)
        data_dir = prepare_data_dir(Path(settings.data_dir) if settings.data_dir else default_data_dir("supernode"))
        tracer = Tracer()
        log_events(tracer)
        metrics = Metrics(tracer, dragonfly.__version__)
        metrics.gauge("dragonfly_resident_bytes", "Memory of this process.", resident_bytes)
        store_settings = msgspec.structs.replace(
            loaded.of(StoreSettings), disk_limit=settings.disk_limit or loaded.of(StoreSettings).disk_limit
        )
        self._store = Store(data_dir / "seed", store_settings)
        for problem in self._store.recovered:
            tracer.emit("store.recovered", reason=problem)
        self._state = open_state(settings.state, data_dir)
        self._sources = Sources(policy=SourceGuard(allow=settings.source_allow, deny=settings.source_deny))
        self._sources.prepare("http", "https")
        secret = self._state.add("secret", "tickets", secrets.token_bytes(32))
        scheduler = Scheduler(settings.scheduler, Random(), secret, policy)
        engine_settings = msgspec.structs.replace(
            loaded.of(EngineSettings),
            source_policy=SourcePolicy.FIRST,
            upload_limit=settings.upload_limit,
            origin_limit=settings.origin_limit,
            upload_slots=settings.upload_slots,
            first_slots=settings.upload_slots,
            source_timeout_s=settings.source_timeout,
        )
        host = HostInfo(
            id=f"seed-{host_id(data_dir)}",
            address=advertised_address(settings.advertise) or _own_address(peer_host),
            peer_port=peer_port,
            hostname=socket.gethostname(),
            zone=settings.zone,
            version=dragonfly.__version__,
        )

        def make_engine(tracker: Tracker) -> Engine:
            return Engine(
                host=host,
                settings=engine_settings,
                store=self._store,
                sources=self._sources,
                tracker=tracker,
                tracer=tracer,
                peer_address=peer_host,
                ticket_for=scheduler.ticket,
                piece_size=scheduler.piece_size,
            )

        self.supernode = Supernode(
            settings,
            scheduler=scheduler,
            state=self._state,
            make_engine=make_engine,
            tracer=tracer,
            metrics=metrics,
            version=dragonfly.__version__,
            upstream_ca=upstream_ca,
        )
        self._stack = AsyncExitStack()

    async def __aenter__(self) -> Self:
        async with AsyncExitStack() as stack:
            stack.callback(self._store.close)
            stack.callback(self._state.close)
            stack.callback(self._sources.close)
            await stack.enter_async_context(rare_collections())
            await stack.enter_async_context(self.supernode)
            self._stack = stack.pop_all()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._stack.aclose()


def _policy(name: str) -> NeighbourPolicy:
    """The neighbour policy of this name, ours or a stranger's."""
    points = {point.name: point for point in entry_points(group=GROUP)}
    if name not in points:
        raise UsageError("no such neighbour policy", subject=name, advice=f"known: {', '.join(sorted(points))}")
    policy: NeighbourPolicy = points[name].load()()
    return policy


def _own_address(listen: str) -> str:
    """What nodes may dial: the address listened on, or the one of the way out."""
    return address_towards("192.0.2.1", 9) if listen in ("0.0.0.0", "::") else listen


def _pem(file: str) -> str:
    if not file:
        return ""
    try:
        return Path(file).read_text(encoding="ascii")
    except (OSError, UnicodeDecodeError) as error:
        reason = getattr(error, "strerror", None) or "it is no PEM text"
        raise UsageError("--upstream-ca can't be read", subject=f"{file} ({reason})", advice="check it") from None
