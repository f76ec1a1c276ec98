"""Bytes of a pull to a client while the pull goes on.

Plain connections get them by sendfile, from the page cache and never through this process;
TLS ones in blocks that are encrypted here. A client that takes nothing holds one block at most,
and is dropped after a time; one that goes away cancels the request's handler, and with it the pull.
"""

from __future__ import annotations

import asyncio
import os
import time
from typing import IO, Protocol

from aiohttp import web

__all__ = ["Readable", "abort", "send_bytes"]

#: Bytes per write to a TLS connection: large enough to be cheap, small enough not to hold up the loop (1 ms).
_BLOCK = 256 * 1024
#: Bytes per sendfile call, between which the clock is read: adapted so that a call takes 0.5 … 5 s.
_LEAST, _FIRST, _MOST = 256 * 1024, 4 * 1024 * 1024, 256 * 1024 * 1024


class Readable(Protocol):
    """What is needed of a `peer.pull.Pull`."""

    def at(self, offset: int) -> None: ...

    async def available(self, offset: int, *, part: bool = False) -> int: ...

    def fileno(self) -> int: ...


async def send_bytes(
    request: web.BaseRequest,
    response: web.StreamResponse,
    pull: Readable,
    start: int,
    end: int,
    *,
    timeout_s: float,
    part: bool,
) -> None:
    """Send bytes [start, end) of the pull as (some of) the body of `response`, which is prepared already.

    `part`: the client did not ask for the whole, so that its last byte need not wait for the whole's check.
    Raises what makes the pull fail, ConnectionError where the client is gone, TimeoutError where it stalls.
    """
    if start >= end:
        return
    pull.at(start)
    ready = await pull.available(start, part=part)
    plain = request.transport is not None and request.transport.get_extra_info("sslcontext") is None
    if not plain:
        position = start
        while position < end:
            if ready <= position:
                ready = await pull.available(position, part=part)
            block = os.pread(pull.fileno(), min(_BLOCK, ready - position, end - position), position)
            if not block:
                raise OSError(f"the store's file ends at byte {position} of {end}")
            async with asyncio.timeout(timeout_s):
                await response.write(block)
            position += len(block)
        return
    with os.fdopen(os.dup(pull.fileno()), "rb", buffering=0) as file:
        position, step = start, _FIRST
        while position < end:
            if ready <= position:
                ready = await pull.available(position, part=part)
            count = min(step, ready - position, end - position)
            began = time.monotonic()
            async with asyncio.timeout(timeout_s):
                await _sendfile(request, file, position, count)
            took = time.monotonic() - began
            position += count
            if took < 0.5:
                step = min(_MOST, step * 2)
            elif took > 5.0:
                step = max(_LEAST, step // 4)


def abort(request: web.BaseRequest) -> web.Response:
    """End the connection so that the client sees a body that is too short, never a clean end.

    The handler may return what this returns: aiohttp finds the connection gone, and is silent about it.
    """
    if request.transport is not None:
        request.transport.abort()
    return web.Response(status=499, reason="Client Closed Request")


async def _sendfile(request: web.BaseRequest, file: IO[bytes], offset: int, count: int) -> None:
    transport = request.transport
    if transport is None or transport.is_closing():
        raise ConnectionResetError("the client is gone")
    try:
        sent = await asyncio.get_running_loop().sendfile(transport, file, offset, count, fallback=False)
    except (RuntimeError, asyncio.SendfileNotAvailableError) as error:
        # What asyncio makes of EPIPE at the first byte, and of a transport that closes meanwhile.
        raise ConnectionResetError(f"the client is gone ({error})") from None
    if sent != count:
        raise OSError(f"the store's file ends at byte {offset + sent} of {offset + count}")
