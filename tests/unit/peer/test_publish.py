"""A seed's digests go out in batches, each once, those of what it gives away first."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from dragonfly.core.messages import Digests, FromDaemon
from dragonfly.core.pieces import PieceLayout
from dragonfly.core.task import TaskKey
from dragonfly.peer.publish import Publisher
from dragonfly.peer.tracker import NoTracker
from dragonfly.store.blob import BlobMeta
from dragonfly.store.settings import StoreSettings
from dragonfly.store.store import Store

KEY = TaskKey("url-1")


class Ear(NoTracker):
    def __init__(self) -> None:
        self.heard: list[FromDaemon] = []

    def send(self, message: FromDaemon) -> None:
        self.heard.append(message)


@pytest.fixture
def digests() -> bytes:
    return bytes(range(32)) * 4 + bytes(range(32, 64)) * 4


@pytest.fixture
async def told(tmp_path: Path, digests: bytes, monkeypatch: pytest.MonkeyPatch) -> tuple[Publisher, list[FromDaemon]]:
    monkeypatch.setattr("dragonfly.peer.publish._LATE_S", 0.2)
    store = Store(tmp_path, StoreSettings(keep_free=0))
    blob = store.create(KEY, PieceLayout(80, 10), BlobMeta(url="http://h/x"))
    blob.digests[:] = digests
    ear = Ear()
    return Publisher(KEY, blob, ear), ear.heard


async def test_what_is_given_at_the_same_moment_goes_out_in_runs(
    told: tuple[Publisher, list[FromDaemon]], digests: bytes
) -> None:
    publisher, heard = told
    publisher.had(0, 8)
    for first, count in ((5, 1), (0, 2), (4, 1), (7, 1)):
        publisher.given(first, count)
    assert heard == []
    await asyncio.sleep(0.05)
    assert heard == [
        Digests(key=KEY, first=0, digests=digests[:64]),
        Digests(key=KEY, first=4, digests=digests[128:192]),
        Digests(key=KEY, first=7, digests=digests[224:]),
    ]
    publisher.given(5, 1)
    await asyncio.sleep(0.05)
    assert len(heard) == 3, "each once"


async def test_what_nobody_was_given_is_told_later(told: tuple[Publisher, list[FromDaemon]], digests: bytes) -> None:
    publisher, heard = told
    publisher.had(2, 2)
    await asyncio.sleep(0.1)
    assert heard == []
    await asyncio.sleep(0.15)
    assert heard == [Digests(key=KEY, first=2, digests=digests[64:128])]


async def test_sealed_comes_last(told: tuple[Publisher, list[FromDaemon]], digests: bytes) -> None:
    publisher, heard = told
    publisher.had(2, 1)
    publisher.had(5, 1)
    publisher.given(5, 1)
    publisher.sealed()
    expected = [
        Digests(key=KEY, first=2, digests=digests[64:96]),
        Digests(key=KEY, first=5, digests=digests[160:192]),
        Digests(key=KEY, first=0, digests=b"", sealed=True),
    ]
    assert heard == expected
    await asyncio.sleep(0.3)
    assert heard == expected, "each once"


async def test_a_closed_one_says_nothing_more(told: tuple[Publisher, list[FromDaemon]]) -> None:
    publisher, heard = told
    publisher.had(2, 1)
    publisher.given(2, 1)
    publisher.close()
    await asyncio.sleep(0.05)
    assert heard == []
