"""Bytes from this machine's own files (`file:///…`): for dfget, never for a supernode."""

from __future__ import annotations

import os
import stat
from pathlib import Path
from types import TracebackType
from typing import Self
from urllib.parse import unquote, urlsplit

from dragonfly.core.validators import Validators
from dragonfly.errors import SourceError, SourceUnreachable
from dragonfly.source.base import Described, SourceRequest
from dragonfly.source.policy import SourcePolicy

__all__ = ["FileSource"]


class _FileStream:
    def __init__(self, fd: int, described: Described, start: int, end: int) -> None:
        self.described = described
        self._fd = fd
        self._at = start
        self._end = end

    def readinto(self, buffer: memoryview) -> int:
        want = min(len(buffer), self._end - self._at)
        if want <= 0:
            return 0
        count = os.preadv(self._fd, [buffer[:want]], self._at)
        if count == 0:
            raise SourceUnreachable("the file became shorter while it was read")
        self._at += count
        return count

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1


class FileSource:
    """`file:` URLs of this host."""

    def __init__(self, policy: SourcePolicy | None = None) -> None:
        pass

    def describe(self, request: SourceRequest) -> Described:
        path = _path(request.url)
        try:
            return _described(path, path.stat())
        except OSError as error:
            raise _refusal(path, error) from error

    def open(self, request: SourceRequest, start: int = 0, end: int | None = None) -> _FileStream:
        path = _path(request.url)
        try:
            # Without O_NONBLOCK a named pipe would hold this thread for ever.
            fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
        except OSError as error:
            raise _refusal(path, error) from error
        try:
            described = _described(path, os.fstat(fd))
            length = described.length or 0
            if start and start >= length:
                raise SourceError("the range lies outside the content", subject=str(path), status=416)
        except BaseException:
            os.close(fd)
            raise
        return _FileStream(fd, described, start, length if end is None else min(end, length))

    def unchanged(self, request: SourceRequest, validators: Validators) -> bool:
        return self.describe(request).validators.etag == validators.etag

    def close(self) -> None:
        pass


def _path(url: str) -> Path:
    try:
        parts = urlsplit(url)
        host = parts.hostname
    except ValueError:
        host = "?"
    if host not in (None, "", "localhost"):
        raise SourceError("a file of another host", subject=url, advice="write file:///path", status=404)
    path = unquote(parts.path)
    if "\0" in path:
        raise SourceError("not the name of a file", subject=repr(path), status=404)
    return Path(path)


def _described(path: Path, found: os.stat_result) -> Described:
    if not stat.S_ISREG(found.st_mode):
        raise SourceError("not a file", subject=str(path), advice="name one file", status=404)
    etag = f'"{found.st_mtime_ns:x}-{found.st_size:x}-{found.st_ino:x}"'
    return Described(length=found.st_size, ranges=True, validators=Validators(etag=etag))


def _refusal(path: Path, error: OSError) -> SourceError:
    status = 404 if isinstance(error, FileNotFoundError | NotADirectoryError) else 403
    return SourceError("the file can't be read", subject=str(path), advice=error.strerror or str(error), status=status)
