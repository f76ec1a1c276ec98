"""A task's way to its source: at once for a seed, when the swarm does not help for others."""

from __future__ import annotations

import asyncio
import hashlib
from typing import TYPE_CHECKING

from dragonfly.core.messages import TaskInfo
from dragonfly.core.pieces import piece_size_for
from dragonfly.core.task import TaskSpec
from dragonfly.errors import IntegrityError, StoppedError
from dragonfly.peer.settings import Pattern, SourcePolicy
from dragonfly.peer.sourcing import SourceReads
from dragonfly.source.base import Described
from dragonfly.swarm import events as ev
from dragonfly.swarm.inflight import SOURCE

if TYPE_CHECKING:
    from dragonfly.peer.runner import TaskRun

__all__ = ["BackToSource", "version_of"]

_SPREAD_S = 0.3
_FIRST = 1024 * 1024
"""Bytes of the read that describes a task, whose length is not known yet."""


class BackToSource:
    """The source side of one `TaskRun`."""

    def __init__(self, run: TaskRun) -> None:
        self.unverified = False
        """Some piece was taken without a digest to check it against: the whole must be hashed here."""
        self.reason = ""
        """Why this node reads the source although it has a swarm; empty for a seed."""
        self._run = run
        self._reads: SourceReads | None = None
        self._throttles = run.node.throttles(run.limit)

    @property
    def described(self) -> Described | None:
        return self._reads.described if self._reads is not None else None

    @property
    def held_s(self) -> float:
        """Time for which a limit held reads back."""
        return sum(throttle.waited_s for throttle in self._throttles)

    @property
    def read_any(self) -> bool:
        return self._reads is not None

    async def fall_back(self, reason: str, delay: float = 0.0) -> None:
        """The swarm does not help: read the source here, if that is allowed."""
        run = self._run
        if run.policy is SourcePolicy.NEVER or run.pattern is Pattern.CDN:
            run.fail(StoppedError(reason, subject=run.spec.shown_url, advice="and the source may not be read"))
            return
        # Many nodes lose the same supernode at the same time: spread their first reads.
        await asyncio.sleep(delay + run.node.rng.random() * _SPREAD_S)
        if run.ended.is_set():
            return
        if not self.reason:
            self.reason = reason
            run.node.tracer.emit("pull.fallback", task=run.key, url=run.spec.shown_url, reason=reason)
        if run.download is not None:
            self.open()
        else:
            await self.begin()

    async def begin(self) -> None:
        """Let the source describe the task, and set the run up with that."""
        run = self._run
        run.first_source = "origin"
        described = await self._source_reads().describe(self._first_read())
        if run.download is not None:  # the supernode was quicker after all
            self.open()
            return
        assert described.length is not None
        version = _described_version(run.spec, described)
        run.drop_other_version(version, resumable=bool(version or run.spec.digest))
        info = TaskInfo(
            key=run.key,
            length=described.length,
            piece_size=self._piece_size(described.length),
            headers=described.headers,
            version=version,
            ticket=run.node.ticket_for(run.key) if run.node.ticket_for else "",
        )
        run.set_up(info, run.create_blob(info, described.validators))
        if run.policy is SourcePolicy.FIRST:
            run.node.tracker.send(info)
        if not run.blob_complete:
            self.open()

    def _first_read(self) -> int:
        """Bytes of the read that describes the task; few of a layer that waits for lower ones."""
        settings = self._run.node.settings.swarm
        return min(settings.source_unit, settings.source_least if self.layer > 1 else _FIRST)

    def _piece_size(self, length: int) -> int:
        """As what is here of it, or as the seed's supernode wants it, or by its length alone."""
        node, key = self._run.node, self._run.key
        had = node.store.get(key)
        if had is not None and had.layout.length == length:
            return had.layout.piece_size
        return node.piece_size(key, length) if node.piece_size is not None else piece_size_for(length)

    def open(self) -> None:
        """From now on the mind may ask for source reads."""
        run, reads = self._run, self._source_reads()
        run.node.line.enter(run.spec.series, self)
        # Runtimes ask for layers in any order: those below a higher one are about to come.
        self.look(run.node.settings.swarm.image_streams if self.layer > 1 else 0)
        sparing = run.policy is SourcePolicy.FALLBACK and run.pattern is Pattern.P2P
        layout, begun = run.layout, reads.begun
        run.feed(ev.SourceOpened(sparing, layout.count if begun >= layout.length else begun // layout.piece_size))

    def look(self, claimed: int) -> None:
        """Tell the mind of a layer what the lower ones claim."""
        if self._run.spec.series:
            self._run.feed(ev.SourceLine(claimed))

    @property
    def layer(self) -> int:
        return self._run.spec.layer

    @property
    def claim(self) -> int:
        download = self._run.download
        return download.source.claim(self._run.node.now()) if download is not None else 0

    async def read(self, first: int, count: int) -> None:
        """One range read that the mind asked for."""
        run, reads = self._run, self._source_reads()
        assert run.blob is not None
        try:
            if reads.described is None:
                # No more than is wanted: what a source has sent by the time we hang up is lost.
                unit = min(run.node.settings.swarm.source_unit, count * run.layout.piece_size)
                self._check_version(await reads.describe(unit))
            await reads.read(run.blob, run.layout, first, count, self._brought)
        finally:
            run.feed(ev.SourceReadEnded(first, count))
            run.node.line.changed(run.spec.series)

    def ended(self) -> None:
        """The pull is over."""
        self._run.node.line.leave(self._run.spec.series, self)

    def stop(self) -> None:
        if self._reads is not None:
            self._reads.stop()

    def _source_reads(self) -> SourceReads:
        if self._reads is None:
            run = self._run
            self._reads = SourceReads(
                run.spec,
                run.node.sources.for_url(run.spec.url),
                run.node.reading,
                timeout_s=run.node.settings.source_timeout_s,
                attempts=run.node.settings.source_attempts,
                throttles=self._throttles,
            )
        return self._reads

    def _check_version(self, described: Described) -> None:
        """Bytes of another version than the swarm's must not be mixed with its pieces."""
        run = self._run
        assert run.info is not None
        if described.length != run.info.length or _described_version(run.spec, described) != run.info.version:
            raise IntegrityError(
                "the source has other content than the swarm",
                subject=run.spec.shown_url,
                advice="start the pull again",
            )

    def _brought(self, indexes: list[int], count: int) -> None:
        """Pieces that a read has put on disk; `count` bytes since the last call. Called in the loop."""
        run = self._run
        if run.stopped or run.download is None:
            return
        run.meter.source += count
        run.meter.count(count, run.node.now())
        now = run.node.now()
        run.node.tracer.emit("source.read", task=run.key, bytes=count)
        for index in indexes:
            seconds = now - run.download.pieces.asked_at(SOURCE, index, now)
            run.node.tracer.emit("source.piece", task=run.key, piece=index, seconds=seconds)
        known = run.download.pieces.known
        for index in indexes:
            if not known >> index & 1:
                self.unverified = True
            run.feed(ev.PieceVerified(index))


def _described_version(spec: TaskSpec, described: Described) -> str:
    validators = described.validators
    return version_of(spec, validators.etag or validators.last_modified, described.length or 0)


def version_of(spec: TaskSpec, validator: str, length: int) -> str:
    """Name of a URL's content at a time; empty for what is named by digest, or can't be told apart."""
    if spec.digest or not validator:
        return ""
    return hashlib.sha256(f"{validator}\n{length}".encode()).hexdigest()[:16]
