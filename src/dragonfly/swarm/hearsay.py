"""Digests of pieces from neighbours: who is one of thousands is told by the supernode only what they come to.

Told by one place, the digests of a blob weigh as much as the blob where a thousand nodes pull it (32 bytes for
each piece of 32 KiB). So most of many nodes get a fingerprint of a run of digests, its SHA-256, and take the run
itself from a neighbour that has it: one that says so, or that has all pieces of the run. What comes is compared with
the fingerprint, so a neighbour's word is worth as much as the supernode's. Where no neighbour has it in time, the
supernode is asked. (As the pieces of a torrent's description are fetched from peers: Hazel and Norberg, BEP 9.)
"""

from __future__ import annotations

import enum
import hashlib
from collections.abc import Iterable
from random import Random

import msgspec

from dragonfly.core import bitmap
from dragonfly.core.digest import PIECE_DIGEST_BYTES
from dragonfly.swarm.parents import Parent

__all__ = ["SUPERNODE", "Ask", "Hearsay", "Worth"]

#: Whom to ask when no neighbour knows.
SUPERNODE = ""


class Ask(msgspec.Struct, frozen=True):
    """Ask `peer` for the digests of `count` pieces from `first` on."""

    peer: str
    first: int
    count: int


class Worth(enum.Enum):
    """What digests that a neighbour told are worth."""

    RIGHT = "right"
    WRONG = "wrong"
    NEWS_TO_NOBODY = "not waited for"


class _Run:
    """A run of digests that is known by its fingerprint only."""

    def __init__(self, sum: bytes, seeds_from: float, supernode_from: float) -> None:
        self.sum = sum
        self.seeds_from = seeds_from
        self.supernode_from = supernode_from
        """From these times on a seed and the supernode may be asked: their one link serves all."""
        self.asked: str | None = None
        self.again_at = 0.0
        """When whoever was asked is late."""
        self.tried: set[str] = set()


class Hearsay:
    """One pull's. Times in seconds: `late_s` for one answer, `patience_s` (to twice as long, by chance, since
    many wait at once) before the supernode is asked. Sets of pieces are bitmaps."""

    def __init__(self, rng: Random, late_s: float, patience_s: float) -> None:
        self._rng = rng
        self._late_s = late_s
        self._patience_s = patience_s
        self._runs: dict[tuple[int, int], _Run] = {}
        """By first piece and count."""
        self._knows: dict[str, int] = {}

    def __bool__(self) -> bool:
        """Whether anything is waited for."""
        return bool(self._runs)

    def fingerprint(self, first: int, count: int, sum: bytes, now: float) -> None:
        """The supernode says what the digests of a run come to."""
        patience = self._patience_s * (1 + self._rng.random())
        self._runs[first, count] = _Run(sum, now + self._late_s, now + patience)

    def knows(self, peer: str, pieces: int) -> None:
        """A neighbour says that it knows these digests."""
        self._knows[peer] = self._knows.get(peer, 0) | pieces

    def gone(self, peer: str) -> None:
        """A neighbour less; what was asked of it is asked of another."""
        self._knows.pop(peer, None)
        for run in self._runs.values():
            run.tried.discard(peer)
            if run.asked == peer:
                run.asked = None

    def came(self, first: int, digests: bytes) -> Worth:
        """A neighbour told digests. The right ones are waited for no more."""
        key = first, len(digests) // PIECE_DIGEST_BYTES
        run = self._runs.get(key)
        if run is None:
            return Worth.NEWS_TO_NOBODY
        if hashlib.sha256(digests).digest() != run.sum:
            return Worth.WRONG
        del self._runs[key]
        return Worth.RIGHT

    def asks(self, neighbours: Iterable[Parent], known: int, now: float) -> list[Ask]:
        """Whom to ask for what now; `known` are the pieces whose digests are there by whatever way."""
        waiting = {key: pieces for key in self._runs if (pieces := bitmap.run(*key)) & ~known}
        self._runs = {key: self._runs[key] for key in waiting}
        found = []
        for key, pieces in waiting.items():
            run = self._runs[key]
            if run.asked is not None and now < run.again_at:
                continue
            peer = self._whom(run, pieces, neighbours, now)
            if peer is None and now >= run.supernode_from:
                peer = SUPERNODE
                run.tried.clear()
            if peer is not None:
                run.asked = peer
                run.again_at = now + (self._patience_s if peer == SUPERNODE else self._late_s)
                run.tried.add(peer)
                found.append(Ask(peer, *key))
        return found

    def _whom(self, run: _Run, pieces: int, neighbours: Iterable[Parent], now: float) -> str | None:
        """One by chance of those that know the run."""
        knowing = [
            parent
            for parent in neighbours
            if parent.id not in run.tried
            and (not pieces & ~parent.has or not pieces & ~self._knows.get(parent.id, 0))
            and (not parent.seed or now >= run.seeds_from)
        ]
        peers = [parent for parent in knowing if not parent.seed] or knowing
        return self._rng.choice(peers).id if peers else None
