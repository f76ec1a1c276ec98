"""The library, with a real daemon and a real origin."""

from __future__ import annotations

import hashlib
from pathlib import Path

import pytest

from dragonfly.client import AsyncClient, Client, Wanted
from dragonfly.errors import IntegrityError, SourceError, StoppedError, UnsizedError, UsageError
from dragonfly.testing.origin import Origin
from dragonfly.wire.local import Moved


def test_a_file_comes_whole_and_then_from_the_cache(
    data_dir: Path, origin: Origin, content: bytes, tmp_path: Path
) -> None:
    client, seen = Client(data_dir), list[Moved]()
    wanted = Wanted(url=origin.url("/f"))
    first = client.get(wanted, tmp_path / "a", moved=lambda _, now: seen.append(now))
    second = client.get(wanted, tmp_path / "b")
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes() == content
    assert first.received.source == len(content)
    assert second.received.cache == len(content)
    assert seen[-1].done == seen[-1].total == len(content)


def test_the_daemon_is_asked_for_its_status_tasks_and_traces(data_dir: Path, origin: Origin, tmp_path: Path) -> None:
    client = Client(data_dir)
    result = client.get(Wanted(url=origin.url("/f"), tag="told"), tmp_path / "f")
    status = client.status()
    assert status is not None
    assert status.supernode in ("connected", "none")
    assert result.key in [line.key for line in client.tasks()]
    assert client.trace(result.key)
    client.forget(result.key)
    with pytest.raises(UsageError):
        client.forget("no-such-task")


def test_a_stream_gives_the_content_in_order(data_dir: Path, origin: Origin, content: bytes) -> None:
    assert b"".join(Client(data_dir).stream(Wanted(url=origin.url("/f")))) == content
    part = Wanted(url=origin.url("/f"), start=1000, end=2001)
    assert b"".join(Client(data_dir).stream(part)) == content[1000:2001]


def test_a_stream_tells_what_failed(data_dir: Path, origin: Origin) -> None:
    with pytest.raises(SourceError) as caught:
        b"".join(Client(data_dir).stream(Wanted(url=origin.url("/none"))))
    assert caught.value.status == 404
    with pytest.raises(UnsizedError):
        b"".join(Client(data_dir).stream(Wanted(url=origin.url("/chunked"))))


def test_a_stream_that_is_left_early_is_given_up(data_dir: Path, origin: Origin) -> None:
    stream = Client(data_dir).stream(Wanted(url=origin.url("/f"), tag="left", rate=200_000))
    assert next(stream)
    stream.close()


async def test_the_same_for_event_loops(data_dir: Path, origin: Origin, content: bytes, tmp_path: Path) -> None:
    client = AsyncClient(data_dir)
    wanted = Wanted(url=origin.url("/f"))
    await client.get(wanted, tmp_path / "f")
    assert (tmp_path / "f").read_bytes() == content
    assert b"".join([part async for part in client.stream(wanted)]) == content
    assert await client.status() is not None


def test_content_without_a_length_is_read_from_the_source(
    data_dir: Path, origin: Origin, content: bytes, tmp_path: Path
) -> None:
    digest = "sha256:" + hashlib.sha256(content).hexdigest()
    result = Client(data_dir).get(Wanted(url=origin.url("/chunked"), digest=digest), tmp_path / "f")
    assert (tmp_path / "f").read_bytes() == content
    assert result.fallback
    with pytest.raises(IntegrityError):
        Client(data_dir).get(Wanted(url=origin.url("/chunked"), digest="sha256:" + "0" * 64), tmp_path / "g")
    assert [path.name for path in tmp_path.iterdir()] == ["f"]


def test_a_source_without_ranges_is_shared_under_its_url_and_checked_here(
    data_dir: Path, origin: Origin, content: bytes, tmp_path: Path
) -> None:
    origin.serve("/plain", content, etag='"1"', ranges=False)
    digest = f"sha256:{hashlib.sha256(content).hexdigest()}"
    for number in range(2):
        result = Client(data_dir).get(Wanted(url=origin.url("/plain"), digest=digest), tmp_path / f"f{number}")
        assert (tmp_path / f"f{number}").read_bytes() == content
        assert (result.digest, result.length) == (digest, len(content))
    assert result.received.cache == len(content)
    assert len(origin.asked("/plain", "GET")) == 1
    with pytest.raises(IntegrityError):
        Client(data_dir).get(Wanted(url=origin.url("/plain"), digest="sha256:" + "0" * 64), tmp_path / "g")
    assert not (tmp_path / "g").exists()


def test_what_fails_keeps_the_file_that_was_there(data_dir: Path, origin: Origin, tmp_path: Path) -> None:
    (tmp_path / "f").write_text("mine")
    with pytest.raises(SourceError):
        Client(data_dir).get(Wanted(url=origin.url("/none")), tmp_path / "f")
    assert (tmp_path / "f").read_text() == "mine"
    with pytest.raises(UsageError):
        Client(data_dir).get(Wanted(url=origin.url("/f")), tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["f"]


def test_what_is_given_up_asks_for_nothing_more(data_dir: Path, origin: Origin, tmp_path: Path) -> None:
    client = Client(data_dir)
    client.daemon()
    client.give_up()
    with pytest.raises(StoppedError):
        client.get(Wanted(url=origin.url("/f")), tmp_path / "f")
    assert list(tmp_path.iterdir()) == []
    assert origin.asked("/f") == []


def test_no_daemon_is_started_to_be_asked_how_it_is(tmp_path: Path) -> None:
    assert Client(tmp_path).status() is None
    assert list(tmp_path.iterdir()) == []
