"""The supernode's port as callers see it: pages, JSON, errors; what a restart keeps and a deletion reaches."""

from __future__ import annotations

import asyncio
import io
import json
import re
from pathlib import Path
from typing import Any

import pytest
from prometheus_client.parser import text_string_to_metric_families

from dragonfly.core.task import TaskSpec
from dragonfly.errors import UsageError
from dragonfly.peer.engine import Engine
from dragonfly.peer.report import Result
from dragonfly.testing.origin import Origin, Reply
from unit.supernode.world import World, a_world, digest_of, eventually, some_bytes

DATA = some_bytes(1_000_000)


async def pulled(engine: Engine, spec: TaskSpec) -> Result:
    async with await engine.open(spec) as pull:
        return await pull.finished()


def spec_of(origin: Origin, data: bytes = DATA) -> TaskSpec:
    return TaskSpec(url=origin.serve("/f", data), digest=digest_of(data))


def problem(answer: Any, status: int) -> Any:
    """It is one, as RFC 9457 has it, with this status."""
    assert answer.status == status, answer.body
    assert answer.kind.startswith("application/problem+json")
    told = answer.json()
    assert told["status"] == status
    assert told["title"]
    return told


# ---------------------------------------------------------------- pages


async def test_health_and_console(world: World) -> None:
    await world.start()
    assert (await world.ask("GET", "/healthz")).body == b"ok\n"
    assert (await world.ask("HEAD", "/healthz")).status == 200
    page = await world.ask("GET", "/")
    assert page.kind.startswith("text/html")
    assert "default-src 'self'" in page.headers["content-security-policy"]
    text = page.body.decode()
    calls = re.findall(r'"(\w+)"', re.search(r"Promise\.all\(\[(.*?)\]", text)[1])  # type: ignore[index]
    assert calls
    for call in calls:
        await world.get(f"/api/v1/{call}")
    assert not re.findall(r'(?:src|href)="?https?:', text), "nothing is loaded from elsewhere"


async def test_metrics_are_what_prometheus_reads(world: World, origin: Origin) -> None:
    supernode = await world.start()
    daemon = await world.daemon()
    await pulled(daemon.engine, spec_of(origin))
    answer = await world.ask("GET", "/metrics")
    assert answer.kind.startswith("text/plain; version=0.0.4")
    families = {family.name: family for family in text_string_to_metric_families(answer.body.decode())}
    values = {name: family.samples[0].value for name, family in families.items() if len(family.samples) == 1}
    assert values["dragonfly_connected_daemons"] == 1
    assert values["dragonfly_tasks"] == 1
    assert values["dragonfly_store_bytes"] == pytest.approx(supernode.engine.node.store.used_bytes())
    assert values["dragonfly_resident_bytes"] > 1e6
    assert all(family.documentation for family in families.values())


async def test_the_description_has_every_call_and_every_call_its_description(world: World) -> None:
    supernode = await world.start()
    document = await world.get("/openapi.json")
    assert document["openapi"] == "3.1.0"
    routes = {
        (route.resource.canonical, route.method.lower())
        for route in supernode._app().router.routes()
        if route.resource is not None and route.method != "HEAD"
    }
    described = {
        (path, method) for path, calls in document["paths"].items() for method in calls if method != "parameters"
    }
    assert routes - described == {("/", "get"), ("/openapi.json", "get"), ("/api/v1/session", "get")}
    assert described <= routes
    names = set(document["components"]["schemas"])
    assert set(re.findall(r"#/components/schemas/(\w+)", json.dumps(document))) <= names


def fits(value: Any, schema: Any, schemas: Any) -> bool:
    """Enough of JSON Schema for what msgspec makes of our structs."""
    if "$ref" in schema:
        return fits(value, schemas[schema["$ref"].rpartition("/")[2]], schemas)
    if "anyOf" in schema:
        return any(fits(value, one, schemas) for one in schema["anyOf"])
    if "enum" in schema:
        return value in schema["enum"]
    match schema.get("type"):
        case "object" if "properties" in schema:
            return set(schema.get("required", ())) <= set(value) <= set(schema["properties"]) and all(
                fits(value[name], schema["properties"][name], schemas) for name in value
            )
        case "array":
            return all(fits(one, schema["items"], schemas) for one in value)
        case kind:
            kinds = {"string": str, "integer": int, "number": (int, float), "boolean": bool, "null": type(None)}
            return isinstance(value, kinds[kind])


async def test_answers_are_as_described(world: World, origin: Origin) -> None:
    await world.start()
    daemon = await world.daemon(zone="hall 1", rack="r7")
    spec = spec_of(origin)
    await pulled(daemon.engine, spec)
    job = await world.preheat(type="file", url=origin.url("/f"))
    document = await world.get("/openapi.json")
    for path in ("/api/v1/tasks", "/api/v1/tasks/{task_id}", "/api/v1/peers", "/api/v1/stats", "/api/v1/preheats",
                 "/api/v1/preheats/{id}"):  # fmt: skip
        schema = document["paths"][path]["get"]["responses"]["200"]["content"]["application/json"]["schema"]
        found = await world.get(path.format(task_id=spec.key, id=job["id"]))
        assert found
        assert fits(found, schema, document["components"]["schemas"]), (path, found)


async def test_a_task_tells_where_its_bytes_came_from(world: World, origin: Origin) -> None:
    supernode = await world.start()
    one, two = await world.daemon(), await world.daemon()
    spec = spec_of(origin)
    await pulled(one.engine, spec)
    await pulled(two.engine, spec)
    await eventually(lambda: sum(m.complete for m in supernode.scheduler.roster.tasks[spec.key].members.values()) == 2)
    task = await world.get(f"/api/v1/tasks/{spec.key}")
    assert task["state"] == "ready"
    assert (task["url"], task["digest"], task["length"]) == (spec.url, spec.digest, len(DATA))
    assert (task["peers"], task["complete_peers"]) == (2, 2)
    assert task["bytes_from"].get("source") == len(DATA)
    received = [member["received"] for member in task["members"]]
    assert all(sum(by.values()) == len(DATA) for by in received)
    assert not any("source" in by for by in received)
    assert [line["id"] for line in await world.get("/api/v1/tasks")] == [spec.key]
    stats = await world.get("/api/v1/stats")
    assert stats["origin_bytes"] == stats["seed_origin_bytes"] == len(DATA)
    assert stats["p2p_bytes"] == sum(by.get("peers", 0) for by in received)
    assert stats["seed_upload_bytes"] >= sum(by.get("seed", 0) for by in received), "the endgame may ask twice"
    peers = await world.get("/api/v1/peers")
    assert sorted(peer["seed"] for peer in peers) == [False, False, True]
    assert stats["peers"] == 2


async def test_totals_do_not_shrink_when_a_node_leaves(world: World, origin: Origin, tmp_path: Path) -> None:
    supernode = await world.start()
    async with a_world(tmp_path / "guests") as guests:
        guests.supernode = supernode
        one, two = await guests.daemon(), await guests.daemon()
        await pulled(one.engine, spec_of(origin))
        await pulled(two.engine, spec_of(origin))
        await eventually(lambda: supernode.scheduler.roster.moved.total == 2 * len(DATA))
    await eventually(lambda: supernode.control.connected == 0)
    stats = await world.get("/api/v1/stats")
    assert stats["p2p_bytes"] == supernode.scheduler.roster.moved.peers > 0
    [task] = await world.get("/api/v1/tasks")
    assert task["bytes_from"]["peers"] == stats["p2p_bytes"]


# ---------------------------------------------------------------- errors


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("GET", "/nowhere", 404),
        ("GET", "/api/v1/nowhere", 404),
        ("GET", "/api/v1/tasks/sha256-0", 404),
        ("DELETE", "/api/v1/tasks/sha256-0", 404),
        ("DELETE", "/api/v1/tasks/..%2F..%2Fetc", 404),
        ("DELETE", "/api/v1/tasks/%00", 404),
        ("GET", "/api/v1/preheats/none", 404),
        ("POST", "/api/v1/tasks", 405),
        ("PUT", "/api/v1/preheats", 405),
        ("DELETE", "/", 405),
    ],
)
async def test_what_is_not_there(world: World, method: str, path: str, status: int) -> None:
    await world.start()
    answer = await world.ask(method, path)
    problem(answer, status)
    assert status != 405 or answer.headers["allow"]


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"{",
        b"[]",
        b"\xff",
        b"null",
        b"[" * 100_000,
        b'{"type": "file"}',
        b'{"url": "http://h/x"}',
        b'{"type": "dir", "url": "http://h/x"}',
        b'{"type": "file", "url": 5}',
        b'{"type": "file", "url": "http://h/x", "scope": "some"}',
        b'{"type": "file", "url": "http://h/x", "scope": 1.5}',
        b'{"type": "file", "url": "http://h/x", "scope": 0}',
        b'{"type": "file", "url": "http://h/x", "scope": -1}',
        b'{"type": "file", "url": "http://h/x", "scope": true}',
        b'{"type": "file", "url": "http://h/x", "headers": {"a": 1}}',
        b'{"type": "file", "url": "http://h/x", "headers": {"a": "b\\r\\nc: d"}}',
        b'{"type": "file", "url": "http://h/x", "headers": {"a b": "c"}}',
        b'{"type": "file", "url": "http://h/x", "headers": {"": "c"}}',
        b'{"type": "file", "url": "http://h/x", "platforms": "linux"}',
        b'{"type": "file", "url": "http://h/x", "digest": "sha256:12"}',
        b'{"type": "file", "url": "http://h/x", "digest": "md9:12"}',
        b'{"type": "file", "url": "http://h/x", "colour": "red"}',
        b'{"type": "file", "url": ""}',
        b'{"type": "file", "url": "nonsense"}',
        b'{"type": "file", "url": "http://"}',
        b'{"type": "file", "url": "http://h:99999/x"}',
        b'{"type": "file", "url": "http://[::1/x"}',
        b'{"type": "file", "url": "ftp://h/x"}',
        b'{"type": "file", "url": "file:///etc/passwd"}',
        b'{"type": "image", "url": "alpine"}',
        b'{"type": "image", "url": "file:///v2/a/manifests/b"}',
    ],
    ids=lambda body: body.decode("latin-1")[:90],
)
async def test_a_preheat_that_can_not_be_meant(world: World, body: bytes) -> None:
    await world.start()
    problem(await world.ask("POST", "/api/v1/preheats", data=body), 400)
    assert await world.get("/api/v1/preheats") == []


async def test_a_body_that_is_too_long(world: World) -> None:
    await world.start()
    problem(await world.ask("POST", "/api/v1/preheats", data=io.BytesIO(b" " * 5_000_000)), 413)


async def test_what_changes_something_wants_the_api_token(world: World, origin: Origin) -> None:
    await world.start(api_token="hush ü")
    url = origin.serve("/f", b"x")
    asked = {"type": "file", "url": url}
    for shown in ("", "Bearer wrong", "Bearer ", "Basic hush"):
        headers = {"Authorization": shown}
        problem(await world.ask("POST", "/api/v1/preheats", json=asked, headers=headers), 401)
        problem(await world.ask("DELETE", "/api/v1/tasks/sha256-0", headers=headers), 401)
    reader, writer = await asyncio.open_connection("127.0.0.1", world.supernode.port)
    writer.write(b"DELETE /api/v1/tasks/x HTTP/1.0\r\nAuthorization: Bearer \xff\xfe\r\n\r\n")
    assert b" 401 " in await reader.readline()
    writer.close()
    right = {"Authorization": "Bearer hush ü"}
    assert (await world.ask("POST", "/api/v1/preheats", json=asked, headers=right)).status == 201
    problem(await world.ask("DELETE", "/api/v1/tasks/sha256-0", headers=right), 404)
    assert (await world.ask("GET", "/api/v1/stats")).status == 200


async def test_a_port_that_is_taken(world: World, tmp_path: Path) -> None:
    supernode = await world.start()
    async with a_world(tmp_path / "other") as other:
        with pytest.raises(UsageError, match="--listen"):
            await other.start(listen=f"127.0.0.1:{supernode.port}")


# ---------------------------------------------------------------- deletion, restart


async def test_a_deleted_task_is_gone_from_the_seed_and_from_every_daemon(world: World, origin: Origin) -> None:
    supernode = await world.start()
    daemons = [await world.daemon(), await world.daemon()]
    spec = spec_of(origin)
    for daemon in daemons:
        await pulled(daemon.engine, spec)
    stores = [engine.node.store for engine in (supernode.engine, *(daemon.engine for daemon in daemons))]
    assert all(store.get(spec.key) is not None for store in stores)
    answer = await world.ask("DELETE", f"/api/v1/tasks/{spec.key}")
    assert (answer.status, answer.body) == (204, b"")
    await eventually(lambda: all(store.get(spec.key) is None for store in stores))
    assert not [path for path in world.folder.rglob(spec.key) if path.is_dir()]
    problem(await world.ask("GET", f"/api/v1/tasks/{spec.key}"), 404)
    before = origin.sent_bytes
    assert (await pulled(daemons[0].engine, spec)).length == len(DATA)
    assert origin.sent_bytes == before + len(DATA), "and it is fetched anew"
    assert (await world.ask("DELETE", f"/api/v1/tasks/{spec.key}")).status == 204
    problem(await world.ask("DELETE", f"/api/v1/tasks/{spec.key}"), 404)


async def test_a_task_can_be_deleted_while_it_is_pulled(world: World, origin: Origin) -> None:
    supernode = await world.start()
    daemon = await world.daemon()
    spec = spec_of(origin)
    origin.then("/f", Reply(stall_after=300_000))
    pull = asyncio.create_task(pulled(daemon.engine, spec))
    await eventually(lambda: supernode.scheduler.roster.tasks.get(spec.key) is not None)
    await eventually(lambda: supernode.scheduler.roster.tasks[spec.key].info is not None)
    assert (await world.ask("DELETE", f"/api/v1/tasks/{spec.key}")).status == 204
    with pytest.raises(Exception, match="stopped"):
        await asyncio.wait_for(pull, 5.0)
    await eventually(lambda: supernode.engine.node.store.get(spec.key) is None)


async def test_a_restart_keeps_the_cache(tmp_path: Path, origin: Origin) -> None:
    spec = spec_of(origin)
    async with a_world(tmp_path) as world:
        await world.start()
        assert (await world.preheat(type="file", url=spec.url, digest=spec.digest))["status"] == "SUCCESS"
        ticket = world.supernode.scheduler.ticket(spec.key)
        host = world.supernode.host.id
    assert origin.sent_bytes == len(DATA)
    async with a_world(tmp_path) as world:
        await world.start()
        assert world.supernode.scheduler.ticket(spec.key) == ticket
        assert world.supernode.host.id == host
        daemon = await world.daemon()
        result = await pulled(daemon.engine, spec)
        assert result.received.seed == len(DATA)
    assert origin.sent_bytes == len(DATA), "the source was not read again"


async def test_a_daemon_that_held_a_blob_gives_it_after_both_restarted(tmp_path: Path, origin: Origin) -> None:
    spec = spec_of(origin)
    async with a_world(tmp_path) as world:
        await world.start()
        await pulled((await world.daemon()).engine, spec)
        await world.supernode.engine.forget(spec.key)
    async with a_world(tmp_path) as world:
        supernode = await world.start()
        await world.daemon()
        await eventually(lambda: spec.key in supernode.scheduler.roster.tasks)
        task = await world.get(f"/api/v1/tasks/{spec.key}")
        assert (task["peers"], task["complete_peers"]) == (1, 1)


async def test_daemons_need_the_join_token(world: World, tmp_path: Path) -> None:
    supernode = await world.start(join_token="hush")
    right = await world.daemon(join_token="hush")
    await eventually(lambda: supernode.control.connected == 1)
    await world.daemon(join_token="wrong")
    await world.daemon()
    await asyncio.sleep(0.3)
    assert [peer["id"] for peer in await world.get("/api/v1/peers") if not peer["seed"]] == [right.engine.host.id]
