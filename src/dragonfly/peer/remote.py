"""Control sessions with supernodes: WebSockets that come back by themselves.

With several supernodes each task belongs to one of those that can be reached, chosen by
weighted rendezvous hashing (Thaler and Ravishankar 1998), so all nodes choose the same
one without asking, and the loss of one moves only its tasks.
"""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import math
from collections.abc import Callable

import aiohttp
import msgspec
import tenacity

from dragonfly.core.messages import (
    FromDaemon,
    FromSupernode,
    Hello,
    Holding,
    Join,
    Progress,
    PullDone,
    Welcome,
)
from dragonfly.core.task import TaskKey
from dragonfly.errors import PeerError
from dragonfly.telemetry.trace import Tracer
from dragonfly.wire.codec import MAX_MESSAGE, PROTOCOL, encode, from_supernode

__all__ = ["RemoteTracker", "SupernodeAddress", "rank"]

_QUEUE_LIMIT = 4096
_HEARTBEAT_S = 15.0
"""An answer is due within half of it: on a slow link that is full both ways one takes seconds."""


class SupernodeAddress(msgspec.Struct, frozen=True):
    """`weight`: its share of the tasks, relative to the others'."""

    host: str
    port: int = 8002
    weight: float = 1.0

    @property
    def url(self) -> str:
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"http://{host}:{self.port}"


def rank(key: str, nodes: list[SupernodeAddress]) -> list[SupernodeAddress]:
    """The nodes in the order in which `key` belongs to them."""

    def score(node: SupernodeAddress) -> float:
        digest = hashlib.blake2b(f"{key}@{node.host}:{node.port}".encode(), digest_size=8).digest()
        draw = (int.from_bytes(digest) + 1) / (2**64 + 1)
        return -node.weight / math.log(draw)

    return sorted(nodes, key=score, reverse=True)


class _Session:
    """One supernode: connects, reads, writes, and begins anew when it breaks."""

    def __init__(self, address: SupernodeAddress, owner: RemoteTracker) -> None:
        self.address = address
        self.connected = False
        self.welcome = False
        """The supernode has let us in: only that is worth a quick new try when the session breaks."""
        self._owner = owner
        self._queue: asyncio.Queue[bytes] = asyncio.Queue(_QUEUE_LIMIT)

    def send(self, message: FromDaemon) -> None:
        if self.connected:
            with contextlib.suppress(asyncio.QueueFull):  # a supernode that does not read: it will be left
                self._queue.put_nowait(encode(message))

    async def run(self, http: aiohttp.ClientSession) -> None:
        """Until cancelled."""
        wait = tenacity.wait_random_exponential(multiplier=0.2, max=3.0)
        state = tenacity.RetryCallState(None, None, (), {})  # type: ignore[arg-type]
        while True:
            self.welcome = False
            try:
                async with http.ws_connect(
                    f"{self.address.url}/api/v1/session",
                    protocols=(PROTOCOL,),
                    heartbeat=_HEARTBEAT_S,
                    max_msg_size=MAX_MESSAGE,
                    timeout=aiohttp.ClientWSTimeout(ws_close=2.0),
                ) as socket:
                    await self._talk(socket)
            except (aiohttp.ClientError, OSError, TimeoutError, PeerError) as error:
                self._owner.noticed(self, error)
            finally:
                if self.connected:
                    self.connected = False
                    self._owner.session_lost(self)
            state.attempt_number = 1 if self.welcome else state.attempt_number + 1
            await asyncio.sleep(wait(state))

    async def _talk(self, socket: aiohttp.ClientWebSocketResponse) -> None:
        self._queue = asyncio.Queue(_QUEUE_LIMIT)
        self.connected = True
        self._owner.session_up(self)
        writer = asyncio.get_running_loop().create_task(self._write(socket))
        try:
            while True:
                frame = await socket.receive()
                if frame.type is aiohttp.WSMsgType.BINARY:
                    message = from_supernode(frame.data)
                    if isinstance(message, Welcome) and not self.welcome:
                        self.welcome = True
                        self._owner.let_in(self)
                    self._owner.deliver(message)
                elif frame.type is aiohttp.WSMsgType.CLOSE and not self.welcome:
                    raise PeerError("the supernode does not let this node in", subject=str(frame.extra or frame.data))
                elif frame.type is not aiohttp.WSMsgType.TEXT:
                    return
        finally:
            writer.cancel()
            # Its end is awaited without taking a cancellation that is meant for us for its own.
            await asyncio.gather(writer, return_exceptions=True)

    async def _write(self, socket: aiohttp.ClientWebSocketResponse) -> None:
        while True:
            await socket.send_bytes(await self._queue.get())


class RemoteTracker:
    """A `Tracker` over the network, to one or several supernodes."""

    def __init__(self, addresses: list[SupernodeAddress], tracer: Tracer) -> None:
        self._sessions = {address: _Session(address, self) for address in addresses}
        self._tracer = tracer
        self._tasks: list[asyncio.Task[None]] = []
        self._http: aiohttp.ClientSession | None = None
        self._greeting: _Session | None = None
        self._first_try = asyncio.Event()
        self._noticed: dict[_Session, str] = {}
        """What went wrong with those that are not connected, as it was told last."""
        self._on_message: Callable[[FromSupernode], None] = lambda _: None
        self._on_connect: Callable[[], None] = lambda: None
        self._on_lost: Callable[[], None] = lambda: None

    @property
    def supernodes(self) -> tuple[str, ...]:
        return tuple(address.url for address in self._sessions)

    @property
    def connected(self) -> bool:
        return any(session.connected for session in self._sessions.values())

    @property
    def reached(self) -> list[str]:
        """URLs of the supernodes with a standing session."""
        return [address.url for address, session in self._sessions.items() if session.connected]

    def attach(
        self,
        on_message: Callable[[FromSupernode], None],
        on_connect: Callable[[], None],
        on_lost: Callable[[], None],
    ) -> None:
        self._on_message, self._on_connect, self._on_lost = on_message, on_connect, on_lost

    async def start(self) -> None:
        """Begin to connect; returns when one session stands, or none could be had for a second."""
        self._http = aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(sock_connect=2.0), trust_env=False)
        loop = asyncio.get_running_loop()
        self._tasks = [loop.create_task(session.run(self._http)) for session in self._sessions.values()]
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(1.0):
                await self._first_try.wait()

    async def close(self) -> None:
        await asyncio.sleep(0)  # what was said last is still in the queues
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        if self._http is not None:
            await self._http.close()

    def send(self, message: FromDaemon) -> None:
        match message:
            case Hello() | Holding():
                targets = [self._greeting] if self._greeting is not None else list(self._sessions.values())
                for session in targets:
                    session.send(message)
            case Progress(tasks=tasks):
                by_session: dict[_Session, list[object]] = {}
                for task in tasks:
                    if (owner := self._owner_of(task.key)) is not None:
                        by_session.setdefault(owner, []).append(task)
                for session, items in by_session.items():
                    session.send(Progress(tasks=tuple(items)))  # type: ignore[arg-type]
            case _:
                key = message.spec.key if isinstance(message, Join) else message.key
                if isinstance(message, PullDone):
                    for session in self._sessions.values():
                        session.send(message)
                elif (owner := self._owner_of(key)) is not None:
                    owner.send(message)

    def _owner_of(self, key: TaskKey) -> _Session | None:
        up = [address for address, session in self._sessions.items() if session.connected]
        if not up:
            return None
        return self._sessions[rank(key, up)[0]] if len(up) > 1 else self._sessions[up[0]]

    # ---------------------------------------------------------------- from sessions

    def session_up(self, session: _Session) -> None:
        """The connection stands: say who we are. Whether we are let in is heard next."""
        self._greeting = session
        try:
            self._on_connect()
        finally:
            self._greeting = None
        self._first_try.set()

    def let_in(self, session: _Session) -> None:
        self._noticed.pop(session, None)
        self._tracer.emit("supernode.connected", supernode=session.address.url)

    def session_lost(self, session: _Session) -> None:
        if session.welcome:
            self._tracer.emit("supernode.lost", supernode=session.address.url)
        self._on_lost()

    def noticed(self, session: _Session, error: BaseException) -> None:
        """Told once for each reason, not at each try."""
        if self._noticed.get(session) != str(error):
            self._noticed[session] = str(error)
            self._tracer.emit("supernode.unreachable", supernode=session.address.url, reason=str(error))
        if not any(s.connected for s in self._sessions.values()):
            self._first_try.set()

    def deliver(self, message: FromSupernode) -> None:
        self._on_message(message)
