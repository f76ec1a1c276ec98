"""The unix socket for this node's own programs: dfget, `dragonfly top`, `dragonfly trace` (words: wire/local.py).

Who may connect is the file's permission bits. A caller is let into a source as any client of
the mirror is: by its own headers. Files of this machine are read for callers of the daemon's
own user only, since the daemon may be able to read more than they.
"""

from __future__ import annotations

import os
import resource
import secrets
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Self
from urllib.parse import urlsplit

import aiohttp
import msgspec
import tenacity
from aiohttp import web
from multidict import CIMultiDict

from dragonfly import __version__
from dragonfly.core.task import TaskKey, TaskSpec
from dragonfly.daemon.authorize import Authorizer, Grant, owned
from dragonfly.daemon.downloads import Download, Downloads, failure
from dragonfly.daemon.mirror import blob_digest
from dragonfly.daemon.policy import Policy, Target, origin_of
from dragonfly.daemon.problems import status_of
from dragonfly.daemon.proof import Proofs, Prove
from dragonfly.daemon.settings import DaemonSettings
from dragonfly.daemon.stream import abort
from dragonfly.errors import DragonflyError, SourceError, SourceUnreachable, UnsizedError, UsageError
from dragonfly.net.listen import format_address
from dragonfly.net.unixsock import caller_of, open_unix
from dragonfly.peer.report import Result
from dragonfly.peer.settings import Pattern
from dragonfly.peer.tracker import NoTracker
from dragonfly.telemetry.history import History
from dragonfly.wire.local import SOCKET_NAME, DownloadRequest, Status, TaskLine, Told, encode_line

if TYPE_CHECKING:
    from dragonfly.peer.engine import Engine

__all__ = ["Control"]

_MAX_REQUEST = 1024 * 1024
_ATTEMPTS = 4


class Control:
    """`async with`: listens from its start. `access` gives what holds now, `listens` where the front does."""

    def __init__(
        self,
        settings: DaemonSettings,
        *,
        engine: Engine,
        history: History,
        data_dir: Path,
        ca_path: Path,
        access: Callable[[], tuple[Policy, Authorizer]],
        proofs: Proofs,
        listens: Callable[[], list[tuple[str, int]]],
    ) -> None:
        self.path = data_dir / SOCKET_NAME
        try:
            self._mode = int(settings.socket_mode, 8)
        except ValueError:
            raise UsageError(
                "not permission bits", subject=repr(settings.socket_mode), advice="write them in octal, 0660"
            ) from None
        self._engine = engine
        self._history = history
        self._ca_path = ca_path
        self._access = access
        self._proofs = proofs
        self._listens = listens
        self._downloads = Downloads(settings.client_timeout)
        self._started = time.monotonic()
        app = web.Application(client_max_size=_MAX_REQUEST, middlewares=[_quietly])
        app.router.add_get("/v1/status", self._status)
        app.router.add_get("/v1/tasks", self._tasks)
        app.router.add_delete("/v1/tasks/{key}", self._forget)
        app.router.add_get("/v1/trace/{key}", self._trace)
        app.router.add_post("/v1/downloads", self._download)
        app.router.add_get("/v1/downloads/{id}/content", self._content)
        app.router.add_delete("/v1/downloads/{id}", self._release)
        self._runner = web.AppRunner(app, access_log=None, handler_cancellation=True, shutdown_timeout=2.0)

    async def __aenter__(self) -> Self:
        sock = open_unix(self.path, self._mode)
        try:
            await self._runner.setup()
            await web.SockSite(self._runner, sock).start()
        except BaseException:
            sock.close()
            raise
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.path.unlink(missing_ok=True)
        await self._runner.cleanup()
        self._downloads.close()

    # ---------------------------------------------------------------- what is going on

    async def _status(self, request: web.Request) -> web.Response:
        policy, _ = self._access()
        runs, host = self._engine.runs(), self._engine.host
        tracker = self._engine.node.tracker
        return _json(
            Status(
                version=__version__,
                pid=os.getpid(),
                uptime_s=time.monotonic() - self._started,
                listen=",".join(format_address(*address) for address in self._listens()),
                peer_port=host.peer_port,
                host=host.id,
                supernode="none" if isinstance(tracker, NoTracker) else "connected" if tracker.connected else "lost",
                ca=str(self._ca_path),
                tasks=len(self._engine.node.store.keys()),
                pulls=sum(not run.ended.is_set() for run in runs),
                resident_bytes=resident_bytes(),
                maps=policy.settings.map,
                registry=policy.settings.registry,
                supernodes=tracker.supernodes,
            )
        )

    async def _tasks(self, request: web.Request) -> web.Response:
        lines = []
        for run in self._engine.runs():
            state = "failed" if run.error else "serving" if run.sealed else "running"
            lines.append(_line(run.result(), state, run.sessions))
        shown = {line.key for line in lines}
        for result in reversed(self._engine.results):
            if result.key not in shown:
                shown.add(result.key)
                lines.append(_line(result, "failed" if result.error else "ended", 0))
        return _json(lines)

    async def _forget(self, request: web.Request) -> web.Response:
        if await self._engine.forget(TaskKey(request.match_info["key"])):
            return web.Response(status=204)
        return _failed(UsageError("no such task here", subject=request.match_info["key"]), 404)

    async def _trace(self, request: web.Request) -> web.Response:
        return _json(self._history.of(request.match_info["key"]))

    # ---------------------------------------------------------------- downloads

    async def _download(self, request: web.Request) -> web.StreamResponse:
        try:
            asked = msgspec.json.decode(await request.read(), type=DownloadRequest)
            pattern = Pattern(asked.pattern)
        except (msgspec.DecodeError, ValueError) as error:
            return _failed(UsageError("not a request for a download", advice=str(error)), 400)
        try:
            try:
                spec, prove = await self._admitted(request, asked.spec)
            except ValueError as error:  # a port that is no number, say
                raise UsageError("not a URL that can be fetched", advice=str(error)) from None
            pull = await self._engine.open(spec, pattern=pattern, back_to_source=asked.back_to_source, rate=asked.rate)
        except DragonflyError as error:
            return _failed(error, status_of(error))
        download = Download(secrets.token_hex(8), pull, asked.start, asked.end, prove)
        response = web.StreamResponse(headers={"Content-Type": "application/x-ndjson"})
        try:
            await response.prepare(request)
            self._downloads.add(download)

            async def tell(told: Told) -> None:
                await response.write(encode_line(told))

            kept = await download.run(tell)
        except BaseException:
            self._downloads.drop(download.id)
            raise
        if kept:
            self._downloads.keep(download)
        else:
            self._downloads.drop(download.id)
        await response.write_eof()
        return response

    async def _admitted(self, request: web.Request, spec: TaskSpec) -> tuple[TaskSpec, Prove | None]:
        """The spec as this caller may ask for it, and what its bytes have to be held against first.

        Raises what keeps the caller out.
        """
        _ = spec.key  # a malformed digest is the caller's mistake, told before anything is asked
        scheme = urlsplit(spec.url).scheme
        if scheme == "file":
            sock = request.transport.get_extra_info("socket") if request.transport is not None else None
            if sock is None or caller_of(sock).uid not in (0, os.geteuid()):
                raise UsageError(
                    "files are only read for the daemon's own user", subject=spec.shown_url, advice="copy it yourself"
                )
        if scheme not in ("http", "https"):
            return spec, None
        policy, authorizer = self._access()
        target = policy.direct(origin_of(spec.url))
        if spec.trust:
            target = Target(target.base, spec.trust, target.login)
        else:
            spec = msgspec.structs.replace(spec, trust=target.trust)
        async for attempt in _retrying():
            with attempt:
                grant = await self._let_in(spec, target)
        spec = owned(spec, grant, CIMultiDict(spec.headers))
        login = authorizer.authorization(spec.url, target)
        if login and not any(name.lower() == "authorization" for name in spec.headers):
            spec = msgspec.structs.replace(spec, headers=spec.headers | {"Authorization": login})
        named = spec.digest and str(blob_digest("/" + spec.url.partition("://")[2].partition("/")[2])) == spec.digest
        if not spec.digest or (named and policy.vouches_for(spec.url)):
            return spec, None
        if not grant.ranges:  # told before anything is read in vain
            raise UnsizedError("the source can't show that it has this content", subject=spec.shown_url)
        return spec, self._proofs.by(grant, spec.key, CIMultiDict(spec.headers))

    async def _let_in(self, spec: TaskSpec, target: Target) -> Grant:
        """Raises what keeps these credentials out; SourceUnreachable where asking again may help."""
        policy, authorizer = self._access()
        async with authorizer.check(
            [(spec.url, target)],
            "GET",
            CIMultiDict(spec.headers),
            follow=True,
            when_down=policy.settings.when_upstream_down,
            remembered=bool(spec.digest),
        ) as grant:
            if isinstance(grant, aiohttp.ClientResponse):
                busy = grant.status >= 500 or grant.status in (408, 429)
                raise (SourceUnreachable if busy else SourceError)(
                    f"the source says {grant.status} {grant.reason or ''}".rstrip(),
                    subject=spec.shown_url,
                    advice="try again later" if busy else "check the URL and the credentials",
                    status=grant.status,
                    challenge=grant.headers.get("WWW-Authenticate", ""),
                )
            return grant

    async def _content(self, request: web.Request) -> web.StreamResponse:
        download = self._downloads.get(request.match_info["id"])
        if download is None:
            return _failed(UsageError("no such download, or it is too long ago"), 404)
        return await self._downloads.content(request, download)

    async def _release(self, request: web.Request) -> web.Response:
        self._downloads.drop(request.match_info["id"])
        return web.Response(status=204)


def _retrying() -> tenacity.AsyncRetrying:
    """A busy source is asked again, as its reads are."""
    return tenacity.AsyncRetrying(
        retry=tenacity.retry_if_exception_type(SourceUnreachable),
        stop=tenacity.stop_after_attempt(_ATTEMPTS),
        wait=tenacity.wait_random_exponential(multiplier=0.3, max=2.0),
        reraise=True,
    )


@web.middleware
async def _quietly(
    request: web.Request, handler: Callable[[web.Request], Awaitable[web.StreamResponse]]
) -> web.StreamResponse:
    """A caller that went away is no error of ours."""
    try:
        return await handler(request)
    except ConnectionError:
        return abort(request)


def resident_bytes() -> int:
    """Of this process, now; the most there ever was where the kernel has no /proc."""
    try:
        return int(Path("/proc/self/statm").read_text().split()[1]) * resource.getpagesize()
    except (OSError, IndexError, ValueError):
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


def _line(result: Result, state: str, peers: int) -> TaskLine:
    return TaskLine(
        key=result.key,
        url=result.url,
        state=state,
        length=result.length,
        done=min(result.length, result.received.total),
        received=result.received,
        uploaded=result.uploaded,
        peers=peers,
        seconds=result.seconds,
        fallback=result.fallback,
        bound=result.bound,
        error=result.error,
    )


def _json(content: object) -> web.Response:
    return web.Response(body=msgspec.json.encode(content, enc_hook=str), content_type="application/json")


def _failed(error: DragonflyError, status: int) -> web.Response:
    return web.Response(status=status, body=msgspec.json.encode(failure(error)), content_type="application/json")
