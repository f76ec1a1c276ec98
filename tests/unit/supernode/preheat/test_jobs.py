"""Preheats, asked for as callers do: onto the seed, onto nodes, of files and of images; and how they fail."""

from __future__ import annotations

import asyncio
from pathlib import Path

import msgspec
import pytest

from dragonfly.core.messages import Pull, PullDone
from dragonfly.errors import CapacityError
from dragonfly.supernode.preheat.jobs import Job
from dragonfly.supernode.state.memory import MemoryState
from dragonfly.supernode.state.sqlite import SqliteState
from dragonfly.testing.origin import Origin, Reply
from unit.supernode.world import Registry, Session, World, a_world, digest_of, eventually, some_bytes

DATA = some_bytes(500_000)


# ---------------------------------------------------------------- files


async def test_a_file_onto_the_seed(world: World, origin: Origin) -> None:
    await world.start()
    url = origin.serve("/f", DATA)
    job = await world.preheat(type="file", url=url + "?sig=secret", digest=digest_of(DATA))
    assert (job["status"], job["error"]) == ("SUCCESS", "")
    assert (job["blobs"], job["blobs_done"], job["bytes"]) == (1, 1, len(DATA))
    assert job["url"] == url + "?sig=…"
    assert world.stored() == {digest_of(DATA).replace(":", "-")}
    assert await world.get("/api/v1/preheats") == [job]


async def test_headers_reach_the_source_and_nothing_else(world: World, origin: Origin) -> None:
    await world.start()
    url = origin.serve("/f", DATA)
    origin.decide("/f", lambda seen: Reply() if seen.headers.get("x-key") == "hush" else Reply(status=403))
    assert (await world.preheat(type="file", url=url))["status"] == "FAILED"
    job = await world.preheat(type="file", url=url + "?again", headers={"X-Key": "hush"})
    assert job["status"] == "SUCCESS"
    assert "hush" not in str(await world.get("/api/v1/preheats"))
    assert not [file for file in world.folder.rglob("state.db*") if b"hush" in file.read_bytes()]


@pytest.mark.parametrize(
    ("reply", "told"),
    [
        (Reply(status=404), "404"),
        (Reply(status=401, headers={"WWW-Authenticate": 'Basic realm="x"'}), "401"),
        (Reply(status=200, body=b"other bytes"), "digest"),
    ],
)
async def test_a_source_that_refuses_or_lies(world: World, origin: Origin, reply: Reply, told: str) -> None:
    await world.start()
    url = origin.serve("/f", DATA)
    origin.decide("/f", lambda _: reply)
    job = await world.preheat(type="file", url=url, digest=digest_of(DATA))
    assert job["status"] == "FAILED"
    assert told in job["error"]
    assert world.stored() == set()
    origin.decide("/f", lambda _: Reply())
    assert (await world.preheat(type="file", url=url, digest=digest_of(DATA)))["status"] == "SUCCESS"


# ---------------------------------------------------------------- images


async def test_an_image_with_all_or_some_of_its_platforms(world: World, registry: Registry) -> None:
    await world.start()
    amd, arm = some_bytes(100_000, 1), some_bytes(90_000, 2)
    children = [
        registry.image(amd, arch="amd64") | {"platform": {"os": "linux", "architecture": "amd64"}},
        registry.image(arm, arch="arm64") | {"platform": {"os": "linux", "architecture": "arm64"}},
    ]
    registry.page({"manifests": children}, "v1")
    job = await world.preheat(type="image", url=registry.url("v1"), platforms=["linux/amd64"])
    assert (job["status"], job["blobs"], job["blobs_done"]) == ("SUCCESS", 2, 2)
    assert registry.keys(amd) <= world.stored()
    assert not registry.keys(arm) & world.stored()
    job = await world.preheat(type="image", url=registry.reference("v1"))
    assert (job["status"], job["blobs"]) == ("SUCCESS", 4)
    assert world.stored() == registry.keys()
    assert len(registry.origin.asked(f"/v2/team/app/blobs/{digest_of(amd)}", "GET")) == 1


async def test_an_image_with_a_layer_that_is_gone(world: World, registry: Registry, origin: Origin) -> None:
    await world.start()
    registry.image(b"here", b"gone", tags=("v1",))
    origin.withdraw(f"/v2/team/app/blobs/{digest_of(b'gone')}")
    job = await world.preheat(type="image", url=registry.url("v1"))
    assert job["status"] == "FAILED"
    assert "404" in job["error"]
    assert digest_of(b"gone") in job["error"]
    assert job["blobs"] == 3


async def test_an_image_that_is_not_there(world: World, registry: Registry) -> None:
    await world.start()
    job = await world.preheat(type="image", url=registry.url("none"))
    assert (job["status"], job["blobs"]) == ("FAILED", 0)
    assert "404" in job["error"]


async def test_no_more_blobs_at_once_than_was_set(world: World, registry: Registry, origin: Origin) -> None:
    await world.start(preheat_streams="2")
    layers = [some_bytes(50_000, number) for number in range(8)]
    registry.image(*layers, tags=("v1",))
    assert (await world.preheat(type="image", url=registry.url("v1")))["status"] == "SUCCESS"
    assert world.stored() == registry.keys()


# ---------------------------------------------------------------- nodes


async def test_onto_all_nodes(world: World, registry: Registry) -> None:
    await world.start()
    daemons = [await world.daemon() for _ in range(3)]
    registry.image(DATA, b"small", tags=("v1",))
    job = await world.preheat(type="image", url=registry.url("v1"), scope="all")
    assert (job["status"], job["nodes"], job["nodes_done"]) == ("SUCCESS", 3, 3)
    for daemon in daemons:
        held = {blob.key for blob in daemon.engine.node.store.blobs() if blob.sealed}
        assert held == registry.keys()
    assert len(registry.origin.asked(f"/v2/team/app/blobs/{digest_of(DATA)}", "GET")) == 1


async def test_onto_some_nodes(world: World, origin: Origin) -> None:
    await world.start()
    daemons = [await world.daemon() for _ in range(3)]
    job = await world.preheat(type="file", url=origin.serve("/f", DATA), scope=2)
    assert (job["status"], job["nodes"], job["nodes_done"], job["scope"]) == ("SUCCESS", 2, 2, 2)
    assert sorted(len(list(daemon.engine.node.store.blobs())) for daemon in daemons) == [0, 1, 1]


async def test_more_nodes_than_there_are(world: World, origin: Origin) -> None:
    await world.start()
    await world.daemon()
    job = await world.preheat(type="file", url=origin.serve("/f", DATA), scope=2)
    assert job["status"] == "FAILED"
    assert "1 of 2" in job["error"]


async def test_onto_all_nodes_where_there_are_none(world: World, origin: Origin) -> None:
    await world.start()
    job = await world.preheat(type="file", url=origin.serve("/f", DATA), scope="all")
    assert (job["status"], job["nodes"]) == ("SUCCESS", 0)


async def test_a_node_that_can_not_pull_fails_the_job(world: World, origin: Origin) -> None:
    await world.start()
    async with Session(world, "poor") as poor:
        await poor.hear()
        job = asyncio.create_task(world.preheat(type="file", url=origin.serve("/f", DATA), scope="all"))
        order = await poor.hear(5.0)
        assert isinstance(order, Pull)
        await poor.say(PullDone(job="another's", key=order.spec.key))
        await poor.say(PullDone(job=order.job, key=order.spec.key, error="disk full"))
        told = await job
    assert told["status"] == "FAILED"
    assert "disk full" in told["error"]
    assert "poor" in told["error"]


async def test_a_node_that_leaves_fails_the_job(world: World, origin: Origin) -> None:
    await world.start()
    async with Session(world, "shy") as shy:
        await shy.hear()
        job = asyncio.create_task(world.preheat(type="file", url=origin.serve("/f", DATA), scope="all"))
        assert isinstance(await shy.hear(5.0), Pull)
    assert "left" in (await job)["error"]


# ---------------------------------------------------------------- what must not be read


@pytest.mark.parametrize(
    "url",
    [
        "http://169.254.169.254/latest/meta-data/",
        "http://169.254.169.254./x",
        "http://2852039166/x",
        "http://0xa9fea9fe/x",
        "http://[::ffff:169.254.169.254]/x",
        "http://[::ffff:a9fe:a9fe]/x",
        "http://[fe80::1]/x",
        "http://0.0.0.0:1/x",
    ],
)
@pytest.mark.parametrize("kind", ["file", "image"])
async def test_link_local_addresses_in_no_spelling(world: World, url: str, kind: str) -> None:
    await world.start()
    asked = url if kind == "file" else f"{url.rpartition('/')[0].replace('/latest/meta-data', '')}/v2/a/manifests/b"
    job = await world.preheat(type=kind, url=asked)
    assert job["status"] == "FAILED"
    assert "may not be read" in job["error"]


@pytest.mark.parametrize("target", ["http://169.254.169.254/x", "file:///etc/passwd"])
async def test_nor_by_a_redirect(world: World, origin: Origin, target: str) -> None:
    await world.start()
    origin.decide("/f", lambda _: Reply(status=302, headers={"Location": target}))
    job = await world.preheat(type="file", url=origin.url("/f"))
    assert job["status"] == "FAILED"
    assert world.stored() == set()


async def test_only_the_sources_on_the_list(world: World, origin: Origin) -> None:
    await world.start(source_allow=["127.0.0.1"], source_deny=["*.evil"])
    url = origin.serve("/f", DATA)
    assert (await world.preheat(type="file", url=url))["status"] == "SUCCESS"
    for other in (f"http://localhost:{origin.port}/f", "http://x.evil/f"):
        job = await world.preheat(type="file", url=other)
        assert job["status"] == "FAILED"
        assert "may not be read" in job["error"]


# ---------------------------------------------------------------- jobs are kept


async def test_jobs_outlive_the_process_and_what_ran_has_failed(tmp_path: Path, origin: Origin) -> None:
    async with a_world(tmp_path) as world:
        await world.start()
        done = await world.preheat(type="file", url=origin.serve("/f", DATA))
        origin.serve("/slow", DATA)
        origin.then("/slow", Reply(stall_after=1000))
        answer = await world.ask("POST", "/api/v1/preheats", json={"type": "file", "url": origin.url("/slow")})
        running = answer.json()["id"]
        await eventually(lambda: bool(origin.asked("/slow")))
    async with a_world(tmp_path) as world:
        await world.start()
        jobs = {job["id"]: job for job in await world.get("/api/v1/preheats")}
        assert jobs[done["id"]] == done
        assert jobs[running]["status"] == "FAILED"
        assert "ask again" in jobs[running]["error"]


async def test_the_oldest_jobs_are_forgotten(tmp_path: Path, origin: Origin) -> None:
    folder = tmp_path / "supernode"
    folder.mkdir()
    state = SqliteState(folder / "state.db")
    for number in range(1200):
        old = Job(id=f"{number:016x}", type="file", url="http://h/x", scope="seed", status="SUCCESS", at=number)
        state.put("job", old.id, msgspec.json.encode(old))
    state.put("job", "broken", b"{")
    state.close()
    async with a_world(tmp_path) as world:
        await world.start()
        newest = await world.preheat(type="file", url=origin.serve("/f", DATA))
        jobs = await world.get("/api/v1/preheats")
        assert len(jobs) == 1000
        assert jobs[-1]["id"] == newest["id"]
        assert jobs[0]["id"] == f"{201:016x}"
        await eventually(lambda: len(world.process._state.all("job")) == 1000)


async def test_a_state_that_can_not_be_written_stops_no_preheat(
    world: World, origin: Origin, monkeypatch: pytest.MonkeyPatch
) -> None:
    await world.start(state="memory")

    def full(*_: object) -> None:
        raise CapacityError("no room")

    monkeypatch.setattr(MemoryState, "put", full)
    assert (await world.preheat(type="file", url=origin.serve("/f", DATA)))["status"] == "SUCCESS"


async def test_what_nobody_foresaw_ends_the_job_too(
    world: World, origin: Origin, monkeypatch: pytest.MonkeyPatch
) -> None:
    supernode = await world.start()

    def bug(*_: object) -> None:
        raise ZeroDivisionError("a bug")

    monkeypatch.setattr(supernode.preheats._images, "_resolve", bug)
    job = await world.preheat(type="image", url="http://127.0.0.1:9/v2/a/manifests/b")
    assert job["status"] == "FAILED"
    assert "a bug" in job["error"]
