"""When is a pull right as a whole, so that its last byte may leave the node?

- A node that makes the digests itself (a seed, or one without a supernode) hashes the whole
  beside the download, in order.
- A node whose pieces were all checked against the seed's digests waits for the seed's word
  that *its* whole is right ("sealed"): the same bytes, so the same answer, at no cost.
- If that word does not come, or a piece was taken unchecked from the source, it hashes.
- A URL without a known digest has nothing to be checked against; complete is right.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from dragonfly.core.digest import Digest
from dragonfly.peer.settings import SourcePolicy
from dragonfly.peer.whole import check_whole

if TYPE_CHECKING:
    from dragonfly.peer.runner import TaskRun

__all__ = ["Sealing"]

_PATIENCE_S = 10.0


class Sealing:
    """The last step of one `TaskRun`."""

    def __init__(self, run: TaskRun) -> None:
        self._run = run
        self._at_seed = asyncio.Event()

    @property
    def _hashes_here(self) -> bool:
        return bool(self._run.spec.digest) and self._run.policy is SourcePolicy.FIRST

    def begin(self) -> None:
        """The download starts: follow it with a hash, where this node is the one to know."""
        if self._hashes_here:
            self._run.spawn(self._hash())

    def seed_says_right(self) -> None:
        self._at_seed.set()

    def all_pieces(self) -> None:
        """Every piece is on disk."""
        run = self._run
        if not run.spec.digest:
            run.seal()
        elif not self._hashes_here:
            run.spawn(self._await_seed())

    async def _await_seed(self) -> None:
        run = self._run
        if not run.source.unverified:
            try:
                listening = run.node.tracker.connected and not run.parted
                async with asyncio.timeout(_PATIENCE_S if listening else 0.05):
                    await self._at_seed.wait()
            except TimeoutError:
                pass
            else:
                run.seal()
                return
        await self._hash()

    async def _hash(self) -> None:
        run = self._run
        assert run.blob is not None
        await check_whole(
            run.blob, Digest.parse(run.spec.digest), self._available, run.node.hashing, run.spec.shown_url
        )
        run.seal()

    async def _available(self, offset: int) -> int:
        run = self._run
        assert run.download is not None
        while True:
            end = await run.readers.available(run.layout, run.download.pieces.have, True, offset)
            if end is not None:
                return end
