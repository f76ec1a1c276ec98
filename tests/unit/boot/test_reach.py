"""A whole supernode, and what those who can reach its port can do with it."""

from __future__ import annotations

import asyncio
import json
import stat
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from dragonfly.boot.supernode import SupernodeProcess
from dragonfly.config.load import load
from dragonfly.config.schema import SUPERNODE
from dragonfly.core.digest import piece_digest
from dragonfly.core.messages import (
    BytesBy,
    Digests,
    Finished,
    Hello,
    HostInfo,
    Join,
    Progress,
    TaskFailed,
    TaskInfo,
    TaskProgress,
    Welcome,
)  # fmt: skip
from dragonfly.core.task import TaskKey, TaskSpec
from dragonfly.testing.origin import Origin, Reply, reply
from dragonfly.wire.codec import PROTOCOL, encode, from_supernode

Start = Callable[..., Awaitable["Running"]]
DATA = bytes(range(256)) * 1000


class Running:
    """A supernode and a client of its API."""

    def __init__(self, process: SupernodeProcess, client: aiohttp.ClientSession) -> None:
        self.process, self.client = process, client
        self.url = f"http://127.0.0.1:{process.supernode.port}"

    async def api(self, path: str) -> Any:
        async with self.client.get(f"{self.url}/api/v1/{path}") as answer:
            assert answer.status == 200
            return await answer.json()

    async def join(self, address: str = "127.0.0.1", name: str = "n1", **more: Any) -> aiohttp.ClientWebSocketResponse:
        """A node's session; whether it stands is for the caller to see."""
        socket = await self.client.ws_connect(f"{self.url}/api/v1/session", protocols=[PROTOCOL])
        token = more.pop("token", "")
        host = HostInfo(id=name, address=address, peer_port=more.pop("peer_port", 1), **more)
        await socket.send_bytes(encode(Hello(host=host, token=token)))
        return socket

    async def preheated(self, **request: Any) -> tuple[int, str]:
        """Status of the call, and the job's error in the end."""
        async with self.client.post(f"{self.url}/api/v1/preheats", json={"type": "file", **request}) as answer:
            if answer.status != 201:
                return answer.status, ""
            job = (await answer.json())["id"]
        async with asyncio.timeout(20):
            while (found := await self.api(f"preheats/{job}"))["status"] in ("WAITING", "RUNNING"):  # noqa: ASYNC110
                await asyncio.sleep(0.02)
        return 201, found["error"]


@pytest.fixture
async def start(tmp_path: Path) -> AsyncIterator[Start]:
    async with AsyncExitStack() as stack:

        async def run(**settings: Any) -> Running:
            where = {"listen": "127.0.0.1:0", "peer_listen": "127.0.0.1:0", "data_dir": str(tmp_path / "sn")}
            process = SupernodeProcess(load(SUPERNODE, flags=where | settings, environ={}))
            await stack.enter_async_context(process)
            return Running(process, await stack.enter_async_context(aiohttp.ClientSession()))

        yield run


async def refused(socket: aiohttp.ClientWebSocketResponse) -> bool:
    message = await socket.receive(10)
    if message.type is aiohttp.WSMsgType.BINARY:
        assert isinstance(from_supernode(message.data), Welcome)
        await socket.close()
        return False
    return message.data == aiohttp.WSCloseCode.POLICY_VIOLATION


async def test_a_node_whose_address_nobody_should_dial_is_not_let_in(start: Start) -> None:
    supernode = await start()
    for address in ("evil.example", "1.2.3.4\r\nX: y", "", "169.254.169.254", "0.0.0.0", "224.0.0.1", "fe80::1"):
        assert await refused(await supernode.join(address))
    for more in (
        {"peer_port": -1},
        {"peer_port": 10**9},
        {"name": "a\n"},
        {"name": "a#1"},
        {"name": ""},
        {"hostname": "x" * 9999},
    ):
        assert await refused(await supernode.join(**more))
    assert [peer["seed"] for peer in await supernode.api("peers")] == [True]
    assert not await refused(await supernode.join("10.1.2.3"))


async def test_a_node_without_the_join_token_is_not_let_in(start: Start) -> None:
    supernode = await start(join_token="open sesame")
    assert await refused(await supernode.join())
    assert await refused(await supernode.join(token="open"))
    assert not await refused(await supernode.join(token="open sesame"))


async def test_a_nodes_word_about_a_tasks_digests_is_not_the_seeds(start: Start) -> None:
    """Hashes come from who read the source, never from who sends the bytes."""
    with Origin() as origin:
        supernode = await start()
        spec = TaskSpec(url=origin.serve("/f", DATA, etag='"1"'))
        socket = await supernode.join()
        await socket.send_bytes(encode(TaskInfo(key=spec.key, length=7, piece_size=7, digests=bytes(32), sealed=True)))
        await socket.send_bytes(encode(Join(spec=spec)))
        assert isinstance(from_supernode(await socket.receive_bytes(timeout=10)), Welcome)
        info = from_supernode(await socket.receive_bytes(timeout=10))
        assert isinstance(info, TaskInfo)
        assert info.length == len(DATA)
        await socket.send_bytes(encode(Digests(key=spec.key, first=0, digests=bytes(32), sealed=True)))
        await socket.send_bytes(encode(TaskFailed(key=spec.key, reason="no", final=True)))
        async with asyncio.timeout(10):
            while (await supernode.api(f"tasks/{spec.key}"))["state"] != "ready":  # noqa: ASYNC110
                await asyncio.sleep(0.02)
        other = await supernode.join(name="n2")
        await other.send_bytes(encode(Join(spec=spec)))
        assert isinstance(from_supernode(await other.receive_bytes(timeout=10)), Welcome)
        again = from_supernode(await other.receive_bytes(timeout=10))
        assert isinstance(again, TaskInfo)
        assert again.length == len(DATA)
        layout = range(0, len(DATA), again.piece_size)
        assert again.digests == b"".join(piece_digest(DATA[at : at + again.piece_size]) for at in layout)
        await socket.close()
        await other.close()


async def test_the_totals_stay_when_nodes_and_tasks_go(start: Start) -> None:
    with Origin() as origin:
        supernode = await start()
        spec = TaskSpec(url=origin.serve("/f", DATA, etag='"1"'))
        socket = await supernode.join()
        await socket.send_bytes(encode(Join(spec=spec)))
        told = TaskProgress(key=spec.key, pieces=1, received=BytesBy(peers=600, source=50))
        await socket.send_bytes(encode(Progress(tasks=(told,))))
        received = BytesBy(peers=1000, source=100, cache=5)
        await socket.send_bytes(encode(Finished(key=spec.key, seconds=1.0, received=received)))

        async def has(**parts: int) -> None:
            async with asyncio.timeout(10):
                while not parts.items() <= (await supernode.api("stats")).items():  # noqa: ASYNC110
                    await asyncio.sleep(0.02)

        whole = len(DATA)
        await has(p2p_bytes=1000, origin_bytes=whole + 100, seed_origin_bytes=whole, peers=1)
        await socket.close()
        await has(p2p_bytes=1000, origin_bytes=whole + 100, peers=0)
        async with supernode.client.delete(f"{supernode.url}/api/v1/tasks/{spec.key}") as answer:
            assert answer.status == 204
        await has(p2p_bytes=1000, origin_bytes=whole + 100, tasks=0)


async def test_counts_below_zero_end_the_session(start: Start) -> None:
    supernode = await start()
    for bad in (
        Progress(tasks=(TaskProgress(key=TaskKey("url-x"), pieces=-1),)),
        Finished(key=TaskKey("url-x"), seconds=1.0, received=BytesBy(peers=-(10**9))),
    ):
        socket = await supernode.join()
        assert isinstance(from_supernode(await socket.receive_bytes(timeout=10)), Welcome)
        await socket.send_bytes(encode(bad))
        assert await refused(socket)


async def test_a_preheat_reads_no_file_and_no_metadata_service(start: Start, tmp_path: Path) -> None:
    (tmp_path / "secret").write_text("mine")
    with Origin() as origin:
        supernode = await start()
        file = f"file://{tmp_path}/secret"
        assert await supernode.preheated(url=file) == (400, "")
        for target in (file, "http://169.254.169.254/latest", "http://[::ffff:a9fe:a9fe]/"):
            origin.serve("/away", b"")
            origin.decide("/away", lambda _, to=target: redirect(to))
            status, error = await supernode.preheated(url=origin.url("/away"))
            assert status == 201
            assert "read" in error
        assert "may not be read" in (await supernode.preheated(url="http://2852039166/"))[1]  # 169.254.169.254
        assert (await supernode.preheated(url=origin.serve("/f", DATA)))[1] == ""


def redirect(to: str) -> Reply:
    return reply(302, headers={"Location": to})


async def test_what_is_no_preheat_is_told_at_once(start: Start) -> None:
    supernode = await start()
    for request in (
        {"url": "http://h:99999/x"}, {"url": "http://["}, {"url": "http://h/x", "digest": "md5:1"},
        {"url": "http://h/x", "scope": 0}, {"type": "image", "url": "::"}, {"url": "http://h/x", "what": 1}, {},
    ):  # fmt: skip
        assert (await supernode.preheated(**request))[0] == 400


async def test_a_page_of_another_site_can_start_nothing(start: Start) -> None:
    supernode = await start()
    for elsewhere in ("http://evil.example", "null"):
        for method, path in (("POST", "preheats"), ("DELETE", "tasks/url-x"), ("GET", "session")):
            async with supernode.client.request(
                method, f"{supernode.url}/api/v1/{path}", headers={"Origin": elsewhere}
            ) as answer:
                assert answer.status == 403
    headers = {"Origin": supernode.url}
    async with supernode.client.delete(f"{supernode.url}/api/v1/tasks/url-x", headers=headers) as answer:
        assert answer.status == 404


async def test_what_changes_something_needs_the_api_token(start: Start) -> None:
    supernode = await start(api_token="let me")
    for method, path in (("POST", "preheats"), ("DELETE", "tasks/url-x")):
        for shown in ({}, {"Authorization": "Bearer let"}):
            async with supernode.client.request(method, f"{supernode.url}/api/v1/{path}", headers=shown) as answer:
                assert answer.status == 401
    headers = {"Authorization": "Bearer let me"}
    async with supernode.client.delete(f"{supernode.url}/api/v1/tasks/url-x", headers=headers) as answer:
        assert answer.status == 404


async def test_what_it_keeps_is_for_its_own_user_to_read(start: Start, tmp_path: Path) -> None:
    await start()
    wide = {
        path.name for path in (tmp_path / "sn").iterdir() if stat.S_IMODE(path.stat().st_mode) & 0o077
    }  # fmt: skip
    assert wide == {"host-id"}
    assert (tmp_path / "sn" / "state.db-wal").exists()


async def test_a_url_that_changed_is_read_again_for_the_next_node(start: Start) -> None:
    with Origin() as origin:
        supernode = await start()
        for number, length in enumerate((1000, 1000, 2000)):
            spec = TaskSpec(url=origin.serve("/f", bytes([number]) * length, etag=f'"{number}"'))
            socket = await supernode.join(name=f"n{number}")
            assert isinstance(from_supernode(await socket.receive_bytes(timeout=10)), Welcome)
            await socket.send_bytes(encode(Join(spec=spec)))
            info = from_supernode(await socket.receive_bytes(timeout=10))
            assert isinstance(info, TaskInfo)
            assert (info.length, number) == (length, number)
            await socket.close()
            await asyncio.sleep(0.15)
        assert len({one.target for one in origin.asked("/f", "GET")}) == 1
        assert origin.sent_bytes == 4000


@pytest.mark.parametrize("digest", ["nope:1", "md5:" + "0" * 32, "sha256:" + "0" * 64])
async def test_an_image_whose_index_names_what_it_is_not_fails(start: Start, digest: str) -> None:
    with Origin() as origin:
        supernode = await start()
        index = {"mediaType": "application/vnd.oci.image.index.v1+json", "manifests": [{"digest": digest, "size": 2}]}
        origin.serve("/v2/a/manifests/v1", json.dumps(index).encode())
        origin.serve(f"/v2/a/manifests/{digest}", b"{}")
        status, error = await supernode.preheated(type="image", url=origin.url("/v2/a/manifests/v1"))
        assert status == 201
        assert "digest" in error
