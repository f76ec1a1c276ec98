"""One content to one file by the node's daemon: whole and verified, by rename, or not at all."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Generator
from pathlib import Path

import msgspec

from dragonfly.client.local import LocalDaemon
from dragonfly.core.digest import Digest
from dragonfly.errors import DragonflyError, IntegrityError
from dragonfly.peer.report import Result
from dragonfly.store.place import copy_into, landing, write_all
from dragonfly.wire.local import DownloadRequest, Ended, Moved, Opened

__all__ = ["fetch", "stream"]


def fetch(
    daemon: LocalDaemon,
    request: DownloadRequest,
    target: Path | int,
    *,
    moved: Callable[[Opened, Moved], object] | None = None,
    expected: str = "",
) -> Result:
    """Bytes [request.start, request.end) as the file `target`; `moved` is called while they come.

    `expected`: their digest, where the daemon is not to know it; IntegrityError where it is another.
    Where the daemon's own file may be opened by this user, its blocks are shared or copied in
    the kernel; else the bytes come through the socket, and are checked here once more.
    """
    opened: Opened | None = None
    # The target is tried first: nothing is fetched for a path that can't be written.
    with landing(target) as fd, daemon.download(request) as words:
        for told in words:
            match told:
                case Opened():
                    opened = told
                case Moved() if opened is not None and moved is not None:
                    moved(opened, told)
                case Ended() if opened is not None:
                    end = opened.length if request.end is None else min(request.end, opened.length)
                    _bring(daemon, opened, told, fd, request, end)
                    if expected:
                        _check(fd, expected, request.spec.shown_url)
                    result = msgspec.json.decode(told.result, type=Result)
                    part = end - request.start
                    return msgspec.structs.replace(
                        result,
                        digest=expected or result.digest,
                        part=result.part if part == opened.length else part,
                    )
    raise DragonflyError("the daemon ended without a result", subject=request.spec.shown_url, advice="see its log")


def _check(fd: int, expected: str, shown_url: str) -> None:
    digest = Digest.parse(expected)
    with open(fd, "rb", closefd=False) as file:
        file.seek(0)
        if hashlib.file_digest(file, digest.algorithm).hexdigest() != digest.hex:
            raise IntegrityError(
                "the bytes differ from their digest", subject=shown_url, advice="ask who gave the digest"
            )


def stream(daemon: LocalDaemon, request: DownloadRequest) -> Generator[bytes, None, None]:
    """Bytes [request.start, request.end) in order, while the rest still comes."""
    with daemon.download(request) as words:
        opened = next((told for told in words if isinstance(told, Opened)), None)
        if opened is None:
            raise DragonflyError("the daemon told nothing", subject=request.spec.shown_url, advice="see its log")
        end = opened.length if request.end is None else min(request.end, opened.length)
        try:
            for part in daemon.content(opened.id, request.start, end):
                yield bytes(part)
        except DragonflyError:
            for _ in words:  # the download's own failure says more than a broken connection
                pass
            raise
        for _ in words:
            pass
        daemon.release(opened.id)


def _bring(daemon: LocalDaemon, opened: Opened, ended: Ended, fd: int, request: DownloadRequest, end: int) -> None:
    length = end - request.start
    try:
        source = os.open(ended.path, os.O_RDONLY | os.O_CLOEXEC) if ended.path else -1
    except OSError:
        source = -1
    try:
        if source >= 0:
            copy_into(fd, source, request.start, length)
        else:
            _through_socket(daemon, opened, fd, request, end)
    finally:
        if source >= 0:
            os.close(source)
    daemon.release(opened.id)


def _through_socket(daemon: LocalDaemon, opened: Opened, fd: int, request: DownloadRequest, end: int) -> None:
    whole = request.start == 0 and end == opened.length
    expected = Digest.parse(request.spec.digest) if request.spec.digest and whole else None
    hasher = hashlib.new(expected.algorithm if expected else "sha256")

    def write(data: memoryview) -> None:
        hasher.update(data)
        write_all(fd, data)

    daemon.copy(opened.id, write, request.start, end)
    if expected is not None and hasher.hexdigest() != expected.hex:
        raise IntegrityError(
            "the bytes differ from their digest", subject=request.spec.shown_url, advice="try again; look at the disk"
        )
