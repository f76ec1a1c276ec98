"""Preheat jobs: what is asked, how it stands, and who carries it out."""

from __future__ import annotations

import asyncio
import re
import secrets
import time
from collections.abc import Callable
from typing import Literal
from urllib.parse import urlsplit

import msgspec

from dragonfly.core.digest import Digest
from dragonfly.core.messages import Pull as PullOrder
from dragonfly.core.messages import PullDone
from dragonfly.core.task import TaskSpec, canonical_url, shown_url
from dragonfly.errors import CapacityError, DragonflyError, SourceError, UsageError
from dragonfly.peer.engine import Engine
from dragonfly.supernode.control import Control
from dragonfly.supernode.preheat.image import ImageBlobs
from dragonfly.supernode.state.base import State
from dragonfly.telemetry.trace import Tracer

__all__ = ["Job", "PreheatRequest", "Preheats"]

_BARRIER_S = 3600.0
_KEPT = 1000
#: RFC 9110: a token; anything but control characters.
_NAME = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
_VALUE = re.compile(r"[^\x00-\x08\x0a-\x1f\x7f]*")


class PreheatRequest(msgspec.Struct, kw_only=True, forbid_unknown_fields=True):
    """`scope`: the seed only, all nodes, or that many of them. `platforms`: `os/arch[/variant]`, empty for all."""

    type: Literal["file", "image"]
    url: str
    headers: dict[str, str] = {}
    platforms: list[str] = []
    scope: Literal["seed", "all"] | int = "seed"
    digest: str = ""
    filters: list[str] = []


class Job(msgspec.Struct, kw_only=True):
    """A preheat as the API shows it; headers are never part of it."""

    id: str
    type: str
    url: str
    scope: str | int
    status: Literal["WAITING", "RUNNING", "SUCCESS", "FAILED"] = "WAITING"
    error: str = ""
    blobs: int = 0
    blobs_done: int = 0
    bytes: int = 0
    nodes: int = 0
    nodes_done: int = 0
    at: float = 0.0
    """When it was asked for, in seconds since 1970."""


class Preheats:
    """The last jobs of one supernode, in their order; they are kept in `state`."""

    def __init__(
        self, engine: Engine, control: Control, state: State, images: ImageBlobs, tracer: Tracer, streams: int,
        trust: Callable[[str], str],
    ) -> None:  # fmt: skip
        self._engine = engine
        self._control = control
        self._state = state
        self._images = images
        self._tracer = tracer
        self._streams = asyncio.Semaphore(streams)
        self._trust = trust
        self._jobs: dict[str, Job] = {}
        self._pending: dict[str, dict[tuple[str, str], asyncio.Future[str]]] = {}
        self._tasks: set[asyncio.Task[None]] = set()

    def load(self) -> None:
        """Jobs of an earlier process; what was running then has failed."""
        jobs = []
        for key, value in self._state.all("job").items():
            try:
                job = msgspec.json.decode(value, type=Job)
            except msgspec.DecodeError:
                self._state.remove("job", key)  # of another release, or spoilt
                continue
            if job.status in ("WAITING", "RUNNING"):
                job.status, job.error = "FAILED", "the supernode was stopped in the middle; ask again"
            jobs.append(job)
        self._jobs = {job.id: job for job in sorted(jobs, key=lambda job: job.at)}

    def all(self) -> list[Job]:
        return list(self._jobs.values())

    def get(self, job_id: str) -> Job | None:
        return self._jobs.get(job_id)

    def start(self, request: PreheatRequest) -> Job:
        """Begin a job; UsageError where it can't be meant so."""
        if isinstance(request.scope, int) and request.scope < 1:
            raise UsageError("scope is a number of nodes", subject=str(request.scope), advice="1 or more, all or seed")
        for name, value in request.headers.items():
            if not _NAME.fullmatch(name) or not _VALUE.fullmatch(value):
                raise UsageError("not a header", subject=repr(name), advice="a name, and a value of one line")
        if request.type == "image":
            self._images.parse(request.url)
        else:
            self._engine.node.sources.for_url(request.url)
            if not urlsplit(canonical_url(request.url)).netloc:
                raise UsageError("not a URL", subject=shown_url(request.url), advice="write SCHEME://HOST/PATH")
        if request.digest:
            Digest.parse(request.digest)
        shown = shown_url(request.url)
        job = Job(id=secrets.token_hex(8), type=request.type, url=shown, scope=request.scope, at=time.time())
        self._jobs[job.id] = job
        task = asyncio.get_running_loop().create_task(self._run(job, request))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return job

    async def _run(self, job: Job, request: PreheatRequest) -> None:
        try:
            job.status = "RUNNING"
            await self._keep(job)
            specs = await self._specs(request)
            job.blobs = len(specs)
            async with asyncio.TaskGroup() as group:
                for spec in specs:
                    group.create_task(self._on_seed(job, spec))
            if request.scope != "seed":
                await self._on_nodes(job, specs, request.scope)
            job.status = "SUCCESS"
        except* Exception as group_error:  # whatever it was, who asked must not wait for ever
            errors = _flat(group_error)
            job.status, job.error = "FAILED", "; ".join(sorted({_words(error) for error in errors}))
        self._tracer.emit("preheat.finished", job=job.id, url=job.url, status=job.status, error=job.error)
        await self._keep(job)

    async def _specs(self, request: PreheatRequest) -> list[TaskSpec]:
        if request.type == "image":
            return await self._images.resolve(
                request.url, request.headers, tuple(request.platforms), self._trust(request.url)
            )
        return [
            TaskSpec(
                url=request.url,
                headers=request.headers,
                digest=request.digest,
                filters=tuple(request.filters),
                trust=self._trust(request.url),
            )
        ]

    async def _on_seed(self, job: Job, spec: TaskSpec) -> None:
        async with self._streams, await self._engine.open(spec) as pull:
            result = await pull.finished()
            job.blobs_done += 1
            job.bytes += result.length

    async def _on_nodes(self, job: Job, specs: list[TaskSpec], scope: str | int) -> None:
        """Order the pulls and wait until every node has everything (or is gone)."""
        hosts = self._control.hosts()
        if isinstance(scope, int):
            if len(hosts) < scope:
                raise SourceError("there are fewer nodes than asked for", subject=f"{len(hosts)} of {scope}")
            hosts = hosts[:scope]
        job.nodes = len(hosts)
        loop = asyncio.get_running_loop()
        waits = self._pending[job.id] = {}
        for host in hosts:
            for spec in specs:
                waits[host, spec.key] = loop.create_future()
                self._control.send(host, PullOrder(job=job.id, spec=spec))
        try:
            async with asyncio.timeout(_BARRIER_S):
                for host in hosts:
                    errors = [error for spec in specs if (error := await self._done(job.id, host, spec))]
                    if errors:
                        raise SourceError("a node could not pull", subject=host, advice=errors[0])
                    job.nodes_done += 1
        except TimeoutError:
            raise SourceError("not all nodes were done in time", subject=f"{job.nodes_done} of {job.nodes}") from None
        finally:
            del self._pending[job.id]

    async def _done(self, job_id: str, host: str, spec: TaskSpec) -> str:
        """A node's word on one blob; a node that leaves has failed."""
        future = self._pending[job_id][host, spec.key]
        while True:
            try:
                return await asyncio.wait_for(asyncio.shield(future), 2.0)
            except TimeoutError:
                if host not in self._control.hosts():
                    return "the node left"

    def pull_done(self, host: str, message: PullDone) -> None:
        """A node answers an order."""
        future = self._pending.get(message.job, {}).get((host, message.key))
        if future is not None and not future.done():
            future.set_result(message.error)

    async def _keep(self, job: Job) -> None:
        """Write it down, and let go of the oldest; a place that can't be written stops no preheat."""
        ended = [old.id for old in self._jobs.values() if old.status in ("SUCCESS", "FAILED")]
        surplus = ended[: max(0, len(self._jobs) - _KEPT)]
        for old in surplus:
            del self._jobs[old]

        def write() -> None:
            self._state.put("job", job.id, msgspec.json.encode(job))
            for old in surplus:
                self._state.remove("job", old)

        try:
            await asyncio.to_thread(write)
        except CapacityError as error:
            self._tracer.emit("preheat.unwritten", job=job.id, reason=str(error))

    async def close(self) -> None:
        for task in list(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)


def _words(error: Exception) -> str:
    return str(error) if isinstance(error, DragonflyError) else repr(error)


def _flat(group: BaseExceptionGroup[Exception]) -> list[Exception]:
    found: list[Exception] = []
    for error in group.exceptions:
        if isinstance(error, BaseExceptionGroup):
            found.extend(_flat(error))
        else:
            found.append(error)
    return found
