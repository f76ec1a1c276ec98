"""A reader's handle on a task: many share one download, and the last one to leave an unfinished one ends it."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from types import TracebackType
from typing import Self

import msgspec

from dragonfly.core.messages import BytesBy, TaskInfo
from dragonfly.core.task import TaskKey, TaskSpec
from dragonfly.peer.report import Result
from dragonfly.peer.runner import TaskRun
from dragonfly.swarm import events as ev

__all__ = ["Pull"]

_numbers = itertools.count(1)


class Pull:
    """Use as `async with await engine.open(spec) as pull`. Offsets are bytes of the whole content."""

    def __init__(self, run: TaskRun, released: Callable[[TaskRun], None]) -> None:
        self._run = run
        self._released = released
        self._number = next(_numbers)
        self._closed = False
        self._cached = run.sealed
        self._opened_at = run.node.now()

    @property
    def key(self) -> TaskKey:
        return self._run.key

    @property
    def spec(self) -> TaskSpec:
        return self._run.spec

    @property
    def first_source(self) -> str:
        """What it would first use: p2p, seed, origin or cache. Known once `described` has returned."""
        return "cache" if self._cached else self._run.first_source or "origin"

    @property
    def path(self) -> str:
        """The store's data file."""
        assert self._run.blob is not None
        return str(self._run.blob.path)

    @property
    def peers(self) -> int:
        return self._run.sessions

    async def described(self) -> TaskInfo:
        """Length and headers of the content. Raises what made the pull fail (SourceError with the status, …)."""
        await self._run.described.wait()
        if self._run.error is not None:
            raise self._run.error
        assert self._run.info is not None
        return self._run.info

    def at(self, offset: int) -> None:
        """This reader needs the byte at `offset` next: its piece and those after it go first."""
        run = self._run
        if run.blob is not None and 0 <= offset < run.layout.length:
            run.feed(ev.ReaderAt(self._number, run.layout.at(offset)))

    async def available(self, offset: int, *, part: bool = False) -> int:
        """Wait for verified bytes at `offset` and return their end (exclusive). Raises what made the pull fail.

        Beyond the last byte: the length. A reader of the whole gets the last byte when the whole is checked;
        one of a `part`, which could not check the whole itself either, as soon as its pieces are.
        """
        await self.described()
        run = self._run
        if offset >= run.layout.length:
            return run.layout.length
        assert run.download is not None
        self.at(offset)
        while True:
            end = await run.readers.available(run.layout, run.download.pieces.have, run.sealed or part, offset)
            if end is not None:
                return end

    def fileno(self) -> int:
        """The data file, to send from; valid until this pull is closed."""
        assert self._run.blob is not None
        return self._run.blob.fileno()

    async def finished(self) -> Result:
        """Wait until all is had and verified. Raises what made the pull fail."""
        await self._run.ended.wait()
        if self._run.error is not None:
            raise self._run.error
        return self.result()

    def introduce(self) -> None:
        """A seed says (again) what the task is: the supernode may have forgotten, or doubt it."""
        self._run.introduce()

    def result(self) -> Result:
        """How it stands now, as this reader sees it: what was here before it came is from the cache."""
        result = self._run.result()
        if not self._cached:
            return result
        return msgspec.structs.replace(
            result,
            seconds=self._run.node.now() - self._opened_at,
            received=BytesBy(cache=result.length),
            bound="cache",
            efficiency=0.0,
            fallback="",
        )

    def close(self) -> None:
        if not self._closed:
            self._closed = True
            self._run.feed(ev.ReaderGone(self._number))
            self._released(self._run)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()
