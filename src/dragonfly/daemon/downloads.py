"""Downloads that a program of this node has asked for: told of while they go on, readable for a while after."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING

import msgspec
from aiohttp import web

from dragonfly.core.ranges import content_range, parse_ranges
from dragonfly.daemon.proof import Prove
from dragonfly.daemon.stream import Readable, abort, send_bytes
from dragonfly.errors import DragonflyError, SourceError, UsageError
from dragonfly.wire.local import KEEP_S, Ended, Failed, Moved, Opened, Told

if TYPE_CHECKING:
    from dragonfly.peer.pull import Pull

__all__ = ["Download", "Downloads", "failure"]

#: Between two words of progress.
_TELL_S = 0.2
_RATE_S = 1.0


class Download:
    """One request of one program: bytes [start, end) of a pull (`end` None: to its end)."""

    def __init__(self, number: str, pull: Pull, start: int, end: int | None, prove: Prove | None = None) -> None:
        self.id = number
        self.pull = pull
        self._prove = prove
        self.start = start
        self.end = end
        self.timer: asyncio.TimerHandle | None = None

    async def run(self, tell: Callable[[Told], Awaitable[None]]) -> bool:
        """Tell all there is to tell until the end; whether it ended well."""
        pull = self.pull
        try:
            info = await pull.described()
            whole = self.start == 0 and (self.end is None or self.end >= info.length)
            self.end = info.length if self.end is None else min(self.end, info.length)
            if self.start > self.end or (self.start == self.end and not whole):
                raise UsageError(
                    "no such range", subject=f"from byte {self.start} of {info.length}", advice="ask for bytes it has"
                )
            await tell(
                Opened(id=self.id, key=pull.key, length=info.length, source=pull.first_source, headers=info.headers)
            )
            await self._progress(tell, whole, self.reader(info.length))
            result = await pull.finished() if whole else pull.result()
        except DragonflyError as error:
            await tell(failure(error))
            return False
        await tell(Ended(path=pull.path, result=msgspec.Raw(msgspec.json.encode(result))))
        return True

    def reader(self, length: int) -> Readable:
        """The bytes, as far as this caller may have them."""
        return self.pull if self._prove is None else self._prove(self.pull, length)

    async def _progress(self, tell: Callable[[Told], Awaitable[None]], whole: bool, reader: Readable) -> None:
        """Until all that was asked for is had."""
        assert self.end is not None
        pull, position, total = self.pull, self.start, self.end - self.start
        pull.at(self.start)
        now = told = rated = time.monotonic()
        rate, moved = 0.0, 0
        more: asyncio.Future[int] | None = None
        try:
            while position < self.end:
                # Not begun anew at each word: it may be asking the source for a proof.
                more = more or asyncio.ensure_future(reader.available(position, part=not whole))
                await asyncio.wait({more}, timeout=max(0.01, told + _TELL_S - now))
                if more.done():
                    position = min(self.end, more.result())
                    pull.at(position)
                    more = None
                now = time.monotonic()
                if now - told < _TELL_S and position < self.end:
                    continue
                received = pull.result().received
                fresh = received.total - received.cache
                if now - rated >= _RATE_S or not rate:
                    rate = (fresh - moved) / max(now - rated, 1e-3)
                    moved, rated = fresh, now
                done = max(position - self.start, received.total) if whole else position - self.start
                told = now
                await tell(Moved(done=min(done, total), total=total, received=received, rate=rate, peers=pull.peers))
        finally:
            if more is not None:
                more.cancel()


class Downloads:
    """By id. `timeout_s`: a reader of content that takes nothing for so long is dropped."""

    def __init__(self, timeout_s: float) -> None:
        self._timeout_s = timeout_s
        self._all: dict[str, Download] = {}

    def add(self, download: Download) -> None:
        self._all[download.id] = download

    def get(self, number: str) -> Download | None:
        return self._all.get(number)

    def keep(self, download: Download) -> None:
        """It has ended: let go of it after a while."""
        loop = asyncio.get_running_loop()
        if download.id in self._all:
            download.timer = loop.call_later(KEEP_S, self.drop, download.id)

    def drop(self, number: str) -> None:
        download = self._all.pop(number, None)
        if download is not None:
            if download.timer is not None:
                download.timer.cancel()
            download.pull.close()

    def close(self) -> None:
        for number in list(self._all):
            self.drop(number)

    async def content(self, request: web.BaseRequest, download: Download) -> web.StreamResponse:
        """The bytes, as far as they are there already and then as they come."""
        pull = download.pull
        info = await pull.described()
        ranges = parse_ranges(request.headers.get("Range", ""), info.length)
        start, end = ranges[0] if ranges else (0, info.length)
        headers = {"Content-Length": str(end - start), "Content-Type": "application/octet-stream"}
        if ranges:
            headers["Content-Range"] = content_range(start, end, info.length)
        response = web.StreamResponse(status=206 if ranges else 200, headers=headers)
        await response.prepare(request)
        try:
            part = end - start < info.length
            reader = download.reader(info.length)
            await send_bytes(request, response, reader, start, end, timeout_s=self._timeout_s, part=part)
        except (DragonflyError, OSError) as error:
            abort(request)
            raise ConnectionResetError(str(error)) from error
        if download.timer is not None and download.id in self._all:
            download.timer.cancel()
            self.keep(download)
        await response.write_eof()
        return response


def failure(error: DragonflyError) -> Failed:
    """The error in parts, as the caller gets it."""
    return Failed(
        kind=type(error).__name__,
        what=error.what,
        subject=error.subject,
        advice=error.advice,
        status=error.status if isinstance(error, SourceError) else None,
        challenge=error.challenge if isinstance(error, SourceError) else "",
    )
