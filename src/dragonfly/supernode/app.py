"""The supernode: control sessions, seed, REST API, console, put on one port."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Callable
from importlib import resources
from types import TracebackType
from typing import Self
from urllib.parse import urlsplit

import msgspec
from aiohttp import web

from dragonfly.core.messages import HostInfo
from dragonfly.core.task import INSECURE, TaskKey, TaskSpec
from dragonfly.errors import DragonflyError, UsageError
from dragonfly.peer.engine import Engine
from dragonfly.peer.tracker import Tracker
from dragonfly.scheduler import events as ev
from dragonfly.scheduler.scheduler import Scheduler
from dragonfly.supernode.api import openapi, tasks
from dragonfly.supernode.api.problems import answer, errors_as_problems, guard, read
from dragonfly.supernode.control import Control
from dragonfly.supernode.preheat.image import ImageBlobs
from dragonfly.supernode.preheat.jobs import PreheatRequest, Preheats
from dragonfly.supernode.settings import SupernodeSettings
from dragonfly.supernode.state.base import State
from dragonfly.telemetry.metrics import CONTENT_TYPE, Metrics
from dragonfly.telemetry.trace import Event, Tracer

__all__ = ["Supernode"]


class Supernode:
    """`make_engine(tracker)` gives the seed's engine, not started yet. `upstream_ca`: PEM text that
    sources are checked against too. Use as `async with`; `port` is the real one after the start."""

    def __init__(
        self,
        settings: SupernodeSettings,
        *,
        scheduler: Scheduler,
        state: State,
        make_engine: Callable[[Tracker], Engine],
        tracer: Tracer,
        metrics: Metrics,
        version: str,
        upstream_ca: str = "",
    ) -> None:
        self.settings = settings
        self.scheduler = scheduler
        self.state = state
        self.port = 0
        self.control = Control(
            scheduler,
            tracer,
            join_token=settings.join_token,
            start_seed=self._start_seed,
            pull_done=lambda host, message: self.preheats.pull_done(host, message),
            forgotten=lambda key: None,
        )
        self.engine = make_engine(self.control.seed_tracker)
        self._tracer = tracer
        self._metrics = metrics
        self._version = version
        self._upstream_ca = upstream_ca
        self._started = time.monotonic()
        self._tasks: set[asyncio.Task[None]] = set()
        self._counted = {"origin": 0, "upload": 0}

    # ---------------------------------------------------------------- life

    async def __aenter__(self) -> Self:
        async with contextlib.AsyncExitStack() as stack:
            loop = asyncio.get_running_loop()
            self._tracer.subscribe(self._count, frozenset({"source.read", "run.sent"}))
            self._tracer.subscribe(self._evicted, frozenset({"task.evicted"}))
            try:
                await stack.enter_async_context(self.engine)
            except OSError as error:
                raise UsageError(
                    "the seed's address can't be listened on",
                    subject=self.settings.peer_listen,
                    advice=f"{error.strerror}; choose another --peer-listen",
                ) from error
            self._seed_host = self.engine.host
            self.scheduler.seed_is(self._seed_host, loop.time())
            self.control.start(self._seed_host.id)
            stack.callback(self.control.close)
            self._know_what_is_stored()
            images = ImageBlobs(self.engine.node.sources)
            self.preheats = Preheats(
                self.engine,
                self.control,
                self.state,
                images,
                self._tracer,
                self.settings.preheat_streams,
                self._trust,
            )
            await asyncio.to_thread(self.preheats.load)
            stack.push_async_callback(self.preheats.close)
            self._gauges()
            runner = web.AppRunner(self._app(), access_log=None, shutdown_timeout=1.0, handle_signals=False)
            await runner.setup()
            stack.push_async_callback(runner.cleanup)
            stack.push_async_callback(self.control.close_sessions)
            host, port = _split(self.settings.listen)
            site = web.TCPSite(runner, host, port, backlog=4096, reuse_address=True)
            try:
                await site.start()
            except OSError as error:
                raise UsageError(
                    "the address can't be listened on",
                    subject=self.settings.listen,
                    advice=f"{error.strerror}; choose another --listen",
                ) from error
            self.port = runner.addresses[0][1]
            stack.push_async_callback(self._end_tasks)
            self._stack = stack.pop_all()
        self._tracer.emit("supernode.ready", listen=f"{host}:{self.port}", seed=self._seed_host.peer_port)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._stack.aclose()

    async def _end_tasks(self) -> None:
        for task in list(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    # ---------------------------------------------------------------- seed

    def _start_seed(self, spec: TaskSpec) -> None:
        task = asyncio.get_running_loop().create_task(self._seed(spec))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _seed(self, spec: TaskSpec) -> None:
        """Have the seed fetch (or check) a task; what goes wrong it says itself, as TaskFailed."""
        spec = self._trusted(spec)
        with contextlib.suppress(DragonflyError):
            async with await self.engine.open(spec) as pull:
                await pull.described()
                pull.introduce()
                await pull.finished()

    def _trusted(self, spec: TaskSpec) -> TaskSpec:
        if spec.trust or not spec.digest:
            return spec
        return msgspec.structs.replace(spec, trust=self._trust(spec.url))

    def _trust(self, url: str) -> str:
        """How the operator wants this source's TLS checked."""
        parts = urlsplit(url if "://" in url else f"//{url}")
        if {parts.hostname, parts.netloc} & set(self.settings.insecure_upstream):
            return INSECURE
        return self._upstream_ca

    def _know_what_is_stored(self) -> None:
        """Blobs that an earlier process fetched are served without asking their source again."""
        for blob in self.engine.node.store.blobs():
            if blob.sealed and blob.key.startswith("sha"):
                self.engine.revive(blob.key)

    # ---------------------------------------------------------------- HTTP

    def _app(self) -> web.Application:
        app = web.Application(middlewares=[errors_as_problems], client_max_size=4 * 1024 * 1024)
        token = self.settings.api_token
        route = app.router
        route.add_get("/healthz", self._healthz)
        route.add_get("/metrics", self._render_metrics)
        route.add_get("/openapi.json", self._openapi)
        route.add_get("/", self._console)
        route.add_get("/api/v1/session", guard("", self.control.session))
        route.add_get("/api/v1/tasks", self._list_tasks)
        route.add_get("/api/v1/tasks/{task_id}", self._task)
        route.add_delete("/api/v1/tasks/{task_id}", guard(token, self._delete_task))
        route.add_get("/api/v1/peers", self._peers)
        route.add_get("/api/v1/stats", self._stats)
        route.add_get("/api/v1/preheats", self._list_preheats)
        route.add_post("/api/v1/preheats", guard(token, self._add_preheat))
        route.add_get("/api/v1/preheats/{id}", self._preheat)
        return app

    async def _healthz(self, request: web.Request) -> web.Response:
        return web.Response(text="ok\n")

    async def _render_metrics(self, request: web.Request) -> web.Response:
        return web.Response(body=self._metrics.render(), headers={"Content-Type": CONTENT_TYPE})

    async def _openapi(self, request: web.Request) -> web.Response:
        return answer(openapi.document(self._version))

    async def _console(self, request: web.Request) -> web.Response:
        page = resources.files("dragonfly.supernode.console").joinpath("index.html").read_text(encoding="utf-8")
        return web.Response(
            text=page,
            content_type="text/html",
            headers={"Content-Security-Policy": "default-src 'self' 'unsafe-inline'"},
        )

    async def _list_tasks(self, request: web.Request) -> web.Response:
        return answer([tasks.summary_of(task, self.scheduler) for task in self.scheduler.roster.tasks.values()])

    async def _task(self, request: web.Request) -> web.Response:
        return answer(tasks.detail_of(tasks.find(self.scheduler, request), self.scheduler))

    async def _delete_task(self, request: web.Request) -> web.Response:
        key = TaskKey(request.match_info["task_id"])
        known = key in self.scheduler.roster.tasks
        had = await self.engine.forget(key)
        self.control.tell(ev.Deleted(key))
        if not known and not had:
            raise web.HTTPNotFound
        self._tracer.emit("task.deleted", task=key)
        return web.Response(status=204)

    async def _peers(self, request: web.Request) -> web.Response:
        return answer(tasks.peers_of(self.scheduler, asyncio.get_running_loop().time()))

    async def _stats(self, request: web.Request) -> web.Response:
        return answer(self.stats())

    def stats(self) -> tasks.Stats:
        moved = self.scheduler.roster.moved
        return tasks.Stats(
            origin_bytes=self._counted["origin"] + moved.source,
            seed_origin_bytes=self._counted["origin"],
            seed_upload_bytes=self._counted["upload"],
            p2p_bytes=moved.peers,
            peers=self.control.connected,
            tasks=len(self.scheduler.roster.tasks),
            uptime_s=time.monotonic() - self._started,
            control_messages=self.control.messages,
        )

    async def _list_preheats(self, request: web.Request) -> web.Response:
        return answer(self.preheats.all())

    async def _add_preheat(self, request: web.Request) -> web.Response:
        job = self.preheats.start(await read(request, PreheatRequest))
        return answer(job, 201, {"Location": f"/api/v1/preheats/{job.id}"})

    async def _preheat(self, request: web.Request) -> web.Response:
        job = self.preheats.get(request.match_info["id"])
        if job is None:
            raise web.HTTPNotFound
        return answer(job)

    # ---------------------------------------------------------------- numbers

    def _count(self, event: Event) -> None:
        count = event.fields["bytes"]
        assert isinstance(count, int)
        self._counted["origin" if event.name == "source.read" else "upload"] += count

    def _evicted(self, event: Event) -> None:
        self.control.tell(ev.Evicted(TaskKey(str(event.fields["task"]))))

    def _gauges(self) -> None:
        gauge = self._metrics.gauge
        gauge("dragonfly_connected_daemons", "Daemons with a session.", lambda: self.control.connected)
        gauge("dragonfly_tasks", "Tasks in the directory.", lambda: len(self.scheduler.roster.tasks))
        gauge("dragonfly_control_messages", "Messages of daemons.", lambda: self.control.messages)
        gauge("dragonfly_store_bytes", "Content on disk.", lambda: self.engine.node.store.used_bytes())

    @property
    def host(self) -> HostInfo:
        """The seed."""
        return self._seed_host


def _split(listen: str) -> tuple[str, int]:
    host, _, port = listen.rpartition(":")
    return host.strip("[]"), int(port)
