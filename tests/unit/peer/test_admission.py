"""Sessions with a real supernode's control side: let in or not, and what is said of it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from random import Random

import pytest
from aiohttp import web

from dragonfly.core.messages import Hello, HostInfo
from dragonfly.peer.remote import RemoteTracker, SupernodeAddress
from dragonfly.scheduler.scheduler import Scheduler
from dragonfly.scheduler.settings import SchedulerSettings
from dragonfly.supernode.control import Control
from dragonfly.telemetry.trace import Event, Tracer


class Supernode:
    """The control side alone, which asks for the token `right`."""

    def __init__(self) -> None:
        self.events: list[Event] = []
        tracer = Tracer()
        tracer.subscribe(self.events.append)
        self.control = Control(
            Scheduler(SchedulerSettings(), Random(1), b"secret"),
            tracer,
            join_token="right",
            start_seed=lambda spec: None,
            pull_done=lambda host, message: None,
            forgotten=lambda key: None,
        )

    @asynccontextmanager
    async def serving(self) -> AsyncIterator[int]:
        app = web.Application()
        app.router.add_get("/api/v1/session", self.control.session)
        runner = web.AppRunner(app, shutdown_timeout=0.1)
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        self.control.start("the-seed")
        try:
            yield runner.addresses[0][1]
        finally:
            self.control.close()
            await self.control.close_sessions()
            await runner.cleanup()


class Node:
    """A tracker that says Hello with `token`, as an engine does."""

    def __init__(self, port: int, token: str) -> None:
        self.events: list[Event] = []
        tracer = Tracer()
        tracer.subscribe(self.events.append)
        self.tracker = RemoteTracker([SupernodeAddress("127.0.0.1", port)], tracer)
        hello = Hello(host=HostInfo(id="n", address="127.0.0.1", peer_port=1), token=token)
        self.tracker.attach(lambda message: None, lambda: self.tracker.send(hello), lambda: None)

    def said(self, name: str) -> list[str]:
        return [str(event.fields.get("reason", "")) for event in self.events if event.name == name]


async def until(true: Callable[[], object]) -> None:
    async with asyncio.timeout(10):
        while not true():  # noqa: ASYNC110 — what is waited for is an event's trace
            await asyncio.sleep(0.01)


@pytest.fixture
async def stack() -> AsyncIterator[AsyncExitStack]:
    async with AsyncExitStack() as stack:
        yield stack


async def test_a_node_that_is_not_let_in_says_why_once_and_takes_its_time(stack: AsyncExitStack) -> None:
    supernode = Supernode()
    node = Node(await stack.enter_async_context(supernode.serving()), "wrong")
    stack.push_async_callback(node.tracker.close)
    await node.tracker.start()
    await asyncio.sleep(1.2)
    refused = [event for event in supernode.events if event.name == "session.refused"]
    assert 2 <= len(refused) <= 8, "it tries again, but not ten times a second"
    (reason,) = node.said("supernode.unreachable")
    assert "does not let this node in: the join token is wrong" in reason
    assert not node.said("supernode.connected")
    assert not node.said("supernode.lost")


async def test_a_node_that_is_let_in_is_connected_and_a_loss_is_told(stack: AsyncExitStack) -> None:
    supernode = Supernode()
    node = Node(await stack.enter_async_context(supernode.serving()), "right")
    stack.push_async_callback(node.tracker.close)
    await node.tracker.start()
    await until(lambda: node.said("supernode.connected"))
    assert node.tracker.connected
    await supernode.control.close_sessions()
    await until(lambda: node.said("supernode.lost"))
    await until(lambda: len(node.said("supernode.connected")) == 2)


async def test_a_supernode_that_is_not_there_is_told_once(stack: AsyncExitStack) -> None:
    async with Supernode().serving() as port:
        pass
    node = Node(port, "right")
    stack.push_async_callback(node.tracker.close)
    await node.tracker.start()
    await asyncio.sleep(0.5)
    assert len(node.said("supernode.unreachable")) == 1
    assert not node.tracker.connected
