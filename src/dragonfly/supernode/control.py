"""Control sessions: messages of daemons to the scheduler, its decisions back to them.

The loop "event or deadline → handle → perform" stands here, once. A session has a bounded
queue: a daemon that does not read is dropped, nobody waits for it.
"""

from __future__ import annotations

import asyncio
import contextlib
import hmac
import ipaddress
from collections.abc import Callable

from aiohttp import WSMsgType, web

from dragonfly.core.messages import Digests, Fingerprint, FromDaemon, FromSupernode, Hello, PullDone
from dragonfly.core.task import TaskSpec
from dragonfly.errors import UsageError
from dragonfly.scheduler import decisions as do
from dragonfly.scheduler import events as ev
from dragonfly.scheduler.scheduler import Scheduler
from dragonfly.supernode.seed import LocalTracker
from dragonfly.telemetry.trace import Tracer
from dragonfly.wire.codec import MAX_MESSAGE, PROTOCOL, ProtocolError, encode, from_daemon

__all__ = ["Control"]

_QUEUE_LIMIT = 2048
_HEARTBEAT_S = 20.0
_HELLO_S = 10.0
_AT_ONCE = 200
"""Sessions that are told one thing before others are heard: some 5 ms."""


class _Session:
    """One daemon's WebSocket and what waits to be sent to it."""

    def __init__(self, socket: web.WebSocketResponse, transport: asyncio.Transport | None) -> None:
        self.socket = socket
        self._transport = transport
        self.queue: asyncio.Queue[bytes] = asyncio.Queue(_QUEUE_LIMIT)

    async def write(self) -> None:
        while True:
            await self.socket.send_bytes(await self.queue.get())

    def abort(self) -> None:
        """End it without a word: who does not read would not hear one."""
        if self._transport is not None:
            self._transport.abort()


class Control:
    """Owns the scheduler: everything that happens to it goes through `tell`."""

    def __init__(
        self,
        scheduler: Scheduler,
        tracer: Tracer,
        *,
        join_token: str,
        start_seed: Callable[[TaskSpec], None],
        pull_done: Callable[[str, PullDone], None],
        forgotten: Callable[[str], None],
    ) -> None:
        self.scheduler = scheduler
        self.messages = 0
        """Messages of daemons so far."""
        self._tracer = tracer
        self._token = join_token
        self._start_seed = start_seed
        self._pull_done = pull_done
        self._forgotten = forgotten
        self._sessions: dict[str, _Session] = {}
        self._timer: asyncio.TimerHandle | None = None
        self._seed_id = ""
        self.seed_tracker = LocalTracker(self._seed_says)

    def start(self, seed_id: str) -> None:
        self._seed_id = seed_id
        self.tell(ev.Tick())

    def close(self) -> None:
        if self._timer is not None:
            self._timer.cancel()

    async def close_sessions(self) -> None:
        """Say goodbye: daemons look for another supernode at once."""
        for session in list(self._sessions.values()):
            with contextlib.suppress(Exception):  # whatever state it is in, it ends
                await asyncio.wait_for(session.socket.close(code=1001), 1.0)

    @property
    def connected(self) -> int:
        return len(self._sessions)

    # ---------------------------------------------------------------- the loop

    def tell(self, event: ev.Event) -> None:
        """One event to the scheduler; its decisions are performed before this returns."""
        loop = asyncio.get_running_loop()
        for decision in self.scheduler.handle(event, loop.time()):
            match decision:
                case do.Send(hosts, (Digests() | Fingerprint()) as message):
                    self._spread(hosts, message)
                case do.Send(hosts, message):
                    self._send(hosts, message)
                case do.StartSeed(spec, _):
                    self._start_seed(spec)
                case do.Isolated(host, reason):
                    self._tracer.emit("peer.isolated", peer=host, reason=reason)
                case do.Forgotten(key):
                    self._forgotten(key)
        deadline = self.scheduler.next_deadline()
        if self._timer is None or self._timer.when() > deadline + 1e-3:  # one that is due is let be, it runs at once
            if self._timer is not None:
                self._timer.cancel()
            self._timer = loop.call_at(deadline, self._tick)

    def _tick(self) -> None:
        self._timer = None
        self.tell(ev.Tick())

    def _seed_says(self, message: FromDaemon) -> None:
        if isinstance(message, PullDone):
            return
        self.tell(ev.Heard(self._seed_id, message))

    def _spread(self, hosts: tuple[str, ...], message: Digests | Fingerprint) -> None:
        """To some at a time, so that ten thousand who pull one task don't make all others wait.

        Digests and what they come to only: they may be overtaken by what is said meanwhile, other messages may not.
        """
        self._send(hosts[:_AT_ONCE], message)
        if rest := hosts[_AT_ONCE:]:
            asyncio.get_running_loop().call_soon(self._spread, rest, message)

    def _send(self, hosts: tuple[str, ...], message: FromSupernode) -> None:
        data = b""
        for host in hosts:
            if host == self._seed_id:
                self.seed_tracker.deliver(message)
                continue
            session = self._sessions.get(host)
            if session is None:
                continue
            data = data or encode(message)
            try:
                session.queue.put_nowait(data)
            except asyncio.QueueFull:
                self._tracer.emit("session.closed", peer=host, reason="it does not read what it is sent")
                del self._sessions[host]
                session.abort()
                # Later, and not now: this is the middle of a decision.
                asyncio.get_running_loop().call_soon(self._lost, host)

    def _lost(self, host: str) -> None:
        if host not in self._sessions:
            self.tell(ev.Lost(host))

    def send(self, host: str, message: FromSupernode) -> bool:
        """A message that is not the scheduler's (preheat); whether the host is there."""
        if host not in self._sessions:
            return False
        self._send((host,), message)
        return True

    def hosts(self) -> list[str]:
        """Daemons with a session."""
        return list(self._sessions)

    # ---------------------------------------------------------------- one session

    async def session(self, request: web.Request) -> web.WebSocketResponse:
        """`GET /api/v1/session`, upgraded."""
        socket = web.WebSocketResponse(
            protocols=(PROTOCOL,), heartbeat=_HEARTBEAT_S, max_msg_size=MAX_MESSAGE, compress=False
        )
        await socket.prepare(request)
        try:
            hello = await self._hello(socket)
        except (ProtocolError, TimeoutError, TypeError) as error:
            self._tracer.emit("session.refused", address=request.remote, reason=str(error) or "no Hello in time")
            await socket.close(code=1008, message=(str(error) or "no Hello in time").encode()[:120])
            return socket
        host = hello.host.id
        session = _Session(socket, request.transport)
        old = self._sessions.pop(host, None)
        if old is not None:
            await old.socket.close(code=1001)
        self._sessions[host] = session
        writer = asyncio.get_running_loop().create_task(session.write())
        try:
            self.tell(ev.Connected(host))
            self.tell(ev.Heard(host, hello))
            async for frame in socket:
                if frame.type is WSMsgType.BINARY:
                    self._heard(host, frame.data)
        except (ProtocolError, UsageError) as error:  # a task without a proper URL or digest, too
            self._tracer.emit("session.closed", peer=host, reason=str(error))
            await socket.close(code=1008)
        finally:
            writer.cancel()
            await asyncio.gather(writer, return_exceptions=True)
            if self._sessions.get(host) is session:
                del self._sessions[host]
                self.tell(ev.Lost(host))
        return socket

    async def _hello(self, socket: web.WebSocketResponse) -> Hello:
        message = from_daemon(await asyncio.wait_for(socket.receive_bytes(), _HELLO_S))
        if not isinstance(message, Hello):
            raise ProtocolError("a session begins with Hello", subject=type(message).__name__)
        if self._token and not hmac.compare_digest(message.token.encode(), self._token.encode()):
            raise ProtocolError("the join token is wrong", advice="give the daemon --join-token")
        if message.host.id == self._seed_id:
            raise ProtocolError("this host id is the seed's", subject=message.host.id)
        _check_address(message.host.address)
        return message

    def _heard(self, host: str, data: bytes) -> None:
        self.messages += 1
        message = from_daemon(data)
        if isinstance(message, Hello):
            return
        if isinstance(message, PullDone):
            self._pull_done(host, message)
            return
        self.tell(ev.Heard(host, message))


def _check_address(text: str) -> None:
    """Others are made to dial it, so it is the address of a host: no name, no group, no cloud's metadata service."""
    try:
        address = ipaddress.ip_address(text)
    except ValueError:
        raise ProtocolError("a node's address is no IP", subject=text[:80], advice="give its --advertise") from None
    if address.is_multicast or address.is_unspecified or address.is_link_local:
        raise ProtocolError("a node's address that nobody can dial", subject=text, advice="give its --advertise")
