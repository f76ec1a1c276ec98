"""Which supernode a task belongs to, and sessions that come back by themselves."""

from __future__ import annotations

import asyncio
from collections import Counter

from aiohttp import web

from dragonfly.core.messages import (
    FromDaemon,
    FromSupernode,
    Hello,
    HostInfo,
    Join,
    Leave,
    Progress,
    TaskProgress,
    Welcome,
)
from dragonfly.core.task import TaskKey, TaskSpec
from dragonfly.peer.remote import RemoteTracker, SupernodeAddress, rank
from dragonfly.telemetry.trace import Tracer
from dragonfly.wire.codec import PROTOCOL, encode, from_daemon
from unit.peer.world import eventually

NODES = [SupernodeAddress(f"s{number}") for number in range(5)]
KEYS = [TaskKey(f"sha256-{number}") for number in range(2000)]
HELLO = Hello(host=HostInfo(id="me", address="127.0.0.1", peer_port=1))


def test_all_nodes_choose_the_same_and_tasks_spread_evenly() -> None:
    owners = Counter(rank(key, NODES)[0].host for key in KEYS)
    assert owners == Counter(rank(key, NODES[::-1])[0].host for key in KEYS)
    assert all(300 < count < 500 for count in owners.values())


def test_the_loss_of_one_moves_its_tasks_only() -> None:
    for key in KEYS[:300]:
        first, second = rank(key, NODES)[:2]
        left = [node for node in NODES if node is not NODES[2]]
        assert rank(key, left)[0] == (second if first is NODES[2] else first)


def test_who_weighs_more_gets_more() -> None:
    nodes = [SupernodeAddress("small"), SupernodeAddress("big", weight=3.0)]
    owners = Counter(rank(key, nodes)[0].host for key in KEYS)
    assert 2.5 < owners["big"] / owners["small"] < 3.6


def test_urls_of_all_kinds_of_addresses() -> None:
    assert SupernodeAddress("h").url == "http://h:8002"
    assert SupernodeAddress("::1", 9).url == "http://[::1]:9"


class Supernode:
    """Notes what it hears; its port is kept over restarts."""

    def __init__(self) -> None:
        self.heard: list[FromDaemon] = []
        self.port = 0
        self._sockets: list[web.WebSocketResponse] = []

    async def __aenter__(self) -> Supernode:
        app = web.Application()
        app.router.add_get("/api/v1/session", self._session)
        self._runner = web.AppRunner(app, shutdown_timeout=0.1)
        await self._runner.setup()
        site = web.TCPSite(self._runner, "127.0.0.1", self.port, reuse_address=True)
        await site.start()
        self.port = self._runner.addresses[0][1]
        return self

    async def __aexit__(self, *_: object) -> None:
        for socket in self._sockets:
            await socket.close()
        self._sockets.clear()
        await self._runner.cleanup()

    async def _session(self, request: web.Request) -> web.WebSocketResponse:
        socket = web.WebSocketResponse(protocols=(PROTOCOL,))
        await socket.prepare(request)
        self._sockets.append(socket)
        async for frame in socket:
            self.heard.append(from_daemon(frame.data))
            if isinstance(self.heard[-1], Hello):
                await socket.send_bytes(encode(Welcome(report_every_s=3.0)))
        return socket


class Node:
    """The engine's side: says Hello at each connect."""

    def __init__(self, *supernodes: Supernode) -> None:
        self.tracker = RemoteTracker([SupernodeAddress("127.0.0.1", one.port) for one in supernodes], Tracer())
        self.heard: list[FromSupernode] = []
        self.connects = self.losses = 0
        self.tracker.attach(self.heard.append, self._connected, self._lost)

    def _connected(self) -> None:
        self.connects += 1
        self.tracker.send(HELLO)

    def _lost(self) -> None:
        self.losses += 1

    async def __aenter__(self) -> Node:
        await self.tracker.start()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.tracker.close()


async def test_a_session_comes_back_after_a_restart() -> None:
    async with Supernode() as supernode, Node(supernode) as node:
        assert node.tracker.connected, "start waits for the first session"
        await eventually(lambda: node.heard == [Welcome(report_every_s=3.0)])
        await supernode.__aexit__()
        await eventually(lambda: not node.tracker.connected)
        node.tracker.send(Leave(key=TaskKey("x")))  # dropped: nobody hears it
        await supernode.__aenter__()
        await eventually(lambda: node.connects == 2)
        await eventually(lambda: supernode.heard == [HELLO, HELLO])
        assert node.losses == 1


async def test_each_task_is_told_to_its_own_supernode() -> None:
    async with Supernode() as one, Supernode() as other, Node(one, other) as node:
        await eventually(lambda: node.connects == 2)
        assert len(node.tracker.reached) == 2
        specs = [TaskSpec(url=f"http://h/{number}") for number in range(20)]
        for spec in specs:
            node.tracker.send(Join(spec=spec))
        node.tracker.send(Progress(tasks=tuple(TaskProgress(key=spec.key, pieces=1) for spec in specs)))
        await eventually(lambda: sum(isinstance(said, Progress) for said in one.heard + other.heard) == 2)
        heard = []
        for supernode in (one, other):
            joins = [said.spec.key for said in supernode.heard if isinstance(said, Join)]
            [progress] = [said for said in supernode.heard if isinstance(said, Progress)]
            assert joins
            assert [task.key for task in progress.tasks] == joins
            heard += joins
        assert sorted(heard) == sorted(spec.key for spec in specs)


async def test_the_tasks_of_a_lost_supernode_go_to_the_other() -> None:
    async with Supernode() as one, Supernode() as other, Node(one, other) as node:
        await eventually(lambda: node.connects == 2)
        await other.__aexit__()
        await eventually(lambda: node.losses == 1)
        assert node.tracker.connected
        for number in range(10):
            node.tracker.send(Leave(key=TaskKey(f"sha256-{number}")))
        await eventually(lambda: sum(isinstance(said, Leave) for said in one.heard) == 10)
        await other.__aenter__()


async def test_where_none_can_be_reached_the_start_does_not_wait() -> None:
    gone = Supernode()
    async with gone:
        pass
    begun = asyncio.get_running_loop().time()
    async with Node(gone) as node:
        assert asyncio.get_running_loop().time() - begun < 1.5
        assert not node.tracker.connected
        assert node.tracker.supernodes == (f"http://127.0.0.1:{gone.port}",)
        await gone.__aenter__()
        await eventually(lambda: node.tracker.connected)
        await gone.__aexit__()
