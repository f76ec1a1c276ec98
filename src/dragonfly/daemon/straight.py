"""Requests that pass through: method, headers and body to the source, and its answer back, as they are.

Streamed both ways, so a push of any size takes no memory. Only what belongs to one connection
is left out, and URLs of the source in Location and Link become URLs of ours where the client
could otherwise not come back (`Rewrite`).
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Callable, Sequence
from urllib.parse import urlsplit

import aiohttp
from aiohttp import HttpVersion11, web
from multidict import CIMultiDict

from dragonfly.daemon.headers import end_to_end
from dragonfly.daemon.layers import Layers
from dragonfly.daemon.policy import Target
from dragonfly.daemon.problems import SERVER
from dragonfly.daemon.stream import abort
from dragonfly.daemon.upstreams import Upstreams
from dragonfly.errors import SourceUnreachable

__all__ = ["Rewrite", "Straight", "relay", "rewriter"]

#: A URL of the source → the URL at which this client reaches it.
Rewrite = Callable[[str], str]

_LINK = re.compile(r"<([^<>]*)>")
#: A client that takes nothing for so long is dropped.
_STALL_S = 300.0
_BODILESS = frozenset({204, 304})


class Straight:
    """The way past the swarm. `layers` learns from the manifests that pass."""

    def __init__(self, upstreams: Upstreams, layers: Layers) -> None:
        self._upstreams = upstreams
        self._layers = layers

    async def pass_on(
        self,
        request: web.BaseRequest,
        urls: Sequence[tuple[str, Target]],
        *,
        rewrite: Rewrite | None = None,
        extra: dict[str, str] | None = None,
        follow: bool = False,
    ) -> web.StreamResponse:
        """Ask the source, or its mirrors in order, and give the client the answer.

        A request with a body, or one that changes something, goes to the last URL only: the source itself.
        `extra`: headers for the source. Raises SourceUnreachable where nobody answers.
        """
        headers = end_to_end(request.headers, drop=("host", "expect"))
        headers.update(extra or {})
        safe = request.method in ("GET", "HEAD", "OPTIONS") and not request.can_read_body
        for url, target in urls[:-1] if safe else ():
            try:
                async with self._upstreams.ask(
                    request.method, url, target=target, headers=headers, follow=follow
                ) as answer:
                    if answer.status < 400:
                        return await self._relay(request, answer, rewrite)
            except SourceUnreachable:
                continue
        url, target = urls[-1]
        body = request.content if request.can_read_body else None
        if body is not None and request.headers.get("Expect", "").lower() == "100-continue":
            await request.writer.write(b"HTTP/1.1 100 Continue\r\n\r\n")
            request.writer.output_size = 0
        async with self._upstreams.ask(
            request.method, url, target=target, headers=headers, body=body, follow=follow
        ) as answer:
            return await self._relay(request, answer, rewrite)

    async def _relay(
        self, request: web.BaseRequest, answer: aiohttp.ClientResponse, rewrite: Rewrite | None
    ) -> web.StreamResponse:
        if not self._layers.told_by(answer):
            return await relay(request, answer, rewrite)
        manifest = bytearray()
        response = await relay(request, answer, rewrite, copy=manifest)
        self._layers.learn(bytes(manifest))
        return response


async def relay(
    request: web.BaseRequest,
    answer: aiohttp.ClientResponse,
    rewrite: Rewrite | None = None,
    copy: bytearray | None = None,
) -> web.StreamResponse:
    """Give the source's answer to the client while it comes in; where it breaks off there it does here.

    Its body is added to `copy`.
    """
    headers = end_to_end(answer.headers)
    headers["X-Dragonfly-Source"] = "pass"
    headers.setdefault("Server", SERVER)
    if rewrite is not None:
        _rewrite(headers, rewrite)
    response = web.StreamResponse(status=answer.status, reason=answer.reason, headers=headers)
    empty = request.method == "HEAD" or answer.status in _BODILESS or answer.content_length == 0
    if not empty and "Content-Length" not in headers and request.version < HttpVersion11:
        response.force_close()
    await response.prepare(request)
    if not empty:
        try:
            async for chunk in answer.content.iter_any():
                if copy is not None:
                    copy += chunk
                async with asyncio.timeout(_STALL_S):
                    await response.write(chunk)
        except (aiohttp.ClientPayloadError, aiohttp.ClientConnectionError, TimeoutError):
            abort(request)
            raise ConnectionResetError("the source broke off in its answer") from None
    await response.write_eof()
    return response


def rewriter(source: str, ours: str, namespace: str = "") -> Rewrite:
    """URLs of the host of `source` begin with `ours` (scheme and host) instead; others stay.

    Relative ones stay relative. Scheme and default port are not looked at: registries behind a TLS
    terminator often name themselves http. With `namespace`, containerd's `ns=` is added again, since
    the client follows without it.
    """
    known = urlsplit(source)
    prefix = known.path.rstrip("/")

    def rewrite(url: str) -> str:
        try:
            parts = urlsplit(url)
            same = parts.hostname == known.hostname and (parts.port in (None, known.port) or known.port is None)
        except ValueError:
            return url
        if parts.netloc:
            if not same or parts.scheme not in ("", "http", "https"):
                return url
            rest = url.partition(parts.netloc)[2]
            url = ours + rest.removeprefix(prefix)
        elif url.startswith("/") and prefix:
            url = url.removeprefix(prefix)
        if namespace:
            bare, mark, fragment = url.partition("#")
            url = f"{bare}{'&' if '?' in bare else '?'}ns={namespace}{mark}{fragment}"
        return url

    return rewrite


def _rewrite(headers: CIMultiDict[str], rewrite: Rewrite) -> None:
    if "Location" in headers:
        headers["Location"] = rewrite(headers["Location"])
    links = headers.popall("Link", [])
    for link in links:
        headers.add("Link", _LINK.sub(lambda found: f"<{rewrite(found[1])}>", link))
