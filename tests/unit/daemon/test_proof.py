"""A yes of somebody who does not have a content opens nothing."""

import asyncio
import contextlib
import os
import random
from collections.abc import Iterator

import aiohttp
import pytest
from aiohttp import web

from dragonfly.core.task import TaskKey, TaskSpec
from dragonfly.daemon.proof import Proven, places_of
from dragonfly.daemon.settings import Rule
from dragonfly.errors import IntegrityError
from dragonfly.wire import local
from unit.daemon.standin import Registry, ranged
from unit.daemon.test_control import Program, stored
from unit.daemon.world import World, basic

SECRET = os.urandom(200_000)


async def cached(world: World) -> str:
    """The digest of what ann alone may read, and this node has."""
    world.registry.users = {"ann": ("a", {"private/x"})}
    await world.start(rules=(Rule(regex="blobs/"),))
    digest = world.registry.add(SECRET)
    async with world.client.get(f"{world.url}/v2/private/x/blobs/{digest}", headers=basic("ann", "a")) as answer:
        assert await answer.read() == SECRET
    return digest


async def yes(request: web.BaseRequest) -> web.StreamResponse:
    """Has nothing of what it is asked for, but says that it has."""
    return ranged(request, bytes(len(SECRET)), {"ETag": '"yes"'})


async def test_a_server_that_says_yes_to_everything_opens_nothing(world: World) -> None:
    digest = await cached(world)
    liar = await world.listen(yes)
    namespace = liar.removeprefix("http://")
    for url, proxy in (
        (f"{world.url}/v2/private/x/blobs/{digest}?ns={namespace}", None),
        (f"{liar}/v2/private/x/blobs/{digest}", world.url),
    ):
        for headers in ({}, {"Range": "bytes=1000-2000"}, {"Range": "bytes=0-9,1000-1009"}):
            async with world.client.get(url, proxy=proxy, headers=headers) as answer:
                assert set(await answer.read()) <= set(b"\0")
                assert answer.headers["X-Dragonfly-Source"] == "pass"


@pytest.mark.parametrize("of", ["a liar", "something else"])
async def test_a_digest_in_a_download_is_not_a_right_to_it(world: World, of: str) -> None:
    digest = await cached(world)
    world.registry.users = {}
    world.registry.files["/public"] = (b"short", {})
    url = f"{await world.listen(yes)}/x" if of == "a liar" else f"{world.registry.origin}/public"
    async with Program(world) as program:
        _, told = await program.download(TaskSpec(url=url, digest=digest))
        assert isinstance(told[-1], local.Failed)
        opened = [word for word in told if isinstance(word, local.Opened)]
        assert [await program.content(word.id) for word in opened] == [
            (404, b'{"type":"Failed","kind":"UsageError","what":"no such download, or it is too long ago"}')
        ]


async def test_who_shows_that_it_has_the_content_shares_it(world: World) -> None:
    digest = await cached(world)
    other = Registry()
    other.add(SECRET)
    namespace = (await world.listen(other.serve)).removeprefix("http://")
    for _ in range(2):
        async with world.client.get(f"{world.url}/v2/y/blobs/{digest}?ns={namespace}") as answer:
            assert await answer.read() == SECRET
            assert answer.headers["X-Dragonfly-Source"] == "cache"
    samples = [headers["Range"] for method, _, headers in other.asked if method == "GET"]
    assert len(samples) == 1
    first, last = map(int, samples[0].removeprefix("bytes=").split("-"))
    assert last - first + 1 == 32


async def test_a_server_without_ranges_is_asked_itself(world: World) -> None:
    digest = await cached(world)

    async def whole(request: web.BaseRequest) -> web.StreamResponse:
        return web.Response(body=SECRET)

    namespace = (await world.listen(whole)).removeprefix("http://")
    async with world.client.get(f"{world.url}/v2/y/blobs/{digest}?ns={namespace}") as answer:
        assert await answer.read() == SECRET
        assert answer.headers["X-Dragonfly-Source"] == "pass"


async def test_a_slow_proof_is_waited_for_while_the_caller_hears_of_it(world: World) -> None:
    digest = await cached(world)
    asked = []

    async def slow(request: web.BaseRequest) -> web.StreamResponse:
        if request.method == "GET":
            asked.append(request.headers["Range"])
            await asyncio.sleep(0.5)
        return ranged(request, SECRET, {})

    async with Program(world) as program:
        _, told = await program.download(TaskSpec(url=await world.listen(slow) + "/file", digest=digest))
        assert isinstance(told[-1], local.Ended)
        assert stored(told[-1]) == SECRET
        assert sum(isinstance(word, local.Moved) for word in told) > 1
    assert len(asked) == 1


@pytest.mark.parametrize("of", ["the registry", "another, by the proxy"])
async def test_a_fragment_hides_no_other_question(world: World, of: str) -> None:
    """Sources are asked without it: for something else than the blob that it seems to name."""
    digest = await cached(world)
    world.registry.users = {}
    world.registry.manifests["latest"] = b"{}"
    before = world.registry.origin if of != "the registry" else ""
    reader, writer = await asyncio.open_connection("127.0.0.1", world.port)
    writer.write(f"GET {before}/v2/y/manifests/latest#/blobs/{digest} HTTP/1.1\r\nHost: p2p.test\r\n\r\n".encode())
    assert (await reader.readline()).split()[1] == b"400"
    writer.close()


KEY = TaskKey("sha256-" + "7" * 64)
LENGTH = 1_000_000
PLACES = places_of(KEY, LENGTH)


class Growing:
    """A pull of which more is there at each look."""

    def __init__(self, data: bytes, step: int) -> None:
        self._data, self._step, self._end = data, step, 0
        self._file = os.memfd_create("growing")
        os.pwrite(self._file, data, 0)

    def at(self, offset: int) -> None:
        pass

    async def available(self, offset: int, *, part: bool = False) -> int:
        while self._end <= offset:
            self._end = min(len(self._data), self._end + self._step)
        return self._end

    def fileno(self) -> int:
        return self._file

    def close(self) -> None:
        os.close(self._file)


@pytest.fixture
def growing() -> Iterator[Growing]:
    made = Growing(random.Random(3).randbytes(LENGTH), 10_000)
    yield made
    made.close()


async def test_a_long_stream_begins_with_its_first_piece_and_needs_few_proofs(growing: Growing) -> None:
    asked: list[int] = []
    shown: list[int] = []

    async def sample(start: int, end: int) -> bytes:
        assert end - start == 32
        asked.append(start)
        return os.pread(growing.fileno(), end - start, start)

    proven = Proven(growing, PLACES, LENGTH, sample, shown=shown.append)
    position, jumps = 0, 0
    while position < LENGTH:
        after = await proven.available(position)
        assert after > position
        position, jumps = after, jumps + 1
    assert jumps > 70, "it waited for more than was needed"
    assert asked == PLACES
    assert shown == [*PLACES[1:], LENGTH]


async def test_who_knows_the_beginning_never_gets_the_rest(growing: Growing) -> None:
    """However often it is tried, from wherever, with all that was got before."""
    known = bytearray(LENGTH)
    assert PLACES[1] < 500_000 < PLACES[2]
    known[:500_000] = os.pread(growing.fileno(), 500_000, 0)

    async def sample(start: int, end: int) -> bytes:
        return bytes(known[start:end])

    for attempt in range(100):
        offset = 0 if attempt == 0 else random.Random(attempt).randrange(LENGTH)
        proven = Proven(growing, PLACES, LENGTH, sample)
        with contextlib.suppress(IntegrityError):
            while offset < LENGTH:
                end = await proven.available(offset)
                known[offset:end] = os.pread(growing.fileno(), end - offset, offset)
                offset = end
    assert not any(known[PLACES[2] :])


async def test_a_part_in_the_middle_needs_the_nearest_proof(growing: Growing) -> None:
    asked: list[int] = []

    async def sample(start: int, end: int) -> bytes:
        asked.append(start)
        return os.pread(growing.fileno(), end - start, start)

    proven = Proven(growing, PLACES, LENGTH, sample)
    await proven.available(PLACES[1] + 1)
    await proven.available(0)
    assert asked == [PLACES[2]]


@pytest.mark.parametrize("length", [0, 1, 31, 32, 33, 1 << 18, (1 << 18) + 1, 1_000_000, 5 << 30])
def test_places_cover_a_content_of_any_length(length: int) -> None:
    places = places_of(KEY, length)
    assert places == sorted(places)
    assert all(0 <= place <= max(0, length - 32) for place in places)
    assert len(places) <= 20
    assert bool(places) is (length > 0)
    assert not places or length < 1 << 20 or places[-1] >= length // 4


async def test_a_source_in_trouble_is_asked_again(world: World) -> None:
    digest = await cached(world)
    troubles = iter([503, 429])

    async def busy(request: web.BaseRequest) -> web.StreamResponse:
        status = next(troubles, 0) if request.method == "GET" else 0
        return web.Response(status=status) if status else ranged(request, SECRET, {})

    namespace = (await world.listen(busy)).removeprefix("http://")
    async with world.client.get(f"{world.url}/v2/y/blobs/{digest}?ns={namespace}") as answer:
        assert await answer.read() == SECRET
        assert answer.headers["X-Dragonfly-Source"] == "cache"
    assert isinstance(answer, aiohttp.ClientResponse)
