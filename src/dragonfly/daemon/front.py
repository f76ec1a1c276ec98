"""The daemon's door: one port, and the first bytes tell who is there.

    TLS record   ─▶ TLS with a certificate minted for the name that is asked for ─▶ HTTP
    `CONNECT `   ─▶ hijacked (TLS ended here, then HTTP as for https://HOST) or tunnelled
    else         ─▶ HTTP: mirror, proxy, own pages

Accepted sockets go to aiohttp's parser only when it is known what they speak, so no byte is
ever handed back.
"""

from __future__ import annotations

import asyncio
import functools
import http
import socket
import ssl
from collections.abc import Awaitable, Callable, Coroutine
from types import TracebackType
from typing import NamedTuple, Self

from aiohttp import web

from dragonfly.daemon.policy import Policy
from dragonfly.daemon.problems import status_of
from dragonfly.daemon.settings import DaemonSettings, Hijack
from dragonfly.daemon.tunnel import Connect, connect_to, read_connect, refuse, tunnel
from dragonfly.errors import DragonflyError
from dragonfly.net.listen import accept_forever, format_address, open_listeners
from dragonfly.net.sniff import Speaks, sniff
from dragonfly.net.tls import sni_context
from dragonfly.telemetry.trace import Tracer

__all__ = ["Door", "Front"]

_MAX_HEADERS = 1024
_GRACE_S = 3.0


class Door(NamedTuple):
    """By which way a request came in."""

    origin: str = ""
    """`https://HOST[:PORT]` that a hijacked CONNECT was for; empty: a connection to ourselves."""
    hijacked: Hijack | None = None
    tls: bool = False


Handler = Callable[[web.BaseRequest, Door], Awaitable[web.StreamResponse]]


class Front:
    """`async with`: listens from its start.

    `contexts` gives a TLS context for the name that a client asks for (None: it named none) at one of our
    addresses, `mint` one for a host of the hijack list, `policy` what holds now.
    """

    def __init__(
        self,
        settings: DaemonSettings,
        *,
        handler: Handler,
        policy: Callable[[], Policy],
        contexts: Callable[[str | None, str], ssl.SSLContext],
        mint: Callable[[str], ssl.SSLContext],
        tracer: Tracer,
    ) -> None:
        self._settings = settings
        self._handler = handler
        self._policy = policy
        self._contexts = contexts
        self._mint = mint
        self._tracer = tracer
        self._tasks: set[asyncio.Task[None]] = set()
        self._listeners: list[socket.socket] = []
        self._servers: set[web.Server] = set()
        self.addresses: list[tuple[str, int]] = []
        """Where it listens by now; port 0 has become a real one."""

    async def __aenter__(self) -> Self:
        settings = self._settings
        listeners = [(sock, self._anything) for sock in open_listeners(settings.listen)]
        self._listeners = [sock for sock, _ in listeners]
        try:
            if settings.tls_listen:
                listeners += [(sock, self._tls_only) for sock in open_listeners(settings.tls_listen)]
                self._listeners = [sock for sock, _ in listeners]
        except BaseException:
            self._close_listeners()
            raise
        self.addresses = [sock.getsockname()[:2] for sock in self._listeners]
        self._plain = self._server(Door())
        self._secure = self._server(Door(tls=True))
        self._by_address: dict[str, ssl.SSLContext] = {}
        for sock, meet in listeners:
            self._spawn(accept_forever(sock, functools.partial(self._take, meet)))
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._close_listeners()
        servers = list(self._servers)
        for server in servers:
            server.pre_shutdown()
        await asyncio.gather(*(server.shutdown(_GRACE_S) for server in servers))
        for task in list(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def _close_listeners(self) -> None:
        for sock in self._listeners:
            sock.close()

    def _take(self, meet: Callable[[socket.socket], Coroutine[None, None, None]], sock: socket.socket) -> None:
        self._spawn(self._met(meet, sock))

    async def _met(self, meet: Callable[[socket.socket], Coroutine[None, None, None]], sock: socket.socket) -> None:
        """One connection until it is handed to a transport, or for as long as it is tunnelled."""
        try:
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            await meet(sock)
        except (OSError, ssl.SSLError, TimeoutError, DragonflyError) as error:
            # The client's doing: silence, a reset, a handshake that it gave up (it may not trust our CA yet).
            self._tracer.emit("connection.failed", error=f"{type(error).__name__}: {error}")
            sock.close()
        except BaseException:
            sock.close()
            raise

    async def _anything(self, sock: socket.socket) -> None:
        match await sniff(sock, self._settings.head_timeout):
            case Speaks.TLS:
                await self._tls_only(sock)
            case Speaks.CONNECT:
                await self._connect(sock)
            case Speaks.HTTP:
                await self._hand_over(sock, self._plain)
            case Speaks.NOTHING:
                sock.close()

    async def _tls_only(self, sock: socket.socket) -> None:
        address = sock.getsockname()[0]
        context = self._by_address.get(address)
        if context is None:
            context = sni_context(lambda name: self._contexts(name, address))
            self._by_address[address] = context
        await self._hand_over(sock, self._secure, context)

    async def _connect(self, sock: socket.socket) -> None:
        settings, policy = self._settings, self._policy()
        try:
            where = await read_connect(sock, settings.head_timeout, settings.max_head)
            if not policy.permitted.allows(where.host, where.port):
                await self._refuse(sock, 403, f"this host may not be asked for through the proxy: {_shown(where)}")
                return
            hijacked = policy.hijack.find(where.host, where.port)
            if hijacked is not None:
                await asyncio.get_running_loop().sock_sendall(sock, b"HTTP/1.1 200 Connection established\r\n\r\n")
                await self._hijack(sock, where, hijacked)
                return
            other = await connect_to(where, settings.connect_timeout)
        except DragonflyError as error:
            await self._refuse(sock, status_of(error), str(error))
            return
        with other, sock:
            await asyncio.get_running_loop().sock_sendall(sock, b"HTTP/1.1 200 Connection established\r\n\r\n")
            sent, received = await tunnel(sock, other)
        self._tracer.emit("tunnel.ended", host=_shown(where), sent=sent, received=received)

    async def _refuse(self, sock: socket.socket, status: int, sentence: str) -> None:
        await refuse(sock, status, http.HTTPStatus(status).phrase, sentence)
        sock.close()

    async def _hijack(self, sock: socket.socket, where: Connect, hijacked: Hijack) -> None:
        """End what follows here; a client that speaks plain HTTP in its tunnel is understood too."""
        speaks = await sniff(sock, self._settings.head_timeout)
        if speaks is Speaks.NOTHING:
            sock.close()
            return
        secure = speaks is Speaks.TLS
        port = "" if where.port == (443 if secure else 80) else f":{where.port}"
        host = f"[{where.host}]" if ":" in where.host else where.host
        server = self._server(Door(f"{'https' if secure else 'http'}://{host}{port}", hijacked, secure))
        context = sni_context(lambda name: self._mint(name or where.host)) if secure else None
        try:
            await self._hand_over(sock, server, context)
        except BaseException:
            self._servers.discard(server)
            raise

    async def _hand_over(self, sock: socket.socket, server: web.Server, context: ssl.SSLContext | None = None) -> None:
        loop = asyncio.get_running_loop()
        deadline = self._settings.head_timeout if context is not None else None
        await loop.connect_accepted_socket(server, sock, ssl=context, ssl_handshake_timeout=deadline)

    def _server(self, door: Door) -> web.Server:
        """aiohttp's parser for connections through one door; forgotten with its last connection if hijacked."""
        settings = self._settings
        server = _Server(
            functools.partial(self._answer, door),
            handler_cancellation=True,
            access_log=None,
            auto_decompress=False,
            keepalive_timeout=settings.keep_alive,
            lingering_time=5.0,
            max_line_size=settings.max_head,
            max_field_size=settings.max_head,
            max_headers=_MAX_HEADERS,
            read_bufsize=256 * 1024,
        )
        if door.origin:
            server.forgotten = self._servers.discard
        self._servers.add(server)
        return server

    async def _answer(self, door: Door, request: web.BaseRequest) -> web.StreamResponse:
        return await self._handler(request, door)

    def _spawn(self, work: Coroutine[None, None, None]) -> None:
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._done)

    def _done(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and task.exception() is not None:
            self._tracer.emit("connection.failed", error=repr(task.exception()))


class _Server(web.Server):
    """Tells when its last connection is gone."""

    forgotten: Callable[[web.Server], None] | None = None

    def connection_lost(self, handler: web.RequestHandler, exc: BaseException | None = None) -> None:
        super().connection_lost(handler, exc)
        if self.forgotten is not None:
            self.forgotten(self)


def _shown(where: Connect) -> str:
    return format_address(where.host, where.port)
