"""A process from its start to its end: signals, and what systemd is told."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from dragonfly.boot.run import notify, serve


class App:
    """Notes what happens to it."""

    def __init__(self) -> None:
        self.happened: list[str] = []

    async def __aenter__(self) -> App:
        self.happened.append("started")
        return self

    async def __aexit__(self, *_: object) -> None:
        self.happened.append("ended")


@pytest.fixture
def systemd(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """What it was told so far."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sock:
        sock.bind(str(tmp_path / "notify"))
        sock.setblocking(False)
        monkeypatch.setenv("NOTIFY_SOCKET", str(tmp_path / "notify"))

        def told() -> list[bytes]:
            found = []
            while True:
                try:
                    found.append(sock.recv(100))
                except BlockingIOError:
                    return found

        yield told


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
async def test_a_signal_ends_it_in_order(number: signal.Signals, systemd: Any) -> None:
    app = App()
    asyncio.get_running_loop().call_later(0.02, os.kill, os.getpid(), number)
    await asyncio.wait_for(serve(app), 5.0)
    assert app.happened == ["started", "ended"]
    assert systemd() == [b"READY=1", b"STOPPING=1"]


async def test_hangup_reloads_and_ends_nothing() -> None:
    app = App()
    loop = asyncio.get_running_loop()
    loop.call_later(0.02, os.kill, os.getpid(), signal.SIGHUP)
    loop.call_later(0.06, os.kill, os.getpid(), signal.SIGTERM)
    await asyncio.wait_for(serve(app, reload=lambda: app.happened.append("reloaded")), 5.0)
    assert app.happened == ["started", "reloaded", "ended"]


async def test_it_ends_by_itself_when_it_was_idle_for_long_enough() -> None:
    class Idle(App):
        async def idle(self) -> None:
            await asyncio.sleep(0.01)

    app = Idle()
    await asyncio.wait_for(serve(app), 5.0)
    assert app.happened == ["started", "ended"]


async def test_what_can_not_start_is_never_ready(systemd: Any) -> None:
    @asynccontextmanager
    async def broken() -> Any:
        raise OSError("no")
        yield

    with pytest.raises(OSError, match="no"):
        await serve(broken())
    assert systemd() == []


def test_without_systemd_nothing_is_told(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.delenv("NOTIFY_SOCKET", raising=False)
    notify("READY=1")
    monkeypatch.setenv("NOTIFY_SOCKET", str(tmp_path / "nobody"))
    notify("READY=1")  # gone since: no reason to fail


def test_an_abstract_socket() -> None:
    name = f"dragonfly-test-{os.getpid()}"
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sock, pytest.MonkeyPatch.context() as patch:
        sock.bind("\0" + name)
        patch.setenv("NOTIFY_SOCKET", "@" + name)
        notify("READY=1")
        assert sock.recv(100) == b"READY=1"
