"""The node's daemon: its parts put together, and which of them answers a request.

hijacked CONNECT, absolute URL ─▶ proxy        (but a URL of our own is as if it came straight)
Host is a P2P domain           ─▶ mirror of its registry
/v2/…                          ─▶ mirror of `ns=`, else of the default registry
/healthz, /metrics             ─▶ here
"""

from __future__ import annotations

import contextlib
import ssl
from contextlib import AsyncExitStack
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, NamedTuple, Protocol, Self

from aiohttp import web

from dragonfly.daemon.authorize import Authorizer
from dragonfly.daemon.ca import CertificateAuthority, normal_host
from dragonfly.daemon.control import Control
from dragonfly.daemon.front import Door, Front
from dragonfly.daemon.layers import Layers
from dragonfly.daemon.mirror import Mirror, split_namespace
from dragonfly.daemon.policy import Policy, is_loopback, port_of, split_host
from dragonfly.daemon.problems import problem, refusal
from dragonfly.daemon.proof import Proofs
from dragonfly.daemon.proxy import Proxy
from dragonfly.daemon.settings import DaemonSettings
from dragonfly.daemon.straight import Straight
from dragonfly.daemon.stream import abort
from dragonfly.daemon.swarmed import Swarmed
from dragonfly.daemon.upstreams import Upstreams
from dragonfly.errors import DragonflyError
from dragonfly.net.listen import format_address
from dragonfly.telemetry.history import History
from dragonfly.telemetry.trace import Tracer

if TYPE_CHECKING:
    from dragonfly.peer.engine import Engine

__all__ = ["Daemon", "Renders"]

#: Settings that a running daemon can't change; a reload names those that differ.
_NEED_RESTART = (
    "listen", "tls_listen", "ca_cert", "ca_key", "socket_mode", "head_timeout", "keep_alive", "connect_timeout",
    "upstream_timeout", "client_timeout", "max_head",
)  # fmt: skip


class Renders(Protocol):
    """What is needed of `telemetry.metrics.Metrics`."""

    def render(self) -> bytes: ...


class _Parts(NamedTuple):
    """What is made anew by a reload, and swapped at once; a request keeps those it began with."""

    policy: Policy
    mirror: Mirror
    proxy: Proxy
    authorizer: Authorizer


class Daemon:
    """`async with Daemon(…)`: serves from its start to its end. The engine is the caller's to start before.

    UsageError from the constructor or the start: a setting is wrong, a port is taken.
    """

    def __init__(
        self,
        settings: DaemonSettings,
        *,
        engine: Engine,
        data_dir: Path,
        tracer: Tracer,
        metrics: Renders,
        history: History,
    ) -> None:
        self.settings = settings
        self._engine = engine
        self._metrics = metrics
        self._tracer = tracer
        self._swarmed = Swarmed(engine, tracer, settings.client_timeout)
        self._upstreams = Upstreams(settings)
        self._proofs = Proofs(self._upstreams)
        self._layers = Layers()
        self._parts = self._made(settings)
        self.ca = CertificateAuthority(
            data_dir / "ca",
            cert=Path(settings.ca_cert) if settings.ca_cert else None,
            key=Path(settings.ca_key) if settings.ca_key else None,
        )
        self.front = Front(
            settings,
            handler=self._handle,
            policy=lambda: self._parts.policy,
            contexts=self._context,
            mint=self.ca.context,
            tracer=tracer,
        )
        self.control = Control(
            settings,
            engine=engine,
            history=history,
            data_dir=data_dir,
            ca_path=self.ca.cert_path,
            access=lambda: (self._parts.policy, self._parts.authorizer),
            proofs=self._proofs,
            listens=lambda: self.front.addresses,
        )
        self._stack = AsyncExitStack()

    async def __aenter__(self) -> Self:
        async with AsyncExitStack() as stack:
            stack.push_async_callback(self._upstreams.close)
            await stack.enter_async_context(self.control)
            await stack.enter_async_context(self.front)
            self._stack = stack.pop_all()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._stack.aclose()

    def reload(self, settings: DaemonSettings) -> list[str]:
        """Go on by `settings`; pulls that run are not touched. Names of settings that wait for a restart.

        UsageError where they make no sense: the old ones stay then.
        """
        parts = self._made(settings)
        waiting = [name for name in _NEED_RESTART if getattr(settings, name) != getattr(self.settings, name)]
        self._parts = parts
        self.settings = settings
        return waiting

    def _made(self, settings: DaemonSettings) -> _Parts:
        policy, upstreams = Policy(settings), self._upstreams
        authorizer = Authorizer(upstreams, settings)
        straight = Straight(upstreams, self._layers)
        mirror = Mirror(upstreams, authorizer, self._proofs, straight, self._swarmed, self._layers)
        return _Parts(policy, mirror, Proxy(upstreams, authorizer, straight, self._swarmed, mirror), authorizer)

    # ---------------------------------------------------------------- requests

    async def _handle(self, request: web.BaseRequest, door: Door) -> web.StreamResponse:
        try:
            return await self._route(request, door)
        except ConnectionError:  # of the client, or made by us for a body that can't be ended well
            return abort(request)
        except DragonflyError as error:
            if request.writer.output_size > 0:
                return abort(request)
            self._tracer.emit("request.failed", method=request.method, error=str(error))
            return problem(request, error)

    async def _route(self, request: web.BaseRequest, door: Door) -> web.StreamResponse:
        parts, target = self._parts, request.raw_path
        if "#" in target:
            # Not part of any request (RFC 9112 §3.2); the source would be asked without it, for something else.
            return refusal(request, 400, f"a request target has no fragment: {target[:200]}")
        if door.origin:
            path = target if target.startswith("/") else "/" + target.partition("://")[2].partition("/")[2]
            return await parts.proxy.serve(request, parts.policy, door.origin + path, door.hijacked)
        host = request.headers.get("Host") or self._dialled(request)
        if target.startswith(("http://", "https://", "HTTP://", "HTTPS://")):
            try:
                port, netloc = port_of(target), target.split("/", 3)[2]
            except (ValueError, IndexError):
                return refusal(request, 400, f"not a URL that can be fetched: {target[:200]}")
            if not self._is_own(request, split_host(netloc)[0], port):
                return await parts.proxy.serve(request, parts.policy, target)
            host, target = netloc, "/" + target.partition("://")[2].partition("/")[2]
        if not target.startswith("/"):
            return refusal(request, 400, f"a {request.method} for {target[:200]!r} means nothing here")
        return await self._own(request, door, host, target)

    async def _own(self, request: web.BaseRequest, door: Door, host: str, target: str) -> web.StreamResponse:
        """A request that is meant for us: a P2P domain's, a mirror's, or for our own pages."""
        parts = self._parts
        path, namespace = split_namespace(target)
        ours = f"{'https' if door.tls else 'http'}://{host}"
        mapped = parts.policy.mapped(host)
        if mapped is not None:
            return await parts.mirror.serve(request, parts.policy, mapped, path, namespace, ours)
        if path.startswith("/v2/") or path == "/v2":
            upstream = parts.policy.named(namespace) if namespace else parts.policy.default
            if namespace and not parts.policy.permits(upstream.itself.base):
                return refusal(request, 403, f"this registry may not be asked for: {namespace}; add it to `permit`")
            return await parts.mirror.serve(request, parts.policy, upstream, path, namespace, ours)
        match path.partition("?")[0]:
            case "/healthz":
                return web.Response(text="ok\n")
            case "/metrics":
                body = self._metrics.render()
                return web.Response(body=body, headers={"Content-Type": "text/plain; version=0.0.4; charset=utf-8"})
        domains = ", ".join(sorted(parts.policy.domains)) or "none"
        return refusal(
            request,
            404,
            f"no such page: {host}{target[:200]}; here are a registry mirror (/v2/), an HTTP proxy, /healthz and "
            f"/metrics; P2P domains: {domains}",
        )

    def _is_own(self, request: web.BaseRequest, host: str, port: int) -> bool:
        """Whether an absolute URL comes back to us: asking it by the proxy would go round in circles."""
        if all(port != listened for _, listened in self.front.addresses):
            return False
        sockname = request.transport.get_extra_info("sockname") if request.transport is not None else None
        names = {address for address, _ in self.front.addresses} | ({sockname[0]} if sockname else set())
        return is_loopback(host) or host in names or self._parts.policy.mapped(f"{host}:{port}") is not None

    @staticmethod
    def _dialled(request: web.BaseRequest) -> str:
        """Our address as the client dialled it: what it means who names no Host."""
        sockname = request.transport.get_extra_info("sockname") if request.transport is not None else None
        return format_address(*sockname[:2]) if sockname else ""

    def _context(self, name: str | None, address: str) -> ssl.SSLContext:
        """A certificate for the name that is asked for, if it is one of ours; else one for our `address`.

        Not for any name: a CA that signs whatever is asked would fill its directory, and vouch for strangers.
        """
        policy = self._parts.policy
        with contextlib.suppress(ValueError):
            if name is not None and (
                policy.mapped(name) is not None or policy.is_registry(name) or is_loopback(normal_host(name))
            ):
                return self.ca.context(name)
        return self.ca.context(address)
