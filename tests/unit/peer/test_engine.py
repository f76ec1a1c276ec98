"""Whole pulls between real engines."""

from __future__ import annotations

import asyncio
import os
import resource
import time
from contextlib import AsyncExitStack
from pathlib import Path

import msgspec
import pytest
from prometheus_client.parser import text_string_to_metric_families

from dragonfly.core.messages import TroubleKind
from dragonfly.core.task import TaskSpec
from dragonfly.errors import CapacityError, DragonflyError, IntegrityError, PeerError, SourceError, StoppedError
from dragonfly.peer.handshake import dial
from dragonfly.peer.pull import Pull
from dragonfly.peer.settings import EngineSettings, SourcePolicy
from dragonfly.source.base import Described, Source, SourceRequest
from dragonfly.source.registry import Sources
from dragonfly.telemetry.metrics import Metrics
from dragonfly.testing.origin import Origin, Reply, reply
from unit.peer.world import (
    DATA,
    SETTINGS,
    SIZE,
    TICKET,
    Wire,
    World,
    a_world,
    digest_of,
    eventually,
    half_a_pull,
    some_bytes,
    spec_of,
    stored,
)

PIECE = 32 * 1024


# ---------------------------------------------------------------- sharing


async def test_three_nodes_share_a_blob_that_the_source_gave_once(world: World, origin: Origin) -> None:
    spec = spec_of(origin)
    await world.node("seed")
    nodes = [await world.node(f"n{number}") for number in range(3)]
    metrics = [Metrics(node.node.tracer, "1") for node in nodes]
    pulls = [await node.open(spec) for node in nodes]
    results = await asyncio.gather(*(pull.finished() for pull in pulls))
    assert origin.sent_bytes == SIZE
    for pull, result, counted in zip(pulls, results, metrics, strict=True):
        assert stored(pull) == DATA
        assert result.received.total == SIZE == result.length
        assert (result.received.source, result.fallback, result.error) == (0, "", "")
        values = {
            (sample.name, *sample.labels.values()): sample.value
            for family in text_string_to_metric_families(counted.render().decode())
            for sample in family.samples
        }
        assert values.get(("dragonfly_received_bytes_total", "seed"), 0) == result.received.seed
        assert values.get(("dragonfly_received_bytes_total", "peers"), 0) == result.received.peers
        assert values["dragonfly_pulls_total", "finished"] == 1
    assert world.hub.troubles == []


async def test_into_another_zone_a_seed_sends_each_piece_once(world: World, origin: Origin) -> None:
    spec = spec_of(origin)
    await world.node("seed", zone="here")
    nodes = [await world.node(f"n{number}", zone="über dem Fluss") for number in range(4)]
    pulls = [await node.open(spec) for node in nodes]
    results = await asyncio.gather(*(pull.finished() for pull in pulls))
    assert all(stored(pull) == DATA for pull in pulls)
    crossed = sum(result.received.seed + result.received.source for result in results)
    assert SIZE <= crossed < 1.3 * SIZE, "more only where one of them waited long"


async def test_an_empty_content_arrives_too(world: World, origin: Origin) -> None:
    await world.node("seed")
    node = await world.node("n")
    for spec in (spec_of(origin, b""), TaskSpec(url=origin.serve("/e", b"", etag='"1"'))):
        async with await node.open(spec) as pull:
            assert (await asyncio.wait_for(pull.finished(), 5)).length == 0
            assert await pull.available(0) == 0


async def test_what_is_being_pulled_is_known_until_it_ends(world: World, origin: Origin) -> None:
    await world.node("seed")
    node = await world.node("n")
    pulls = [await node.open(spec_of(origin, some_bytes(500_000, seed), f"/{seed}")) for seed in (1, 2)]
    await eventually(lambda: all(run.download is not None for run in node.runs()))
    assert node.node.pulling <= {run.download for run in node.runs()}
    await asyncio.gather(*(pull.finished() for pull in pulls))
    assert node.node.pulling == set()


async def test_many_readers_of_one_node_are_one_pull(world: World, origin: Origin) -> None:
    spec = spec_of(origin)
    node = await world.node("n", alone=True)

    async def read() -> bytes:
        async with await node.open(spec) as pull:
            at = 0
            while at < SIZE:
                at = await pull.available(at)
            return stored(pull)

    assert set(await asyncio.gather(*(read() for _ in range(5)))) == {DATA}
    assert origin.sent_bytes == SIZE


async def test_what_is_not_what_its_digest_says_is_never_kept(world: World, origin: Origin) -> None:
    url = origin.serve("/blob", DATA)
    node = await world.node("n", alone=True)
    async with await node.open(TaskSpec(url=url, digest=digest_of(b"other"))) as pull:
        with pytest.raises(IntegrityError):
            await asyncio.wait_for(pull.finished(), 5)
        with pytest.raises(IntegrityError):
            await pull.available(SIZE - 1)  # the last byte stays here
    await eventually(lambda: not node.node.store.keys())


# ---------------------------------------------------------------- bad neighbours


@pytest.mark.parametrize("at", [400_000, 1_000_000])
async def test_a_parent_that_sends_wrong_bytes_is_left_and_nothing_wrong_is_stored(
    world: World, origin: Origin, at: int
) -> None:
    spec = spec_of(origin)
    seed = await world.node("seed")
    async with Wire(seed.host.peer_port) as wire:
        wire.flip_at = at
        world.hub.addresses["seed"] = ("127.0.0.1", wire.port)
        node = await world.node("n")
        async with await node.open(spec) as pull:
            result = await asyncio.wait_for(pull.finished(), 10)
            assert stored(pull) == DATA
        assert [(one.peer, one.kind) for one in world.hub.troubles] == [("seed", TroubleKind.CORRUPT)]
        assert result.received.source > 0  # nobody else had it
        assert world.happened("n", "piece.corrupt")


async def test_a_parent_that_dies_in_the_middle_is_replaced_by_the_others(world: World, origin: Origin) -> None:
    spec = spec_of(origin)
    seed = await world.node("seed")
    first = await world.node("a")
    async with await first.open(spec) as pull:
        await pull.finished()
        async with Wire(first.host.peer_port) as wire:
            wire.cut_at = 500_000
            world.hub.addresses["a"] = ("127.0.0.1", wire.port)
            node = await world.node("n")
            async with await node.open(spec) as second:
                result = await asyncio.wait_for(second.finished(), 10)
                assert stored(second) == DATA
                assert result.received.source == 0
    assert origin.sent_bytes == SIZE
    assert seed.results


async def test_a_silent_parent_is_left_and_its_pieces_come_from_others(world: World, origin: Origin) -> None:
    spec = spec_of(origin)
    await world.node("seed")
    first = await world.node("a")
    async with await first.open(spec) as pull:
        await pull.finished()
        async with Wire(first.host.peer_port) as wire:
            wire.stall_at = 300_000
            world.hub.addresses["a"] = ("127.0.0.1", wire.port)
            node = await world.node("n")
            begun = time.monotonic()
            async with await node.open(spec) as second:
                await asyncio.wait_for(second.finished(), 10)
                assert stored(second) == DATA
            assert time.monotonic() - begun < 2
    assert origin.sent_bytes == SIZE


async def test_a_swarm_that_is_silent_altogether_ends_in_the_source(world: World, origin: Origin) -> None:
    spec = spec_of(origin)
    seed = await world.node("seed")
    async with Wire(seed.host.peer_port) as wire:
        wire.stall_at = 200_000
        world.hub.addresses["seed"] = ("127.0.0.1", wire.port)
        node = await world.node("n")
        async with await node.open(spec) as pull:
            result = await asyncio.wait_for(pull.finished(), 10)
            assert stored(pull) == DATA
    assert result.fallback
    assert result.received.source > 0


async def test_a_swarm_that_is_silent_ends_in_an_error_where_the_source_may_not_be_read(
    world: World, origin: Origin
) -> None:
    spec = spec_of(origin)
    seed = await world.node("seed")
    async with Wire(seed.host.peer_port) as wire:
        wire.stall_at = 200_000
        world.hub.addresses["seed"] = ("127.0.0.1", wire.port)
        swarm = msgspec.structs.replace(SETTINGS.swarm, source_after_s=0.1)
        node = await world.node("n", msgspec.structs.replace(SETTINGS, swarm=swarm))
        async with await node.open(spec, back_to_source=False) as pull:
            with pytest.raises(StoppedError, match="the source may not be read"):
                await asyncio.wait_for(pull.finished(), 10)
    assert origin.sent_bytes == SIZE


async def test_a_parent_whose_disk_rots_is_left_and_its_bytes_are_not_taken(world: World, origin: Origin) -> None:
    spec = spec_of(origin)
    seed = await world.node("seed")
    async with await seed.open(spec) as pull:
        await pull.finished()
        os.pwrite(pull.fileno(), b"rotten", 2_000_000)
    blob = seed.node.store.get(spec.key)
    assert blob is not None
    assert blob.verify() == 1 << 2_000_000 // PIECE
    node = await world.node("n")
    async with await node.open(spec) as pull:
        await asyncio.wait_for(pull.finished(), 10)
        assert stored(pull) == DATA
    assert [one.kind for one in world.hub.troubles] == [TroubleKind.CORRUPT]


@pytest.mark.parametrize("alone", [True, False], ids=["from the source", "from a peer"])
async def test_a_disk_that_gets_full_ends_the_pull(world: World, origin: Origin, alone: bool) -> None:
    spec = spec_of(origin)
    if not alone:
        async with await (await world.node("seed")).open(spec) as pull:
            await pull.finished()
    node = await world.node("n", msgspec.structs.replace(SETTINGS, download_limit=1_000_000), alone=alone)
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    async with await node.open(spec) as pull:
        await pull.described()
        resource.setrlimit(resource.RLIMIT_FSIZE, (700_000, hard))
        try:
            with pytest.raises(CapacityError, match="disk is full"):
                await asyncio.wait_for(pull.finished(), 10)
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


async def test_nobody_answers_at_the_address_of_a_parent(world: World, origin: Origin) -> None:
    spec = spec_of(origin)
    await world.node("seed")
    async with Wire(1) as wire:
        world.hub.addresses["seed"] = ("127.0.0.1", wire.port)
    node = await world.node("n")
    async with await node.open(spec) as pull:
        await asyncio.wait_for(pull.finished(), 10)
        assert stored(pull) == DATA
    assert [one.kind for one in world.hub.troubles] == [TroubleKind.UNREACHABLE]


@pytest.mark.parametrize("others", [0, 2])
async def test_more_neighbours_are_wanted_once_all_that_were_named_are_met(
    world: World, origin: Origin, others: int
) -> None:
    """A node that waits for its first piece meets few: that it has few is no reason to be given more."""
    spec = spec_of(origin)
    engines = [await world.node("seed")]
    for name in "ab"[:others]:
        engines.append(await world.node(name))
        async with await engines[-1].open(spec) as pull:
            await pull.finished()
    async with AsyncExitStack() as wires:
        for engine in engines:
            wire = await wires.enter_async_context(Wire(engine.host.peer_port))
            wire.stall_at = PIECE // 2
            world.hub.addresses[engine.host.id] = ("127.0.0.1", wire.port)
        swarm = msgspec.structs.replace(SETTINGS.swarm, stall_after_s=5.0, leave_after_s=9.0, source_after_s=1.3)
        node = await world.node("n", msgspec.structs.replace(SETTINGS, swarm=swarm))
        world.hub.asked_for_more.clear()
        async with await node.open(spec):
            await eventually(lambda: bool(world.happened("n", "pull.fallback")), 20)
            asked = {message.have for message in world.hub.asked_for_more}
    assert asked == (set() if others else {("seed",)})


# ---------------------------------------------------------------- who may have it


async def refused(
    node_port: int, key: str, *, ticket: str = TICKET, version: str = "", piece_size: str = str(PIECE), peer: str = "x"
) -> str:
    with pytest.raises(PeerError) as raised:
        await dial(
            "127.0.0.1", node_port, f"/v1/tasks/{key}/session?version={version}&piece_size={piece_size}",
            peer=peer, ticket=ticket, lane=0, timeout=5,
        )  # fmt: skip
    return raised.value.subject


async def test_without_the_ticket_of_its_task_nobody_gets_a_session(world: World, origin: Origin) -> None:
    spec = spec_of(origin)
    await world.node("seed")
    node = await world.node("n")
    async with await node.open(spec) as pull:
        await pull.finished()
        port = node.host.peer_port
        assert await refused(port, pull.key, ticket="-") == "403"
        assert await refused(port, pull.key, ticket="wrong") == "403"
        assert await refused(port, pull.key, ticket=TICKET + "x") == "403"
        assert await refused(port, pull.key, version="another") == "410"
        assert await refused(port, pull.key, piece_size=str(2 * PIECE)) == "410"
        assert await refused(port, pull.key, piece_size="-1") == "400"
        assert await refused(port, "sha256-unknown") == "404"
        assert await refused(port, pull.key, peer="a#1") == "400"
        sock = await dial(
            "127.0.0.1", port, f"/v1/tasks/{pull.key}/session?version=", peer="x", ticket=TICKET, lane=0, timeout=5
        )
        assert await refused(port, pull.key) == "409"
        lanes = [
            await dial(
                "127.0.0.1", port, f"/v1/tasks/{pull.key}/session", peer="x", ticket=TICKET, lane=lane, timeout=5
            )
            for lane in (1, 2)
        ]
        with pytest.raises(PeerError, match="409"):
            await dial("127.0.0.1", port, f"/v1/tasks/{pull.key}/session", peer="x", ticket=TICKET, lane=2, timeout=5)
        for one in (sock, *lanes):
            one.close()


async def test_a_node_on_its_own_gives_nothing_to_anybody(world: World, origin: Origin) -> None:
    node = await world.node("n", alone=True)
    async with await node.open(spec_of(origin)) as pull:
        await pull.finished()
        for ticket in ("", "-", "x"):
            assert await refused(node.host.peer_port, pull.key, ticket=ticket) == "403"


async def test_nodes_with_another_version_of_a_url_do_not_mix(world: World, origin: Origin) -> None:
    spec = TaskSpec(url=origin.serve("/f", DATA, etag='"1"'))
    await world.node("seed")
    node = await world.node("n")
    async with await node.open(spec) as pull:
        info = await pull.described()
        await pull.finished()
        assert info.version
        assert await refused(node.host.peer_port, pull.key, version="") == "410"
        assert await refused(node.host.peer_port, pull.key, version="0" * 16) == "410"


# ---------------------------------------------------------------- going on


async def test_a_restarted_node_fetches_only_what_is_missing(tmp_path: Path, origin: Origin) -> None:
    spec = spec_of(origin)
    origin.then("/blob", Reply(stall_after=1_000_000))
    async with a_world(tmp_path) as world:
        node = await world.node("n", alone=True)
        pull = await node.open(spec)
        await eventually(lambda: node.runs()[0].progress().pieces * PIECE > 900_000)
        pull.close()
    async with a_world(tmp_path) as world:
        node = await world.node("n", alone=True)
        async with await node.open(spec) as pull:
            result = await asyncio.wait_for(pull.finished(), 10)
            assert stored(pull) == DATA
            assert result.received.cache > 900_000
            assert result.received.source <= SIZE - result.received.cache
    async with a_world(tmp_path) as world:
        node = await world.node("n", alone=True)
        before = origin.sent_bytes
        async with await node.open(spec) as pull:
            assert (await pull.finished()).received.cache == SIZE
        assert origin.sent_bytes == before


async def test_a_source_that_breaks_off_is_read_on_where_it_broke(world: World, origin: Origin) -> None:
    spec = spec_of(origin)
    origin.then("/blob", Reply(cut_after=500_000), Reply(cut_after=400_000), reply(503), Reply(refuse=True))
    node = await world.node("n", alone=True, settings=msgspec.structs.replace(SETTINGS, source_attempts=4))
    async with await node.open(spec) as pull:
        await asyncio.wait_for(pull.finished(), 20)
        assert stored(pull) == DATA
    assert not origin.seen[-1].headers["range"].startswith("bytes=0-")


async def test_a_busy_source_is_asked_again_when_it_said(world: World, origin: Origin) -> None:
    spec = spec_of(origin)
    origin.then("/blob", reply(429, headers={"Retry-After": "1"}))
    node = await world.node("n", alone=True)
    begun = time.monotonic()
    async with await node.open(spec) as pull:
        await asyncio.wait_for(pull.finished(), 10)
    assert time.monotonic() - begun >= 1


async def test_a_source_that_wants_to_be_left_alone_for_long_is_not_asked_again(world: World, origin: Origin) -> None:
    spec = spec_of(origin)
    origin.then("/blob", reply(429, headers={"Retry-After": "600"}))
    node = await world.node("n", alone=True)
    async with await node.open(spec) as pull:
        with pytest.raises(SourceError) as raised:
            await asyncio.wait_for(pull.finished(), 1)
    assert (raised.value.status, raised.value.retry_after) == (429, 600)
    assert len(origin.seen) == 1


async def test_a_source_that_says_no_in_the_middle_is_not_asked_for_ever(world: World, origin: Origin) -> None:
    """A token that ended, say. Who comes with a new one goes on where it ended."""
    url = origin.serve("/f", DATA)
    spec = TaskSpec(url=url, digest=digest_of(DATA), headers={"Authorization": "old"})
    node = await world.node("n", alone=True)
    tokens = ["old"]
    good = Reply(cut_after=500_000)
    origin.decide("/f", lambda seen: good if seen.headers.get("authorization") in tokens else reply(401))
    async with await node.open(spec) as pull:
        await pull.described()
        tokens[0] = "new"
        with pytest.raises(SourceError) as raised:
            await asyncio.wait_for(pull.finished(), 5)
        assert raised.value.status == 401
        asked = len(origin.seen)
        await asyncio.sleep(0.2)
        assert len(origin.seen) <= asked + 4
    good = Reply()
    renewed = msgspec.structs.replace(spec, headers={"Authorization": "new"})
    async with await node.open(renewed) as pull:
        await asyncio.wait_for(pull.finished(), 5)
        assert stored(pull) == DATA
    assert origin.seen[-1].headers["authorization"] == "new"


async def test_a_url_that_changes_while_it_is_read_is_an_error_and_never_a_mixture(
    world: World, origin: Origin
) -> None:
    other = some_bytes(SIZE, seed=2)
    url = origin.serve("/f", DATA, etag='"1"')
    node = await world.node("n", alone=True)
    origin.then("/f", Reply(cut_after=500_000))
    async with await node.open(TaskSpec(url=url)) as pull:
        await pull.described()
        origin.serve("/f", other, etag='"2"')
        with pytest.raises(DragonflyError, match="changed while it was read"):
            await asyncio.wait_for(pull.finished(), 10)
    async with await node.open(TaskSpec(url=url)) as pull:
        await asyncio.wait_for(pull.finished(), 10)
        assert stored(pull) == other


async def test_a_changed_url_is_fetched_anew_and_an_unchanged_one_is_not(world: World, origin: Origin) -> None:
    url = origin.serve("/f", DATA, etag='"1"')
    node = await world.node("n", alone=True)
    async with await node.open(TaskSpec(url=url)) as pull:
        await pull.finished()
    blob = node.node.store.get(TaskSpec(url=url).key)
    assert blob is not None
    for data, tag, sent in ((DATA, '"1"', SIZE), (DATA[::-1], '"2"', 2 * SIZE)):
        origin.serve("/f", data, etag=tag)
        blob.update_meta(msgspec.structs.replace(blob.meta, checked_at=0.0))
        async with await node.open(TaskSpec(url=url)) as pull:
            await asyncio.wait_for(pull.finished(), 10)
            assert stored(pull) == data
        assert origin.sent_bytes == sent


async def test_a_url_that_changed_a_moment_ago_is_seen_to_have_changed(world: World, origin: Origin) -> None:
    node = await world.node("n", alone=True)
    for number in range(3):
        data = some_bytes(SIZE, seed=number)
        url = origin.serve("/f", data, etag=f'"{number}"')
        async with await node.open(TaskSpec(url=url)) as pull:
            await asyncio.wait_for(pull.finished(), 10)
            assert stored(pull) == data


async def test_the_source_is_read_when_the_supernode_vanishes_in_the_middle(world: World, origin: Origin) -> None:
    async with half_a_pull(world, origin) as (_, pull):
        world.hub.vanish()
        result = await asyncio.wait_for(pull.finished(), 10)
        assert stored(pull) == DATA
    assert result.fallback
    assert result.received.source < SIZE


async def test_without_a_supernode_from_the_first_the_source_is_read(world: World, origin: Origin) -> None:
    spec = spec_of(origin)
    node = await world.node("n")
    world.hub.vanish()
    async with await node.open(spec) as pull:
        assert (await asyncio.wait_for(pull.finished(), 10)).received.source == SIZE


@pytest.mark.parametrize("status", [401, 404])
async def test_what_the_source_says_to_the_seed_reaches_the_node(world: World, origin: Origin, status: int) -> None:
    origin.decide("/blob", lambda _: reply(status, headers={"WWW-Authenticate": 'Basic realm="r"'}))
    await world.node("seed")
    node = await world.node("n")
    async with await node.open(TaskSpec(url=origin.url("/blob"), digest=digest_of(DATA))) as pull:
        with pytest.raises(SourceError) as raised:
            await asyncio.wait_for(pull.finished(), 10)
    assert raised.value.status == status
    assert raised.value.challenge == 'Basic realm="r"'


# ---------------------------------------------------------------- layers


async def test_the_lowest_layer_of_an_image_comes_first_whoever_was_asked_for_first(
    world: World, origin: Origin
) -> None:
    await world.node("seed", msgspec.structs.replace(SETTINGS, origin_limit=10_000_000))
    node = await world.node("n")
    data = [some_bytes(3 * SIZE, layer) for layer in (1, 2, 3)]
    layers = [
        msgspec.structs.replace(spec_of(origin, content, f"/{layer}"), image="i", layer=layer)
        for layer, content in enumerate(data, start=1)
    ]
    pulls = [await node.open(spec) for spec in reversed(layers)]
    ended: list[int] = []

    async def finished(pull: Pull) -> None:
        await pull.finished()
        ended.append(pull.spec.layer)

    await asyncio.gather(*(finished(pull) for pull in pulls))
    assert ended == [1, 2, 3]
    assert origin.sent_bytes == 9 * SIZE
    assert [stored(pull) for pull in reversed(pulls)] == data


async def test_a_layer_whose_source_hangs_does_not_hold_up_those_above(world: World, origin: Origin) -> None:
    node = await world.node("n", msgspec.structs.replace(SETTINGS, source_timeout_s=20.0), alone=True)
    low, high = (
        msgspec.structs.replace(spec_of(origin, some_bytes(SIZE, seed), f"/{seed}"), image="i", layer=seed)
        for seed in (1, 2)
    )
    for _ in range(20):
        origin.then("/1", Reply(stall_after=1000))
    async with await node.open(low), await node.open(high) as pull:
        result = await asyncio.wait_for(pull.finished(), 10)
        assert result.length == SIZE
        assert not node.node.store.get(low.key).complete


# ---------------------------------------------------------------- readers


async def test_a_reader_of_the_end_does_not_wait_for_the_beginning(world: World, origin: Origin) -> None:
    spec = TaskSpec(url=origin.serve("/f", DATA, etag='"1"'))
    swarm = msgspec.structs.replace(SETTINGS.swarm, source_unit=PIECE, source_streams=1)
    settings = msgspec.structs.replace(SETTINGS, swarm=swarm, origin_limit=500_000)
    node = await world.node("n", settings, alone=True)
    async with await node.open(spec) as pull:
        at = SIZE - 1000
        assert await asyncio.wait_for(pull.available(at, part=True), 3) == SIZE
        assert node.runs()[0].progress().pieces < 20
        assert stored(pull)[at:] == DATA[at:]


async def test_a_download_that_nobody_wants_any_more_ends(world: World, origin: Origin) -> None:
    spec = spec_of(origin)
    origin.then("/blob", Reply(stall_after=500_000))
    node = await world.node("n", alone=True)
    one, two = await node.open(spec), await node.open(spec)
    await one.described()
    one.close()
    one.close()
    await asyncio.sleep(0.15)
    assert len(node.runs()) == 1  # there is still a reader
    two.close()
    begun = time.monotonic()
    await eventually(lambda: node.runs() == [])
    assert time.monotonic() - begun < 3
    assert not node.busy


async def test_a_reader_that_comes_back_in_time_keeps_the_download(world: World, origin: Origin) -> None:
    spec = spec_of(origin)
    node = await world.node("n", msgspec.structs.replace(SETTINGS, linger_s=0.3), alone=True)
    pull = await node.open(spec)
    await pull.described()
    pull.close()
    async with await node.open(spec) as again:
        await asyncio.sleep(0.4)
        await asyncio.wait_for(again.finished(), 5)
    assert origin.sent_bytes == SIZE


async def test_an_engine_that_ends_lets_go_of_its_readers(tmp_path: Path, origin: Origin) -> None:
    origin.then("/blob", Reply(stall_after=100_000))
    async with a_world(tmp_path) as world:
        node = await world.node("n", alone=True)
        pull = await node.open(spec_of(origin))
        waiting = asyncio.create_task(pull.finished())
        await pull.described()
    with pytest.raises(StoppedError):
        await waiting
    with pytest.raises(StoppedError):
        await node.open(spec_of(origin))


async def test_an_engine_does_not_wait_for_a_silent_source_to_end(tmp_path: Path, origin: Origin) -> None:
    origin.then("/blob", Reply(stall_after=100_000))
    async with a_world(tmp_path) as world:
        node = await world.node("n", msgspec.structs.replace(SETTINGS, source_timeout_s=60.0), alone=True)
        pull = await node.open(spec_of(origin))
        await pull.described()
        await eventually(lambda: bool(node.runs()[0].progress().pieces))
        begun = time.monotonic()
    assert time.monotonic() - begun < 1
    assert stored(pull)[:PIECE] == DATA[:PIECE]


# ---------------------------------------------------------------- strangers' code


class _Strange:
    """A source plug-in with a bug."""

    def __init__(self, where: str) -> None:
        self.where = where

    def describe(self, request: SourceRequest) -> Described:
        return Described(length=100_000, ranges=True)

    def open(self, request: SourceRequest, start: int = 0, end: int | None = None) -> _Strange:
        if self.where == "open":
            raise KeyError("a bug")
        self.described = self.describe(request)
        return self

    def readinto(self, buffer: memoryview) -> int:
        raise ZeroDivisionError("another bug")

    def unchanged(self, request: SourceRequest, validators: object) -> bool:
        return False

    def close(self) -> None:
        pass

    def __enter__(self) -> _Strange:
        return self

    def __exit__(self, *_: object) -> None:
        pass


class _StrangeSources(Sources):
    def __init__(self, source: Source) -> None:
        super().__init__()
        self._strange = source

    def for_url(self, url: str) -> Source:
        return self._strange


@pytest.mark.parametrize("where", ["open", "read"])
async def test_a_bug_in_a_plugin_ends_the_pull_and_no_reader_waits_for_ever(world: World, where: str) -> None:
    node = await world.node("n", alone=True, sources=_StrangeSources(_Strange(where)))  # type: ignore[arg-type]
    async with await node.open(TaskSpec(url="strange://x")) as pull:
        with pytest.raises(DragonflyError, match="bug"):
            await asyncio.wait_for(pull.finished(), 5)


async def test_settings_are_kept_apart_from_the_policy() -> None:
    assert EngineSettings().source_policy is SourcePolicy.FALLBACK
