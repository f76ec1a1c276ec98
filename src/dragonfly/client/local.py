"""The daemon's unix socket as calls. Blocking, on the standard library alone: dfget starts in no time."""

from __future__ import annotations

import contextlib
import http.client
import socket
import threading
import weakref
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

import msgspec

from dragonfly import errors
from dragonfly.errors import DragonflyError, SourceError, StoppedError, UsageError
from dragonfly.wire.local import (
    SOCKET_NAME,
    DownloadRequest,
    Ended,
    Failed,
    Status,
    TaskLine,
    Told,
    decode_told,
)

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["LocalDaemon", "error_of"]

#: The daemon says something several times a second; longer silence means that it hangs.
_SILENCE_S = 60.0


class _UnixConnection(http.client.HTTPConnection):
    def __init__(self, path: Path, timeout: float, live: _Live) -> None:
        super().__init__("localhost", timeout=timeout)
        self._path = path
        self._live = live

    def connect(self) -> None:
        sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        sock.settimeout(self.timeout)
        try:
            sock.connect(str(self._path))
        except BaseException:
            sock.close()
            raise
        self.sock = sock
        self._live.add(sock)


class _Live:
    """The connections of downloads, so that another thread can end them."""

    def __init__(self) -> None:
        self.given_up = False
        self._lock = threading.Lock()
        self._socks: weakref.WeakSet[socket.socket] = weakref.WeakSet()

    def add(self, sock: socket.socket) -> None:
        with self._lock:
            self._socks.add(sock)
            if self.given_up:
                self._end(sock)

    def end(self) -> None:
        with self._lock:
            self.given_up = True
            for sock in self._socks:
                self._end(sock)

    @staticmethod
    def _end(sock: socket.socket) -> None:
        with contextlib.suppress(OSError):
            sock.shutdown(socket.SHUT_RDWR)


class LocalDaemon:
    """The daemon that keeps its data in `data_dir`. Nothing is connected until a call is made."""

    def __init__(self, data_dir: Path) -> None:
        self.data_dir = data_dir
        self.socket = data_dir / SOCKET_NAME
        self._live = _Live()

    def give_up(self) -> None:
        """End all calls that are under way in other threads, and each later one: they raise StoppedError."""
        self._live.end()

    def status(self) -> Status | None:
        """None where no daemon answers."""
        try:
            return msgspec.json.decode(self._whole("GET", "/v1/status", timeout=5.0), type=Status)
        except (OSError, http.client.HTTPException, msgspec.DecodeError):
            return None

    def tasks(self) -> list[TaskLine]:
        """What is pulled, served or was pulled lately."""
        return msgspec.json.decode(self._asked("GET", "/v1/tasks"), type=list[TaskLine])

    def forget(self, key: str) -> None:
        """Stop a task and delete its content. UsageError where there is none."""
        self._asked("DELETE", f"/v1/tasks/{quote(key)}")

    def trace(self, key: str) -> list[dict[str, Any]]:
        """What happened to a task, oldest first."""
        return msgspec.json.decode(self._asked("GET", f"/v1/trace/{quote(key)}"), type=list[dict[str, Any]])

    @contextlib.contextmanager
    def download(self, request: DownloadRequest) -> Iterator[Iterator[Told]]:
        """Ask for bytes; what the block gets ends with `Ended`. Leaving the block early gives it up.

        Raises what made it fail, in the families of `dragonfly.errors`.
        """
        connection = _UnixConnection(self.socket, _SILENCE_S, self._live)
        with contextlib.closing(connection), self._told():
            connection.request(
                "POST", "/v1/downloads", msgspec.json.encode(request), {"Content-Type": "application/json"}
            )
            response = connection.getresponse()
            if response.status != 200:
                raise _failure(response.read(), response.status)
            yield _words(response)

    def copy(self, number: str, sink: Callable[[memoryview], object], start: int, end: int) -> None:
        """Bytes [start, end) of a download to `sink`, as far as they are there and then as they come."""
        for part in self.content(number, start, end):
            sink(part)

    def content(self, number: str, start: int, end: int) -> Iterator[memoryview]:
        """As `copy`, part by part. A part is overwritten by the next one."""
        connection = _UnixConnection(self.socket, _SILENCE_S, self._live)
        with contextlib.closing(connection), self._told():
            ranges = {"Range": f"bytes={start}-{end - 1}"} if end > start else {}
            connection.request("GET", f"/v1/downloads/{number}/content", headers=ranges)
            response = connection.getresponse()
            if response.status not in (200, 206):
                raise _failure(response.read(), response.status)
            buffer, left = memoryview(bytearray(1 << 20)), end - start
            while left > 0:
                count = response.readinto(buffer)
                if not count and self._live.given_up:
                    raise StoppedError("given up")
                if not count:
                    raise DragonflyError("the daemon broke off", subject=str(self.socket), advice="see its log")
                left -= count
                yield buffer[:count]

    def release(self, number: str) -> None:
        """The content of an ended download is not needed any more."""
        with contextlib.suppress(OSError, http.client.HTTPException):
            self._whole("DELETE", f"/v1/downloads/{number}", timeout=5.0)

    # ---------------------------------------------------------------- one request

    def _asked(self, method: str, path: str) -> bytes:
        with self._told():
            return self._whole(method, path)

    def _whole(self, method: str, path: str, timeout: float = 30.0) -> bytes:
        connection = _UnixConnection(self.socket, timeout, self._live)
        with contextlib.closing(connection):
            connection.request(method, path)
            response = connection.getresponse()
            body = response.read()
            if response.status >= 400:
                raise _failure(body, response.status)
            return body

    @contextlib.contextmanager
    def _told(self) -> Iterator[None]:
        """Errors of the connection as ours."""
        try:
            yield
        except (ConnectionRefusedError, FileNotFoundError):
            raise UsageError(
                "no daemon runs here", subject=str(self.socket), advice="start dfdaemon, or name its --data-dir"
            ) from None
        except PermissionError:
            raise UsageError(
                "the daemon lets this user not in", subject=str(self.socket), advice="join its group, or use sudo"
            ) from None
        except TimeoutError:
            if self._live.given_up:
                raise StoppedError("given up") from None
            raise DragonflyError("the daemon is silent", subject=str(self.socket), advice="see its log") from None
        except (ConnectionError, http.client.HTTPException) as error:
            if self._live.given_up:
                raise StoppedError("given up") from None
            raise DragonflyError(
                "the daemon broke off", subject=str(self.socket), advice=f"see its log ({type(error).__name__})"
            ) from None


def _words(response: http.client.HTTPResponse) -> Iterator[Told]:
    while line := response.readline():
        told = decode_told(line)
        if isinstance(told, Failed):
            raise error_of(told)
        yield told
        if isinstance(told, Ended):
            return
    raise http.client.IncompleteRead(b"")


def _failure(body: bytes, status: int) -> DragonflyError:
    try:
        told = decode_told(body)
    except msgspec.DecodeError:
        return DragonflyError(f"the daemon answered {status}", advice="see its log")
    return error_of(told) if isinstance(told, Failed) else DragonflyError(f"the daemon answered {status}")


def error_of(failed: Failed) -> DragonflyError:
    """The error that the daemon told of, in the family it had there."""
    named = getattr(errors, failed.kind, None)
    kind: type[DragonflyError] = DragonflyError
    if isinstance(named, type) and issubclass(named, DragonflyError):
        kind = named
    if issubclass(kind, SourceError) or failed.status is not None:
        source_kind = kind if issubclass(kind, SourceError) else SourceError
        return source_kind(
            failed.what,
            subject=failed.subject,
            advice=failed.advice,
            status=failed.status,
            challenge=failed.challenge,
        )
    return kind(failed.what, subject=failed.subject, advice=failed.advice)
