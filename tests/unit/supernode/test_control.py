"""Control sessions by hand: who is let in, who is closed, what a second session of one host does."""

from __future__ import annotations

import asyncio

import pytest

from dragonfly.core.messages import Digests, Hello, Join, Leave, Pull, Welcome
from dragonfly.core.task import TaskSpec
from unit.supernode.world import Session, World, eventually

BAD_DIGEST = TaskSpec(url="http://h/x", digest="sha256:12")


async def test_a_session_begins_with_hello_and_welcome(world: World) -> None:
    supernode = await world.start()
    async with Session(world, "a") as session:
        assert isinstance(await session.hear(), Welcome)
        assert supernode.control.connected == 1
        await session.say(session.hello)  # said twice, it is no news
        await session.say(Leave(key=TaskSpec(url="http://h/x").key))
        await eventually(lambda: supernode.control.messages == 2)
    await eventually(lambda: set(supernode.scheduler.roster.hosts) == {supernode.host.id})


@pytest.mark.parametrize("first", ["wrong token", "the seed's id", "no Hello", "text", "garbage"])
async def test_who_does_not_begin_so_is_closed(world: World, first: str) -> None:
    supernode = await world.start(join_token="hush")
    session = Session(world, supernode.host.id if first == "the seed's id" else "a", "hush")
    if first == "wrong token":
        session.hello = Hello(host=session.hello.host, token="hash")
    async with world.http.ws_connect(f"{world.base}/api/v1/session") as socket:
        session.socket = socket
        match first:
            case "no Hello":
                await session.say(Leave(key=TaskSpec(url="http://h/x").key))
            case "text":
                await socket.send_str("hello")
            case "garbage":
                await socket.send_bytes(b"\xc1garbage")
            case _:
                await session.say(session.hello)
        assert await session.closed() == 1008
    assert supernode.control.connected == 0
    assert set(supernode.scheduler.roster.hosts) == {supernode.host.id}
    assert supernode.scheduler.roster.hosts[supernode.host.id].seed


async def test_nonsense_in_a_session_ends_it_alone(world: World) -> None:
    supernode = await world.start()
    async with Session(world, "good") as good, Session(world, "bad") as bad, Session(world, "worse") as worse:
        for session in (good, bad, worse):
            await session.hear()
        await bad.socket.send_bytes(b"\xc1")
        assert await bad.closed() == 1008
        await worse.say(Join(spec=BAD_DIGEST))
        assert await worse.closed() == 1008
        await eventually(lambda: supernode.control.connected == 1)
        assert supernode.control.send("good", Pull(job="j", spec=TaskSpec(url="http://h/x")))
        assert isinstance(await good.hear(), Pull)
    assert not supernode.control.send("bad", Pull(job="j", spec=TaskSpec(url="http://h/x")))


async def test_a_host_that_comes_back_takes_the_place_of_its_old_session(world: World) -> None:
    supernode = await world.start()
    async with Session(world, "a") as old:
        await old.hear()
        async with Session(world, "a") as new:
            assert isinstance(await new.hear(), Welcome)
            assert await old.closed() is not None
            await asyncio.sleep(0.05)  # the old one's end is no loss of the host
            assert "a" in supernode.scheduler.roster.hosts
            assert supernode.control.connected == 1
    await eventually(lambda: "a" not in supernode.scheduler.roster.hosts)


async def test_a_dead_old_session_does_not_keep_its_host_waiting(world: World) -> None:
    await world.start()
    async with Session(world, "a") as old:
        await old.hear()
        old.socket._response.connection.protocol.pause_reading()  # type: ignore[union-attr]
        async with Session(world, "a") as new:
            assert isinstance(await new.hear(1.0), Welcome)


async def test_a_daemon_that_does_not_read_is_dropped_and_known_to_be_gone(world: World) -> None:
    supernode = await world.start()
    big = Pull(job="j", spec=TaskSpec(url="http://h/x", headers={"x": "y" * 50_000}))
    async with Session(world, "deaf") as deaf, Session(world, "good") as good:
        await deaf.hear()
        await good.hear()
        deaf.socket._response.connection.protocol.pause_reading()  # type: ignore[union-attr]
        for _ in range(5000):
            if not supernode.control.send("deaf", big):
                break
            await asyncio.sleep(0)
        else:
            pytest.fail("it was never dropped")
        await eventually(lambda: set(supernode.scheduler.roster.hosts) == {supernode.host.id, "good"})
        assert supernode.control.send("good", big)
        assert isinstance(await good.hear(), Pull)


async def test_digests_for_many_let_other_messages_pass(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("dragonfly.supernode.control._AT_ONCE", 1)
    supernode = await world.start()
    async with Session(world, "a") as first, Session(world, "b") as last:
        for session in (first, last):
            assert isinstance(await session.hear(), Welcome)
        digests = Digests(key=TaskSpec(url="http://h/x").key, first=0, digests=bytes(32))
        supernode.control._spread(("a", "b"), digests)
        supernode.control.send("b", Pull(job="j", spec=TaskSpec(url="http://h/x")))
        assert await first.hear() == digests
        assert isinstance(await last.hear(), Pull)
        assert await last.hear() == digests


async def test_the_end_of_the_supernode_is_said_to_all(world: World) -> None:
    await world.start()
    async with Session(world, "a") as one, Session(world, "b") as other:
        await one.hear()
        await other.hear()
        end = asyncio.create_task(world.supernode.control.close_sessions())
        assert await one.closed() == 1001
        assert await other.closed() == 1001
        await end
