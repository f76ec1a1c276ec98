"""What a virtual host sends: one run at a time leaves, children take turns, as `peer.slots` has it on a real one."""

from __future__ import annotations

from random import Random
from typing import TYPE_CHECKING

from dragonfly.core import bitmap
from dragonfly.swarm.turns import Turns
from dragonfly.swarm.uploads import Nothing, Run

if TYPE_CHECKING:
    from dragonfly.sim.node import Node, Wire

__all__ = ["Giving"]


class Giving:
    """One host's uplink, and who waits for it."""

    def __init__(self, node: Node) -> None:
        self._node = node
        self._world = node.world
        self._turns: Turns[str] = Turns(Random(node.world.rng.random()))

    def want(self, peer: str) -> None:
        """There may be something to send to `peer`."""
        uploads = self._node.uploads
        if peer not in self._turns and uploads.pending(peer):
            self._turns.add(peer, empty_handed=uploads.empty_handed(peer))
            self._pump()

    def fed(self, peer: str) -> None:
        """It says that it has something."""
        self._turns.fed(peer)

    def go_on(self) -> None:
        """Something else was put on the uplink: give when it is through."""
        self._world.at(self._node.up.free_at, self._pump)

    def through(self, peer: str, size: int) -> None:
        """`size` bytes are through to `peer`: its queue here moves on."""
        wire = self._node.wires.get(peer)
        if wire is not None and self._node.alive:
            wire.under_way -= size
            self.want(peer)
            self._pump()

    def _pump(self) -> None:
        """Begin the next run if the uplink is free; children take turns."""
        node, world = self._node, self._world
        while node.alive and self._turns and node.up.free_at <= world.now + 1e-9:
            peer = self._turns.next()
            wire = node.wires.get(peer)
            if wire is None:
                continue
            if wire.under_way >= world.settings.window_bytes:
                continue  # `through` puts it back
            match node.uploads.next(peer):
                case Run() as run:
                    self._send(wire, run)
                    self.want(peer)
                case Nothing() as nothing:
                    node.frame(peer, "refused", nothing.first, nothing.count)
                    self.want(peer)
                case None:
                    pass

    def _send(self, wire: Wire, run: Run) -> None:
        node, world, to = self._node, self._world, wire.to
        latency = world.settings.latency_s
        node.news.given(bitmap.run(run.first, run.count))
        if run.by_choice:
            world.after(latency, to.heard, "offered", node.id, run.first, run.count)
        for index in range(run.first, run.first + run.count):
            size = world.layout.size(index)
            began, left = node.up.send(size, world.now)
            wire.under_way += size
            if (narrow := world.narrow.get((node.zone, to.zone))) is not None:
                left = narrow.take(size, began, left)
            here = to.down.take(size, began + latency, left + latency)
            world.at(here, to.received, node, index, size, began)
        self.go_on()
