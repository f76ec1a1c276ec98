"""The supernode in the simulator: the product's own `scheduler.Scheduler`, with messages that take time.

They leave by the seed's link, as on a real supernode, and so keep its pieces waiting. Nothing
is decided here. What hosts say becomes the messages that daemons send, what the scheduler
decides is done after a round trip, so a change of its policy is judged in a virtual world
before it is in a real one.
"""

from __future__ import annotations

import msgspec

from dragonfly.core import bitmap
from dragonfly.core import messages as msg
from dragonfly.core.digest import known_digests
from dragonfly.core.messages import TroubleKind
from dragonfly.core.task import TaskKey, TaskSpec
from dragonfly.scheduler import events as ev
from dragonfly.scheduler.decisions import Send
from dragonfly.scheduler.scheduler import Scheduler
from dragonfly.scheduler.settings import SchedulerSettings
from dragonfly.sim.gossip import DIGEST
from dragonfly.sim.node import Node
from dragonfly.sim.world import World

__all__ = ["Supernode"]

_SPEC = TaskSpec(url="sim://task", digest="sha256:" + 64 * "0")
_HEADERS = 72
"""Bytes of a message that are not its own: Ethernet, IP, TCP, WebSocket."""


class Supernode:
    """One task's. All hosts speak to it, and one of them may be its seed."""

    def __init__(self, world: World, settings: SchedulerSettings | None = None) -> None:
        self.scheduler = Scheduler(settings or SchedulerSettings(), world.rng, b"sim")
        self._world = world
        self._nodes: dict[str, Node] = {}
        self._seed: Node | None = None
        self._ticks_at = float("inf")

    # ---------------------------------------------------------------- what hosts say

    def join(self, node: Node) -> None:
        self._nodes[node.id] = node
        info = msg.HostInfo(id=node.id, address=node.id, peer_port=1, zone=node.zone)
        if node.seed:
            layout = self._world.layout
            self._seed = node
            self.scheduler.seed_is(info, self._world.now)
            self._hear(node, msg.TaskInfo(key=_KEY, length=layout.length, piece_size=layout.piece_size))
        else:
            self._hear(node, msg.Hello(host=info))
            self._hear(node, msg.Join(spec=_SPEC))

    def more(self, node: Node, have: tuple[str, ...]) -> None:
        self._hear(node, msg.MoreNeighbours(key=_KEY, have=have))

    def trouble(self, node: Node, peer: str, kind: TroubleKind) -> None:
        self._hear(node, msg.Trouble(key=_KEY, peer=peer, kind=kind))

    def digests(self, node: Node, pieces: int) -> None:
        for first, count in bitmap.runs(pieces):
            self._hear(node, msg.Digests(key=_KEY, first=first, digests=count * DIGEST))

    def want_digests(self, node: Node, first: int, count: int) -> None:
        self._hear(node, msg.WantDigests(key=_KEY, first=first, count=count))

    def finished(self, node: Node) -> None:
        self._hear(node, msg.Finished(key=_KEY, seconds=self._world.now - node.started_at))

    # ---------------------------------------------------------------- what it wants done

    def _hear(self, node: Node, message: msg.FromDaemon) -> None:
        self._happened(ev.Heard(node.id, message))

    def _happened(self, event: ev.Event) -> None:
        for decision in self.scheduler.handle(event, self._world.now):
            if isinstance(decision, Send):
                self._send(decision)
        deadline = self.scheduler.next_deadline()
        if deadline < self._ticks_at:
            self._ticks_at = deadline
            self._world.at(deadline, self._tick, deadline)

    def _tick(self, deadline: float) -> None:
        if deadline == self._ticks_at:
            self._ticks_at = float("inf")
            self._happened(ev.Tick())

    def _deliver(self, node: Node, message: msg.FromSupernode) -> None:
        match message:
            case msg.TaskInfo() if message.digests:
                node.learn(known_digests(message.digests))
            case msg.Digests():
                node.learn(known_digests(message.digests, message.first))
                if message.pass_on:
                    node.gossip.share(node.download.pieces.known)
            case msg.Fingerprint():
                node.gossip.fingerprint(message.first, message.count, message.sum)
            case msg.Neighbours():
                for peer in message.drop:
                    node.take_away(self._nodes[peer])
                for address in message.add:
                    node.connect(self._nodes[address.id])
            case _:
                pass

    def _send(self, decision: Send) -> None:
        """A message to a host takes a round trip from what caused it, and its turn on the seed's link."""
        world, seed = self._world, self._seed
        soonest = world.now + 2 * world.settings.latency_s
        size = _HEADERS + len(msgspec.msgpack.encode(decision.message))
        for host in decision.hosts:
            left = seed.wire.send(size, world.now)[1] if seed is not None and host != seed.id else soonest
            world.at(max(soonest, left), self._deliver, self._nodes[host], decision.message)
        if seed is not None:
            seed.giving.go_on()


_KEY: TaskKey = _SPEC.key
