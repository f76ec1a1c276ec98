"""Drives one task on one node: what happens goes to the mind (`swarm.Download`), what it wants is done.

    asked ──TaskInfo or source──▶ running ──all pieces──▶ whole checked (sealed) ──▶ serving
      └──────────────┴── refused, stopped, broken ──▶ failed

The only place that knows sessions, disk, source and tracker together. Everything here runs
in the event loop; calls from sessions are plain function calls, nothing is queued.
"""

from __future__ import annotations

import asyncio
import time

import msgspec

from dragonfly.core import bitmap
from dragonfly.core.digest import known_digests
from dragonfly.core.messages import Join, Leave, TaskInfo, TaskProgress, Trouble, TroubleKind
from dragonfly.core.pieces import PieceLayout
from dragonfly.core.rate import TokenBucket
from dragonfly.core.task import TaskSpec
from dragonfly.core.validators import Validators
from dragonfly.errors import IntegrityError, StoppedError
from dragonfly.peer.back import BackToSource
from dragonfly.peer.briefing import Briefing
from dragonfly.peer.care import Care
from dragonfly.peer.ending import finished, task_failed
from dragonfly.peer.meeting import Meeting
from dragonfly.peer.node import Node
from dragonfly.peer.publish import Publisher
from dragonfly.peer.readers import Readers
from dragonfly.peer.report import Meter, Result
from dragonfly.peer.sealing import Sealing
from dragonfly.peer.settings import Pattern, SourcePolicy
from dragonfly.store.blob import Blob, BlobMeta
from dragonfly.swarm import commands as cmd
from dragonfly.swarm import events as ev
from dragonfly.swarm.download import Download, State

__all__ = ["TaskRun"]

_LAST_PATIENCE = 15
"""Times `source_after_s`: how long a pull that may not read the source waits for its swarm."""


class TaskRun:
    """One task while it is pulled and served. `readers_count` is kept by the engine's Pulls."""

    def __init__(
        self, node: Node, spec: TaskSpec, policy: SourcePolicy, pattern: Pattern, limit: TokenBucket | None = None
    ) -> None:
        self.node = node
        self.limit = limit or TokenBucket(0)
        """Of this task alone."""
        self.spec = spec
        self.key = spec.key
        self.policy = policy
        self.pattern = pattern
        self.info: TaskInfo | None = None
        self.blob: Blob | None = None
        self.layout = PieceLayout(0, 1)
        self.readers = Readers()
        self.meter = Meter(node.now(), 0, node.intake)
        self.sealed = False
        self.error: BaseException | None = None
        self.first_source = ""
        self.source = BackToSource(self)
        self.sealing = Sealing(self)
        self.briefing = Briefing(self)
        self.described = asyncio.Event()
        self.ended = asyncio.Event()
        """The pull is over, well or not; a task that ended well goes on serving."""
        self.download: Download | None = None
        self.meeting: Meeting | None = None
        self._care = Care(spec.shown_url, self.fail)
        self.spawn = self._care.spawn
        """Runs a coroutine as part of this pull."""
        self._timer: asyncio.TimerHandle | None = None
        self._publisher: Publisher | None = None
        self._cpu_at_start = time.process_time()
        self.stopped = False
        self.parted = False
        """What the supernode says of this task is of other content or pieces by now: not for this run."""

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
        self.spawn(self._begin())

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
        if self.node.ticket_for is not None:
            self.node.tracker.send(info)
        self.set_up(info, blob)

    async def _begin(self) -> None:
        """Find out what the task is, by the policy's way; anything that goes wrong ends in `fail`."""
        if self.policy is SourcePolicy.FIRST or self.pattern is Pattern.SOURCE:
            await self.source.begin()
        elif not self.node.tracker.connected:
            await self.source.fall_back("no supernode can be reached")
        else:
            self.join()
            try:
                async with asyncio.timeout(self.node.settings.join_patience_s):
                    await self.described.wait()
            except TimeoutError:
                await self.source.fall_back("the supernode did not describe the task in time")

    def create_blob(self, info: TaskInfo, validators: Validators) -> Blob:
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

    def drop_other_version(self, version: str, *, resumable: bool) -> None:
        """Delete what is stored of this task if it is of other content than `version`."""
        old = self.node.store.get(self.key)
        if old is not None and (old.meta.version != version or not resumable):
            self.node.store.remove(self.key)

    def set_up(self, info: TaskInfo, blob: Blob) -> None:
        """Everything is known to begin: mind, neighbours and readers start here."""
        now = self.node.now()
        blob.pin()
        self.info, self.blob, self.layout = info, blob, blob.layout
        had = sum(blob.layout.size(index) for index in bitmap.indexes(blob.have))
        self.meter.cached = had
        settings = self.node.settings.swarm
        described = self.source.described
        if described is not None and not described.ranges:
            # One stream brings it all, or nothing.
            whole = info.length + info.piece_size
            settings = msgspec.structs.replace(
                settings, source_streams=1, image_streams=1, source_unit=whole, source_least=whole
            )
        self.download = Download(
            blob.layout,
            settings,
            self.node.rng,
            have=blob.have,
            known=known_digests(blob.digests),
            now=now,
            limits=tuple(limit for limit in (self.limit, self.node.download_limit) if limit.rate),
        )
        if self.policy is SourcePolicy.FIRST:
            self._publisher = Publisher(self.key, blob, self.node.tracker)
        self.meeting = Meeting(
            self.node,
            info,
            blob,
            self.download,
            self.meter,
            feed=self.feed,
            spawn=self.spawn,
            trouble=self._trouble,
            given=self._publisher.given if self._publisher is not None else None,
        )
        self.node.tracer.emit("pull.described", task=self.key, length=info.length, piece_size=info.piece_size, had=had)
        self.described.set()
        if blob.complete and blob.sealed:
            self._sealed()
        elif self.download.state is State.DONE:
            self.sealing.begin()
            self._all_pieces()
        else:
            self.sealing.begin()
            self.node.pulling.add(self.download)
            self._arm()

    # ---------------------------------------------------------------- the loop

    def feed(self, event: ev.Event) -> None:
        """One event to the mind; what it wants is done before this returns."""
        download, meeting = self.download, self.meeting
        if download is None or meeting is None or self.stopped:
            return
        if isinstance(event, ev.PieceVerified):
            meeting.pieces_had(event.index, event.count)
        for command in download.handle(event, self.node.now()):
            match command:
                case cmd.Announce(first, count):
                    meeting.perform(command)
                    self.readers.had(first, count)
                    if self._publisher is not None:
                        self._publisher.had(first, count)
                case cmd.AskSource(first, count):
                    if self.error is None:  # a read that failed for good has ended the pull: no next one
                        self.spawn(self.source.read(first, count))
                case cmd.Finish():
                    self._all_pieces()
                case _:
                    meeting.perform(command)

    def _arm(self) -> None:
        if self.download is None or self.stopped:
            return
        deadline = self.download.next_deadline()
        if deadline is not None:
            self._timer = asyncio.get_running_loop().call_at(deadline, self._tick)

    def _tick(self) -> None:
        download, meeting = self.download, self.meeting
        if download is None or meeting is None or self.stopped:
            return
        meeting.sample()
        self.node.line.changed(self.spec.series)
        self.feed(ev.Tick(self.node.others(download), meeting.unmet))
        self.meter.limited_s = download.held_s + self.source.held_s
        now = self.node.now()
        stalled = download.source.stalled_for(now)
        self.meter.look(now, idle=stalled > 2 * self.node.settings.swarm.tick_s)
        patience = download.source.patience()
        if self.policy is SourcePolicy.NEVER or self.pattern is Pattern.CDN:
            patience *= _LAST_PATIENCE  # there is no other way: this ends the pull
        if (
            stalled >= patience
            and self.policy is not SourcePolicy.FIRST
            and self.pattern is not Pattern.SOURCE
            and not self.source.reason
            and download.state is State.RUNNING
        ):
            self.spawn(self.source.fall_back(f"the swarm brought nothing for {stalled:.1f} s"))
        self._arm()

    def introduce(self) -> None:
        """Tell the supernode all that is known of the task: it asked, or forgot."""
        if self.info is not None and self.blob is not None:
            info = msgspec.structs.replace(self.info, digests=bytes(self.blob.digests), sealed=self.sealed)
            self.node.tracker.send(info)

    def _trouble(self, peer: str, kind: TroubleKind) -> None:
        self.node.tracer.emit("parent.left", task=self.key, peer=peer, reason=kind.value)
        self.node.tracker.send(Trouble(key=self.key, peer=peer, kind=kind))

    # ---------------------------------------------------------------- the end

    def _all_pieces(self) -> None:
        """Every piece is here. Served to the last byte once the whole is known to be right."""
        assert self.meeting is not None
        self.meeting.all_here()
        self.sealing.all_pieces()

    def seal(self) -> None:
        """The whole is right: the blob is kept as such, readers get its last byte."""
        assert self.blob is not None
        if self.sealed or self.download is None or self.download.state is not State.DONE:
            return
        self.node.store.seal(self.blob)
        self._sealed()

    def _sealed(self) -> None:
        self.sealed = True
        self.meter.ended = self.node.now()
        if self._publisher is not None:
            self._publisher.sealed()
        self.readers.wake_all()
        self._finish("")

    def fail(self, error: BaseException) -> None:
        """The pull can't go on: tell readers, supernode and trace."""
        if self.error is not None or self.sealed or self.stopped:
            return
        self.error = error
        self.meter.ended = self.node.now()
        if isinstance(error, IntegrityError) and self.blob is not None:
            self.node.store.remove(self.key)
        if self.policy is SourcePolicy.FIRST:
            self.node.tracker.send(task_failed(self.key, error))
        self.readers.fail(error)
        self._finish(str(error))
        self.described.set()

    def _finish(self, error: str) -> None:
        if not self.ended.is_set():
            self.ended.set()
            if self.download is not None:
                self.node.pulling.discard(self.download)
            self.source.ended()
            result = self.result()
            self.node.tracer.emit(
                "pull.failed" if error else "pull.finished",
                task=self.key,
                url=self.spec.shown_url,
                result=result,
                error=error,
            )
            self.node.tracker.send(finished(self.key, result))

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
            fallback=self.source.reason,
            bound=self.meter.bound(now, cpu),
            efficiency=self.meter.efficiency(now),
            node_rate=self.meter.node_rate(now),
            error=str(self.error) if self.error is not None else "",
        )

    def progress(self) -> TaskProgress:
        have = self.download.pieces.have.bit_count() if self.download is not None else 0
        return TaskProgress(key=self.key, pieces=have, received=self.meter.received(), uploaded=self.meter.uploaded)

    @property
    def blob_complete(self) -> bool:
        return self.blob is not None and self.blob.complete

    @property
    def sessions(self) -> int:
        return len(self.meeting.links.sessions) if self.meeting is not None else 0

    def join(self) -> None:
        """Tell the supernode, or one that takes its place, of this task."""
        if self.policy is not SourcePolicy.FIRST and self.pattern is not Pattern.SOURCE and self.error is None:
            self.parted = False
            pieces = self.download.pieces.have.bit_count() if self.download is not None else 0
            had = self.node.store.get(self.key)
            size = had.layout.piece_size if had is not None else 0
            neighbours = self.meeting.links.peers() if self.meeting is not None else ()
            self.node.tracker.send(Join(spec=self.spec, pieces=pieces, piece_size=size, have=neighbours))

    def part(self) -> None:
        """The swarm goes on with other content or pieces: end this with the neighbours there are, and the source."""
        self.parted = True
        self.node.tracker.send(Leave(key=self.key))

    async def stop(self) -> None:
        """End everything; the blob keeps what it has."""
        if self.stopped:
            return
        if not self.ended.is_set():
            self.fail(StoppedError("the pull was stopped", subject=self.spec.shown_url))
        self.stopped = True
        self.node.tracker.send(Leave(key=self.key))
        self.source.stop()
        if self._timer is not None:
            self._timer.cancel()
        if self._publisher is not None:
            self._publisher.close()
        if self.meeting is not None:
            self.meeting.close()
        await self._care.end()
        if self.blob is not None:
            self.blob.unpin()
