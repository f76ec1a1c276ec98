"""Dragonfly for programs: what dfget does, as calls."""

from __future__ import annotations

import asyncio
import contextlib
import os
from collections.abc import AsyncIterator, Callable, Generator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import msgspec

from dragonfly.client.local import LocalDaemon
from dragonfly.core.digest import Digest
from dragonfly.core.task import TaskSpec, ascii_url
from dragonfly.errors import StoppedError, UnsizedError, UsageError
from dragonfly.wire.local import DownloadRequest, Moved, Opened, Status, TaskLine

if TYPE_CHECKING:
    from dragonfly.peer.report import Result

__all__ = ["AsyncClient", "Client", "Wanted"]

#: Where a system's daemon keeps its data, and its socket.
_SYSTEM = Path("/var/lib/dragonfly")


class Wanted(msgspec.Struct, frozen=True, kw_only=True):
    """What to fetch. Sizes in bytes, `rate` in bytes/s (0: no limit)."""

    url: str
    digest: str = ""
    """`sha256:…` where it is known; the content is checked against it."""
    headers: Mapping[str, str] = {}
    filters: Sequence[str] = ()
    """Query keys that do not change the content: signatures, expiry."""
    tag: str = ""
    application: str = ""
    trust: str = ""
    """PEM certificates for the source's TLS, or `core.task.INSECURE`."""
    start: int = 0
    end: int | None = None
    """Behind the last byte that is wanted; None: to the end."""
    rate: int = 0
    pattern: str = "p2p"
    """p2p, cdn (from the seed only) or source (from the source only)."""
    back_to_source: bool = True

    def request(self) -> DownloadRequest:
        """Checked: UsageError where a part makes no sense."""
        if self.digest:
            Digest.parse(self.digest)
        if self.start < 0 or (self.end is not None and self.end <= self.start):
            raise UsageError("not a range", subject=f"{self.start}-{self.end}", advice="the end lies behind the start")
        spec = TaskSpec(
            url=ascii_url(self.url),
            digest=self.digest,
            headers=dict(self.headers),
            filters=tuple(self.filters),
            tag=self.tag,
            application=self.application,
            trust=self.trust,
        )
        return DownloadRequest(
            spec=spec,
            start=self.start,
            end=self.end,
            pattern=self.pattern,
            back_to_source=self.back_to_source,
            rate=self.rate,
        )


class Client:
    """Talks to this node's daemon, or to one of this user's own where there is none.

    `data_dir`: the daemon's; by default the system's or the user's. `supernodes` (HOST[:PORT])
    are for a daemon of our own, which goes on giving to others for `seed_time_s`.
    Calls block, and may be made from several threads.
    """

    def __init__(
        self, data_dir: Path | None = None, *, supernodes: Sequence[str] = (), seed_time_s: float = 300.0
    ) -> None:
        # Absolute: a daemon of our own works in another folder than its caller.
        self._data_dir = data_dir.absolute() if data_dir is not None else None
        self._supernodes = tuple(supernodes)
        self._seed_time_s = seed_time_s
        self._found: LocalDaemon | None = None
        self._given_up = False

    def daemon(self, *, start: bool = True) -> LocalDaemon:
        """The node's daemon. Where none runs: one of our own, if it may be started."""
        if self._found is None:
            own = self._data_dir or user_data_dir()
            for folder in dict.fromkeys((own, _SYSTEM) if self._data_dir is None else (own,)):
                if (near := LocalDaemon(folder)).status() is not None:
                    self._found = near
                    return near
            if not start:
                return LocalDaemon(own)
            from dragonfly.client.private import private_daemon

            self._found = private_daemon(own, self._supernodes, self._seed_time_s)
        return self._found

    def get(
        self, wanted: Wanted, path: Path | int, *, moved: Callable[[Opened, Moved], object] | None = None
    ) -> Result:
        """Fetch to `path`, which appears whole and verified or not at all; an open descriptor, a pipe
        or a device gets the bytes when they are all there. Raises `dragonfly.errors`."""
        from dragonfly.client.fetch import fetch

        request = wanted.request()
        if urlsplit(request.spec.url).scheme == "file":
            return self._straight(request, path, "")
        try:
            return fetch(self.daemon(), request, path, moved=moved)
        except UnsizedError as error:
            whole = wanted.start == 0 and wanted.end is None
            if not whole or not wanted.back_to_source or wanted.pattern == "cdn":
                raise
            if request.spec.digest:
                # A source that can't show that it has what bears this digest is shared under its URL.
                by_url = msgspec.structs.replace(request, spec=msgspec.structs.replace(request.spec, digest=""))
                with contextlib.suppress(UnsizedError):
                    return fetch(self.daemon(), by_url, path, moved=moved, expected=request.spec.digest)
            return self._straight(request, path, error.what)

    def _straight(self, request: DownloadRequest, path: Path | int, reason: str) -> Result:
        from dragonfly.client.straight import fetch_straight

        return fetch_straight(request, path, reason, moved=self._still_wanted)

    def stream(self, wanted: Wanted) -> Generator[bytes, None, None]:
        """The content in order, each part verified, while the rest still comes. Closing it gives the download up.

        Raises `dragonfly.errors`; UnsizedError where the source tells no length: use `get` there.
        """
        from dragonfly.client.fetch import stream

        return stream(self.daemon(), wanted.request())

    def give_up(self) -> None:
        """End what other threads get; they, and each later call, raise StoppedError."""
        self._given_up = True
        if self._found is not None:
            self._found.give_up()

    @property
    def given_up(self) -> bool:
        return self._given_up

    def _still_wanted(self, done: int) -> None:
        if self._given_up:
            raise StoppedError("given up")

    def status(self) -> Status | None:
        """Of the node's daemon; None where none runs."""
        return self.daemon(start=False).status()

    def tasks(self) -> list[TaskLine]:
        return self.daemon(start=False).tasks()

    def forget(self, key: str) -> None:
        """Stop a task and delete its content on this node."""
        self.daemon(start=False).forget(key)

    def trace(self, key: str) -> list[dict[str, Any]]:
        """What happened to a task on this node, oldest first."""
        return self.daemon(start=False).trace(key)


class AsyncClient:
    """`Client` for event loops: each call runs in a worker thread."""

    def __init__(
        self, data_dir: Path | None = None, *, supernodes: Sequence[str] = (), seed_time_s: float = 300.0
    ) -> None:
        self._client = Client(data_dir, supernodes=supernodes, seed_time_s=seed_time_s)

    async def get(
        self, wanted: Wanted, path: Path | int, *, moved: Callable[[Opened, Moved], object] | None = None
    ) -> Result:
        """As `Client.get`; `moved` is called in the event loop."""
        loop = asyncio.get_running_loop()

        def hear(opened: Opened, now: Moved) -> None:
            if moved is not None:
                loop.call_soon_threadsafe(moved, opened, now)

        return await asyncio.to_thread(self._client.get, wanted, path, moved=hear)

    async def stream(self, wanted: Wanted) -> AsyncIterator[bytes]:
        """As `Client.stream`."""
        parts = await asyncio.to_thread(self._client.stream, wanted)
        try:
            while (part := await asyncio.to_thread(next, parts, None)) is not None:
                yield part
        finally:
            await asyncio.to_thread(parts.close)

    async def status(self) -> Status | None:
        return await asyncio.to_thread(self._client.status)

    async def tasks(self) -> list[TaskLine]:
        return await asyncio.to_thread(self._client.tasks)

    async def forget(self, key: str) -> None:
        await asyncio.to_thread(self._client.forget, key)

    async def trace(self, key: str) -> list[dict[str, Any]]:
        return await asyncio.to_thread(self._client.trace, key)


def user_data_dir() -> Path:
    """Where this user's daemon keeps its data: the system's folder for root."""
    if os.geteuid() == 0:
        return _SYSTEM
    return Path(os.environ.get("XDG_DATA_HOME") or Path.home() / ".local/share") / "dragonfly"
