"""Whatever a neighbour sends: the node goes on, keeps nothing wrong, and leaks nothing."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import struct
import tempfile
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from dragonfly.core.task import TaskSpec
from dragonfly.peer.engine import Engine
from dragonfly.testing.origin import Origin, Reply
from dragonfly.wire import piece as wire
from dragonfly.wire.piece import Kind
from unit.peer.world import SETTINGS, TICKET, a_world, descriptors, digest_of, some_bytes

DATA = some_bytes(1_000_000)
PIECE = 32 * 1024
PIECES = -(-len(DATA) // PIECE)
HEALTH = settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


class Node:
    """A seed in a thread: it has all of `whole`, and the beginning of `part`, whose source is silent."""

    def __init__(self, origin: Origin) -> None:
        self.whole = TaskSpec(url=origin.serve("/whole", DATA), digest=digest_of(DATA))
        self.part = TaskSpec(url=origin.serve("/part", DATA + b"x"), digest=digest_of(DATA + b"x"))
        origin.then("/part", Reply(stall_after=300_000))
        self.complaints: list[object] = []
        self.ready = threading.Event()
        self._thread = threading.Thread(target=lambda: asyncio.run(self._main()))
        self._thread.start()
        assert self.ready.wait(10)

    async def _main(self) -> None:
        self.loop = asyncio.get_running_loop()
        self.loop.set_exception_handler(lambda _, context: self.complaints.append(context))
        self._end = asyncio.Event()
        with tempfile.TemporaryDirectory() as folder:
            async with a_world(Path(folder)) as world:
                patient = msgspec.structs.replace(SETTINGS, source_timeout_s=60.0)
                self.engine: Engine = await world.node("seed", patient)
                async with await self.engine.open(self.whole) as one, await self.engine.open(self.part) as two:
                    await one.finished()
                    await two.described()
                    self.port = self.engine.host.peer_port
                    await asyncio.sleep(0.2)  # what the pulls began is over
                    self.ready.set()
                    await self._end.wait()

    def close(self) -> None:
        self.loop.call_soon_threadsafe(self._end.set)
        self._thread.join(20)

    def tasks(self) -> int:
        async def count() -> int:
            return len(asyncio.all_tasks())

        return asyncio.run_coroutine_threadsafe(count(), self.loop).result(5)

    def sessions(self) -> int:
        async def count() -> int:
            return sum(run.sessions for run in self.engine.runs())

        return asyncio.run_coroutine_threadsafe(count(), self.loop).result(5)

    def say(self, data: bytes) -> bytes:
        """Send `data` and the end, and read all that comes."""
        with socket.create_connection(("127.0.0.1", self.port), 5) as sock:
            with contextlib.suppress(OSError):
                sock.sendall(data)
                sock.shutdown(socket.SHUT_WR)
            found = b""
            with contextlib.suppress(ConnectionResetError):
                while part := sock.recv(1 << 20):
                    found += part
            return found

    def head(self, spec: TaskSpec, peer: str = "p", lane: int = 0) -> bytes:
        return (
            f"GET /v1/tasks/{spec.key}/session?version=&piece_size={PIECE} HTTP/1.1\r\nHost: x\r\n"
            f"Connection: Upgrade\r\nUpgrade: {wire.UPGRADE}\r\nDragonfly-Peer: {peer}\r\nDragonfly-Lane: {lane}\r\n"
            f"Authorization: Bearer {TICKET}\r\n\r\n"
        ).encode()

    def serves(self) -> bool:
        """An honest neighbour gets its piece."""
        with socket.create_connection(("127.0.0.1", self.port), 5) as sock:
            sock.sendall(self.head(self.whole, "honest") + wire.plain_frame(Kind.REQUEST, 3, 1))
            found = b""
            while DATA[3 * PIECE : 4 * PIECE] not in found:
                part = sock.recv(1 << 20)
                if not part:
                    return False
                found += part
            return True


@pytest.fixture(scope="module")
def node() -> Iterator[Node]:
    with Origin() as origin:
        made = Node(origin)
        yield made
        made.close()


@contextlib.contextmanager
def nothing_left(node: Node) -> Iterator[None]:
    """Around one example: descriptors, tasks and sessions are as before, and nobody complained."""
    before = descriptors(), node.tasks()
    yield
    for _ in range(500):
        if descriptors() <= before[0] and node.tasks() <= before[1] and not node.sessions():
            break
        threading.Event().wait(0.01)
    else:
        raise AssertionError(f"before {before}, now {descriptors(), node.tasks()}, {node.sessions()} sessions")
    assert node.complaints == []


U32 = (
    st.integers(0, 40) | st.sampled_from([PIECES - 1, PIECES, PIECES + 1, 2**31, 2**32 - 1]) | st.integers(0, 2**32 - 1)
)


@st.composite
def frames(draw: st.DrawFn) -> bytes:
    """A frame that is nearly right: kinds and numbers as they should be or not, a payload as long as said or not."""
    kind = draw(st.sampled_from(list(Kind)) | st.integers(0, 255))
    payload = draw(
        st.one_of(
            st.just(b""),
            st.binary(max_size=40),
            st.lists(st.tuples(U32, U32), max_size=4).map(lambda runs: b"".join(struct.pack("!II", *r) for r in runs)),
            st.integers(0, PIECES).map(lambda index: DATA[index * PIECE : (index + 1) * PIECE]),
        )
    )
    length = draw(st.just(len(payload)) | U32)
    return struct.pack("!BBHIII", kind, draw(st.integers(0, 3)), 0, draw(U32), draw(U32), length) + payload


@HEALTH
@given(data=st.binary(max_size=300))
def test_garbage_instead_of_a_handshake(node: Node, data: bytes) -> None:
    with nothing_left(node):
        node.say(data)


TARGETS = st.sampled_from(
    [
        "/",
        "*",
        "//[",
        "http://[/",
        "/v1/tasks/x/session",
        "/v1/tasks//session?version",
        "/v1/tasks/x/session?piece_size=-1",
        "/healthz",
        "/v1/tasks/../session",
    ]
) | st.text(st.characters(min_codepoint=33, max_codepoint=126), min_size=1, max_size=30)


@HEALTH
@given(
    method=st.sampled_from(["GET", "POST", "HEAD", "BREW"]),
    target=TARGETS,
    headers=st.dictionaries(
        st.sampled_from(["Host", "Upgrade", "Dragonfly-Peer", "Dragonfly-Lane", "Authorization", "Content-Length"]),
        st.sampled_from([wire.UPGRADE, "x", "", "-1", "99", "100", "²", f"Bearer {TICKET}"]),
    ),
)
def test_handshakes_that_are_nearly_right(node: Node, method: str, target: str, headers: dict[str, str]) -> None:
    lines = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
    with nothing_left(node):
        answer = node.say(f"{method} {target} HTTP/1.1\r\n{lines}\r\n".encode())
    assert answer[:12] != b"HTTP/1.1 101"


@HEALTH
@given(part=st.booleans(), lane=st.integers(0, 2), said=st.lists(frames(), max_size=6))
def test_frames_that_are_nearly_right(node: Node, part: bool, lane: int, said: list[bytes]) -> None:
    with nothing_left(node):
        node.say(node.head(node.part if part else node.whole, lane=lane) + b"".join(said))


def test_after_all_that_honest_neighbours_are_served(node: Node) -> None:
    with nothing_left(node):
        assert node.serves()
    blob = node.engine.node.store.get(node.part.key)
    assert blob is not None
    assert blob.verify() == 0
    data = blob.path.read_bytes()
    assert all(
        data[index * PIECE : (index + 1) * PIECE] == (DATA + b"x")[index * PIECE : (index + 1) * PIECE]
        for index in range(PIECES)
        if blob.have >> index & 1
    )


def test_who_goes_away_within_its_handshake_holds_nothing(node: Node) -> None:
    with nothing_left(node), socket.create_connection(("127.0.0.1", node.port), 10) as sock:
        sock.sendall(b"GET /healthz HTTP/1.1\r\n")
        sock.shutdown(socket.SHUT_WR)
        begun = time.monotonic()
        with contextlib.suppress(ConnectionResetError):
            sock.recv(1000)
        assert time.monotonic() - begun < 1


def test_health(node: Node) -> None:
    assert node.say(b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n").startswith(b"HTTP/1.1 200")
