"""The coroutines of one pull: what any of them raises ends the pull, and none outlives it."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Coroutine

from dragonfly.errors import DragonflyError

__all__ = ["Care"]

logger = logging.getLogger("dragonfly")


class Care:
    """`failed` hears of what was raised; `name` is how a log calls the pull."""

    def __init__(self, name: str, failed: Callable[[BaseException], None]) -> None:
        self._name = name
        self._failed = failed
        self._tasks: set[asyncio.Task[None]] = set()
        self._over = False

    def spawn(self, work: Coroutine[None, None, None]) -> None:
        """Run `work`; not at all after `end`."""
        if self._over:
            work.close()
            return
        task = asyncio.get_running_loop().create_task(self._guard(work))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        task.add_done_callback(lambda _: work.close())  # one that was cancelled before its first step

    async def _guard(self, work: Coroutine[None, None, None]) -> None:
        try:
            await work
        except DragonflyError as error:
            self._failed(error)
        except OSError as error:
            self._failed(DragonflyError("the system refused", subject=str(error)))
        except Exception as error:  # a bug, ours or a source plug-in's: no reader may wait for ever
            logger.error("a bug in the pull of %s", self._name, exc_info=True)
            self._failed(DragonflyError("a bug ended the pull", subject=repr(error), advice="look at the log"))

    async def end(self) -> None:
        """Cancel all that runs, and wait for it."""
        self._over = True
        for task in list(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
