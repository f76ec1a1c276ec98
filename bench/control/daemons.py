"""Many simulated daemons in one process: `python -m control.daemons OPTIONS_JSON`, answers one JSON line.

Each says Hello, joins the one task when its turn comes, reports progress as often as the
supernode asked for, once asks for more neighbours, says Finished when its pull would be
over, and stays. The options are `Plan`'s fields, the answer `Tally`'s.
"""

from __future__ import annotations

import asyncio
import contextlib
import gc
import random
import resource
import sys
import time

import msgspec

from dragonfly.core.messages import (
    BytesBy,
    Digests,
    Finished,
    FromDaemon,
    Hello,
    HostInfo,
    Join,
    MoreNeighbours,
    Neighbours,
    Progress,
    TaskFailed,
    TaskInfo,
    TaskProgress,
    Welcome,
)
from dragonfly.core.task import TaskSpec
from dragonfly.wire.codec import PROTOCOL, encode, from_supernode

from .websocket import WebSocket

__all__ = ["Plan", "Tally"]


class Plan(msgspec.Struct, frozen=True, kw_only=True):
    """Times are absolute (`time.time()`), so that several processes act together."""

    port: int
    first: int
    count: int
    url: str
    digest: str
    connect_at: float
    connect_over_s: float
    join_at: float
    join_over_s: float
    pull_s: float
    end_at: float


class Tally(msgspec.Struct, kw_only=True):
    connected: int = 0
    joined: int = 0
    described: int = 0
    given: int = 0
    """Daemons that were given neighbours."""
    finished: int = 0
    closed: int = 0
    sent: int = 0
    """Messages after the join began."""
    heard: int = 0
    neighbours: list[int] = []
    join_s: list[float] = []
    """From Join to the first neighbours."""
    more_s: list[float] = []
    """From MoreNeighbours to the answer, in the midst of the pull."""
    late_s: float = 0
    """By how much this process itself was late at most while daemons joined and pulled."""
    errors: dict[str, int] = {}
    cpu_s: float = 0


class Daemon:
    """One of them."""

    def __init__(self, number: int, plan: Plan, tally: Tally) -> None:
        self.plan, self.tally = plan, tally
        self.spec = TaskSpec(url=plan.url, digest=plan.digest)
        ip = f"10.{number >> 16 & 255}.{number >> 8 & 255}.{number & 255}"
        self.host = HostInfo(
            id=f"load-{number:06}-{'0' * 20}", address=ip, peer_port=65002, hostname=f"n{number}", version="0"
        )
        self.socket: WebSocket | None = None
        self.pieces = 1
        self.report_s = 1.0
        self.known: set[str] = set()
        self.asked_at = 0.0
        self.more_at = 0.0
        self.counting = False
        self.rng = random.Random(number)

    async def live(self) -> None:
        plan, share = self.plan, self.rng.random()
        await _until(plan.connect_at + share * plan.connect_over_s)
        loop = asyncio.get_running_loop()
        socket = self.socket = WebSocket(
            f"127.0.0.1:{plan.port}",
            "/api/v1/session",
            PROTOCOL,
            on_open=self._opened,
            on_message=self._message,
            on_close=self._closed,
        )
        # One source address has 28,000 ports, all of which one destination may use up.
        source = (f"127.0.{1 + self.rng.randrange(4)}.1", 0)
        try:
            await loop.create_connection(lambda: socket, "127.0.0.1", plan.port, local_addr=source)
        except OSError as error:
            self._closed(str(error))
            return
        await _until(plan.join_at + share * plan.join_over_s)
        self.counting = True
        self.tally.joined += 1
        self.asked_at = time.perf_counter()
        self._send(Join(spec=self.spec))
        began = time.time()
        more_at = began + plan.pull_s * (0.2 + 0.6 * self.rng.random())
        await asyncio.sleep(self.rng.random() * self.report_s)
        while time.time() < began + plan.pull_s:
            self._progress((time.time() - began) / plan.pull_s)
            if self.more_at == 0.0 and time.time() >= more_at:
                self.more_at = time.perf_counter()
                self._send(MoreNeighbours(key=self.spec.key, have=tuple(self.known)))
            await asyncio.sleep(self.report_s)
        self._send(Finished(key=self.spec.key, seconds=plan.pull_s, received=BytesBy(peers=20_000_000)))
        self.tally.finished += 1
        await _until(plan.end_at)
        self.counting = False
        socket.close()

    def _progress(self, share: float) -> None:
        had = int(min(1.0, share) * self.pieces)
        received = BytesBy(peers=had * 30_000, seed=had * 1000)
        task = TaskProgress(key=self.spec.key, pieces=had, received=received, uploaded=had * 30_000)
        self._send(Progress(tasks=(task,)))

    def _send(self, message: FromDaemon) -> None:
        if self.socket is not None:
            self.tally.sent += self.counting
            self.socket.send(encode(message))

    def _opened(self) -> None:
        self.tally.connected += 1
        self._send(Hello(host=self.host))

    def _closed(self, why: str) -> None:
        if time.time() < self.plan.end_at:
            self.tally.closed += 1
            self.tally.errors[why] = self.tally.errors.get(why, 0) + 1
        self.socket = None

    def _message(self, data: bytes) -> None:
        self.tally.heard += self.counting
        match from_supernode(data):
            case Welcome(report_every_s=every):
                self.report_s = every
            case TaskInfo() as info:
                self.tally.described += 1
                self.pieces = max(1, -(-info.length // info.piece_size))
            case Neighbours(add=add, drop=drop):
                self._neighbours({peer.id for peer in add}, set(drop))
            case TaskFailed(reason=reason):
                self.tally.errors[reason] = self.tally.errors.get(reason, 0) + 1
            case Digests():
                pass

    def _neighbours(self, add: set[str], drop: set[str]) -> None:
        now = time.perf_counter()
        if not self.known and add:
            self.tally.given += 1
            self.tally.join_s.append(now - self.asked_at)
        if self.more_at > 0:
            self.tally.more_s.append(now - self.more_at)
            self.more_at = -1.0
        self.known |= add
        self.known -= drop


async def _until(at: float) -> None:
    if (wait := at - time.time()) > 0:
        await asyncio.sleep(wait)


async def _lateness(plan: Plan, tally: Tally) -> None:
    await _until(plan.join_at)
    while time.time() < plan.join_at + plan.join_over_s + plan.pull_s:
        asleep = time.perf_counter()
        await asyncio.sleep(0.01)
        tally.late_s = max(tally.late_s, time.perf_counter() - asleep - 0.01)


async def main(plan: Plan) -> Tally:
    tally = Tally()
    daemons = [Daemon(plan.first + i, plan, tally) for i in range(plan.count)]
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(plan.end_at + 5 - time.time()):
            await asyncio.gather(_lateness(plan, tally), *(daemon.live() for daemon in daemons))
    tally.neighbours = sorted(len(daemon.known) for daemon in daemons)
    tally.cpu_s = time.process_time()
    return tally


if __name__ == "__main__":
    most = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    gc.disable()  # its pauses would be taken for the supernode's
    found = asyncio.run(main(msgspec.json.decode(sys.argv[1], type=Plan)))
    sys.stdout.buffer.write(msgspec.json.encode(found) + b"\n")
