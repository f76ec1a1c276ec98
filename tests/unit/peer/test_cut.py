"""Nodes that have the same content in other pieces."""

from __future__ import annotations

import asyncio
from pathlib import Path

import msgspec
import pytest

from dragonfly.core.messages import Digests, Holding, Join, Leave, TaskInfo
from dragonfly.core.pieces import MIN_PIECE, piece_size_for
from dragonfly.testing.origin import Origin
from unit.peer.world import (
    DATA,
    SETTINGS,
    SIZE,
    World,
    a_world,
    eventually,
    half_a_pull,
    some_bytes,
    spec_of,
    stored,
)

OTHER = some_bytes(SIZE, 2)
LARGE = 2 * piece_size_for(SIZE)


async def test_a_task_is_cut_as_its_seed_is_told(world: World, origin: Origin) -> None:
    spec = spec_of(origin)
    await world.node("seed", piece_size=LARGE)
    nodes = [await world.node(f"n{number}") for number in range(2)]
    pulls = [await node.open(spec) for node in nodes]
    await asyncio.gather(*(pull.finished() for pull in pulls))
    for node, pull in zip(nodes, pulls, strict=True):
        assert stored(pull) == DATA
        assert node.runs()[0].layout.piece_size == LARGE
    assert origin.sent_bytes == SIZE


async def test_a_node_says_in_what_pieces_it_has_something(tmp_path: Path, origin: Origin) -> None:
    whole, part = spec_of(origin), spec_of(origin, OTHER, "/part")
    async with a_world(tmp_path) as world:
        await world.node("seed", piece_size=LARGE)
        node = await world.node("n", msgspec.structs.replace(SETTINGS, download_limit=1_500_000))
        async with await node.open(whole) as pull:
            await pull.finished()
        pull = await node.open(part)
        await eventually(lambda: node.runs()[-1].progress().pieces > 3)
        pull.close()
    async with a_world(tmp_path) as world:
        seed = await world.node("seed")  # it goes on as it began
        node = await world.node("n")
        async with await node.open(part) as pull:
            await asyncio.wait_for(pull.finished(), 10)
            assert stored(pull) == OTHER
        heard = [message for name, message in world.hub.heard if name == "n"]
        assert Holding(keys=(whole.key,), piece_size=LARGE) in heard
        assert Join(spec=part, piece_size=LARGE) in heard
        assert seed.runs()[0].layout.piece_size == LARGE


@pytest.mark.parametrize("pieces", [MIN_PIECE // 2, LARGE])
async def test_a_pull_ends_well_though_its_swarm_goes_on_in_other_pieces(
    world: World, origin: Origin, pieces: int
) -> None:
    """A supernode that lost its memory, say: its digests are of pieces that this node has not."""
    spec = spec_of(origin)
    await world.node("seed")
    node = await world.node("n", msgspec.structs.replace(SETTINGS, download_limit=1_500_000))
    async with await node.open(spec) as pull:
        await eventually(lambda: node.runs()[0].progress().pieces > 3)
        hub = world.hub.trackers["n"]
        hub.say(TaskInfo(key=spec.key, length=SIZE, piece_size=pieces, digests=b"x" * 32, sealed=True))
        hub.say(Digests(key=spec.key, first=0, digests=b"y" * 32 * (SIZE // pieces), sealed=True))
        await eventually(lambda: ("n", Leave(key=spec.key)) in world.hub.heard)
        await asyncio.wait_for(pull.finished(), 10)
        assert stored(pull) == DATA
    assert world.hub.troubles == []


async def test_another_supernode_may_know_these_pieces(world: World, origin: Origin) -> None:
    async with half_a_pull(world, origin) as (node, pull):
        world.hub.trackers["n"].say(TaskInfo(key=pull.key, length=SIZE, piece_size=LARGE))
        await eventually(lambda: node.runs()[0].parted)
        node.runs()[0].join()
        assert not node.runs()[0].parted
        assert (await asyncio.wait_for(pull.finished(), 10)).received.total == SIZE
