"""A task's reads of its source: the first describes the task, each is retried, all can be stopped."""

from __future__ import annotations

import asyncio
import contextlib
import threading
from collections.abc import Callable
from concurrent.futures import Executor

import tenacity

from dragonfly.core.pieces import PieceLayout
from dragonfly.core.task import TaskSpec
from dragonfly.errors import IntegrityError, SourceError, SourceUnreachable, StoppedError, UnsizedError
from dragonfly.peer.origin import Partial, Throttle, read_run
from dragonfly.source.base import Described, Source, SourceRequest, SourceStream
from dragonfly.store.blob import Blob

__all__ = ["SourceReads"]

#: A source that wants to be left alone for longer is not asked again: the client hears of it at once.
_MOST_WAIT_S = 20.0

_backoff = tenacity.wait_random_exponential(multiplier=0.3, max=5.0)


def _wait(state: tenacity.RetryCallState) -> float:
    """As long as the source asked for, else longer from time to time."""
    error = state.outcome.exception() if state.outcome is not None else None
    asked = error.retry_after if isinstance(error, SourceError) else 0.0
    return max(asked, _backoff(state))


class SourceReads:
    """`source` and `spec` of one task. Not started until `describe` or `read` is called."""

    def __init__(
        self,
        spec: TaskSpec,
        source: Source,
        executor: Executor,
        *,
        timeout_s: float,
        attempts: int,
        throttles: tuple[Throttle, ...],
    ) -> None:
        self.spec = spec
        self.described: Described | None = None
        self._source = source
        self._executor = executor
        self._attempts = attempts
        self._throttles = throttles
        self._request = SourceRequest(url=spec.url, headers=spec.headers, trust=spec.trust, timeout_s=timeout_s)
        self._first: tuple[int, SourceStream] | None = None
        self._stop = threading.Event()
        self._running: set[SourceStream] = set()

    def stop(self) -> None:
        """Make running reads give up; later ones are refused."""
        self._stop.set()
        for stream in list(self._running):
            if (abort := getattr(stream, "abort", None)) is not None:
                abort()
        self._drop_first()

    @property
    def begun(self) -> int:
        """Bytes, from the first on, that the answer which described the task goes on with."""
        return self._first[0] if self._first is not None else 0

    def _drop_first(self) -> None:
        if self._first is not None:
            self._first[1].__exit__(None, None, None)
            self._first = None

    def _retrying(self) -> tenacity.AsyncRetrying:
        return tenacity.AsyncRetrying(
            retry=tenacity.retry_if_exception(
                lambda error: (
                    isinstance(error, SourceUnreachable)
                    and error.retry_after <= _MOST_WAIT_S
                    and not self._stop.is_set()
                )
            ),
            stop=tenacity.stop_after_attempt(self._attempts),
            wait=_wait,
            reraise=True,
        )

    async def describe(self, unit: int) -> Described:
        """Open the source and learn what it holds; the stream is kept for the first read.

        Asks for `unit` bytes, or for all where the source has no ranges. Raises UnsizedError
        where no length is given, SourceError and SourceUnreachable as the source does.
        """
        loop = asyncio.get_running_loop()
        stream: SourceStream | None = None
        async for attempt in self._retrying():
            with attempt:
                stream = await loop.run_in_executor(self._executor, self._source.open, self._request, 0, unit)
        assert stream is not None
        described = stream.described
        if self._stop.is_set() or described.length is None:
            stream.__exit__(None, None, None)
            if described.length is None:
                raise UnsizedError("the source does not say how long its content is", subject=self.spec.shown_url)
            raise StoppedError("the pull was stopped", subject=self.spec.shown_url)
        self._first = (unit if described.ranges else described.length, stream)
        self.described = described
        return described

    async def read(
        self,
        blob: Blob,
        layout: PieceLayout,
        first: int,
        count: int,
        report: Callable[[list[int], int], None],
    ) -> None:
        """Bring pieces `first` … `first+count-1` to disk; retried from the first one still missing.

        A read that broke off goes on from its last byte; attempts in vain are counted from there.
        """
        partial = Partial(layout.piece_size)
        while True:
            begun = partial.position(layout, first)
            try:
                async for attempt in self._retrying():
                    with attempt:
                        while count and blob.have >> first & 1:
                            first, count = first + 1, count - 1
                        if count:
                            await self._read_once(blob, layout, first, count, partial, report)
                return
            except SourceUnreachable:
                if partial.position(layout, first) == begun or self._stop.is_set():
                    raise

    async def _read_once(
        self,
        blob: Blob,
        layout: PieceLayout,
        first: int,
        count: int,
        partial: Partial,
        report: Callable[[list[int], int], None],
    ) -> None:
        loop = asyncio.get_running_loop()
        end = layout.span(first, count)[1]
        start = partial.position(layout, first)
        opened = self._take_first(start, end)

        def work() -> None:
            with opened or self._open(start, end) as stream:
                self._running.add(stream)
                try:
                    self._check_same(stream.described)
                    read_run(
                        stream,
                        blob,
                        layout,
                        first,
                        count,
                        partial=partial,
                        stop=self._stop,
                        throttles=self._throttles,
                        loop=loop,
                        report=report,
                    )
                finally:
                    self._running.discard(stream)

        job = loop.run_in_executor(self._executor, work)
        try:
            await asyncio.shield(job)
        except asyncio.CancelledError:
            self.stop()
            with contextlib.suppress(Exception):
                await job
            raise

    def _take_first(self, start: int, end: int) -> SourceStream | None:
        """The stream that described the task, if it fits this read."""
        if self._first is None or start != 0:
            return None
        covers, stream = self._first
        if end <= covers:
            self._first = None
            return stream
        self._drop_first()
        return None

    def _open(self, start: int, end: int) -> SourceStream:
        if self.described is not None and not self.described.ranges:
            return self._skip_to(start)
        return self._source.open(self._request, start, end)

    def _check_same(self, now: Described) -> None:
        """Parts of two versions are never put together."""
        was = self.described
        if was is None or self.spec.digest:
            return
        before, after = was.validators, now.validators
        if (
            (now.length is not None and now.length != was.length)
            or (before.etag and after.etag and before.etag != after.etag)
            or (not before.etag and before.last_modified != after.last_modified)
        ):
            raise IntegrityError(
                "the source changed while it was read", subject=self.spec.shown_url, advice="start the pull again"
            )

    def _skip_to(self, start: int) -> SourceStream:
        """A source without ranges: read from the beginning and drop what is not wanted."""
        stream = self._source.open(self._request, 0, None)
        scrap = memoryview(bytearray(256 * 1024))
        while start > 0:
            got = 0 if self._stop.is_set() else stream.readinto(scrap[: min(start, len(scrap))])
            if got == 0:
                stream.__exit__(None, None, None)
                raise SourceUnreachable("the source ended early", subject=self.spec.shown_url)
            start -= got
        return stream
