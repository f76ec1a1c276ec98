"""A daemon of the user's own, where the node has none."""

from __future__ import annotations

import contextlib
import os
import signal
import tempfile
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from dragonfly.client import Client, Wanted
from dragonfly.client.private import private_daemon
from dragonfly.errors import UsageError
from dragonfly.testing.origin import Origin


@pytest.fixture
def base() -> Iterator[Path]:
    with tempfile.TemporaryDirectory(prefix="df-", ignore_cleanup_errors=True) as folder:
        yield Path(folder)


def test_downloads_that_begin_at_once_start_one_daemon_which_ends_by_itself(
    base: Path, origin: Origin, content: bytes
) -> None:
    def bring(number: int) -> int:
        client = Client(base, seed_time_s=1.0)
        client.get(Wanted(url=origin.url("/f")), base / f"f{number}")
        status = client.daemon().status()
        assert status is not None
        return status.pid

    pids: set[int] = set()
    try:
        with ThreadPoolExecutor(3) as pool:
            pids = set(pool.map(bring, range(3)))
        assert len(pids) == 1
        assert (base / "f2").read_bytes() == content
        end = time.monotonic() + 20
        while private_socket(base).exists():
            assert time.monotonic() < end, "it stays"
            time.sleep(0.1)
    finally:
        for pid in pids:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGTERM)


def test_a_relative_data_directory_is_the_callers(base: Path, origin: Origin, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(base)
    client = Client(Path("rel"), seed_time_s=1.0)
    client.get(Wanted(url=origin.url("/f")), Path("f"))
    status = client.daemon().status()
    assert status is not None
    os.kill(status.pid, signal.SIGTERM)
    assert (base / "rel" / "dfget").is_dir()


def test_a_folder_that_cannot_be_made(base: Path) -> None:
    (base / "file").write_text("")
    with pytest.raises(UsageError):
        private_daemon(base / "file", (), 1.0)


def private_socket(base: Path) -> Path:
    return base / "dfget" / "alone" / "dfdaemon.sock"
