"""The least WebSocket client that ten thousand connections in one process can afford (RFC 6455).

Binary messages whole in one frame, masked with zeros (a mask is required, not a secret);
pings are answered. No fragments, no extensions: none are sent to a client that offers none.
"""

from __future__ import annotations

import asyncio
import base64
import os
import struct
from collections.abc import Callable

__all__ = ["WebSocket"]

_BINARY, _CLOSE, _PING, _PONG = 2, 8, 9, 10


def _frame(kind: int, body: bytes) -> bytes:
    size = len(body)
    if size < 126:
        return struct.pack("!BBI", 0x80 | kind, 0x80 | size, 0) + body
    if size < 1 << 16:
        return struct.pack("!BBHI", 0x80 | kind, 0xFE, size, 0) + body
    return struct.pack("!BBQI", 0x80 | kind, 0xFF, size, 0) + body


class WebSocket(asyncio.Protocol):
    """Calls `on_open()`, `on_message(bytes)` and `on_close(why)` in the event loop."""

    def __init__(
        self,
        host: str,
        path: str,
        protocol: str,
        *,
        on_open: Callable[[], None],
        on_message: Callable[[bytes], None],
        on_close: Callable[[str], None],
    ) -> None:
        key = base64.b64encode(os.urandom(16)).decode()
        self._hello = (
            f"GET {path} HTTP/1.1\r\nHost: {host}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
            f"Sec-WebSocket-Key: {key}\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Protocol: {protocol}\r\n\r\n"
        ).encode()
        self._on_open, self._on_message, self._on_close = on_open, on_message, on_close
        self._open = False
        self._rest = b""
        self._transport: asyncio.Transport | None = None

    def send(self, message: bytes) -> None:
        if self._transport is not None:
            self._transport.write(_frame(_BINARY, message))

    def close(self) -> None:
        if self._transport is not None:
            self._transport.close()

    # ---------------------------------------------------------------- asyncio.Protocol

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport
        transport.write(self._hello)

    def connection_lost(self, exc: Exception | None) -> None:
        self._transport = None
        self._on_close(str(exc or "closed"))

    def data_received(self, data: bytes) -> None:
        data = self._rest + data if self._rest else data
        if not self._open:
            head, gap, data = data.partition(b"\r\n\r\n")
            if not gap:
                self._rest = head
                return
            if not head.startswith(b"HTTP/1.1 101"):
                self._on_close(head.split(b"\r\n", 1)[0].decode("latin-1"))
                self.close()
                return
            self._open = True
            self._on_open()
        at = 0
        while (found := _parse(data, at)) is not None:
            kind, start, at = found
            self._frame(kind, data[start:at])
        self._rest = data[at:]

    def _frame(self, kind: int, body: bytes) -> None:
        if kind == _BINARY:
            self._on_message(body)
        elif kind == _PING and self._transport is not None:
            self._transport.write(_frame(_PONG, body))
        elif kind == _CLOSE:
            self.close()


def _parse(data: bytes, at: int) -> tuple[int, int, int] | None:
    """(kind, start, end) of the frame at `at`, or None while it is not whole."""
    if len(data) - at < 2:
        return None
    kind, size, start = data[at] & 15, data[at + 1] & 127, at + 2
    if size == 126:
        start += 2
        if len(data) < start:
            return None
        size = int.from_bytes(data[at + 2 : start])
    elif size == 127:
        start += 8
        if len(data) < start:
            return None
        size = int.from_bytes(data[at + 2 : start])
    return (kind, start, start + size) if len(data) >= start + size else None
