"""Contents that come by the swarm: conditions, ranges and headers as the source itself would answer."""

from __future__ import annotations

import asyncio
import secrets
import time
from collections.abc import Callable
from email.utils import parsedate_to_datetime
from typing import TYPE_CHECKING

import msgspec
from aiohttp import web
from multidict import CIMultiDict

from dragonfly.core.messages import TaskInfo
from dragonfly.core.ranges import content_range, parse_ranges
from dragonfly.core.task import TaskSpec
from dragonfly.daemon.authorize import Grant
from dragonfly.daemon.problems import SERVER
from dragonfly.daemon.proof import Prove
from dragonfly.daemon.stream import Readable, abort, send_bytes
from dragonfly.errors import DragonflyError
from dragonfly.telemetry.trace import Tracer

if TYPE_CHECKING:
    from dragonfly.peer.engine import Engine
    from dragonfly.peer.pull import Pull

__all__ = ["NotBegun", "Swarmed"]


class NotBegun(DragonflyError):
    """The pull failed, for `__cause__`, before the client was told anything: another way may be tried."""


class Content(msgspec.Struct, frozen=True):
    """What the client is told of it."""

    length: int
    etag: str
    last_modified: str
    headers: dict[str, str]


class Swarmed:
    """The way through the engine. `timeout_s`: a client that takes nothing for so long is dropped."""

    def __init__(
        self, engine: Engine, tracer: Tracer, timeout_s: float, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._engine = engine
        self._tracer = tracer
        self._timeout_s = timeout_s
        self._clock = clock
        self.running = 0
        """Requests that are served now."""

    async def serve(
        self,
        request: web.BaseRequest,
        spec: TaskSpec,
        grant: Grant,
        told: dict[str, str],
        prove: Prove | None = None,
    ) -> web.StreamResponse:
        """Answer a GET or HEAD whose client may read. `told`: headers that stand before those of the source.

        `prove`: bytes are given as far as this lets them.
        Raises NotBegun while the client has been told nothing.
        """
        began = self._clock()
        if request.method == "HEAD" and grant.length is not None and not grant.unasked:
            content = described(grant.length, dict(grant.headers), told)
            return await self._head_only(request, content, spec)
        self.running += 1
        try:
            async with await self._opened(spec) as pull:
                info = await self._described(pull)
                if not spec.digest and is_another(grant, info):
                    raise NotBegun("the source has another content by now", subject=spec.shown_url)
                content = described(info.length, _both(grant, info), told)
                response, parts = _answer(request, content)
                reader = pull if prove is None else await self._shown(prove, pull, info.length, parts)
                response.headers["X-Dragonfly-Task"] = pull.key
                response.headers["X-Dragonfly-Source"] = pull.first_source
                await response.prepare(request)
                sent = 0
                try:
                    if request.method != "HEAD":
                        for head, start, end in parts:
                            if head:
                                await response.write(head)
                            part = end - start < info.length
                            await send_bytes(
                                request, response, reader, start, end, timeout_s=self._timeout_s, part=part
                            )
                            sent += end - start
                    await response.write_eof()
                except asyncio.CancelledError:
                    self._emit(request, pull, response.status, sent, began, "the client went away")
                    raise
                except (DragonflyError, OSError) as error:
                    # The head has promised more: the client must see that it did not come.
                    abort(request)
                    self._emit(request, pull, response.status, sent, began, str(error) or type(error).__name__)
                    raise ConnectionResetError(str(error)) from error
                self._emit(request, pull, response.status, sent, began)
                return response
        finally:
            self.running -= 1

    async def _opened(self, spec: TaskSpec) -> Pull:
        try:
            return await self._engine.open(spec)
        except DragonflyError as error:
            raise NotBegun(error.what, subject=error.subject, advice=error.advice) from error

    async def _described(self, pull: Pull) -> TaskInfo:
        try:
            return await pull.described()
        except DragonflyError as error:
            raise NotBegun(error.what, subject=error.subject, advice=error.advice) from error

    async def _shown(self, prove: Prove, pull: Pull, length: int, parts: list[tuple[bytes, int, int]]) -> Readable:
        """The pull, once the first bytes of the answer may be given."""
        reader = prove(pull, length)
        try:
            for _, start, end in parts[:1]:
                if start < end:
                    await reader.available(start, part=end - start < length)
        except DragonflyError as error:
            raise NotBegun(error.what, subject=error.subject, advice=error.advice) from error
        return reader

    async def _head_only(self, request: web.BaseRequest, content: Content, spec: TaskSpec) -> web.StreamResponse:
        response, _ = _answer(request, content)
        response.headers["X-Dragonfly-Task"] = spec.key
        response.headers["X-Dragonfly-Source"] = "pass"
        await response.prepare(request)
        await response.write_eof()
        return response

    def _emit(
        self,
        request: web.BaseRequest,
        pull: Pull,
        status: int,
        sent: int,
        began: float,
        error: str = "",
    ) -> None:
        self._tracer.emit(
            "request.failed" if error else "request.served",
            task=pull.key,
            url=pull.spec.shown_url,
            method=request.method,
            status=status,
            source=pull.first_source,
            bytes=sent,
            seconds=self._clock() - began,
            error=error,
        )


def is_another(grant: Grant, info: TaskInfo) -> bool:
    """Whether the source, which was asked for this client, tells of another version than the swarm has."""
    if grant.unasked:
        return False
    headers = {key.lower(): value for key, value in info.headers.items()}
    for name in ("etag", "last-modified"):
        now, then = grant.header(name), headers.get(name, "")
        if now and then:
            return now.removeprefix("W/") != then.removeprefix("W/")
    return grant.length is not None and grant.length != info.length


def described(length: int, source: dict[str, str], told: dict[str, str]) -> Content:
    """`source`: headers of the source's answer to this client, or those that are kept with the content."""
    headers = dict(source)
    lower = {key.lower(): key for key in headers}
    for key, value in told.items():
        headers.pop(lower.get(key.lower(), ""), None)
        headers[key] = value
    by_name = {key.lower(): value for key, value in headers.items()}
    return Content(length, by_name.get("etag", ""), by_name.get("last-modified", ""), headers)


def _both(grant: Grant, info: TaskInfo) -> dict[str, str]:
    """Headers of what is stored; where it says nothing those of the grant, perhaps of a newer content."""
    known = {key.lower() for key in info.headers}
    validators = {"etag", "last-modified"}
    return dict(info.headers) | {
        key: value
        for key, value in grant.headers
        if key.lower() not in known and not (info.headers and key.lower() in validators)
    }


def _answer(request: web.BaseRequest, content: Content) -> tuple[web.StreamResponse, list[tuple[bytes, int, int]]]:
    """Status and headers, and the body as (bytes before it, start, end) of the content."""
    headers = CIMultiDict(content.headers)
    headers["Accept-Ranges"] = "bytes"
    headers["Server"] = SERVER
    length = content.length
    if _failed(request, content):
        return web.StreamResponse(status=412, headers={"Content-Length": "0", "Server": SERVER}), []
    if _unchanged(request, content):
        headers.pop("Content-Type", None)
        return web.StreamResponse(status=304, headers=headers), []
    ranges = None
    if request.method == "GET" and "Range" in request.headers and _range_holds(request, content):
        ranges = parse_ranges(request.headers["Range"], length)
    if ranges is not None and sum(end - start for start, end in ranges) > length:
        ranges = None  # overlapping ones: RFC 9110 §14.2 lets a server send the whole
    if ranges is None:
        headers["Content-Length"] = str(length)
        return web.StreamResponse(status=200, headers=headers), [(b"", 0, length)]
    if not ranges:
        return web.StreamResponse(
            status=416,
            headers={"Content-Range": f"bytes */{length}", "Content-Length": "0", "Accept-Ranges": "bytes"},
        ), []
    if len(ranges) == 1:
        start, end = ranges[0]
        headers["Content-Range"] = content_range(start, end, length)
        headers["Content-Length"] = str(end - start)
        return web.StreamResponse(status=206, headers=headers), [(b"", start, end)]
    boundary = secrets.token_hex(16)
    kind = headers.get("Content-Type", "application/octet-stream")
    parts = [
        (
            f"\r\n--{boundary}\r\nContent-Type: {kind}\r\n"
            f"Content-Range: {content_range(start, end, length)}\r\n\r\n".encode(),
            start,
            end,
        )
        for start, end in ranges
    ]
    parts.append((f"\r\n--{boundary}--\r\n".encode(), 0, 0))
    headers["Content-Type"] = f"multipart/byteranges; boundary={boundary}"
    headers["Content-Length"] = str(sum(len(head) + end - start for head, start, end in parts))
    return web.StreamResponse(status=206, headers=headers), parts


def _failed(request: web.BaseRequest, content: Content) -> bool:
    """RFC 9110 §13.2.2: If-Match decides where it is given, If-Unmodified-Since only else. Weak tags never match."""
    asked = request.headers.get("If-Match")
    if asked is not None:
        tags = {tag.strip() for tag in asked.split(",")}
        return "*" not in tags and (content.etag.startswith("W/") or content.etag not in tags)
    since = _date(request.headers.get("If-Unmodified-Since", ""))
    changed = _date(content.last_modified)
    return since is not None and changed is not None and changed > since


def _unchanged(request: web.BaseRequest, content: Content) -> bool:
    """RFC 9110 §13.2.2: If-None-Match decides where it is given, If-Modified-Since only else."""
    asked = request.headers.get("If-None-Match")
    if asked is not None:
        tags = {tag.strip().removeprefix("W/") for tag in asked.split(",")}
        return "*" in tags or (bool(content.etag) and content.etag.removeprefix("W/") in tags)
    since = _date(request.headers.get("If-Modified-Since", ""))
    changed = _date(content.last_modified)
    return since is not None and changed is not None and changed <= since


def _range_holds(request: web.BaseRequest, content: Content) -> bool:
    """If-Range: the rest is only wanted of the content that the client has the beginning of."""
    condition = request.headers.get("If-Range")
    if condition is None:
        return True
    if condition.startswith(('"', "W/")):
        return condition == content.etag and not condition.startswith("W/")
    return condition == content.last_modified


def _date(text: str) -> float | None:
    try:
        return parsedate_to_datetime(text).timestamp() if text else None
    except (ValueError, TypeError):
        return None
