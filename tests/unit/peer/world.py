"""Engines in one process on loopback: real sockets, real disks, and a supernode of a few lines."""

from __future__ import annotations

import asyncio
import hashlib
import os
import random
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path

import msgspec

from dragonfly.core.messages import (
    Digests,
    Fingerprint,
    FromDaemon,
    FromSupernode,
    HostInfo,
    Join,
    MoreNeighbours,
    Neighbours,
    PeerAddress,
    TaskFailed,
    TaskInfo,
    Trouble,
    WantDigests,
)
from dragonfly.core.task import TaskKey, TaskSpec
from dragonfly.peer.engine import Engine
from dragonfly.peer.pull import Pull
from dragonfly.peer.settings import EngineSettings, SourcePolicy
from dragonfly.peer.tracker import NoTracker, Tracker
from dragonfly.source.registry import Sources
from dragonfly.store.settings import StoreSettings
from dragonfly.store.store import Store
from dragonfly.swarm.settings import SwarmSettings
from dragonfly.telemetry.trace import Event, Tracer
from dragonfly.testing.origin import Origin, Reply

TICKET = "let-me-in"
SWARM = SwarmSettings(stall_after_s=0.3, leave_after_s=0.6, source_after_s=1.5, tick_s=0.05)
SETTINGS = EngineSettings(swarm=SWARM, linger_s=0.05, dial_timeout_s=1.0, source_timeout_s=2.0, source_attempts=2)


def some_bytes(size: int, seed: int = 1) -> bytes:
    return random.Random(seed).randbytes(size)


def digest_of(data: bytes) -> str:
    return f"sha256:{hashlib.sha256(data).hexdigest()}"


SIZE = 3_000_000
DATA = some_bytes(SIZE)


def spec_of(origin: Origin, data: bytes = DATA, path: str = "/blob") -> TaskSpec:
    return TaskSpec(url=origin.serve(path, data, etag='"1"'), digest=digest_of(data))


class Hub:
    """A supernode that makes everybody everybody's neighbour. Its seed is the engine named `seed`."""

    def __init__(self) -> None:
        self.trackers: dict[str, HubTracker] = {}
        self.engines: dict[str, Engine] = {}
        self.addresses: dict[str, tuple[str, int]] = {}
        """Where others are told to find an engine, if not at its own port."""
        self.heard: list[tuple[str, FromDaemon]] = []
        self.troubles: list[Trouble] = []
        self.asked_for_more: list[MoreNeighbours] = []
        self.asked_for_digests: list[WantDigests] = []
        self.lists_for: set[str] | None = None
        """Who is told digests; the others only what these come to, as in a task of many."""
        self.gone = False
        self.seeding: set[asyncio.Task[None]] = set()
        self._infos: dict[TaskKey, TaskInfo] = {}
        self._digests: dict[TaskKey, dict[int, bytes]] = {}
        self._sealed: set[TaskKey] = set()
        self._waiting: dict[TaskKey, list[str]] = {}
        self._members: dict[TaskKey, list[str]] = {}

    def vanish(self) -> None:
        """The supernode is lost, and its seed with it as far as messages go."""
        self.gone = True
        for tracker in self.trackers.values():
            tracker.connected = False
            tracker.lost()

    def hear(self, name: str, message: FromDaemon) -> None:
        if self.gone:
            return
        self.heard.append((name, message))
        match message:
            case Trouble():
                self.troubles.append(message)
            case MoreNeighbours():
                self.asked_for_more.append(message)
            case WantDigests():
                self.asked_for_digests.append(message)
                self.trackers[name].say(self._run(message.key, message.first, message.count))
            case TaskInfo():
                self._infos[message.key] = message
                for waiting in self._waiting.pop(message.key, []):
                    self._answer(waiting, message.key)
            case TaskFailed():
                for waiting in self._waiting.pop(message.key, []):
                    self.trackers[waiting].say(message)
            case Digests():
                known = self._digests.setdefault(message.key, {})
                for number in range(len(message.digests) // 32):
                    known[message.first + number] = message.digests[32 * number : 32 * number + 32]
                if message.sealed:
                    self._sealed.add(message.key)
                for member in self._members.get(message.key, []):
                    self.trackers[member].say(self._for(member, message))
            case Join() if name != "seed":
                key = message.spec.key
                if key in self._infos:
                    self._answer(name, key)
                else:
                    self._waiting.setdefault(key, []).append(name)
                    if "seed" in self.engines:
                        task = asyncio.get_running_loop().create_task(self._seed(message.spec))
                        self.seeding.add(task)
            case _:
                pass

    async def _seed(self, spec: TaskSpec) -> None:
        pull = await self.engines["seed"].open(spec)
        try:
            await pull.finished()
        except Exception:  # the nodes hear of it
            pull.close()

    def _run(self, key: TaskKey, first: int, count: int) -> Digests:
        known = self._digests[key]
        return Digests(key=key, first=first, digests=b"".join(known[first + n] for n in range(count)))

    def _for(self, name: str, message: Digests) -> Digests | Fingerprint:
        """The digests, or what they come to."""
        if self.lists_for is None or not message.digests:
            return message
        if name in self.lists_for:
            return msgspec.structs.replace(message, pass_on=True)
        total, count = hashlib.sha256(message.digests).digest(), len(message.digests) // 32
        return Fingerprint(key=message.key, first=message.first, count=count, sum=total, sealed=message.sealed)

    def _answer(self, name: str, key: TaskKey) -> None:
        info = self._infos[key]
        known = self._digests.get(key, {}) if self.lists_for is None else {}
        count = -(-info.length // info.piece_size)
        members = self._members.setdefault(key, [])
        self.trackers[name].say(
            msgspec.structs.replace(
                info,
                digests=b"".join(known.get(number, bytes(32)) for number in range(count)),
                sealed=key in self._sealed,
                ticket=TICKET,
                peers=len(members),
            )
        )
        if self.lists_for is not None and key in self._sealed:
            self.trackers[name].say(self._for(name, self._run(key, 0, count)))
        others = [other for other in ("seed", *members) if other in self.engines and other != name]
        self.trackers[name].say(Neighbours(key=key, add=tuple(self.address(other) for other in others)))
        if name not in members:
            members.append(name)

    def address(self, name: str) -> PeerAddress:
        host, port = self.addresses.get(name, ("127.0.0.1", self.engines[name].host.peer_port))
        return PeerAddress(name, host, port, name == "seed", self.engines[name].host.zone)


class HubTracker:
    """One engine's way to the hub."""

    supernodes = ("http://hub",)

    def __init__(self, hub: Hub, name: str) -> None:
        self.connected = True
        self._hub = hub
        self._name = name
        hub.trackers[name] = self

    def attach(
        self, on_message: Callable[[FromSupernode], None], on_connect: Callable[[], None], on_lost: Callable[[], None]
    ) -> None:
        self._on_message, self._on_connect, self.lost = on_message, on_connect, on_lost

    async def start(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._on_connect()

    async def close(self) -> None:
        self.connected = False

    def send(self, message: FromDaemon) -> None:
        self._loop.call_soon(self._hub.hear, self._name, message)

    def say(self, message: FromSupernode) -> None:
        if self.connected:
            self._loop.call_soon(self._on_message, message)


class World:
    """Engines by name. `events`: all that they told, with the engine's name first."""

    def __init__(self, root: Path, stack: AsyncExitStack) -> None:
        self.root = root
        self.hub = Hub()
        self.events: list[tuple[str, Event]] = []
        self._stack = stack

    async def node(
        self,
        name: str,
        settings: EngineSettings = SETTINGS,
        *,
        alone: bool = False,
        sources: Sources | None = None,
        zone: str = "",
        piece_size: int = 0,
    ) -> Engine:
        """An engine that lives as long as this world; `seed` is the hub's seed, told to cut tasks so (0: not told)."""
        tracer = Tracer()
        tracer.subscribe(lambda event: self.events.append((name, event)))
        seed = name == "seed"
        policy = SourcePolicy.FIRST if seed or alone else settings.source_policy
        tracker: Tracker = NoTracker() if alone else HubTracker(self.hub, name)
        store = Store(self.root / name, StoreSettings(keep_free=0))
        engine = Engine(
            host=HostInfo(id=name, address="127.0.0.1", peer_port=0, zone=zone),
            settings=msgspec.structs.replace(settings, source_policy=policy),
            store=store,
            sources=sources or Sources(allow_file=True),
            tracker=tracker,
            tracer=tracer,
            peer_address="127.0.0.1",
            ticket_for=(lambda _: TICKET) if seed else None,
            piece_size=(lambda _, length: piece_size) if piece_size else None,
        )
        self._stack.callback(store.close)
        await self._stack.enter_async_context(engine)
        if not alone:
            self.hub.engines[name] = engine
        return engine

    def happened(self, node: str, event: str) -> list[Event]:
        return [one for name, one in self.events if name == node and one.name == event]


@asynccontextmanager
async def a_world(root: Path) -> AsyncIterator[World]:
    async with AsyncExitStack() as stack:
        world = World(root, stack)
        yield world
        for task in world.hub.seeding:
            task.cancel()
        await asyncio.gather(*world.hub.seeding, return_exceptions=True)


@asynccontextmanager
async def half_a_pull(world: World, origin: Origin) -> AsyncIterator[tuple[Engine, Pull]]:
    """A node `n` that has some pieces of a blob, whose source has come to a stop, by way of the seed."""
    spec = spec_of(origin)
    origin.then("/blob", Reply(stall_after=700_000))
    await world.node("seed")
    node = await world.node("n")
    async with await node.open(spec) as pull:
        await eventually(lambda: bool(node.runs()[0].progress().pieces))
        yield node, pull


def stored(pull: Pull) -> bytes:
    """What is on disk of it."""
    return Path(pull.path).read_bytes()


async def eventually(check: Callable[[], bool], seconds: float = 5.0) -> None:
    """Wait until `check` holds; fail after `seconds`."""
    async with asyncio.timeout(seconds):
        while not check():  # noqa: ASYNC110 - what is waited for is of many kinds
            await asyncio.sleep(0.01)


def descriptors() -> int:
    return len(os.listdir("/proc/self/fd"))


class Wire:
    """A TCP proxy before a port that does what is told to what it forwards to the client."""

    def __init__(self, port: int) -> None:
        self._target = port
        self.forwarded = 0
        self.flip_at: int | None = None
        """Change the byte at this offset of the answers, on each connection."""
        self.cut_at: int | None = None
        self.stall_at: int | None = None
        self._tasks: set[asyncio.Task[None]] = set()

    async def __aenter__(self) -> Wire:
        self._server = await asyncio.start_server(self._relay, "127.0.0.1", 0)
        self.port = int(self._server.sockets[0].getsockname()[1])
        return self

    async def __aexit__(self, *_: object) -> None:
        self._server.close()
        for task in list(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _relay(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        there: asyncio.StreamWriter | None = None
        try:
            back, there = await asyncio.open_connection("127.0.0.1", self._target)
            async with asyncio.TaskGroup() as group:
                group.create_task(self._pump(reader, there))
                group.create_task(self._answers(back, writer))
        except (asyncio.CancelledError, OSError, ExceptionGroup):
            pass
        finally:
            for one in (writer, there):
                if one is not None:
                    one.transport.abort()
            self._tasks.discard(task)

    async def _pump(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while data := await reader.read(65536):
            writer.write(data)
            await writer.drain()
        raise ConnectionResetError

    async def _answers(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        at = 0
        while data := await reader.read(16384):
            if self.flip_at is not None and at <= self.flip_at < at + len(data):
                spoilt = bytearray(data)
                spoilt[self.flip_at - at] ^= 0xFF
                data = bytes(spoilt)
            if self.cut_at is not None and at + len(data) > self.cut_at:
                raise ConnectionResetError
            if self.stall_at is not None and at + len(data) > self.stall_at:
                await asyncio.sleep(3600)
            at += len(data)
            self.forwarded += len(data)
            writer.write(data)
            await writer.drain()
        raise ConnectionResetError
