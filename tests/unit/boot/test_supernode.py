"""A supernode that can't be put together says why."""

from __future__ import annotations

from pathlib import Path

import pytest

from dragonfly.boot.supernode import SupernodeProcess
from dragonfly.config.load import load
from dragonfly.config.schema import SUPERNODE
from dragonfly.errors import DragonflyError, UsageError
from dragonfly.scheduler.policies import PlainRandom


def put_together(folder: Path, **flags: object) -> SupernodeProcess:
    own = {"listen": "127.0.0.1:0", "peer_listen": "127.0.0.1:0", "data_dir": str(folder / "data")}
    return SupernodeProcess(load(SUPERNODE, flags=own | flags, environ={}))


@pytest.mark.parametrize(
    ("flags", "told"),
    [
        ({"listen": "nowhere"}, "--listen"),
        ({"peer_listen": "host:1"}, "--peer-listen"),
        ({"neighbour_policy": "worst"}, "known: near-random, random"),
        ({"state": "mysql://h"}, "redis://HOST:PORT/DB"),
        ({"upstream_ca": "/nowhere/ca.pem"}, "--upstream-ca"),
    ],
)
def test_bad_settings(tmp_path: Path, flags: dict[str, object], told: str) -> None:
    with pytest.raises(UsageError, match=told):
        put_together(tmp_path, **flags)
    assert not (tmp_path / "data" / "seed").exists() or "state" in flags, "nothing was begun"


async def test_a_piece_port_that_is_taken(tmp_path: Path) -> None:
    async with put_together(tmp_path / "one") as one:
        port = one.supernode.host.peer_port
        with pytest.raises(UsageError, match="--peer-listen"):
            async with put_together(tmp_path / "other", peer_listen=f"127.0.0.1:{port}"):
                pass


async def test_two_can_not_share_a_data_directory(tmp_path: Path) -> None:
    async with put_together(tmp_path):
        with pytest.raises(DragonflyError, match="in use"):
            put_together(tmp_path)
    async with put_together(tmp_path):
        pass


async def test_the_policy_is_the_one_named(tmp_path: Path) -> None:
    async with put_together(tmp_path, neighbour_policy="random") as made:
        assert isinstance(made.supernode.scheduler._links._policy, PlainRandom)
