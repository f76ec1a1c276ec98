import os
import stat
from pathlib import Path

import aiohttp
import msgspec
import pytest
from aiohttp import web

from dragonfly.core.task import TaskSpec
from dragonfly.errors import SourceUnreachable, UsageError
from dragonfly.peer.report import Result
from dragonfly.wire import local
from unit.daemon.standin import ranged
from unit.daemon.world import World, basic, eventually

BODY = os.urandom(400_000)


class Program:
    """A program of this node, at the daemon's socket."""

    def __init__(self, world: World) -> None:
        self.session = aiohttp.ClientSession(connector=aiohttp.UnixConnector(str(world.daemon.control.path)))

    async def __aenter__(self) -> "Program":
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.session.close()

    async def get(self, path: str) -> object:
        async with self.session.get(f"http://daemon{path}") as answer:
            return msgspec.json.decode(await answer.read())

    async def download(self, spec: TaskSpec, **more: object) -> tuple[int, list[local.Told]]:
        body = msgspec.json.encode(local.DownloadRequest(spec=spec, **more))  # type: ignore[arg-type]
        async with self.session.post("http://daemon/v1/downloads", data=body) as answer:
            return answer.status, [local.decode_told(line) async for line in answer.content]

    async def content(self, number: str, **headers: str) -> tuple[int, bytes]:
        async with self.session.get(f"http://daemon/v1/downloads/{number}/content", headers=headers) as answer:
            return answer.status, await answer.read()


def stored(ended: local.Ended) -> bytes:
    return Path(ended.path).read_bytes()


async def start(world: World, **settings: object) -> str:
    await world.start(**settings)
    world.registry.files["/a"] = (BODY, {"Content-Type": "x/y"})
    return f"{world.registry.origin}/a"


async def test_a_download_is_told_of_from_begin_to_end(world: World) -> None:
    url = await start(world)
    async with Program(world) as program:
        status, told = await program.download(TaskSpec(url=url))
        assert status == 200
        opened, *moved, ended = told
        assert isinstance(opened, local.Opened)
        assert (opened.length, opened.source, opened.headers["Content-Type"]) == (len(BODY), "origin", "x/y")
        assert isinstance(moved[-1], local.Moved)
        assert (moved[-1].done, moved[-1].total) == (len(BODY), len(BODY))
        assert isinstance(ended, local.Ended)
        assert msgspec.json.decode(ended.result, type=Result).length == len(BODY)
        assert stored(ended) == BODY
        assert await program.content(opened.id) == (200, BODY)
        assert await program.content(opened.id, Range="bytes=5-9") == (206, BODY[5:10])
        async with program.session.delete(f"http://daemon/v1/downloads/{opened.id}") as answer:
            assert answer.status == 204
        assert (await program.content(opened.id))[0] == 404
    assert world.engine.closed == 1


async def test_a_range_ends_without_the_rest(world: World) -> None:
    url = await start(world)
    world.engine.hold_at = 200_000
    async with Program(world) as program:
        _, told = await program.download(TaskSpec(url=url), start=100, end=1000)
        assert isinstance(told[-1], local.Ended)
        assert isinstance(told[-2], local.Moved)
        assert (told[-2].done, told[-2].total) == (900, 900)
        _, told = await program.download(TaskSpec(url=url), start=len(BODY) + 5)
        assert isinstance(told[-1], local.Failed)
        assert told[-1].kind == "UsageError"


async def test_what_the_source_says_no_to_is_a_failure_with_its_status(world: World) -> None:
    url = await start(world)
    async with Program(world) as program:
        status, told = await program.download(TaskSpec(url=url + "/missing"))
        assert (status, len(told)) == (404, 1)
        assert isinstance(told[0], local.Failed)
        assert (told[0].kind, told[0].status) == ("SourceError", 404)


async def test_a_cached_private_blob_needs_the_callers_own_right(world: World) -> None:
    await start(world)
    world.registry.users = {"ann": ("a", {"x"})}
    digest = world.registry.add(BODY)
    url = f"{world.registry.origin}/v2/x/blobs/{digest}"
    async with Program(world) as program:
        _, told = await program.download(TaskSpec(url=url, digest=digest, headers=basic("ann", "a")))
        assert isinstance(told[-1], local.Ended)
        status, told = await program.download(TaskSpec(url=url, digest=digest))
        assert status == 401
        assert isinstance(told[0], local.Failed)
        assert told[0].challenge == 'Basic realm="test"'


async def test_a_failure_on_the_way_is_the_last_line(world: World) -> None:
    url = await start(world)
    world.engine.break_at = 1000
    async with Program(world) as program:
        status, told = await program.download(TaskSpec(url=url))
        assert status == 200
        assert isinstance(told[-1], local.Failed)
        assert told[-1].kind == SourceUnreachable.__name__
    assert world.engine.closed == 1


async def test_a_caller_that_goes_away_gives_its_download_up(world: World) -> None:
    url = await start(world)
    world.engine.hold_at = 1000
    async with Program(world) as program:
        body = msgspec.json.encode(local.DownloadRequest(spec=TaskSpec(url=url)))
        async with program.session.post("http://daemon/v1/downloads", data=body) as answer:
            await answer.content.readline()
            answer.close()
        await eventually(lambda: world.engine.closed == 1)


@pytest.mark.parametrize(
    "body",
    [b"", b"{}", b"nonsense", b'{"spec": {"url": "http://a"}, "pattern": "odd"}', b'{"spec": {"url": "http://[/"}}'],
)
async def test_nonsense_is_a_clear_400(world: World, body: bytes) -> None:
    await start(world)
    async with Program(world) as program, program.session.post("http://daemon/v1/downloads", data=body) as answer:
        assert answer.status == 400
        assert msgspec.json.decode(await answer.read(), type=local.Told).kind == "UsageError"


async def test_status_tasks_and_trace(world: World) -> None:
    url = await start(world)
    async with Program(world) as program:
        world.engine.results.append(Result(key="url-1", url="http://a/", length=5, seconds=1.0))
        world.tracer.emit("piece.received", task="url-1", bytes=5)
        status = msgspec.convert(await program.get("/v1/status"), local.Status)
        assert (status.pid, status.supernode, status.maps) == (os.getpid(), "none", {"p2p.test": world.registry.origin})
        assert status.listen == f"127.0.0.1:{world.port}"
        assert status.resident_bytes > 1_000_000
        (line,) = msgspec.convert(await program.get("/v1/tasks"), list[local.TaskLine])
        assert (line.key, line.state, line.length) == ("url-1", "ended", 5)
        (event,) = msgspec.convert(await program.get("/v1/trace/url-1"), list[dict])
        assert event["fields"] == {"task": "url-1", "bytes": 5}
        await program.download(TaskSpec(url=url))
        for status_code in (204, 404):
            async with program.session.delete(f"http://daemon/v1/tasks/{TaskSpec(url=url).key}") as answer:
                assert answer.status == status_code


async def test_the_socket_has_the_mode_of_the_setting_and_is_gone_in_the_end(world: World) -> None:
    await start(world, socket_mode="0600")
    path = world.daemon.control.path
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    await world.daemon.control.__aexit__(None, None, None)
    assert not path.exists()
    with pytest.raises(UsageError, match="permission bits"):
        await World(world._stack, world._path).start(socket_mode="rw")


async def test_what_may_be_for_one_user_only_is_not_given_to_another(world: World) -> None:
    await start(world)

    async def personal(request: web.BaseRequest) -> web.StreamResponse:
        return ranged(request, request.headers.get("Authorization", "nobody").encode() * 1000, {})

    url = await world.listen(personal) + "/me"
    async with Program(world) as program:
        for who in ("ann", "bob"):
            _, told = await program.download(TaskSpec(url=url, headers={"Authorization": who}))
            assert isinstance(told[-1], local.Ended)
            assert stored(told[-1]).startswith(who.encode())
