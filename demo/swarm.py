"""One supernode and some daemons as processes of this machine, on loopback ports, in a temporary folder."""

from __future__ import annotations

import contextlib
import ctypes
import re
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from pathlib import Path
from typing import Self

COMMANDS = Path(sys.executable).parent
_START_LIMIT_S = 30.0
_PR_SET_PDEATHSIG = 1
_RECEIVED = re.compile(r'^dragonfly_received_bytes_total\{origin="(\w+)"\} (\S+)$', re.MULTILINE)
_libc = ctypes.CDLL(None)
_direct = urllib.request.build_opener(urllib.request.ProxyHandler({}))


class SwarmError(RuntimeError):
    """A program of the swarm did not start or died; its last words are in the message."""


class Swarm:
    """`supernode` and `count` × `dfdaemon` in front of one registry. All of them end with the `with`.

    The supernode sends at most `rate` bytes/s, so that nodes must give to each other.
    """

    def __init__(self, folder: Path, count: int, registry: str, rate: int) -> None:
        ports = free_ports(2 + 2 * count)
        self._folder, self._ends = folder, contextlib.ExitStack()
        control, seed = ports[:2]
        self.supernode = f"127.0.0.1:{control}"
        self.nodes = [Node(folder / f"node{i + 1}", *ports[2 + 2 * i : 4 + 2 * i]) for i in range(count)]
        self._commands: dict[str, list[str]] = {
            "supernode": [
                "--listen", self.supernode, "--peer-listen", f"127.0.0.1:{seed}",
                "--advertise", "127.0.0.1", "--data-dir", str(folder / "supernode"),
                "--upload-limit", str(rate),
            ]
        }  # fmt: skip
        self._health = {"supernode": f"http://{self.supernode}/healthz"}
        for node in self.nodes:
            self._commands[node.name] = [
                "--supernode", self.supernode, "--listen", f"127.0.0.1:{node.port}",
                "--peer-listen", f"127.0.0.1:{node.peer_port}", "--advertise", "127.0.0.1",
                "--registry", registry, "--data-dir", str(node.data),
            ]  # fmt: skip
            self._health[node.name] = f"{node.url}/healthz"
        self._running: dict[str, subprocess.Popen[bytes]] = {}

    def __enter__(self) -> Self:
        try:
            for name in self._commands:
                self._start(name)
                if name == "supernode":
                    self._wait([name])
            self._wait(list(self._commands))
        except BaseException:
            self._ends.close()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self._ends.close()

    def _start(self, name: str) -> None:
        program = "supernode" if name == "supernode" else "dfdaemon"
        with (self._folder / f"{name}.log").open("wb") as log:
            process = subprocess.Popen(
                [COMMANDS / program, *self._commands[name]], stdin=subprocess.DEVNULL, stdout=log, stderr=log,
                start_new_session=True, preexec_fn=_end_with_parent,
            )  # fmt: skip
        self._running[name] = process
        self._ends.callback(_end, process)

    def _wait(self, names: list[str]) -> None:
        deadline = time.monotonic() + _START_LIMIT_S
        waiting = set(names)
        while waiting:
            for name in sorted(waiting):
                if self._running[name].poll() is not None or time.monotonic() > deadline:
                    words = (self._folder / f"{name}.log").read_text(errors="replace")[-2000:]
                    raise SwarmError(f"{name} did not start:\n{words}")
                if _answers(self._health[name]):
                    waiting.remove(name)
            time.sleep(0.05)

    def check(self) -> None:
        """SwarmError where one of the programs is gone."""
        for name, process in self._running.items():
            if process.poll() is not None:
                words = (self._folder / f"{name}.log").read_text(errors="replace")[-2000:]
                raise SwarmError(f"{name} ended with status {process.returncode}:\n{words}")


class Node:
    """Where one daemon is."""

    def __init__(self, data: Path, port: int, peer_port: int) -> None:
        self.data, self.port, self.peer_port = data, port, peer_port
        self.name = data.name
        self.url = f"http://127.0.0.1:{port}"

    def received(self) -> int:
        """Verified bytes that the daemon got from anywhere since its start, by its own metrics."""
        return sum(self.received_from().values())

    def received_from(self) -> dict[str, int]:
        """The same by where they came from: seed, peers or source."""
        with _direct.open(f"{self.url}/metrics", timeout=10) as answer:
            text = answer.read().decode()
        return {origin: int(float(value)) for origin, value in _RECEIVED.findall(text)}


def free_ports(count: int) -> list[int]:
    """Ports that nobody listens on now."""
    with contextlib.ExitStack() as held:
        sockets = [held.enter_context(socket.socket()) for _ in range(count)]
        for one in sockets:
            one.bind(("127.0.0.1", 0))
        return [int(one.getsockname()[1]) for one in sockets]


def _answers(url: str) -> bool:
    try:
        with _direct.open(url, timeout=2) as answer:
            return bool(answer.status == 200)
    except OSError:
        return False


def _end_with_parent() -> None:
    """In the child, before exec: however the demo ends, the kernel ends this process then."""
    _libc.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)


def _end(process: subprocess.Popen[bytes]) -> None:
    process.terminate()
    try:
        process.wait(10)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
