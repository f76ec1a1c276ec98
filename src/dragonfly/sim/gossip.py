"""Digests that virtual hosts tell each other, as `peer.gossip` has it on a real one."""

from __future__ import annotations

from random import Random
from typing import TYPE_CHECKING

from dragonfly.core import bitmap
from dragonfly.swarm.hearsay import SUPERNODE, Hearsay, Worth

if TYPE_CHECKING:
    from dragonfly.sim.node import Node, Wire

__all__ = ["DIGEST", "Gossip"]

#: Of any piece: who lies is known here without hashing.
DIGEST = b"\x01" * 32
_HEADER = 16


class Gossip:
    """One host's."""

    def __init__(self, node: Node) -> None:
        swarm = node.world.settings.swarm
        self._node = node
        self._world = node.world
        self._hearsay = Hearsay(Random(node.world.rng.random()), swarm.digest_late_s, swarm.digest_patience_s)
        self._shared = 0

    def fingerprint(self, first: int, count: int, sum: bytes) -> None:
        self._hearsay.fingerprint(first, count, sum, self._world.now)
        self.ask()

    def share(self, pieces: int) -> None:
        """Digests that others may lack are known here."""
        news = pieces & ~self._shared
        self._shared |= news
        for wire in self._node.wires.values():
            self._say_known(wire, news)

    def met(self, wire: Wire) -> None:
        self._say_known(wire, self._shared)

    def ask(self) -> None:
        """Ask whoever knows what is waited for."""
        node = self._node
        if not self._hearsay:
            return
        for ask in self._hearsay.asks(node.download.parents, node.download.pieces.known, self._world.now):
            if ask.peer == SUPERNODE:
                node.directory.want_digests(node, ask.first, ask.count)
            else:
                node.frame(ask.peer, "wants", ask.first, ask.count)

    def gone(self, peer: str) -> None:
        self._hearsay.gone(peer)
        self.ask()

    def heard_knows(self, peer: str, first: int, count: int) -> None:
        self._hearsay.knows(peer, bitmap.run(first, count))
        self.ask()

    def heard_wants(self, peer: str, first: int, count: int) -> None:
        """Digests take their turn on the links, before pieces."""
        node, world = self._node, self._world
        wire = node.wires.get(peer)
        if wire is None or bitmap.run(first, count) & ~node.download.pieces.known:
            return
        size, latency = _HEADER + len(DIGEST) * count, world.settings.latency_s
        began, left = node.wire.send(size, world.now)
        here = wire.to.down.take(size, began + latency, left + latency)
        world.at(here, wire.to.heard, "list", node.id, first, count)
        node.giving.go_on()

    def heard_list(self, peer: str, first: int, count: int) -> None:
        if self._hearsay.came(first, count * DIGEST) is Worth.RIGHT:
            self._node.learn(bitmap.run(first, count))
            self.share(bitmap.run(first, count))

    def _say_known(self, wire: Wire, pieces: int) -> None:
        """A seed knows them all."""
        if not wire.to.seed:
            for first, count in bitmap.runs(pieces):
                self._node.frame(wire.to.id, "knows", first, count)
