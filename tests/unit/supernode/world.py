"""A supernode and daemons in one process, on loopback, put together as the programs do it; and a registry's pages."""

from __future__ import annotations

import asyncio
import hashlib
import json
import random
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import aiohttp
import msgspec

from dragonfly.boot.daemon import DaemonProcess
from dragonfly.boot.supernode import SupernodeProcess
from dragonfly.config.load import load
from dragonfly.config.schema import DAEMON, SUPERNODE
from dragonfly.core.messages import FromDaemon, FromSupernode, Hello, HostInfo
from dragonfly.supernode.app import Supernode
from dragonfly.testing.origin import Origin
from dragonfly.wire.codec import PROTOCOL, encode, from_supernode


def some_bytes(size: int, seed: int = 1) -> bytes:
    return random.Random(seed).randbytes(size)


def digest_of(data: bytes) -> str:
    return f"sha256:{hashlib.sha256(data).hexdigest()}"


class Answer(msgspec.Struct):
    """An HTTP answer, read to its end."""

    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def kind(self) -> str:
        return self.headers.get("content-type", "")

    def json(self) -> Any:
        return json.loads(self.body)


class World:
    """One supernode, its API, and the daemons that were asked for."""

    def __init__(self, folder: Path, stack: AsyncExitStack) -> None:
        self.folder = folder
        self._stack = stack
        self._daemons = 0

    async def start(self, **flags: object) -> Supernode:
        """The supernode; `flags` as on its command line."""
        own = {"listen": "127.0.0.1:0", "peer_listen": "127.0.0.1:0", "data_dir": str(self.folder / "supernode")}
        process = SupernodeProcess(load(SUPERNODE, flags=own | flags, environ={}))
        self.process = await self._stack.enter_async_context(process)
        self.supernode = process.supernode
        self.base = f"http://127.0.0.1:{self.supernode.port}"
        self.http = await self._stack.enter_async_context(aiohttp.ClientSession())
        return self.supernode

    async def daemon(self, **flags: object) -> DaemonProcess:
        """One more daemon that has a session by now."""
        self._daemons += 1
        own = {
            "supernode": [f"127.0.0.1:{self.supernode.port}"],
            "listen": "127.0.0.1:0",
            "peer_listen": "127.0.0.1:0",
            "data_dir": str(self.folder / f"daemon{self._daemons}"),
        }
        return await self._stack.enter_async_context(DaemonProcess(load(DAEMON, flags=own | flags, environ={})))

    async def ask(self, method: str, path: str, **how: Any) -> Answer:
        async with self.http.request(method, self.base + path, **how) as answer:
            headers = {name.lower(): value for name, value in answer.headers.items()}
            return Answer(answer.status, headers, await answer.read())

    async def get(self, path: str) -> Any:
        answer = await self.ask("GET", path)
        assert answer.status == 200, answer.body
        assert answer.kind.startswith("application/json")
        return answer.json()

    async def preheat(self, seconds: float = 20.0, **asked: object) -> Any:
        """Ask for one and wait for its end."""
        answer = await self.ask("POST", "/api/v1/preheats", json=asked)
        assert answer.status == 201, answer.body
        path = f"/api/v1/preheats/{answer.json()['id']}"
        assert answer.headers["location"] == path
        async with asyncio.timeout(seconds):
            while (job := await self.get(path))["status"] in ("WAITING", "RUNNING"):  # noqa: ASYNC110 - over HTTP
                await asyncio.sleep(0.02)
        return job

    def stored(self) -> set[str]:
        """Keys of what the seed has whole."""
        return {blob.key for blob in self.supernode.engine.node.store.blobs() if blob.sealed}


@asynccontextmanager
async def a_world(folder: Path) -> AsyncIterator[World]:
    async with AsyncExitStack() as stack:
        yield World(folder, stack)


async def eventually(check: Callable[[], bool], seconds: float = 5.0) -> None:
    """Wait until `check` holds; fail after `seconds`."""
    async with asyncio.timeout(seconds):
        while not check():  # noqa: ASYNC110 - what is waited for is of many kinds
            await asyncio.sleep(0.01)


class Session:
    """A daemon's end of a control session, said and heard by hand."""

    def __init__(self, world: World, name: str, token: str = "") -> None:
        self.hello = Hello(host=HostInfo(id=name, address="127.0.0.1", peer_port=9), token=token)
        self._world = world

    async def __aenter__(self) -> Self:
        self.socket = await self._world.http.ws_connect(
            f"{self._world.base}/api/v1/session", protocols=(PROTOCOL,), timeout=aiohttp.ClientWSTimeout(ws_close=0.2)
        )
        await self.say(self.hello)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.socket.close()

    async def say(self, message: FromDaemon) -> None:
        await self.socket.send_bytes(encode(message))

    async def hear(self, seconds: float = 2.0) -> FromSupernode:
        return from_supernode(await self.socket.receive_bytes(timeout=seconds))

    async def closed(self, seconds: float = 2.0) -> int | None:
        """The code with which it was closed."""
        async with asyncio.timeout(seconds):
            async for _ in self.socket:
                pass
        return self.socket.close_code


# ---------------------------------------------------------------- a registry

INDEX = "application/vnd.oci.image.index.v1+json"
MANIFEST = "application/vnd.oci.image.manifest.v1+json"


class Registry:
    """Pages of an `origin` that make it a registry for reading. Every blob is kept in `blobs` too."""

    def __init__(self, origin: Origin, name: str = "team/app") -> None:
        self.origin = origin
        self.name = name
        self.blobs: dict[str, bytes] = {}

    def url(self, reference: str) -> str:
        return self.origin.url(f"/v2/{self.name}/manifests/{reference}")

    def reference(self, tag: str) -> str:
        return f"127.0.0.1:{self.origin.port}/{self.name}:{tag}"

    def blob(self, data: bytes, **more: object) -> dict[str, object]:
        """Hold a blob; returns its descriptor."""
        digest = digest_of(data)
        self.blobs[digest] = data
        self.origin.serve(f"/v2/{self.name}/blobs/{digest}", data)
        return {"digest": digest, "size": len(data)} | more

    def page(self, content: object, *references: str) -> dict[str, object]:
        """Hold a manifest under its digest and these tags; returns its descriptor."""
        data = content if isinstance(content, bytes) else json.dumps(content).encode()
        for reference in (digest_of(data), *references):
            self.origin.serve(f"/v2/{self.name}/manifests/{reference}", data, ranges=False)
        return {"digest": digest_of(data), "size": len(data)}

    def image(self, *layers: bytes, tags: tuple[str, ...] = (), **more: object) -> dict[str, object]:
        config = self.blob(json.dumps({"layers": [len(layer) for layer in layers]} | more).encode())
        return self.page({"config": config, "layers": [self.blob(layer) for layer in layers]}, *tags)

    def keys(self, *given: bytes) -> set[str]:
        return {digest_of(data).replace(":", "-") for data in given or self.blobs.values()}
