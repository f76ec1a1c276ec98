"""Bytes from this machine's own files (`file:///…`): for dfget, never for a supernode."""

from __future__ import annotations

import os
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
            stat = path.stat()
        except OSError as error:
            raise _refusal(path, error) from error
        if not path.is_file():
            raise SourceError("not a file", subject=str(path), status=404)
        etag = f'"{stat.st_mtime_ns:x}-{stat.st_size:x}-{stat.st_ino:x}"'
        return Described(length=stat.st_size, ranges=True, validators=Validators(etag=etag))

    def open(self, request: SourceRequest, start: int = 0, end: int | None = None) -> _FileStream:
        described = self.describe(request)
        path = _path(request.url)
        assert described.length is not None
        try:
            fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        except OSError as error:
            raise _refusal(path, error) from error
        return _FileStream(fd, described, start, described.length if end is None else min(end, described.length))

    def unchanged(self, request: SourceRequest, validators: Validators) -> bool:
        return self.describe(request).validators.etag == validators.etag

    def close(self) -> None:
        pass


def _path(url: str) -> Path:
    parts = urlsplit(url)
    if parts.hostname not in (None, "", "localhost"):
        raise SourceError("a file of another host", subject=url, advice="write file:///path", status=404)
    return Path(unquote(parts.path))


def _refusal(path: Path, error: OSError) -> SourceError:
    status = 404 if isinstance(error, FileNotFoundError) else 403
    return SourceError("the file can't be read", subject=str(path), advice=error.strerror or str(error), status=status)
