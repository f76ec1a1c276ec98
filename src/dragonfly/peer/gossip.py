"""Digests that neighbours tell each other in a task of many nodes: the frames of `swarm.hearsay`.

Nobody says KNOW where all are told all digests by the supernode, so small swarms are spared the frames.
"""

from __future__ import annotations

from collections.abc import Callable
from random import Random

from dragonfly.core import bitmap
from dragonfly.core.digest import PIECE_DIGEST_BYTES, known_digests
from dragonfly.core.messages import Fingerprint, WantDigests
from dragonfly.peer.links import Links
from dragonfly.peer.node import Node
from dragonfly.peer.session import PeerSession
from dragonfly.store.blob import Blob
from dragonfly.swarm.download import Download
from dragonfly.swarm.hearsay import SUPERNODE, Hearsay, Worth
from dragonfly.wire import piece as wire
from dragonfly.wire.piece import Kind

__all__ = ["Gossip"]


class Gossip:
    """One task's. `learned` hears which digests (a bitmap) a neighbour has brought, when they are in the blob."""

    def __init__(
        self, node: Node, blob: Blob, download: Download, links: Links, learned: Callable[[int], None]
    ) -> None:
        swarm = node.settings.swarm
        self._node = node
        self._blob = blob
        self._download = download
        self._links = links
        self._learned = learned
        self._hearsay = Hearsay(Random(node.rng.random()), swarm.digest_late_s, swarm.digest_patience_s)
        self._shared = 0
        """Pieces whose digests neighbours have been told that we know."""

    # ---------------------------------------------------------------- what the supernode says

    def fingerprint(self, message: Fingerprint) -> None:
        self._hearsay.fingerprint(message.first, message.count, message.sum, self._node.now())
        self.ask()

    def share(self, pieces: int) -> None:
        """Digests are known here that others lack."""
        news = pieces & ~self._shared
        self._shared |= news
        for session in list(self._links.sessions.values()):
            self._say_known(session, news)

    # ---------------------------------------------------------------- what neighbours say

    def met(self, session: PeerSession) -> None:
        self._say_known(session, self._shared)

    def gone(self, session: PeerSession) -> None:
        self._hearsay.gone(session.name)
        self.ask()

    def knows(self, session: PeerSession, first: int, count: int) -> None:
        self._hearsay.knows(session.name, bitmap.run(first, count))
        self.ask()

    def wants(self, session: PeerSession, first: int, count: int) -> None:
        """Tell these digests, if all of them are known: others would not fit a fingerprint."""
        size = PIECE_DIGEST_BYTES
        digests = bytes(self._blob.digests[size * first : size * (first + count)])
        if known_digests(digests, first) == bitmap.run(first, count):
            session.out.send(wire.digests_frame(first, digests))

    def told(self, session: PeerSession, first: int, digests: bytes) -> bool:
        """Take in what was asked for; False where it is not what the supernode means."""
        match self._hearsay.came(first, digests):
            case Worth.RIGHT:
                pieces = bitmap.run(first, len(digests) // PIECE_DIGEST_BYTES)
                self._blob.learn(first, digests)
                self._learned(pieces)
                self.share(pieces)
            case Worth.WRONG:
                return False
            case Worth.NEWS_TO_NOBODY:
                pass  # late: another has told them meanwhile
        return True

    # ---------------------------------------------------------------- what is wanted

    def ask(self) -> None:
        """Ask who knows what is waited for: to be called from time to time, and when there is news."""
        if not self._hearsay:
            return
        for ask in self._hearsay.asks(self._download.parents, self._download.pieces.known, self._node.now()):
            if ask.peer == SUPERNODE:
                self._node.tracker.send(WantDigests(key=self._blob.key, first=ask.first, count=ask.count))
            elif (session := self._links.get(ask.peer)) is not None:
                session.out.send(wire.plain_frame(Kind.WANT, ask.first, ask.count))

    def _say_known(self, session: PeerSession, pieces: int) -> None:
        """To those who may lack them; a seed knows them all."""
        if session.lane == 0 and not session.seed and session.has.bit_count() < self._blob.layout.count:
            for first, count in bitmap.runs(pieces):
                session.out.send(wire.plain_frame(Kind.KNOW, first, count))
