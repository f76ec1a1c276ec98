"""The engine of every node: owns the tasks, lets neighbours in, talks with the supernode.

A seed and a daemon are this same engine with other values (`EngineSettings.source_policy`,
the tracker, the store's quota), never another branch of code.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
import time
from collections import deque
from collections.abc import Callable, Coroutine
from concurrent.futures import ThreadPoolExecutor
from itertools import islice
from random import Random
from types import TracebackType
from typing import Self

from dragonfly.core.messages import (
    Digests,
    Fingerprint,
    Forget,
    FromSupernode,
    Hello,
    Holding,
    HostInfo,
    Neighbours,
    Progress,
    PullDone,
    TaskFailed,
    TaskInfo,
    Welcome,
)
from dragonfly.core.messages import (
    Pull as PullOrder,
)
from dragonfly.core.rate import TokenBucket
from dragonfly.core.task import TaskKey, TaskSpec
from dragonfly.errors import DragonflyError, SourceError, StoppedError
from dragonfly.peer.bulk import BulkPool
from dragonfly.peer.node import Node
from dragonfly.peer.pull import Pull
from dragonfly.peer.report import Result
from dragonfly.peer.runner import TaskRun
from dragonfly.peer.serve import Admission, PeerServer
from dragonfly.peer.settings import EngineSettings, Pattern, SourcePolicy
from dragonfly.peer.slots import UploadSlots
from dragonfly.peer.tracker import Tracker
from dragonfly.source.base import SourceRequest
from dragonfly.source.registry import Sources
from dragonfly.store.blob import Blob
from dragonfly.store.store import Store
from dragonfly.telemetry.trace import Tracer

__all__ = ["Engine"]

_LAYOUT_PATIENCE_S = 5.0
_HOLDING_LIMIT = 10_000
_HOUSEKEEPING_S = 5.0
#: Content that can't be told from a later version serves who asks within this.
_SAME_S = 1.0


class Engine:
    """One node. `host.peer_port` 0 takes any port; `engine.host` has the real one after the start."""

    def __init__(
        self,
        *,
        host: HostInfo,
        settings: EngineSettings,
        store: Store,
        sources: Sources,
        tracker: Tracker,
        tracer: Tracer,
        peer_address: str = "0.0.0.0",
        token: str = "",
        ticket_for: Callable[[TaskKey], str] | None = None,
        piece_size: Callable[[TaskKey, int], int] | None = None,
    ) -> None:
        self.settings = settings
        self.host = host
        self.results: deque[Result] = deque(maxlen=200)
        self._token = token
        self._peer_address = peer_address
        self._parts = (store, sources, tracker, tracer, ticket_for, piece_size)
        self._runs: dict[TaskKey, TaskRun] = {}
        self._readers: dict[TaskRun, int] = {}
        self._idle_since: dict[TaskRun, float] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self._server = PeerServer(self._gate)
        self._report_every_s = 2.0
        self._closing = False

    # ---------------------------------------------------------------- life

    async def __aenter__(self) -> Self:
        store, sources, tracker, tracer, ticket_for, piece_size = self._parts
        settings = self.settings
        port = self._server.listen(self._peer_address, self.host.peer_port)
        self.host = HostInfo(
            id=self.host.id,
            address=self.host.address,
            peer_port=port,
            hostname=self.host.hostname,
            zone=self.host.zone,
            rack=self.host.rack,
            version=self.host.version,
        )
        self.node = Node(
            host=self.host,
            settings=settings,
            store=store,
            sources=sources,
            tracker=tracker,
            tracer=tracer,
            slots=UploadSlots(
                settings.upload_slots, settings.first_slots, TokenBucket(settings.upload_limit), Random()
            ),
            bulk=BulkPool(settings.bulk_threads),
            reading=ThreadPoolExecutor(settings.source_threads, thread_name_prefix="source"),
            hashing=ThreadPoolExecutor(4, thread_name_prefix="hash"),
            download_limit=TokenBucket(settings.download_limit),
            origin_limit=TokenBucket(settings.origin_limit),
            ticket_for=ticket_for,
            piece_size=piece_size,
        )
        tracker.attach(self._heard, self._connected, self._lost)
        self._spawn(self._housekeeping())
        self._spawn(self._reporting())
        await tracker.start()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._closing = True
        await self._server.close()
        for run in list(self._runs.values()):
            await run.stop()
        self._runs.clear()
        for task in list(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await self.node.tracker.close()
        self.node.slots.close()
        self.node.bulk.close()
        for pool in (self.node.reading, self.node.hashing):
            pool.shutdown(wait=False, cancel_futures=True)

    # ---------------------------------------------------------------- pulls

    async def open(
        self, spec: TaskSpec, *, pattern: Pattern = Pattern.P2P, back_to_source: bool = True, rate: int = 0
    ) -> Pull:
        """Begin to read a task, or join in where it is being pulled already. Close what it returns.

        `rate`: bytes/s of this task at most, 0 for no limit; the first to ask for a task decides.
        What is wrong with it is raised by the Pull's own calls.
        """
        if self._closing:
            raise StoppedError("this node is ending", subject=spec.shown_url)
        run = self._runs.get(spec.key)
        if run is None or run.error is not None:
            if run is not None:
                await self._close_run(run)
            if not spec.digest:
                await self._revalidate(spec)
            run = self._runs.get(spec.key)
        elif not spec.digest and run.sealed and not self._readers.get(run) and not await self._revalidate(spec):
            run = self._runs.get(spec.key)
        if run is None:
            policy = self.settings.source_policy
            if not back_to_source and policy is SourcePolicy.FALLBACK:
                policy = SourcePolicy.NEVER
            run = self._runs[spec.key] = TaskRun(self.node, spec, policy, pattern, TokenBucket(rate))
            run.start()
            self._spawn(self._keep_result(run))
        self._readers[run] = self._readers.get(run, 0) + 1
        self._idle_since.pop(run, None)
        return Pull(run, self._released)

    async def _revalidate(self, spec: TaskSpec) -> bool:
        """Whether the copy of a URL that we have may be used; drops it where the source has another by now."""
        blob = self.node.store.get(spec.key)
        if blob is None or not blob.sealed:
            return True  # an unfinished one is compared when its version is known
        validators = blob.meta.validators
        age = time.time() - blob.meta.checked_at
        if age < validators.fresh_for_s or (not blob.meta.version and age < _SAME_S):
            return True
        source = self.node.sources.for_url(spec.url)
        request = SourceRequest(
            url=spec.url, headers=spec.headers, trust=spec.trust, timeout_s=self.settings.source_timeout_s
        )
        loop = asyncio.get_running_loop()
        try:
            same = bool(blob.meta.version) and await loop.run_in_executor(
                self.node.reading, source.unchanged, request, validators
            )
        except SourceError:
            same = self.settings.serve_stale and blob.sealed
        if same:
            self.node.store.checked(blob)
            return True
        await self.forget(spec.key, tell=False)
        return False

    def _released(self, run: TaskRun) -> None:
        left = self._readers.get(run, 1) - 1
        if left > 0:
            self._readers[run] = left
            return
        self._readers.pop(run, None)
        self._idle_since[run] = self.node.now()
        if not run.ended.is_set():
            loop = asyncio.get_running_loop()
            loop.call_later(self.settings.linger_s, self._stop_if_unread, run)

    def _stop_if_unread(self, run: TaskRun) -> None:
        if run not in self._readers and not run.ended.is_set() and not self._closing:
            self._spawn(self._close_run(run))

    async def _close_run(self, run: TaskRun) -> None:
        if self._runs.get(run.key) is run:
            del self._runs[run.key]
        self._readers.pop(run, None)
        self._idle_since.pop(run, None)
        await run.stop()

    async def _keep_result(self, run: TaskRun) -> None:
        await run.ended.wait()
        self.results.append(run.result())

    async def forget(self, key: TaskKey, *, tell: bool = True) -> bool:
        """Stop a task and delete what is stored of it; whether there was anything."""
        run = self._runs.get(key)
        if run is not None:
            await self._close_run(run)
        removed = self.node.store.remove(key)
        return removed or run is not None

    @property
    def busy(self) -> bool:
        """Somebody reads, or a neighbour is being served."""
        return bool(self._readers) or any(run.sessions for run in self._runs.values())

    def runs(self) -> list[TaskRun]:
        """Tasks that are pulled or served now."""
        return list(self._runs.values())

    # ---------------------------------------------------------------- neighbours

    async def _gate(self, admission: Admission) -> tuple[int, str, Callable[[socket.socket], None] | None]:
        key = TaskKey(admission.key)
        run = self._runs.get(key)
        if run is None:
            run = self.revive(key)
        if run is None:
            return 404, "No Such Task Here", None
        if run.meeting is None:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(_LAYOUT_PATIENCE_S):
                    await run.described.wait()
        if run.meeting is None or run.error is not None:
            return 503, "Not Ready", None
        status, reason = run.meeting.admit(admission)
        if status != 101:
            return status, reason, None
        meeting = run.meeting
        self._idle_since.pop(run, None)
        return 101, reason, lambda sock: meeting.accept(sock, admission.peer, admission.lane, admission.zone)

    def revive(self, key: TaskKey) -> TaskRun | None:
        """A task that lies complete on disk, for a neighbour that asks for it."""
        blob: Blob | None = self.node.store.get(key)
        if blob is None or not blob.complete or not blob.sealed:
            return None
        spec = TaskSpec(url=blob.meta.url, digest=blob.meta.digest)
        run = TaskRun(self.node, spec, self.settings.source_policy, Pattern.P2P)
        run.key = key
        run.start()
        self._runs[key] = run
        self._idle_since[run] = self.node.now()
        return run

    # ---------------------------------------------------------------- supernode

    def _connected(self) -> None:
        """A session stands: say who we are, what we have, what we want."""
        tracker = self.node.tracker
        tracker.send(Hello(host=self.host, token=self._token))
        complete: dict[int, list[TaskKey]] = {}
        for blob in islice((blob for blob in self.node.store.blobs() if blob.sealed), _HOLDING_LIMIT):
            complete.setdefault(blob.layout.piece_size, []).append(blob.key)
        for size, keys in complete.items():
            tracker.send(Holding(keys=tuple(keys), piece_size=size))
        for run in self._runs.values():
            run.join()

    def _lost(self) -> None:
        """A supernode is gone: running pulls go on with the neighbours they know, and join at the next one."""
        if self.node.tracker.connected:
            for run in self._runs.values():
                run.join()

    def _heard(self, message: FromSupernode) -> None:
        match message:
            case TaskInfo() | Digests() | Fingerprint() | Neighbours() | TaskFailed():
                run = self._runs.get(message.key)
                if run is None and isinstance(message, Neighbours):
                    run = self.revive(message.key)
                if run is not None:
                    run.briefing.heard(message)
            case Welcome():
                self._report_every_s = max(0.5, message.report_every_s)
            case Forget():
                self._spawn(self._forget(message.key))
            case PullOrder():
                self._spawn(self._obey(message))

    async def _forget(self, key: TaskKey) -> None:
        await self.forget(key)

    async def _obey(self, order: PullOrder) -> None:
        """A preheat: pull it and say how it went."""
        error = ""
        try:
            async with await self.open(order.spec) as pull:
                await pull.finished()
        except DragonflyError as failure:
            error = str(failure)
        self.node.tracker.send(PullDone(job=order.job, key=order.spec.key, error=error))

    async def _reporting(self) -> None:
        """One summary of all running pulls per period, and only when something moved."""
        told: dict[TaskKey, tuple[int, int]] = {}
        while True:
            await asyncio.sleep(self._report_every_s)
            if not self.node.tracker.connected:
                continue
            items = []
            for run in self._runs.values():
                item = run.progress()
                state = (item.pieces, item.uploaded)
                if told.get(run.key) != state:
                    told[run.key] = state
                    items.append(item)
            if items:
                self.node.tracker.send(Progress(tasks=tuple(items)))
            told = {key: state for key, state in told.items() if key in self._runs}

    # ---------------------------------------------------------------- housekeeping

    async def _housekeeping(self) -> None:
        """Close tasks that nobody uses, and keep the disk within its quota."""
        while True:
            await asyncio.sleep(_HOUSEKEEPING_S)
            now = self.node.now()
            for run in list(self._runs.values()):
                if run in self._readers or (run.sessions and not run.error):
                    self._idle_since.pop(run, None)
                    continue
                since = self._idle_since.setdefault(run, now)
                if run.ended.is_set() and now - since > self.settings.idle_s:
                    await self._close_run(run)
            loop = asyncio.get_running_loop()
            for key in await loop.run_in_executor(self.node.hashing, self.node.store.collect):
                self.node.tracer.emit("task.evicted", task=key)

    def _spawn(self, work: Coroutine[None, None, None]) -> None:
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
