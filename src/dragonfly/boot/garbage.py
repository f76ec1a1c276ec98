"""When a process with ten thousand sessions looks for garbage.

A full collection walks over all objects and answers nobody meanwhile: 0.6 s with 10,000 sessions. Left to itself,
Python makes one each time that the objects have become a quarter more, so again and again while daemons come. Young
objects are still collected as ever. Of what has grown old and is let go, only rings of objects need a full
collection; a session of aiohttp's that ended is one (60 objects), so it is made, but seldom.
"""

from __future__ import annotations

import asyncio
import contextlib
import gc
import time
from collections.abc import AsyncIterator

__all__ = ["rare_collections"]

_MUCH = 500
"""Collections of middle-aged objects before a full one is made out of turn: 3.5 million objects more, hundreds of
MiB. A thousand joining daemons make about twenty."""
_LEAST_S = 60.0
_SHARE = 0.001
"""Of the time, at most, that full collections take: what P99 is not made of."""


@contextlib.asynccontextmanager
async def rare_collections() -> AsyncIterator[None]:
    """In here full collections are made at times that we choose; by Python only where garbage grows fast."""
    before = gc.get_threshold()
    gc.set_threshold(before[0], before[1], _MUCH)
    collector = asyncio.get_running_loop().create_task(_collect())
    try:
        yield
    finally:
        collector.cancel()
        await asyncio.gather(collector, return_exceptions=True)
        gc.set_threshold(*before)


async def _collect() -> None:
    took = 0.0
    while True:
        await asyncio.sleep(max(_LEAST_S, took / _SHARE))
        began = time.perf_counter()
        gc.collect()
        took = time.perf_counter() - began
