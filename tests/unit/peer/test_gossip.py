"""Digests that real nodes have of each other, where the supernode tells most what these come to."""

from __future__ import annotations

import asyncio

import msgspec
import pytest

from dragonfly.core.messages import Digests, TroubleKind
from dragonfly.core.task import TaskSpec
from dragonfly.peer.engine import Engine
from dragonfly.peer.pull import Pull
from dragonfly.testing.origin import Origin
from unit.peer.world import SETTINGS, SWARM, World, digest_of, eventually, some_bytes, stored

DATA = some_bytes(3_000_000)
SOON = msgspec.structs.replace(
    SETTINGS, swarm=msgspec.structs.replace(SWARM, digest_late_s=0.1, digest_patience_s=0.2, source_after_s=3.0)
)


@pytest.fixture
def spec(origin: Origin) -> TaskSpec:
    return TaskSpec(url=origin.serve("/blob", DATA, etag='"1"'), digest=digest_of(DATA))


async def pulled(node: Engine, spec: TaskSpec) -> Pull:
    pull = await node.open(spec)
    await asyncio.wait_for(pull.finished(), 10)
    assert stored(pull) == DATA
    return pull


@pytest.mark.parametrize("sealed", [False, True], ids=["while it is read", "when it is known"])
async def test_one_list_reaches_all(world: World, origin: Origin, spec: TaskSpec, *, sealed: bool) -> None:
    seed = await world.node("seed")
    if sealed:
        await pulled(seed, spec)
    world.hub.lists_for = {"n0"}
    nodes = [await world.node(f"n{number}") for number in range(4)]
    await asyncio.gather(*(pulled(node, spec) for node in nodes))
    assert world.hub.asked_for_digests == []
    assert world.hub.troubles == []
    assert origin.sent_bytes == len(DATA)


async def test_who_is_told_to_passes_on_what_it_was_told_before(world: World, origin: Origin, spec: TaskSpec) -> None:
    await pulled(await world.node("seed"), spec)
    patient = msgspec.structs.replace(
        SETTINGS, swarm=msgspec.structs.replace(SWARM, digest_late_s=60.0, digest_patience_s=60.0, source_after_s=60.0)
    )
    before, after = await world.node("before"), await world.node("after", patient)
    before.node.download_limit.change(1)  # it knows all digests, and has few pieces for long
    pull = await before.open(spec)
    await eventually(lambda: any(run.download is not None for run in before.runs()))
    world.hub.lists_for = set()
    late = await after.open(spec)
    await eventually(lambda: bool(before.runs()[0].meeting and before.runs()[0].meeting.links.get("after")))
    world.hub.trackers["before"].say(Digests(key=spec.key, first=0, digests=b"", pass_on=True))
    await asyncio.wait_for(late.finished(), 10)
    assert world.hub.asked_for_digests == []
    pull.close()


async def test_who_has_all_pieces_is_asked_for_their_digests(world: World, spec: TaskSpec) -> None:
    await pulled(await world.node("seed"), spec)
    await pulled(await world.node("before"), spec)
    world.hub.lists_for = set()
    await pulled(await world.node("after"), spec)
    assert world.hub.asked_for_digests == []


async def test_where_there_is_only_a_seed_it_is_asked(world: World, spec: TaskSpec) -> None:
    await pulled(await world.node("seed"), spec)
    world.hub.lists_for = set()
    patient = msgspec.structs.replace(SOON, swarm=msgspec.structs.replace(SOON.swarm, digest_patience_s=60.0))
    await pulled(await world.node("n", patient), spec)
    assert world.hub.asked_for_digests == []


async def test_where_there_is_nobody_the_supernode_is_asked(world: World, spec: TaskSpec) -> None:
    await pulled(await world.node("seed"), spec)
    world.hub.lists_for = set()
    world.hub.addresses["seed"] = ("127.0.0.1", 1)
    node = await world.node("n", SOON)
    pull = await node.open(spec)
    await eventually(lambda: bool(world.hub.asked_for_digests))
    (run,) = node.runs()
    await eventually(lambda: run.download is None or bool(run.download.pieces.known))
    await asyncio.wait_for(pull.finished(), 10)
    assert stored(pull) == DATA


async def test_who_tells_wrong_digests_is_left_and_reported(world: World, spec: TaskSpec) -> None:
    await pulled(await world.node("seed"), spec)
    liar = await world.node("liar")
    await pulled(liar, spec)
    (run,) = liar.runs()
    assert run.blob is not None
    run.blob.digests[:32] = bytes(range(32))
    world.hub.lists_for = set()
    node = await world.node("n", SOON)
    await pulled(node, spec)
    assert [(one.peer, one.kind) for one in world.hub.troubles] == [("liar", TroubleKind.CORRUPT)]
    assert any("wrong digests" in str(one.fields) for one in world.happened("n", "session.closed"))
