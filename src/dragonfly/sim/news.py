"""What a virtual host tells of its pieces: to neighbours in batches, and as a seed their digests to the directory."""

from __future__ import annotations

from typing import TYPE_CHECKING

from dragonfly.core import bitmap
from dragonfly.swarm.announcing import Announcing, concerns
from dragonfly.swarm.publishing import Publishing

if TYPE_CHECKING:
    from dragonfly.sim.node import Node, Wire

__all__ = ["News"]


class News:
    """One host's, from its start on."""

    def __init__(self, node: Node) -> None:
        settings = node.world.settings
        self._node = node
        self._world = node.world
        self._rhythm = Announcing(settings.swarm.announce_s, settings.swarm.announce_most_s, node.download.pace)
        self._announce_at: float | None = None
        self._publishing = Publishing(settings.publish_s, settings.publish_late_s)
        self._publish_at = float("inf")

    def piece(self, index: int) -> None:
        """It has a piece more."""
        pieces, now = self._node.download.pieces, self._world.now
        when = self._rhythm.piece(pieces.have.bit_count(), pieces.missing.bit_count(), now)
        if self._announce_at is None or when < self._announce_at:
            self._announce_at = when
            self._world.at(when, self._announce, when)
        if self._node.seed:
            self._publishing.had(1 << index, now)
            self._publish_soon()

    def given(self, pieces: int) -> None:
        """These (a bitmap) leave it now."""
        if self._node.seed:
            self._publishing.given(pieces, self._world.now)
            self._publish_soon()

    def tell(self, wire: Wire) -> None:
        """All that is news to the other side of `wire`, at once."""
        have = self._node.uploads.have
        news = have & ~wire.told
        if news:
            wire.told = have
            self._world.frames += 1
            self._world.after(self._world.settings.latency_s, wire.to.heard, "has", self._node.id, news)

    def _announce(self, when: float) -> None:
        if not self._node.alive or when != self._announce_at:
            return  # an earlier one took its place
        self._announce_at = None
        self._rhythm.told(self._world.now)
        full = bitmap.full(self._world.layout.count)
        parents = self._node.download.parents
        for peer, wire in self._node.wires.items():
            parent = parents.get(peer)
            complete = parent is not None and parent.has == full
            if concerns(seed=wire.to.seed, told=wire.told != 0, complete=complete):
                self.tell(wire)

    def _publish_soon(self) -> None:
        when = self._publishing.deadline()
        if when is not None and when < self._publish_at:
            self._publish_at = when
            self._world.at(when, self._publish, when)

    def _publish(self, when: float) -> None:
        if when == self._publish_at and self._node.alive:
            self._publish_at = float("inf")
            if pieces := self._publishing.take(self._world.now):
                self._node.directory.digests(self._node, pieces)
            self._publish_soon()
