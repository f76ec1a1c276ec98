"""Who lets a client read a content must have it: the yes of anybody else opens nothing.

A blob is its digest, wherever it is asked for. So a server that says yes to everything, or a URL of
something else, would open whatever other registries keep private and this node or its swarm has.
Before bytes are given in the name of a server that is no registry of the operator's, it shows that it
has them: a few at certain places, asked of it and compared. One place lies in the first 256 KiB, one in
each doubling after them, and the bytes up to the next one are given: a stream begins with its first
piece, and who knows the beginning of a content gets a little more of it and never the rest. Places
follow from the digest, so that neither another try nor another node asks about one that was given.
"""

from __future__ import annotations

import asyncio
import bisect
import os
import random
from collections.abc import Awaitable, Callable, Sequence

import aiohttp
import tenacity
from cachetools import LRUCache
from multidict import CIMultiDict

from dragonfly.core.ranges import content_range
from dragonfly.core.task import TaskKey
from dragonfly.daemon.authorize import Grant, question
from dragonfly.daemon.headers import Headers
from dragonfly.daemon.policy import origin_of
from dragonfly.daemon.stream import Readable
from dragonfly.daemon.upstreams import Upstreams
from dragonfly.errors import IntegrityError, SourceUnreachable, UnsizedError

__all__ = ["Proofs", "Prove", "Proven", "places_of"]

#: More than can be guessed of anything compressed or secret.
_SAMPLE = 32
_FIRST = 256 * 1024
_MOST = 20_000
_ATTEMPTS = 4

#: A pull and its length → the same bytes, as far as they may be given.
Prove = Callable[[Readable, int], Readable]


class Proofs:
    """Asks for samples, and remembers which server has shown that it has which content."""

    def __init__(self, upstreams: Upstreams) -> None:
        self._upstreams = upstreams
        self._shown: LRUCache[tuple[str, TaskKey], int] = LRUCache(_MOST)

    def by(self, grant: Grant, key: TaskKey, headers: Headers) -> Prove:
        """For a client with these `headers`, whom the server of `grant` has let in to the content `key`."""
        who = (origin_of(grant.url), key)

        def prove(pull: Readable, length: int) -> Readable:
            limit = self._shown.get(who, 0)
            if limit == length:
                return pull

            async def sample(start: int, end: int) -> bytes:
                return await self._sample(grant, headers, start, end, length)

            def shown(limit: int) -> None:
                self._shown[who] = limit

            return Proven(pull, places_of(key, length), length, sample, limit=limit, shown=shown)

        return prove

    async def _sample(self, grant: Grant, headers: Headers, start: int, end: int, length: int) -> bytes:
        """Bytes [start, end) as that server has them; UnsizedError where it has another length, or gives no ranges."""
        asked = question(headers)
        asked["Range"] = f"bytes={start}-{end - 1}"
        asked["User-Agent"] = "dragonfly"  # the client asks for no such thing
        async for attempt in tenacity.AsyncRetrying(
            retry=tenacity.retry_if_exception_type(SourceUnreachable),
            stop=tenacity.stop_after_attempt(_ATTEMPTS),
            wait=tenacity.wait_random_exponential(multiplier=0.3, max=2.0),
            reraise=True,
        ):
            with attempt:
                return await self._ask(grant, asked, end - start, content_range(start, end, length))
        raise AssertionError("unreachable")

    async def _ask(self, grant: Grant, headers: CIMultiDict[str], count: int, told: str) -> bytes:
        async with self._upstreams.ask("GET", grant.url, target=grant.target, headers=headers, follow=True) as answer:
            if answer.status >= 500 or answer.status in (408, 429):
                raise SourceUnreachable(
                    f"the source says {answer.status}", subject=grant.target.base, status=answer.status
                )
            if answer.status != 206 or answer.headers.get("Content-Range", "") != told:
                raise UnsizedError(
                    "the source can't show that it has this content",
                    subject=grant.target.base,
                    advice="it gives no byte ranges, or has something else",
                )
            try:
                return await answer.content.readexactly(count)
            except (aiohttp.ClientError, asyncio.IncompleteReadError) as error:
                raise SourceUnreachable("the source broke off", subject=grant.target.base) from error


class Proven:
    """The bytes of `pull`, as far as `sample(start, end)` of the source is the same. For one reader.

    `limit`: what the source has shown before; `shown` is told each further one.
    """

    def __init__(
        self,
        pull: Readable,
        places: Sequence[int],
        length: int,
        sample: Callable[[int, int], Awaitable[bytes]],
        *,
        limit: int = 0,
        shown: Callable[[int], None] = lambda limit: None,
    ) -> None:
        self._pull = pull
        self._places = places
        self._length = length
        self._sample = sample
        self._limit = limit
        self._shown = shown

    def at(self, offset: int) -> None:
        self._pull.at(offset)

    def fileno(self) -> int:
        return self._pull.fileno()

    async def available(self, offset: int, *, part: bool = False) -> int:
        """As `Pull.available`. Raises IntegrityError where the source has other bytes than we."""
        end = await self._pull.available(offset, part=part)
        if self._limit <= offset < self._length:
            await self._compare(self._place(offset, end))
        return min(end, self._limit)

    def _place(self, offset: int, end: int) -> int:
        """The number of the place to ask about: the last of those that are here, else the nearest one."""
        here = bisect.bisect_right(self._places, end - _SAMPLE) - 1
        if here >= 0 and self._places[here] >= offset:
            return here
        return min(bisect.bisect_left(self._places, offset), len(self._places) - 1)

    async def _compare(self, number: int) -> None:
        place = self._places[number]
        count = min(_SAMPLE, self._length - place)
        ready = place
        while ready < place + count:
            ready = await self._pull.available(ready, part=True)
        if await self._sample(place, place + count) != os.pread(self._pull.fileno(), count, place):
            raise IntegrityError("the source has other bytes than its digest promises")
        self._limit = self._places[number + 1] if number + 1 < len(self._places) else self._length
        self._shown(self._limit)


def places_of(key: TaskKey, length: int) -> list[int]:
    """Where a content of `length` bytes is looked at: once in its first 256 KiB, and in each doubling."""
    dice = random.Random(key)
    found, start, end = [], 0, _FIRST
    while start < length:
        if length - end < _FIRST // 2:
            end = length  # no rest that is too short to hide anything in
        found.append(dice.randint(start, max(start, end - _SAMPLE)))
        start, end = end, 2 * end
    return found
