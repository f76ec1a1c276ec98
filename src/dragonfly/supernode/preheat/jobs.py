"""Preheat jobs: what is asked, how it stands, and who carries it out."""

from __future__ import annotations

import asyncio
import logging
import secrets
from collections.abc import Callable
from typing import Literal

import msgspec

from dragonfly.core.messages import Pull as PullOrder
from dragonfly.core.messages import PullDone
from dragonfly.core.task import TaskSpec
from dragonfly.errors import DragonflyError, SourceError, UsageError
from dragonfly.peer.engine import Engine
from dragonfly.supernode.control import Control
from dragonfly.supernode.preheat.image import ImageBlobs
from dragonfly.supernode.state.base import State
from dragonfly.telemetry.trace import Tracer

__all__ = ["Job", "PreheatRequest", "Preheats"]

logger = logging.getLogger("dragonfly")

_BARRIER_S = 3600.0
#: Jobs that have ended and are still shown; the oldest go.
_MOST_ENDED = 1000


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


class Preheats:
    """All jobs of one supernode; they are kept in `state`."""

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
        for key, value in self._state.all("job").items():
            job = msgspec.json.decode(value, type=Job)
            if job.status in ("WAITING", "RUNNING"):
                job.status, job.error = "FAILED", "the supernode was stopped in the middle; ask again"
            self._jobs[key] = job

    def all(self) -> list[Job]:
        return list(self._jobs.values())

    def get(self, job_id: str) -> Job | None:
        return self._jobs.get(job_id)

    def start(self, request: PreheatRequest) -> Job:
        """Begin a job; UsageError where it can't be meant so."""
        if isinstance(request.scope, int) and request.scope < 1:
            raise UsageError("scope is a number of nodes", subject=str(request.scope), advice="1 or more, all or seed")
        if request.type == "image":
            self._images.parse(request.url)
        else:
            self._engine.node.sources.for_url(request.url)
            _ = self._file(request).key  # a digest or a port that is none is told at once
        shown = TaskSpec(url=request.url).shown_url
        job = Job(id=secrets.token_hex(8), type=request.type, url=shown, scope=request.scope)
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
        except* DragonflyError as group_error:
            errors = _flat(group_error)
            job.status, job.error = "FAILED", "; ".join(sorted({str(error) for error in errors}))
        except* Exception as group_error:  # the top of a task: a job that has ended never looks as if it ran
            logger.exception("a preheat ended by a fault of ours")
            job.status, job.error = "FAILED", f"a fault of the supernode: {group_error.exceptions[0]!r}"
        self._tracer.emit("preheat.finished", job=job.id, url=job.url, status=job.status, error=job.error)
        await self._keep(job)

    async def _specs(self, request: PreheatRequest) -> list[TaskSpec]:
        if request.type == "image":
            return await self._images.resolve(
                request.url, request.headers, tuple(request.platforms), self._trust(request.url)
            )
        return [self._file(request)]

    def _file(self, request: PreheatRequest) -> TaskSpec:
        return TaskSpec(
            url=request.url,
            headers=request.headers,
            digest=request.digest,
            filters=tuple(request.filters),
            trust=self._trust(request.url),
        )

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
        await asyncio.to_thread(self._state.put, "job", job.id, msgspec.json.encode(job))
        ended = [one.id for one in self._jobs.values() if one.status in ("SUCCESS", "FAILED")]
        for job_id in ended[: max(0, len(ended) - _MOST_ENDED)]:
            del self._jobs[job_id]
            await asyncio.to_thread(self._state.remove, "job", job_id)

    async def close(self) -> None:
        for task in list(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)


def _flat(group: BaseExceptionGroup[DragonflyError]) -> list[DragonflyError]:
    found: list[DragonflyError] = []
    for error in group.exceptions:
        if isinstance(error, BaseExceptionGroup):
            found.extend(_flat(error))
        else:
            found.append(error)
    return found
