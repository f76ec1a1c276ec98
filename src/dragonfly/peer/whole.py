"""The whole against its digest, in order, beside the download: a thread follows the gapless beginning."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Awaitable, Callable
from concurrent.futures import Executor
from typing import TYPE_CHECKING

from dragonfly.core.digest import Digest
from dragonfly.errors import IntegrityError
from dragonfly.store.blob import Blob

if TYPE_CHECKING:
    from hashlib import _Hash

__all__ = ["check_whole"]

_CHUNK = 1024 * 1024


async def check_whole(
    blob: Blob, digest: Digest, available: Callable[[int], Awaitable[int]], executor: Executor, subject: str
) -> None:
    """Hash the blob as it grows; IntegrityError where the whole is not what `digest` says.

    `available(offset)` waits for bytes from `offset` on and gives their end, the last byte included.
    """
    loop = asyncio.get_running_loop()
    hasher = digest.hasher()
    at = 0
    while at < blob.layout.length:
        end = await available(at)
        await loop.run_in_executor(executor, _update, hasher, blob.fileno(), at, end)
        at = end
    if not digest.matches(hasher):
        raise IntegrityError(
            "the content is not what its digest says",
            subject=subject,
            advice=f"expected {digest}, got {digest.algorithm}:{hasher.hexdigest()}; ask whoever publishes it",
        )


def _update(hasher: _Hash, fd: int, at: int, end: int) -> None:
    while at < end:
        data = os.pread(fd, min(_CHUNK, end - at), at)
        if not data:
            raise IntegrityError("the stored file is shorter than it should be", subject=f"byte {at}")
        hasher.update(data)
        at += len(data)
