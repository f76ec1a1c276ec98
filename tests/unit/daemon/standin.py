"""What the daemon's tests put in place of the swarm: a registry with all its ways, and an engine without neighbours.

The engine has the same calls as `peer.engine.Engine`; it fetches with the spec's own headers from the
spec's own URL, checks the digest, and can be held back or broken at a byte, which no swarm does on command.
"""

from __future__ import annotations

import asyncio
import base64
import hashlib
import os
import re
from collections import deque
from types import SimpleNamespace

import aiohttp
from aiohttp import web

from dragonfly.core.messages import BytesBy, HostInfo, TaskInfo
from dragonfly.core.task import TaskKey, TaskSpec
from dragonfly.errors import DragonflyError, IntegrityError, SourceError, SourceUnreachable
from dragonfly.net.tls import client_context
from dragonfly.peer.report import Result
from dragonfly.peer.tracker import NoTracker

_KEPT = ("Content-Type", "ETag", "Last-Modified", "Content-Disposition")


class StandInEngine:
    """`hold_at`: bytes that readers get before `release` is set. `break_at`: where the pull fails."""

    def __init__(self) -> None:
        self.host = HostInfo(id="h1", address="127.0.0.1", peer_port=1)
        self.results: deque[Result] = deque()
        self.hold_at: int | None = None
        self.break_at: int | None = None
        self.refuse: DragonflyError | None = None
        self.release = asyncio.Event()
        self.opened: list[TaskSpec] = []
        self.closed = 0
        self.copies: dict[TaskKey, _Copy] = {}
        self.node = SimpleNamespace(tracker=NoTracker(), store=SimpleNamespace(keys=lambda: list(self.copies)))

    async def open(
        self, spec: TaskSpec, *, pattern: object = None, back_to_source: bool = True, rate: int = 0
    ) -> StandInPull:
        self.opened.append(spec)
        if self.refuse is not None:
            raise self.refuse
        first = "cache" if spec.key in self.copies else "origin"
        if spec.key not in self.copies:
            self.copies[spec.key] = _Copy(spec)
        copy = self.copies[spec.key]
        return StandInPull(self, copy, spec, first)

    def close(self) -> None:
        for copy in self.copies.values():
            os.close(copy.file)
        self.copies.clear()

    def runs(self) -> list[object]:
        return []

    async def forget(self, key: TaskKey) -> bool:
        return self.copies.pop(key, None) is not None


class _Copy:
    def __init__(self, spec: TaskSpec) -> None:
        self.spec = spec
        self.file = os.memfd_create("copy")
        self.info: TaskInfo | None = None
        self.lock = asyncio.Lock()

    async def fetched(self) -> TaskInfo:
        async with self.lock:
            if self.info is None:
                self.info = await self._fetch()
            return self.info

    async def _fetch(self) -> TaskInfo:
        spec = self.spec
        ssl = client_context(spec.trust) if spec.url.startswith("https") else True
        try:
            async with (
                aiohttp.ClientSession(auto_decompress=False) as session,
                session.get(spec.url, headers=spec.headers | {"Accept-Encoding": "identity"}, ssl=ssl) as answer,
            ):
                if answer.status != 200:
                    raise SourceError(f"the source says {answer.status}", subject=spec.shown_url, status=answer.status)
                body = await answer.read()
        except aiohttp.ClientError as error:
            raise SourceUnreachable("the source can't be reached", subject=str(error)) from None
        if spec.digest and f"sha256:{hashlib.sha256(body).hexdigest()}" != spec.digest:
            raise IntegrityError("wrong bytes", subject=spec.shown_url)
        os.pwrite(self.file, body, 0)
        headers = {name: answer.headers[name] for name in _KEPT if name in answer.headers}
        return TaskInfo(key=spec.key, length=len(body), piece_size=1 << 18, headers=headers)


class StandInPull:
    peers = 0

    def __init__(self, engine: StandInEngine, copy: _Copy, spec: TaskSpec, first: str) -> None:
        self._engine, self._copy, self.spec, self.key, self.first_source = engine, copy, spec, spec.key, first
        self._closed = False

    @property
    def path(self) -> str:
        return f"/proc/{os.getpid()}/fd/{self._copy.file}"

    async def described(self) -> TaskInfo:
        return await self._copy.fetched()

    def at(self, offset: int) -> None:
        pass

    async def available(self, offset: int, *, part: bool = False) -> int:
        engine, length = self._engine, (await self.described()).length
        if engine.break_at is not None and offset >= engine.break_at:
            raise SourceUnreachable("the source broke off", subject=self.spec.shown_url)
        if engine.hold_at is not None and not engine.release.is_set():
            if offset < engine.hold_at:
                return engine.hold_at
            await engine.release.wait()
        return length if engine.break_at is None else min(length, engine.break_at)

    def fileno(self) -> int:
        return self._copy.file

    async def finished(self) -> Result:
        await self.available((await self.described()).length)
        return self.result()

    def result(self) -> Result:
        length = self._copy.info.length if self._copy.info else 0
        return Result(
            key=self.key, url=self.spec.shown_url, length=length, seconds=0.1, received=BytesBy(source=length)
        )

    def close(self) -> None:
        self._engine.closed += not self._closed
        self._closed = True

    async def __aenter__(self) -> StandInPull:
        return self

    async def __aexit__(self, *_: object) -> None:
        self.close()


class Registry:
    """A registry that remembers what it was asked. `users`: name → (password, repositories); empty: open to all.

    `scheme` of its challenge: Basic or Bearer; `redirect`: blobs are at another server, with a signed query.
    """

    def __init__(self) -> None:
        self.blobs: dict[str, bytes] = {}
        self.manifests: dict[str, bytes] = {}
        self.users: dict[str, tuple[str, set[str]]] = {}
        self.scheme = "Basic"
        self.redirect = False
        self.head_forbidden = False
        self.asked: list[tuple[str, str, dict[str, str]]] = []
        self.pushed: dict[str, bytes] = {}
        self.origin = ""
        self.storage = ""
        self.failing = 0
        self.answer_headers: dict[str, str] = {}
        self.files: dict[str, tuple[bytes, dict[str, str]]] = {}

    def add(self, data: bytes) -> str:
        digest = f"sha256:{hashlib.sha256(data).hexdigest()}"
        self.blobs[digest] = data
        return digest

    def count(self, method: str, part: str) -> int:
        return sum(m == method and part in path for m, path, _ in self.asked)

    async def serve(self, request: web.BaseRequest) -> web.StreamResponse:
        path = request.raw_path
        self.asked.append((request.method, path, dict(request.headers)))
        if self.failing:
            return web.Response(status=self.failing, text="out of order")
        bare = path.partition("?")[0]
        if bare == "/token":
            return self._token(request)
        if bare in self.files:
            body, headers = self.files[bare]
            if request.method == "HEAD" and self.head_forbidden:
                return web.Response(status=403)
            return ranged(request, body, headers)
        if not bare.startswith("/v2/"):
            return web.Response(status=404, text="no such file")
        name = re.split("/(?:blobs|manifests|tags|referrers)/", bare.removeprefix("/v2/"))[0]
        if (refused := self._refused(request, name)) is not None:
            return refused
        headers = {"Docker-Distribution-Api-Version": "registry/2.0", **self.answer_headers}
        if "/blobs/uploads/" in bare:
            return await self._upload(request, name)
        if "/blobs/" in bare:
            digest = bare.rsplit("/", 1)[1]
            if digest not in self.blobs:
                return web.json_response({"errors": [{"code": "BLOB_UNKNOWN"}]}, status=404)
            if self.redirect:
                return web.Response(status=307, headers={"Location": f"{self.storage}/store/{digest}?sig=a%2Fb%3D"})
            headers |= {
                "Docker-Content-Digest": digest,
                "ETag": f'"{digest}"',
                "Content-Type": "application/octet-stream",
            }
            return ranged(request, self.blobs[digest], headers)
        if "/manifests/" in bare and bare.rsplit("/", 1)[1] in self.manifests:
            body = self.manifests[bare.rsplit("/", 1)[1]]
            headers["Content-Type"] = "application/vnd.oci.image.manifest.v1+json"
            return web.Response(body=body, headers=headers)
        if bare.endswith("/tags/list"):
            headers["Link"] = f'<{self.origin}{bare}?last=b&n=2>; rel="next"'
            return web.json_response({"name": name, "tags": ["a", "b"]}, headers=headers)
        if bare == "/v2/":
            return web.Response(text="{}", headers=headers)
        return web.json_response({"errors": [{"code": "MANIFEST_UNKNOWN"}]}, status=404, headers=headers)

    async def serve_storage(self, request: web.BaseRequest) -> web.StreamResponse:
        """An object store: no Authorization wanted, GET only, signature checked byte for byte."""
        self.asked.append((request.method, "storage:" + request.raw_path, dict(request.headers)))
        digest = request.raw_path.partition("?")[0].rsplit("/", 1)[1]
        signed = request.raw_path.endswith("?sig=a%2Fb%3D")
        if not signed or "Authorization" in request.headers or request.method != "GET":
            return web.Response(status=403, text="<Error><Code>SignatureDoesNotMatch</Code></Error>")
        return ranged(request, self.blobs[digest], {"Content-Type": "binary/octet-stream"})

    def _refused(self, request: web.BaseRequest, name: str) -> web.Response | None:
        if not self.users:
            return None
        allowed = self._who(request.headers.get("Authorization", ""))
        if allowed is None:
            challenge = (
                'Basic realm="test"'
                if self.scheme == "Basic"
                else f'Bearer realm="{self.origin}/token",service="test",scope="repository:{name}:pull"'
            )
            body = {"errors": [{"code": "UNAUTHORIZED", "message": "authentication required"}]}
            return web.json_response(body, status=401, headers={"WWW-Authenticate": challenge})
        if name and name not in allowed and request.raw_path != "/v2/":
            return web.json_response({"errors": [{"code": "DENIED"}]}, status=403)
        return None

    def _who(self, authorization: str) -> set[str] | None:
        kind, _, rest = authorization.partition(" ")
        if self.scheme == "Bearer":
            user = rest.removeprefix("token-of-") if kind == "Bearer" else ""
            return self.users[user][1] if user in self.users else None
        return self._basic(kind, rest)

    def _basic(self, kind: str, rest: str) -> set[str] | None:
        user, _, password = base64.b64decode(rest).decode().partition(":") if kind == "Basic" else ("", "", "")
        known = self.users.get(user)
        return known[1] if known and known[0] == password else None

    def _token(self, request: web.BaseRequest) -> web.Response:
        kind, _, rest = request.headers.get("Authorization", "").partition(" ")
        if self._basic(kind, rest) is None:
            return web.Response(status=401)
        return web.json_response({"token": f"token-of-{base64.b64decode(rest).decode().partition(':')[0]}"})

    async def _upload(self, request: web.BaseRequest, name: str) -> web.Response:
        if request.method == "POST":
            return web.Response(status=202, headers={"Location": f"{self.origin}/v2/{name}/blobs/uploads/u1?_state=x"})
        body = b"".join([chunk async for chunk in request.content.iter_any()])
        self.pushed[request.raw_path] = body
        return web.Response(status=201, headers={"Location": f"/v2/{name}/blobs/sha256:1"})


def ranged(request: web.BaseRequest, body: bytes, headers: dict[str, str]) -> web.Response:
    """As object stores and registries do: one range, no conditions."""
    headers = headers | {"Accept-Ranges": "bytes"}
    asked = request.headers.get("Range", "")
    if asked.startswith("bytes=") and "," not in asked:
        first, _, last = asked.removeprefix("bytes=").partition("-")
        if first:
            start, end = int(first), min(len(body), int(last) + 1) if last else len(body)
            if start >= len(body):
                return web.Response(status=416, headers={"Content-Range": f"bytes */{len(body)}"})
            told = headers | {"Content-Range": f"bytes {start}-{end - 1}/{len(body)}"}
            return web.Response(status=206, body=body[start:end], headers=told)
    return web.Response(body=body, headers=headers)
