import asyncio
import socket
import ssl
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack
from pathlib import Path

import aiohttp
from aiohttp import web

from dragonfly.daemon.app import Daemon
from dragonfly.daemon.settings import DaemonSettings
from dragonfly.telemetry.history import History
from dragonfly.telemetry.trace import Event, Tracer
from unit.daemon.standin import Registry, StandInEngine


class Plain:
    def render(self) -> bytes:
        return b"dragonfly_test 1\n"


class World:
    """A registry, an engine, and the daemon between them and a client."""

    def __init__(self, stack: AsyncExitStack, path: Path) -> None:
        self._stack, self._path = stack, path
        self.registry = Registry()
        self.engine = StandInEngine()
        self.events: list[Event] = []
        self.tracer = Tracer()
        self.tracer.subscribe(self.events.append)
        stack.callback(self.engine.close)
        self.history = History()
        self.tracer.subscribe(self.history)
        self.daemon: Daemon
        self.client: aiohttp.ClientSession
        self.url = ""

    async def listen(self, handler: Callable[[web.BaseRequest], Awaitable[web.StreamResponse]]) -> str:
        """Serve on a free port; its URL."""
        runner = web.ServerRunner(
            web.Server(handler, access_log=None, auto_decompress=False, max_field_size=1 << 20, max_line_size=1 << 20)
        )
        await runner.setup()
        self._stack.push_async_callback(runner.cleanup)
        sock = socket.create_server(("127.0.0.1", 0))
        await web.SockSite(runner, sock).start()
        return f"http://127.0.0.1:{sock.getsockname()[1]}"

    async def start(self, **settings: object) -> "World":
        """The registry, and a daemon in front of it as `p2p.test`."""
        self.registry.origin = await self.listen(self.registry.serve)
        self.registry.storage = await self.listen(self.registry.serve_storage)
        given = {
            "listen": "127.0.0.1:0",
            "map": {"p2p.test": self.registry.origin},
            "registry": self.registry.origin,
        } | settings
        self.daemon = Daemon(
            DaemonSettings(**given),  # type: ignore[arg-type]
            engine=self.engine,  # type: ignore[arg-type]
            data_dir=self._path,
            tracer=self.tracer,
            metrics=Plain(),
            history=self.history,
        )
        await self._stack.enter_async_context(self.daemon)
        host, port = self.daemon.front.addresses[0]
        self.url = f"http://{host}:{port}"
        self.client = await self._stack.enter_async_context(
            aiohttp.ClientSession(auto_decompress=False, max_field_size=1 << 20, max_line_size=1 << 20)
        )
        return self

    @property
    def port(self) -> int:
        return self.daemon.front.addresses[0][1]

    def trusting(self) -> ssl.SSLContext:
        return ssl.create_default_context(cafile=str(self.daemon.ca.cert_path))


def basic(user: str, password: str) -> dict[str, str]:
    return {"Authorization": aiohttp.encode_basic_auth(user, password)}


async def eventually(true: Callable[[], bool]) -> None:
    """Wait for what another task is about to do."""
    for _ in range(1000):
        if true():
            return
        await asyncio.sleep(0.005)
    raise AssertionError("it did not come about")
