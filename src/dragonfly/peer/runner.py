"""Drives one task on one node: what happens goes to the mind (`swarm.Download`), what it wants is done.

    asked ──TaskInfo or source──▶ running ──all pieces──▶ whole checked (sealed) ──▶ serving
      └──────────────┴── refused, stopped, broken ──▶ failed

The only place that knows sessions, disk, source and tracker together. Everything here runs
in the event loop; calls from sessions are plain function calls, nothing is queued.
"""

from __future__ import annotations

import asyncio
import hashlib
import time
from collections.abc import Coroutine

import msgspec

from dragonfly.core import bitmap
from dragonfly.core.digest import Digest
from dragonfly.core.messages import (
    Digests,
    Finished,
    Join,
    Leave,
    MoreNeighbours,
    Neighbours,
    TaskFailed,
    TaskInfo,
    TaskProgress,
    Trouble,
    TroubleKind,
)
from dragonfly.core.pieces import PieceLayout
from dragonfly.core.task import TaskSpec
from dragonfly.errors import DragonflyError, IntegrityError, SourceError, StoppedError
from dragonfly.peer.meeting import Meeting
from dragonfly.peer.node import Node
from dragonfly.peer.origin import NO_DIGEST
from dragonfly.peer.readers import Readers
from dragonfly.peer.report import Meter, Result
from dragonfly.peer.settings import Pattern, SourcePolicy
from dragonfly.peer.sourcing import SourceReads
from dragonfly.peer.whole import check_whole
from dragonfly.source.base import Validators
from dragonfly.store.blob import Blob, BlobMeta
from dragonfly.swarm import commands as cmd
from dragonfly.swarm import events as ev
from dragonfly.swarm.download import Download, State

__all__ = ["TaskRun"]

_SEAL_PATIENCE_S = 10.0
_PUBLISH_S = 0.02


class TaskRun:
    """One task while it is pulled and served. `readers_count` is kept by the engine's Pulls."""

    def __init__(self, node: Node, spec: TaskSpec, policy: SourcePolicy, pattern: Pattern) -> None:
        self.node = node
        self.spec = spec
        self.key = spec.key
        self.policy = policy
        self.pattern = pattern
        self.info: TaskInfo | None = None
        self.blob: Blob | None = None
        self.layout = PieceLayout(0, 1)
        self.readers = Readers()
        self.meter = Meter(node.now(), 0)
        self.sealed = False
        self.error: BaseException | None = None
        self.fallback = ""
        self.first_source = ""
        self.described = asyncio.Event()
        self.ended = asyncio.Event()
        """The pull is over, well or not; a task that ended well goes on serving."""
        self.download: Download | None = None
        self.meeting: Meeting | None = None
        self._reads: SourceReads | None = None
        self._tasks: set[asyncio.Task[None]] = set()
        self._timer: asyncio.TimerHandle | None = None
        self.sealed_at_seed = False
        self._seal_heard = asyncio.Event()
        self._unverified = False
        self._unpublished = 0
        self._publish_timer: asyncio.TimerHandle | None = None
        self._cpu_at_start = time.process_time()
        self._stopped = False

    def __repr__(self) -> str:
        state = "failed" if self.error else "serving" if self.sealed else "running"
        return f"<TaskRun {self.key[:19]}… {state} {self.download!r}>"

    # ---------------------------------------------------------------- beginning

    def start(self) -> None:
        """Begin: from the disk if it is all there, else with the supernode or the source."""
        blob = self.node.store.get(self.key)
        if blob is not None and blob.complete and blob.sealed:
            self._serve_from_disk(blob)
            return
        self.node.tracer.emit("pull.started", task=self.key, url=self.spec.shown_url)
        self._spawn(self._begin())

    def _serve_from_disk(self, blob: Blob) -> None:
        self.first_source = "cache"
        self.meter.cached = blob.layout.length
        ticket = self.node.ticket_for(self.key) if self.node.ticket_for else blob.meta.ticket
        info = TaskInfo(
            key=self.key,
            length=blob.layout.length,
            piece_size=blob.layout.piece_size,
            digests=bytes(blob.digests),
            sealed=True,
            headers=blob.meta.headers,
            ticket=ticket,
            version=blob.meta.version,
        )
        self._set_up(info, blob)
        if self.node.ticket_for is not None:
            self.node.tracker.send(info)

    async def _begin(self) -> None:
        """Find out what the task is, by the policy's way; anything that goes wrong ends in `fail`."""
        if self.policy is SourcePolicy.FIRST or self.pattern is Pattern.SOURCE:
            await self._begin_at_source("")
        elif not self.node.tracker.connected:
            await self._fall_back("no supernode can be reached")
        else:
            self.node.tracker.send(Join(spec=self.spec))
            try:
                async with asyncio.timeout(self.node.settings.join_patience_s):
                    await self.described.wait()
            except TimeoutError:
                await self._fall_back("the supernode did not describe the task in time")

    async def _fall_back(self, reason: str, delay: float = 0.0) -> None:
        """The swarm does not help: read the source here, if that is allowed."""
        if self.policy is SourcePolicy.NEVER or self.pattern is Pattern.CDN:
            self.fail(StoppedError(reason, subject=self.spec.shown_url, advice="and the source may not be read"))
            return
        # Many nodes lose the same supernode at the same time: spread their first reads.
        await asyncio.sleep(delay + self.node.rng.random() * 0.3)
        if self._stopped or self.sealed:
            return
        if not self.fallback:
            self.fallback = reason
            self.node.tracer.emit("pull.fallback", task=self.key, url=self.spec.shown_url, reason=reason)
        if self.download is None:
            await self._begin_at_source(reason)
        else:
            self._open_source()

    async def _begin_at_source(self, reason: str) -> None:
        self.first_source = "origin"
        reads = self._source_reads()
        unit = self.node.settings.swarm.source_unit
        described = await reads.describe(unit)
        if self.download is not None:  # the supernode was quicker after all
            self._open_source()
            return
        assert described.length is not None
        old = self.node.store.get(self.key)
        layout = PieceLayout.for_length(described.length)
        version = version_of(self.spec, described.validators.etag or described.validators.last_modified, described.length)
        if old is not None and (old.meta.version != version or (not version and not self.spec.digest)):
            self.node.store.remove(self.key)
        info = TaskInfo(
            key=self.key,
            length=described.length,
            piece_size=layout.piece_size,
            headers=described.headers,
            version=version,
            ticket=self.node.ticket_for(self.key) if self.node.ticket_for else "",
        )
        blob = self._create_blob(info, described.validators)
        self._set_up(info, blob)
        if self.policy is SourcePolicy.FIRST:
            assert self.info is not None
            self.node.tracker.send(self.info)
        if self.download is not None and self.download.state is State.RUNNING:
            self._open_source()

    def _source_reads(self) -> SourceReads:
        if self._reads is None:
            self._reads = SourceReads(
                self.spec,
                self.node.sources.for_url(self.spec.url),
                self.node.reading,
                timeout_s=self.node.settings.source_timeout_s,
                attempts=self.node.settings.source_attempts,
                throttles=self.node.throttles(),
            )
        return self._reads

    def _create_blob(self, info: TaskInfo, validators: Validators) -> Blob:
        layout = PieceLayout(info.length, info.piece_size)
        meta = BlobMeta(
            url=self.spec.shown_url,
            digest=self.spec.digest,
            headers=info.headers,
            validators=validators,
            version=info.version,
            ticket=info.ticket,
            tag=self.spec.tag,
            application=self.spec.application,
        )
        return self.node.store.create(self.key, layout, meta)

    def _set_up(self, info: TaskInfo, blob: Blob) -> None:
        """Everything is known to begin: mind, neighbours and readers start here."""
        now = self.node.now()
        blob.pin()
        self.info, self.blob, self.layout = info, blob, blob.layout
        had = sum(blob.layout.size(index) for index in bitmap.indexes(blob.have))
        self.meter.cached = had
        settings = self.node.settings.swarm
        described = self._reads.described if self._reads is not None else None
        if described is not None and not described.ranges:
            # One stream brings it all, or nothing.
            settings = msgspec.structs.replace(
                settings, source_streams=1, source_unit=max(1, info.length) + info.piece_size
            )
        self.download = Download(
            blob.layout, settings, self.node.rng, have=blob.have, known=known_pieces(blob), now=now
        )
        self.meeting = Meeting(
            self.node, info, blob, self.download, self.meter, feed=self.feed, spawn=self._spawn, trouble=self._trouble
        )
        self.described.set()
        if blob.complete and blob.sealed:
            self._sealed()
        elif self.download.state is State.DONE:
            self._all_pieces()
        else:
            if self._checks_whole():
                self._spawn(self._check_whole())
            self._arm()

    # ---------------------------------------------------------------- the loop

    def feed(self, event: ev.Event) -> None:
        """One event to the mind; what it wants is done before this returns."""
        download, meeting = self.download, self.meeting
        if download is None or meeting is None or self._stopped:
            return
        if isinstance(event, ev.PieceVerified):
            meeting.piece_had(event.index)
        for command in download.handle(event, self.node.now()):
            match command:
                case cmd.Announce(index):
                    meeting.perform(command)
                    self._publish(index)
                    self.readers.had(index)
                case cmd.AskSource(first, count):
                    self._spawn(self._read_source(first, count))
                case cmd.AskNeighbours():
                    self.node.tracker.send(MoreNeighbours(key=self.key, have=meeting.links.peers()))
                case cmd.Finish():
                    self._all_pieces()
                case _:
                    meeting.perform(command)

    def _arm(self) -> None:
        if self.download is None or self._stopped:
            return
        deadline = self.download.next_deadline()
        if deadline is not None:
            self._timer = asyncio.get_running_loop().call_at(deadline, self._tick)

    def _tick(self) -> None:
        download, meeting = self.download, self.meeting
        if download is None or meeting is None or self._stopped:
            return
        meeting.sample()
        self.feed(ev.Tick())
        stalled = download.stalled_for(self.node.now())
        if stalled > 2 * self.node.settings.swarm.tick_s:
            self.meter.idle_s += self.node.settings.swarm.tick_s
        if (
            stalled >= self.node.settings.swarm.source_after_s
            and self.policy is SourcePolicy.FALLBACK
            and self.pattern is Pattern.P2P
            and not self.fallback
            and download.state is State.RUNNING
        ):
            self._spawn(self._fall_back(f"the swarm brought nothing for {stalled:.1f} s"))
        self._arm()

    # ---------------------------------------------------------------- source

    def _open_source(self) -> None:
        self._source_reads()
        self.feed(ev.SourceOpened())

    async def _read_source(self, first: int, count: int) -> None:
        reads, blob = self._source_reads(), self.blob
        assert blob is not None
        try:
            if reads.described is None:
                await reads.describe(self.node.settings.swarm.source_unit)
                self._check_version(reads)
            await reads.read(blob, self.layout, first, count, self._from_source)
        finally:
            self.feed(ev.SourceReadEnded(first, count))

    def _check_version(self, reads: SourceReads) -> None:
        """Bytes of another version than the swarm's must not be mixed with its pieces."""
        described, info = reads.described, self.info
        assert described is not None and info is not None and described.length is not None
        validator = described.validators.etag or described.validators.last_modified
        if described.length != info.length or version_of(self.spec, validator, described.length) != info.version:
            raise IntegrityError(
                "the source has other content than the swarm",
                subject=self.spec.shown_url,
                advice="start the pull again",
            )

    def _from_source(self, indexes: list[int], count: int) -> None:
        """Pieces that a source read has brought; `count` bytes since the last call."""
        if self._stopped or self.download is None:
            return
        self.meter.source += count
        self.meter.count(count, self.node.now())
        self.node.tracer.emit("source.read", task=self.key, bytes=count)
        known = self.download.pieces.known
        for index in indexes:
            if not known >> index & 1:
                self._unverified = True
            self.feed(ev.PieceVerified(index))

    # ---------------------------------------------------------------- the seed's words

    def _publish(self, index: int) -> None:
        """A seed tells the digests of what it has read, some at a time."""
        if self.policy is SourcePolicy.FIRST and self.node.tracker.connected:
            self._unpublished |= 1 << index
            if self._publish_timer is None:
                loop = asyncio.get_running_loop()
                self._publish_timer = loop.call_later(_PUBLISH_S, self._publish_now)

    def _publish_now(self) -> None:
        if self._publish_timer is not None:
            self._publish_timer.cancel()
            self._publish_timer = None
        pieces, self._unpublished = self._unpublished, 0
        blob = self.blob
        if blob is None:
            return
        for first, count in bitmap.runs(pieces):
            digests = bytes(blob.digests[32 * first : 32 * (first + count)])
            self.node.tracker.send(Digests(key=self.key, first=first, digests=digests))

    # ---------------------------------------------------------------- the supernode's words

    def heard(self, message: TaskInfo | Digests | Neighbours | TaskFailed) -> None:
        """What the supernode says about this task."""
        if self._stopped:
            return
        match message:
            case TaskInfo():
                self._heard_info(message)
            case Digests():
                self._heard_digests(message.first, message.digests, message.sealed)
            case Neighbours():
                if self.meeting is not None and self.pattern is not Pattern.SOURCE:
                    self.meeting.neighbours(self._by_pattern(message))
            case TaskFailed() if self.sealed or self.policy is SourcePolicy.FIRST:
                pass
            case TaskFailed(final=True) if self.download is None:
                self.fail(
                    SourceError(
                        message.reason,
                        subject=self.spec.shown_url,
                        status=message.status,
                        challenge=message.challenge,
                    )
                )
            case TaskFailed():
                self._spawn(self._fall_back(f"the seed could not: {message.reason}", message.retry_after))

    def _by_pattern(self, message: Neighbours) -> Neighbours:
        if self.pattern is not Pattern.CDN:
            return message
        return Neighbours(key=message.key, add=tuple(peer for peer in message.add if peer.seed), drop=message.drop)

    def _heard_info(self, info: TaskInfo) -> None:
        if self.info is None:
            self.first_source = "p2p" if info.peers > 0 else "seed"
            old = self.node.store.get(self.key)
            if old is not None and old.meta.version != info.version:
                self.node.store.remove(self.key)
            try:
                blob = self._create_blob(info, Validators())
            except DragonflyError as error:
                self.fail(error)
                return
            if info.digests:
                blob.learn(0, info.digests)
            self.sealed_at_seed = info.sealed
            self._set_up(info, blob)
        elif self.meeting is not None:
            if info.ticket:
                self.meeting.info = self.info = msgspec.structs.replace(self.info, ticket=info.ticket)
            if info.version == self.info.version and info.piece_size == self.info.piece_size:
                self._heard_digests(0, info.digests, info.sealed)

    def _heard_digests(self, first: int, digests: bytes, sealed: bool) -> None:
        if self.blob is None or self.policy is SourcePolicy.FIRST:
            return
        if digests:
            self.blob.learn(first, digests)
            self.feed(ev.DigestsKnown(bitmap.from_indexes(
                first + i for i in range(len(digests) // 32) if digests[32 * i : 32 * i + 32] != NO_DIGEST
            )))
        if sealed:
            self.sealed_at_seed = True
            self._seal_heard.set()

    def _trouble(self, peer: str, kind: TroubleKind) -> None:
        self.node.tracer.emit("parent.left", task=self.key, peer=peer, reason=kind.value)
        self.node.tracker.send(Trouble(key=self.key, peer=peer, kind=kind))

    # ---------------------------------------------------------------- the end

    def _checks_whole(self) -> bool:
        """Whether this node hashes the whole itself from the start: who makes the digests must."""
        return bool(self.spec.digest) and (self.policy is SourcePolicy.FIRST or self.info is None)

    async def _check_whole(self) -> None:
        assert self.blob is not None
        await check_whole(
            self.blob, Digest.parse(self.spec.digest), self._any_bytes, self.node.hashing, self.spec.shown_url
        )
        self._whole_is_right()

    async def _any_bytes(self, offset: int) -> int:
        assert self.download is not None
        while True:
            end = await self.readers.available(self.layout, self.download.pieces.have, True, offset)
            if end is not None:
                return end

    def _all_pieces(self) -> None:
        """Every piece is here. Served to the last byte once the whole is known to be right."""
        assert self.meeting is not None
        self.meeting.all_here()
        if self._publish_timer is not None:
            self._publish_now()
        if not self.spec.digest:
            self._whole_is_right()
        elif self._checks_whole():
            pass  # it is being hashed already; the end of that seals it
        else:
            self._spawn(self._await_seal())

    async def _await_seal(self) -> None:
        """Pieces checked against the seed's digests are right if the seed's whole is; else hash it here."""
        if not self._unverified:
            try:
                async with asyncio.timeout(_SEAL_PATIENCE_S if self.node.tracker.connected else 0.05):
                    if not self.sealed_at_seed:
                        await self._seal_heard.wait()
                self._whole_is_right()
                return
            except TimeoutError:
                pass
        await self._check_whole()

    def _whole_is_right(self) -> None:
        assert self.blob is not None
        if self.download is not None and self.download.state is State.DONE and not self.sealed:
            self.blob.seal()
            self._sealed()

    def _sealed(self) -> None:
        self.sealed = True
        self.meter.ended = self.node.now()
        if self.policy is SourcePolicy.FIRST and self._reads is not None:
            self.node.tracker.send(Digests(key=self.key, first=0, digests=b"", sealed=True))
        self.readers.wake_all()
        self._finish("")

    def fail(self, error: BaseException) -> None:
        """The pull can't go on: tell readers, supernode and trace."""
        if self.error is not None or self.sealed or self._stopped:
            return
        self.error = error
        self.meter.ended = self.node.now()
        if isinstance(error, IntegrityError) and self.blob is not None:
            self.node.store.remove(self.key)
        if self.policy is SourcePolicy.FIRST:
            final = isinstance(error, SourceError) and error.final
            self.node.tracker.send(
                TaskFailed(
                    key=self.key,
                    reason=error.what if isinstance(error, DragonflyError) else str(error),
                    status=error.status if isinstance(error, SourceError) else None,
                    challenge=error.challenge if isinstance(error, SourceError) else "",
                    final=final,
                )
            )
        self.readers.fail(error)
        self._finish(str(error))
        self.described.set()

    def _finish(self, error: str) -> None:
        if not self.ended.is_set():
            self.ended.set()
            result = self.result()
            self.node.tracer.emit(
                "pull.failed" if error else "pull.finished",
                task=self.key,
                url=self.spec.shown_url,
                result=result,
                error=error,
            )
            self.node.tracker.send(
                Finished(
                    key=self.key,
                    seconds=result.seconds,
                    received=result.received,
                    uploaded=result.uploaded,
                    error=error,
                    fallback=self.fallback,
                    bound=result.bound,
                    efficiency=result.efficiency,
                )
            )

    # ---------------------------------------------------------------- what others see

    def result(self) -> Result:
        now = self.node.now()
        seconds = self.meter.seconds(now)
        cpu = (time.process_time() - self._cpu_at_start) / max(seconds, 1e-3) if seconds > 0.2 else 0.0
        return Result(
            key=self.key,
            url=self.spec.shown_url,
            length=self.layout.length if self.blob is not None else 0,
            seconds=seconds,
            received=self.meter.received(),
            uploaded=self.meter.uploaded,
            digest=self.spec.digest,
            fallback=self.fallback,
            bound=self.meter.bound(now, cpu),
            efficiency=self.meter.efficiency(now),
            error=str(self.error) if self.error is not None else "",
        )

    def progress(self) -> TaskProgress:
        have = self.download.pieces.have.bit_count() if self.download is not None else 0
        return TaskProgress(key=self.key, pieces=have, received=self.meter.received(), uploaded=self.meter.uploaded)

    @property
    def sessions(self) -> int:
        return len(self.meeting.links.sessions) if self.meeting is not None else 0

    def rejoin(self) -> None:
        """A (new) supernode is there: tell it of this task."""
        if self.policy is not SourcePolicy.FIRST and self.pattern is not Pattern.SOURCE and self.error is None:
            have = self.download.pieces.have.bit_count() if self.download is not None else 0
            self.node.tracker.send(Join(spec=self.spec, pieces=have))

    # ---------------------------------------------------------------- tasks and stopping

    def _spawn(self, work: Coroutine[None, None, None]) -> None:
        """Run `work` in this task's care: what it raises ends the pull."""
        if self._stopped:
            work.close()
            return
        task = asyncio.get_running_loop().create_task(self._guard(work))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _guard(self, work: Coroutine[None, None, None]) -> None:
        try:
            await work
        except DragonflyError as error:
            self.fail(error)
        except OSError as error:
            self.fail(DragonflyError("the system refused", subject=str(error)))

    async def stop(self) -> None:
        """End everything; the blob keeps what it has."""
        if self._stopped:
            return
        if not self.ended.is_set():
            self.fail(StoppedError("the pull was stopped", subject=self.spec.shown_url))
        self._stopped = True
        self.node.tracker.send(Leave(key=self.key))
        if self._reads is not None:
            self._reads.stop()
        for timer in (self._timer, self._publish_timer):
            if timer is not None:
                timer.cancel()
        if self.meeting is not None:
            self.meeting.close()
        for task in list(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        if self.blob is not None:
            self.blob.unpin()


def version_of(spec: TaskSpec, validator: str, length: int) -> str:
    """Name of a URL's content at a time; empty for what is named by digest, or can't be told apart."""
    if spec.digest or not validator:
        return ""
    return hashlib.sha256(f"{validator}\n{length}".encode()).hexdigest()[:16]


def known_pieces(blob: Blob) -> int:
    """Pieces whose digest the blob knows, as a bitmap."""
    digests = blob.digests
    return bitmap.from_indexes(
        index for index in range(blob.layout.count) if digests[32 * index : 32 * index + 32] != NO_DIGEST
    )
