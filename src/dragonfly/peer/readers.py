"""Local readers of one task: each waits for its next verified bytes, and for nothing else."""

from __future__ import annotations

import asyncio

from dragonfly.core import bitmap
from dragonfly.core.pieces import PieceLayout

__all__ = ["Readers"]


class Readers:
    """Futures by piece. A failure reaches all who wait, now or later."""

    def __init__(self) -> None:
        self._waiting: dict[int, list[asyncio.Future[None]]] = {}
        self._error: BaseException | None = None

    def had(self, first: int, count: int = 1) -> None:
        """These pieces are verified."""
        for index in range(first, first + count) if self._waiting else ():
            for future in self._waiting.pop(index, ()):
                if not future.done():
                    future.set_result(None)

    def wake_all(self) -> None:
        """Something changed for everybody (the blob is sealed)."""
        for index in list(self._waiting):
            self.had(index)

    def fail(self, error: BaseException) -> None:
        self._error = error
        for futures in self._waiting.values():
            for future in futures:
                if not future.done():
                    future.set_exception(error)
        self._waiting.clear()

    async def available(self, layout: PieceLayout, have: int, sealed: bool, offset: int) -> int | None:
        """End of the verified bytes that begin at `offset`; None after a wait: look again.

        The last byte is only given once the blob is `sealed`, its whole checked.
        """
        if self._error is not None:
            raise self._error
        index = layout.at(offset)
        run = bitmap.run_from(have, index)
        end = layout.span(index, run)[1] if run else offset
        if end == layout.length and not sealed:
            end -= 1
        if end > offset:
            return end
        future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting.setdefault(index, []).append(future)
        await future
        return None
