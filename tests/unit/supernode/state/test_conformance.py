"""Every place for state keeps to one contract; Redis is a real server, on loopback."""

from __future__ import annotations

import shutil
import socket
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import redis

from dragonfly.errors import CapacityError, UsageError
from dragonfly.supernode.state.base import State, open_state
from dragonfly.supernode.state.memory import MemoryState
from dragonfly.testing.state_conformance import StateConformance


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as sock:
        return int(sock.getsockname()[1])


class Server:
    """A redis-server of the test's own."""

    def __init__(self, folder: Path) -> None:
        self.address = f"redis://:hush@127.0.0.1:{free_port()}/3"
        port = self.address.rpartition(":")[2].partition("/")[0]
        self._process = subprocess.Popen(
            ["redis-server", "--bind", "127.0.0.1", "--port", port, "--save", "", "--requirepass", "hush"],
            cwd=folder, stdout=subprocess.DEVNULL,
        )  # fmt: skip
        end = time.monotonic() + 10
        while True:
            try:
                self.empty()
                return
            except redis.ConnectionError:
                assert self._process.poll() is None
                assert time.monotonic() < end
                time.sleep(0.02)

    def empty(self) -> None:
        client = redis.Redis.from_url(self.address)
        client.flushall()
        client.close()

    def stop(self) -> None:
        self._process.terminate()
        self._process.wait(10)


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    if shutil.which("redis-server") is None:
        pytest.skip("not installed: redis-server")
    made = Server(tmp_path_factory.mktemp("redis"))
    yield made
    made.stop()


class TestMemory(StateConformance):
    lasting = False

    def open(self) -> State:
        return MemoryState()


class TestSqlite(StateConformance):
    @pytest.fixture(autouse=True)
    def _place(self, tmp_path: Path) -> None:
        self.folder = tmp_path

    def open(self) -> State:
        return open_state("sqlite", self.folder)


class TestRedis(StateConformance):
    @pytest.fixture(autouse=True)
    def _place(self, server: Server, tmp_path: Path) -> None:
        server.empty()
        self.address, self.folder = server.address, tmp_path

    def open(self) -> State:
        return open_state(self.address, self.folder)


# ---------------------------------------------------------------- what goes wrong


@pytest.mark.parametrize(
    "address",
    ["", "mysql://h/x", "redis", "redis://h:port/0", "redis://h:6379/zero", "redis://h:99999/0", "redis://[::1/0"],
)
def test_an_address_that_is_none_is_bad_usage(tmp_path: Path, address: str) -> None:
    with pytest.raises(UsageError, match="state") as caught:
        open_state(address, tmp_path)
    assert "redis://HOST:PORT/DB" in str(caught.value)


def test_no_server_there_and_its_password_is_not_told(tmp_path: Path) -> None:
    with pytest.raises(CapacityError) as caught:
        open_state(f"redis://user:hush@127.0.0.1:{free_port()}/0", tmp_path)
    assert "127.0.0.1" in str(caught.value)
    assert "hush" not in str(caught.value)


def test_a_wrong_password_is_said_to_be_that(tmp_path: Path, server: Server) -> None:
    with pytest.raises(CapacityError, match="password"):
        open_state(server.address.replace("hush", "wrong"), tmp_path)


def test_a_server_that_went_away_is_an_error_of_ours(tmp_path: Path) -> None:
    if shutil.which("redis-server") is None:
        pytest.skip("not installed: redis-server")
    server = Server(tmp_path)
    state = open_state(server.address, tmp_path)
    state.put("job", "a", b"1")
    server.stop()
    for call in (
        lambda: state.get("job", "a"),
        lambda: state.put("job", "a", b"1"),
        lambda: state.add("job", "a", b"1"),
        lambda: state.remove("job", "a"),
        lambda: state.all("job"),
    ):
        with pytest.raises(CapacityError):
            call()
    state.close()


def test_a_state_file_that_is_none(tmp_path: Path) -> None:
    (tmp_path / "state.db").write_bytes(b"no database" * 1000)
    with pytest.raises(CapacityError, match=r"state\.db"):
        open_state("sqlite", tmp_path)


def test_a_folder_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(CapacityError, match="No such file"):
        open_state("sqlite", tmp_path / "none")


def test_a_closed_file_is_an_error_of_ours(tmp_path: Path) -> None:
    state = open_state("sqlite", tmp_path)
    state.close()
    state.close()
    with pytest.raises(CapacityError):
        state.get("job", "a")


def test_nobody_else_can_read_the_secret(tmp_path: Path) -> None:
    state = open_state("sqlite", tmp_path)
    state.put("secret", "tickets", b"x" * 32)
    modes = {file.name: oct(file.stat().st_mode & 0o777) for file in tmp_path.iterdir()}
    state.close()
    assert "state.db" in modes
    assert set(modes.values()) == {"0o600"}, modes
