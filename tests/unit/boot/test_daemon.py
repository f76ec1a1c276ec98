from __future__ import annotations

import asyncio
from pathlib import Path

from aiohttp import web
from aiohttp.test_utils import TestServer

from dragonfly.boot.daemon import DaemonProcess
from dragonfly.client import Client
from dragonfly.config.load import load
from dragonfly.config.schema import DAEMON
from dragonfly.core.messages import Hello, Pull, PullDone, Welcome
from dragonfly.core.task import TaskSpec
from dragonfly.wire.codec import PROTOCOL, encode, from_daemon


def test_a_daemon_that_made_its_ca_does_not_keep_what_makes_keys_in_memory(data_dir: Path) -> None:
    status = Client(data_dir).status()
    assert status is not None
    assert (data_dir / "ca" / "ca.crt").exists()
    assert "cryptography" not in Path(f"/proc/{status.pid}/maps").read_text()


async def test_a_supernode_can_not_make_a_node_give_away_its_files(tmp_path: Path) -> None:
    """Whatever the supernode has become: an order to pull names a source of the network, or fails."""
    secret = tmp_path / "secret"
    secret.write_text("mine and nobody else's")
    heard: list[PullDone] = []
    urls = [f"file://{secret}", f"FILE://{secret}", f"file://localhost{secret}", f"file:{secret}"]

    async def session(request: web.Request) -> web.WebSocketResponse:
        socket = web.WebSocketResponse(protocols=[PROTOCOL])
        await socket.prepare(request)
        assert isinstance(from_daemon(await socket.receive_bytes()), Hello)
        await socket.send_bytes(encode(Welcome(report_every_s=1.0)))
        for url in urls:
            await socket.send_bytes(encode(Pull(job="j", spec=TaskSpec(url=url))))
        while len(heard) < len(urls):
            message = from_daemon(await socket.receive_bytes(timeout=10))
            if isinstance(message, PullDone):
                heard.append(message)
        done.set()
        return socket

    done = asyncio.Event()
    app = web.Application()
    app.router.add_get("/api/v1/session", session)
    async with TestServer(app, host="127.0.0.1") as server:
        flags = {
            "supernode": [f"127.0.0.1:{server.port}"], "listen": "127.0.0.1:0", "peer_listen": "127.0.0.1:0",
            "data_dir": str(tmp_path / "node"),
        }  # fmt: skip
        async with DaemonProcess(load(DAEMON, flags=flags, environ={})):
            await asyncio.wait_for(done.wait(), 20)
    assert all(message.error for message in heard), heard
    assert not holding(tmp_path / "node", b"nobody else")


def holding(folder: Path, content: bytes) -> list[Path]:
    return [path for path in folder.rglob("*") if path.is_file() and content in path.read_bytes()]
