"""`dragonfly preheat` against a real supernode."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from dragonfly.errors import DragonflyError, UsageError
from dragonfly.testing.origin import Origin
from unit.cli.test_cache import said
from unit.supernode.world import Registry, World, a_world


class Running:
    """A supernode in a thread, for as long as a test."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._ready = threading.Event()
        self._thread = threading.Thread(target=lambda: asyncio.run(self._main()))
        self._thread.start()
        assert self._ready.wait(20)

    async def _main(self) -> None:
        self._loop, self._end = asyncio.get_running_loop(), asyncio.Event()
        async with a_world(self._folder) as world:
            await world.start(api_token="hush")
            self.world: World = world
            self.address = f"127.0.0.1:{world.supernode.port}"
            self._ready.set()
            await self._end.wait()

    def close(self) -> None:
        self._loop.call_soon_threadsafe(self._end.set)
        self._thread.join(20)


@pytest.fixture
def running(tmp_path: Path) -> Iterator[Running]:
    made = Running(tmp_path)
    yield made
    made.close()


def test_files_and_images(running: Running, origin: Origin) -> None:
    asked = ["preheat", "--supernode", running.address, "--token", "hush"]
    assert said(*asked, origin.url("/f")).stdout == f"{origin.url('/f')}: 1 blobs, 1.5 MB\n"
    registry = Registry(origin)
    registry.image(b"x" * 1000, tags=("v1",))
    assert "2 blobs" in said(*asked, registry.url("v1")).stdout
    assert "2 blobs" in said(*asked, registry.reference("v1")).stdout
    assert registry.keys() <= running.world.stored()
    job = said(*asked, "--no-wait", origin.url("/f?again")).stdout.strip()
    assert running.world.supernode.preheats.get(job) is not None


def test_failures_are_said(running: Running, origin: Origin) -> None:
    asked = ["preheat", "--supernode", running.address, "--token", "hush"]
    with pytest.raises(DragonflyError, match="404"):
        said(*asked, origin.url("/none"))
    with pytest.raises(DragonflyError, match="fewer nodes"):
        said(*asked, "--scope", "3", origin.url("/f"))
    with pytest.raises(UsageError, match="401"):
        said("preheat", "--supernode", running.address, origin.url("/f"))
    with pytest.raises(UsageError, match="not an image"):
        said(*asked, "alpine")
    for wrong in (["--scope", "some"], ["-H", "no colon"]):
        with pytest.raises(UsageError):
            said(*asked, *wrong, origin.url("/f"))


def test_a_supernode_that_is_not_there() -> None:
    with pytest.raises(DragonflyError, match="can't be asked"):
        said("preheat", "--supernode", "127.0.0.1:1", "http://h/x")
